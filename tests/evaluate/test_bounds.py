"""Exact bounds on a share of errors, against known values and the exact sums."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.proposal import at_most, items_needed, upper_bound

counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("risk", "needed"), [(0.05, 59), (0.02, 149), (0.01, 299)])
def test_items_without_an_error_that_certify_a_risk_at_95_per_cent(
    risk: float, needed: int
) -> None:
    assert items_needed(risk, 0.05) == needed
    assert upper_bound(0, needed, 0.05) <= risk < upper_bound(0, needed - 1, 0.05)


@pytest.mark.parametrize(
    ("errors", "items", "alpha", "bound"),
    [
        # 1 - alpha ** (1 / n), and 1 - beta quantiles of printed tables.
        (0, 10, 0.05, 0.258866),
        (1, 10, 0.05, 0.394163),
        (5, 10, 0.05, 0.777559),
        (2, 100, 0.025, 0.070384),
        (10, 10, 0.05, 1.0),
    ],
)
def test_bounds_are_those_of_clopper_and_pearson(
    errors: int, items: int, alpha: float, bound: float
) -> None:
    assert upper_bound(errors, items, alpha) == pytest.approx(bound, abs=1e-6)


@given(counts, st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100))
def test_the_tail_is_the_exact_sum(count: tuple[int, int], share: Fraction) -> None:
    errors, items = count
    exact = sum(
        math.comb(items, k) * share**k * (1 - share) ** (items - k) for k in range(errors + 1)
    )
    assert at_most(errors, items, float(share)) == pytest.approx(float(exact), abs=1e-9)


@given(counts, st.floats(0.001, 0.5))
def test_the_bound_lies_above_what_was_seen_and_is_where_the_tail_meets_alpha(
    count: tuple[int, int], alpha: float
) -> None:
    errors, items = count
    bound = upper_bound(errors, items, alpha)
    assert (errors / items if items else 0) <= bound <= 1
    if errors < items:
        assert at_most(errors, items, bound) == pytest.approx(alpha, abs=1e-6)


@given(st.integers(1, 300), st.floats(0.001, 0.5))
def test_more_items_or_fewer_errors_make_a_tighter_bound(items: int, alpha: float) -> None:
    errors = items // 3
    assert upper_bound(errors, items + 1, alpha) <= upper_bound(errors, items, alpha)
    assert upper_bound(errors, items, alpha) <= upper_bound(errors + 1, items + 1, alpha)


@given(st.floats(0.01, 0.3), st.floats(0.005, 0.1), st.floats(0, 0.9))
def test_what_is_said_to_be_needed_is_enough_and_one_less_is_not(
    risk: float, alpha: float, part: float
) -> None:
    rate = risk * part * 0.8
    needed = items_needed(risk, alpha, error_rate=rate)
    assert needed is not None
    assert upper_bound(math.ceil(needed * rate), needed, alpha) <= risk + 1e-9


def test_too_many_errors_are_never_certified() -> None:
    assert items_needed(0.05, 0.05, error_rate=0.05) is None


def test_nothing_seen_says_nothing() -> None:
    assert upper_bound(0, 0, 0.05) == 1.0
