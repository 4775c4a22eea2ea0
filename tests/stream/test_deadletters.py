"""The ratio of dead letters: when it closes intake, and when it does not."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.deadletters import DeadLetterRatio


def add(ratio: DeadLetterRatio, ends: list[bool]) -> None:
    for is_dead in ends:
        ratio.add(is_dead=is_dead)


def test_more_than_the_share_exceeds_it() -> None:
    ratio = DeadLetterRatio(10, 0.5)
    add(ratio, [True] * 5)
    assert not ratio.exceeded
    add(ratio, [True])
    assert ratio.exceeded


def test_a_few_bad_events_at_the_start_do_not() -> None:
    ratio = DeadLetterRatio(200, 0.5)
    add(ratio, [True] * 100)
    assert not ratio.exceeded


def test_it_recovers_as_good_ones_follow() -> None:
    ratio = DeadLetterRatio(10, 0.5)
    add(ratio, [True] * 10)
    add(ratio, [False] * 5)
    assert not ratio.exceeded


def test_a_ratio_of_one_never_closes() -> None:
    ratio = DeadLetterRatio(10, 1.0)
    add(ratio, [True] * 100)
    assert not ratio.exceeded


@given(st.integers(1, 20), st.floats(0, 1), st.lists(st.booleans()))
def test_it_counts_what_is_in_the_window(window: int, share: float, ends: list[bool]) -> None:
    ratio = DeadLetterRatio(window, share)
    add(ratio, ends)
    dead = sum(ends[-window:])
    assert ratio.dead == dead
    assert ratio.exceeded == (dead > window * share)
