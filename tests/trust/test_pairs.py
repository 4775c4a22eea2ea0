"""Whether one way of answering is no worse than another, on the same events."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trust.pairs import mean_difference, no_worse, share_difference


def drawn(rng: random.Random, events: int, worse: float, better: float) -> list[int]:
    chances = (rng.random() for _ in range(events))
    return [1 if each < worse else -1 if each < worse + better else 0 for each in chances]


def test_some_four_hundred_events_without_a_difference_show_a_margin_of_a_hundredth() -> None:
    assert not no_worse([0] * 300, 0.01).holds(0.05)
    assert no_worse([0] * 400, 0.01).holds(0.05)


def test_a_candidate_that_mends_more_than_it_breaks_is_found_to_be_no_worse() -> None:
    verdicts = drawn(random.Random(1), 1000, worse=0.02, better=0.06)
    assert no_worse(verdicts, 0.01).holds(0.05)


def test_one_that_breaks_what_was_right_is_not() -> None:
    verdicts = drawn(random.Random(2), 5000, worse=0.04, better=0.0)
    assert not no_worse(verdicts, 0.01).holds(0.5)


@pytest.mark.parametrize("better", [0.0, 0.02, 0.1])
def test_what_is_worse_by_the_margin_is_certified_in_at_most_one_case_of_twenty(
    better: float,
) -> None:
    rng, runs = random.Random(3), 400
    false = sum(
        no_worse(drawn(rng, 400, worse=0.03 + better, better=better), 0.03).holds(0.05)
        for _ in range(runs)
    )
    assert false <= 0.05 * runs


def test_a_margin_is_a_share() -> None:
    with pytest.raises(ValueError, match="margin"):
        no_worse([0], 0.0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 500))
def test_a_difference_of_shares_lies_within_its_interval(
    before: int, after: int, rest: int
) -> None:
    found = share_difference(before, after, before + after + rest)
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_the_interval_of_a_share_covers_the_truth_as_often_as_it_says() -> None:
    rng, runs, covered = random.Random(4), 1000, 0
    for _ in range(runs):
        verdicts = drawn(rng, 200, worse=0.1, better=0.15)
        found = share_difference(verdicts.count(1), verdicts.count(-1), 200)
        covered += found.low <= 0.05 <= found.high
    assert covered >= 0.93 * runs


def test_a_mean_of_equal_differences_is_certain_and_one_alone_says_nothing() -> None:
    same = mean_difference([0.5] * 10)
    assert (same.low, same.value, same.high) == (0.5, 0.5, 0.5)
    assert mean_difference([0.5]).high == float("inf")
