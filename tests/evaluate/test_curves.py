"""Risk by coverage, and accuracy by cost."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.measures import Pair, selection, trade_off

Answers = list[tuple[float, bool]]
answers = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 1.0, float("inf")]), st.booleans()),
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


def area(found: Answers) -> float:
    measured = selection(found, 0.5).area
    assert measured is not None
    return measured


def test_by_hand() -> None:
    found = [(0.1, True), (0.2, False), (0.3, True)]
    measured = selection(found, 0.4)
    points = [(point.coverage, point.risk) for point in measured.curve]
    assert points == [(1 / 3, 0), (2 / 3, 1 / 2), (1, 1 / 3)]
    assert measured.area == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert measured.random == pytest.approx(1 / 3)
    assert measured.coverage_at_target == 1
    assert selection(found, 0.1).coverage_at_target == 1 / 3


def test_equal_doubt_counts_as_the_mean_of_all_orders() -> None:
    right = [True, False, True, False]
    tied = area([(0.5, each) for each in right])
    orders = [
        area([(place / 10, each) for place, each in enumerate(order)])
        for order in permutations(right)
    ]
    assert tied == pytest.approx(sum(orders) / len(orders))


@given(answers)
def test_the_curve_ends_at_all_answers_with_the_overall_risk(
    found: Answers,
) -> None:
    measured = selection(found, 0.5)
    assert measured.curve[-1].coverage == 1
    assert measured.curve[-1].risk == measured.random


@given(answers)
def test_an_order_that_knows_the_truth_beats_chance_and_its_reverse_does_not(
    found: Answers,
) -> None:
    knowing = area([(float(not right), right) for _, right in found])
    misled = area([(float(right), right) for _, right in found])
    by_lot = selection(found, 0.5).random
    assert by_lot is not None
    assert knowing <= by_lot + 1e-9 <= misled + 2e-9
    assert knowing - 1e-9 <= area(found) <= misled + 1e-9


def test_no_answers_have_no_area() -> None:
    measured = selection([], 0.5)
    assert (measured.curve, measured.area, measured.random) == ((), None, None)


@given(pairs)
def test_trades_go_from_haiku_alone_to_both_for_all(found: list[Pair]) -> None:
    points = trade_off(found, 0.9).points
    assert points[0].cost_usd == sum(pair.haiku_usd for pair in found)
    assert points[0].accuracy == sum(pair.haiku for pair in found) / len(found)
    assert points[-1].escalated == 1
    assert points[-1].cost_usd == sum(pair.haiku_usd + pair.sonnet_usd for pair in found)
    assert points[-1].accuracy == sum(pair.sonnet for pair in found) / len(found)


@given(pairs, st.floats(0.1, 1))
def test_the_cheapest_point_reaches_the_target_and_none_before_it_does(
    found: list[Pair], target: float
) -> None:
    measured = trade_off(found, target)
    best = measured.by_doubt
    if best is None:
        assert all(point.accuracy < target for point in measured.points)
        return
    assert best.accuracy >= target
    assert all(
        point.accuracy < target for point in measured.points if point.cost_usd < best.cost_usd
    )


def test_by_lot_the_target_costs_its_share_of_the_way() -> None:
    found = [
        Pair(0.9, haiku=False, sonnet=True, haiku_usd=Decimal(1), sonnet_usd=Decimal(10)),
        Pair(0.1, haiku=True, sonnet=True, haiku_usd=Decimal(1), sonnet_usd=Decimal(10)),
    ]
    half = trade_off(found, 0.75)
    assert half.by_doubt is not None
    assert half.by_lot is not None
    assert (half.by_doubt.escalated, half.by_doubt.cost_usd) == (0.5, Decimal(12))
    assert (half.by_lot.escalated, half.by_lot.cost_usd) == (0.5, Decimal(12))
    whole = trade_off(found, 1.0)
    assert whole.by_doubt is not None
    assert whole.by_lot is not None
    assert whole.all_sonnet is not None
    assert (whole.by_doubt.cost_usd, whole.by_lot.cost_usd) == (Decimal(12), Decimal(22))
    assert (whole.all_sonnet.accuracy, whole.all_sonnet.cost_usd) == (1, Decimal(20))
    assert trade_off([], 0.5).points == ()
