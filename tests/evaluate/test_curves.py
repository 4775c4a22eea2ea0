"""Risk by coverage, and accuracy by cost."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.curves import (
    Doubted,
    Pair,
    area,
    cheapest,
    cheapest_at_random,
    coverage_at,
    random_area,
    risk_coverage,
    trades,
)

answers = st.lists(
    st.builds(Doubted, st.sampled_from([0.0, 0.1, 0.5, 1.0, float("inf")]), st.booleans()),
    min_size=1,
    max_size=30,
)
pairs = st.lists(
    st.builds(
        Pair,
        st.sampled_from([0.0, 0.3, 0.9, 2.0]),
        st.booleans(),
        st.booleans(),
        st.just(Decimal("0.001")),
        st.just(Decimal("0.02")),
    ),
    min_size=1,
    max_size=30,
)


def test_by_hand() -> None:
    found = [Doubted(0.1, right=True), Doubted(0.2, right=False), Doubted(0.3, right=True)]
    points = [(point.coverage, point.risk) for point in risk_coverage(found)]
    assert points == [(1 / 3, 0), (2 / 3, 1 / 2), (1, 1 / 3)]
    assert area(found) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert random_area(found) == pytest.approx(1 / 3)
    assert coverage_at(risk_coverage(found), 0.4) == 1


def test_equal_doubt_counts_as_the_mean_of_all_orders() -> None:
    right = [True, False, True, False]
    tied = area([Doubted(0.5, right=each) for each in right])
    orders = [
        area([Doubted(place / 10, right=each) for place, each in enumerate(order)])
        for order in permutations(right)
    ]
    assert tied == pytest.approx(sum(each or 0 for each in orders) / len(orders))


@given(answers)
def test_the_curve_ends_at_all_answers_with_the_overall_risk(found: list[Doubted]) -> None:
    last = risk_coverage(found)[-1]
    assert last.coverage == 1
    assert last.risk == random_area(found)


@given(answers)
def test_an_order_that_knows_the_truth_beats_chance_and_its_reverse_does_not(
    found: list[Doubted],
) -> None:
    knowing = area([Doubted(float(not each.right), each.right) for each in found])
    misled = area([Doubted(float(each.right), each.right) for each in found])
    by_lot = random_area(found)
    assert knowing is not None
    assert misled is not None
    assert by_lot is not None
    assert knowing <= by_lot + 1e-9 <= misled + 2e-9
    given_order = area(found)
    assert given_order is not None
    assert knowing - 1e-9 <= given_order <= misled + 1e-9


@given(pairs)
def test_trades_go_from_haiku_alone_to_both_for_all(found: list[Pair]) -> None:
    points = trades(found)
    assert points[0].cost_usd == sum(pair.haiku_usd for pair in found)
    assert points[0].accuracy == sum(pair.haiku for pair in found) / len(found)
    assert points[-1].escalated == 1
    assert points[-1].cost_usd == sum(pair.haiku_usd + pair.sonnet_usd for pair in found)
    assert points[-1].accuracy == sum(pair.sonnet for pair in found) / len(found)


@given(pairs, st.floats(0.1, 1))
def test_the_cheapest_point_reaches_the_target_and_none_before_it_does(
    found: list[Pair], target: float
) -> None:
    points = trades(found)
    best = cheapest(points, target)
    if best is None:
        assert all(point.accuracy < target for point in points)
        return
    assert best.accuracy >= target
    assert all(point.accuracy < target for point in points if point.cost_usd < best.cost_usd)


def test_by_lot_the_target_costs_its_share_of_the_way() -> None:
    found = [
        Pair(0.9, haiku=False, sonnet=True, haiku_usd=Decimal(1), sonnet_usd=Decimal(10)),
        Pair(0.1, haiku=True, sonnet=True, haiku_usd=Decimal(1), sonnet_usd=Decimal(10)),
    ]
    points = trades(found)
    by_doubt, by_lot = cheapest(points, 0.75), cheapest_at_random(points, 0.75)
    assert by_doubt is not None
    assert by_lot is not None
    assert (by_doubt.escalated, by_doubt.cost_usd) == (0.5, Decimal(12))
    assert (by_lot.escalated, by_lot.cost_usd) == (0.5, Decimal(12))
    best = cheapest(points, 1.0)
    chance = cheapest_at_random(points, 1.0)
    assert best is not None
    assert chance is not None
    assert (best.cost_usd, chance.cost_usd) == (Decimal(12), Decimal(22))
