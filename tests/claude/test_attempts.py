"""Whose trouble a failure is: what an outage does, and what an event does."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.failures import Attempts, Bounds, Peers

BOUNDS = Bounds(attempts=8, seconds=60)


def begun(peers: Peers) -> Attempts:
    return Attempts(peers, peers.answered, peers.failed)


def test_an_event_that_fails_while_others_are_answered_is_over_after_attempts_and_time() -> None:
    peers = Peers()
    attempts = begun(peers)
    for n in range(8):
        peers.answered += 3
        attempts.failed(n * 5.0, "500")
        assert not attempts.are_over(BOUNDS)
    peers.answered += 1
    attempts.failed(60.0, "500: Internal server error", seconds=0.5)
    assert attempts.are_over(BOUNDS)
    assert attempts.history() == (
        "No answer in 9 attempts over 60 s, while others were answered."
        " The last one: 500: Internal server error"
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1_000)), max_size=500))
def test_an_outage_ends_no_event_however_long_it_lasts(steps: list[tuple[int, float]]) -> None:
    peers, now = Peers(answered=1_000), 0.0
    attempts = begun(peers)
    for others_failed, pause in steps:
        now += pause
        peers.failed += others_failed
        attempts.failed(now, "529")
        assert attempts.weight == 0
        assert not attempts.isolated
        assert not attempts.are_over(BOUNDS)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.floats(0, 100)),
        min_size=1,
        max_size=100,
    )
)
def test_a_failure_counts_for_the_share_of_others_that_were_answered(
    steps: list[tuple[int, int, float]],
) -> None:
    peers, now, expected = Peers(), 0.0, 0.0
    attempts = begun(peers)
    for answered, failed, pause in steps:
        now += pause
        peers.answered += answered
        peers.failed += failed
        expected += answered / (answered + failed) if answered + failed else 0
        attempts.failed(now, "500")
        assert attempts.weight == pytest.approx(expected)
        assert attempts.weight <= attempts.count
    # Its own first attempt is a peer of the others, its repetitions are not.
    assert peers.failed == sum(failed for _, failed, _ in steps) + 1


def test_the_first_failure_of_an_event_counts_for_the_others_and_its_repetitions_do_not() -> None:
    peers = Peers()
    late = begun(peers)
    late.failed(0.0, "500")
    late.failed(1.0, "500")
    assert (peers.answered, peers.failed) == (0, 1)


@pytest.mark.parametrize(
    ("chance", "most"), [(0.1, 0.0), (0.3, 0.0001), (0.5, 0.0006), (0.7, 0.002), (0.9, 1 / 256)]
)
def test_failures_that_strike_everybody_alike_end_hardly_any_event(
    chance: float, most: float
) -> None:
    draws, given_up, events = random.Random(7), 0, 20_000
    for _ in range(events):
        peers, now = Peers(), 0.0
        attempts = begun(peers)
        while draws.random() < chance:
            # One other ends in between: the fewest that say anything.
            attempts.failed(now, "529")
            now += 30
            if attempts.are_over(BOUNDS):
                given_up += 1
                break
            if draws.random() < chance:
                peers.failed += 1
            else:
                peers.answered += 1
    assert given_up / events <= most


def test_a_first_failure_may_be_the_events_own_only_where_the_response_leaves_that_open() -> None:
    for unclear in (False, True):
        peers = Peers()
        attempts = begun(peers)
        peers.answered += 1
        attempts.failed(0.0, "400", unclear=unclear)
        assert attempts.isolated is unclear


def test_a_second_failure_is_the_events_own_where_another_was_answered_in_between() -> None:
    peers = Peers()
    attempts = begun(peers)
    attempts.failed(0.0, "500")
    attempts.failed(1.0, "500")
    assert not attempts.isolated
    peers.answered += 1
    attempts.failed(2.0, "500")
    assert attempts.isolated
