"""The cap on the escalated share: it delays, it never forgets, and it always lets a few through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.cap import EscalationCap
from pipeline.config import EscalationSettings

WINDOW = 300.0


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_cap(clock: Clock, share: float = 0.2, per_minute: float = 6) -> EscalationCap:
    return EscalationCap(share, per_minute=per_minute, window=WINDOW, clock=clock)


def drain(cap: EscalationCap) -> int:
    """Take all that there is room for."""
    total = 0
    while room := cap.room():
        cap.took(room)
        total += room
    return total


def test_it_lets_the_share_of_recent_events_through_and_a_few_more() -> None:
    clock = Clock()
    cap = a_cap(clock)
    cap.advanced(1000)
    assert cap.room() == 200 + 30
    cap.took(229)
    assert cap.throttled_reason() is None
    cap.took(1)
    assert cap.room() == 0
    assert cap.throttled_reason() == (
        "more than 20.0% of the events of the last 300 seconds were escalated: what is above that "
        "waits for its turn"
    )


def test_what_waited_goes_on_as_more_comes_in() -> None:
    clock = Clock()
    cap = a_cap(clock)
    assert drain(cap) == 30
    cap.advanced(100)
    assert drain(cap) == 20


def test_it_does_not_open_again_for_each_single_event() -> None:
    clock = Clock()
    cap = a_cap(clock, per_minute=20)
    cap.advanced(4500)
    assert drain(cap) == 1000
    cap.advanced(50)
    assert cap.room() == 0
    cap.advanced(500)
    assert cap.room() == 110


def test_what_is_not_recent_any_more_does_not_count() -> None:
    clock = Clock()
    cap = a_cap(clock)
    cap.advanced(1000)
    drain(cap)
    clock.now += WINDOW + 1
    assert cap.room() == 30


def test_all_that_waits_is_done_one_day_though_nothing_comes_in() -> None:
    clock = Clock()
    cap = a_cap(clock)
    done = 0
    for _ in range(60):
        clock.now += 60
        done += drain(cap)
    assert done >= 6 * 60 - 30


def test_there_is_none_unless_it_is_set() -> None:
    assert EscalationCap.from_settings(EscalationSettings(), clock=Clock()) is None
    cap = EscalationCap.from_settings(EscalationSettings(max_share=0), clock=Clock())
    assert cap is not None
    assert cap.room() == 50


histories = st.lists(
    st.tuples(st.floats(0, 120), st.integers(0, 500), st.integers(0, 50)), max_size=80
)


@given(histories, st.floats(0, 1), st.floats(0.1, 60))
def test_never_more_than_the_share_and_the_few_are_taken_of_any_window(
    history: list[tuple[float, int, int]], share: float, per_minute: float
) -> None:
    clock = Clock()
    cap = a_cap(clock, share, per_minute)
    came: list[tuple[float, int]] = []
    taken: list[tuple[float, int]] = []
    for seconds, events, wanted in history:
        clock.now += seconds
        cap.advanced(events)
        came.append((clock.now, events))
        take = min(wanted, cap.room())
        cap.took(take)
        taken.append((clock.now, take))
        # Steps blur the edge of the window by a sixtieth of it.
        recent = sum(n for at, n in taken if at > clock.now - WINDOW * 59 / 60)
        possible = sum(n for at, n in came if at > clock.now - WINDOW * 61 / 60)
        assert recent <= share * possible + per_minute * WINDOW / 60 + 1e-6


@given(histories, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_has_less_room(
    history: list[tuple[float, int, int]], one: float, other: float
) -> None:
    clock = Clock()
    small, large = (a_cap(clock, share) for share in sorted((one, other)))
    for seconds, events, wanted in history:
        clock.now += seconds
        for cap in (small, large):
            cap.advanced(events)
        take = min(wanted, small.room())
        if take:
            assert large.room() >= take
        for cap in (small, large):
            cap.took(take)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="max_share"):
        EscalationSettings(max_share=share)
