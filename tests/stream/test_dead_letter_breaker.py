"""What dead letters stop intake, which never do, and how it opens again."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.records import DeadLetterReason as Reason
from pipeline.stream.dead_letter_breaker import (
    MOST_PROBE_EVENTS,
    PROBE_EVENTS,
    PROBE_FIRST_SECONDS,
    PROBE_LONGEST_SECONDS,
    QUIET_SECONDS,
    ROUND_SECONDS,
    DeadLetterBreaker,
)
from pipeline.stream.records import Disposition, Outcome, Outgoing

JUNK = Reason.INVALID_JSON
FAULTS = (Reason.STAGE_FAILED, Reason.REJECTED_BY_API)


def end(key: bytes | None, reason: Reason | None = None) -> Outcome:
    of = Disposition.ENRICHED if reason is None else Disposition.DEAD_LETTER
    return Outcome(of, (Outgoing("out", key, b"", ()),), reason)


def keys(count: int, name: str = "k") -> list[bytes]:
    return [f"{name}-{number}".encode() for number in range(count)]


class Bench:
    """A breaker, on a clock that a test turns."""

    def __init__(self, window: int = 200, ratio: float = 0.5) -> None:
        self.now = 0.0
        self.breaker = DeadLetterBreaker(window, ratio, clock=lambda: self.now)

    def ends(self, those: Iterable[bytes | None], reason: Reason | None = None) -> None:
        for key in those:
            self.breaker.completed(end(key, reason))
        self.breaker.update()

    def is_open(self) -> bool:
        self.breaker.update()
        return self.breaker.paused_reason is None

    def round(self, *reasons: Reason | None) -> None:
        """Wait for the next round, and let it end like this, over and over again."""
        self.now += PROBE_LONGEST_SECONDS
        room = self.breaker.update()
        assert room
        self.breaker.took(room)
        self.ends_of_round(room, reasons)

    def ends_of_round(self, room: int, reasons: tuple[Reason | None, ...]) -> None:
        for number in range(room):
            self.breaker.completed(end(b"%d" % number, reasons[number % len(reasons)]))
        self.breaker.update()


@pytest.mark.parametrize("reason", [JUNK, *FAULTS])
def test_junk_under_one_key_stops_nothing_however_much_it_is(reason: Reason) -> None:
    bench = Bench()
    bench.ends([b"one"] * 10_000, reason)
    bench.now += 3600
    assert bench.is_open()


@given(
    st.lists(st.sampled_from([JUNK, *FAULTS, None]), max_size=60),
    st.integers(1, 30),
    st.floats(0, 1),
)
def test_one_key_is_never_enough(ends: list[Reason | None], window: int, ratio: float) -> None:
    bench = Bench(window, ratio)
    for reason in ends:
        bench.now += QUIET_SECONDS
        bench.ends([b"one"], reason)
        assert bench.is_open()


@given(st.integers(0), st.integers(0, 10), st.floats(0, QUIET_SECONDS - 1))
def test_junk_of_one_publisher_under_any_keys_stops_nothing_while_the_others_come_through(
    seed: int, most: int, longest: float
) -> None:
    chance, bench = Random(seed), Bench(window=20)
    others = keys(5, "others")
    for number in range(200):
        junk = chance.choice((0, most, chance.randint(0, most)))
        bench.ends([b"junk-%d-%d" % (number, each) for each in range(junk)], JUNK)
        bench.ends([others[number % 5]])
        bench.now += chance.choice((0.0, longest, chance.uniform(0, longest)))
        assert bench.is_open()


@pytest.mark.parametrize("reason", FAULTS)
def test_a_fault_of_ours_on_most_keys_stops_intake(reason: Reason) -> None:
    bench = Bench()
    bench.ends(keys(10), reason)
    assert bench.is_open()  # a few at the start are no share of anything yet
    bench.ends(keys(11), reason)
    because = bench.breaker.paused_reason
    assert because is not None
    assert because.startswith("events of 11 of the last 11 keys became dead letters by a fault of")
    assert "`pipeline dead-letters list`" in because
    assert bench.breaker.update() == 0


def test_a_fault_of_ours_on_half_of_the_keys_does_not() -> None:
    bench = Bench()
    bench.ends(keys(100, "good"))
    bench.ends(keys(100, "bad"), Reason.STAGE_FAILED)
    assert bench.is_open()
    bench.ends([b"good-0"], Reason.STAGE_FAILED)
    assert not bench.is_open()


def test_events_without_a_key_are_keys_of_their_own() -> None:
    bench = Bench()
    bench.ends([None] * 11, Reason.STAGE_FAILED)
    assert not bench.is_open()


def test_an_input_of_which_most_keys_turned_bad_has_changed_as_a_whole() -> None:
    bench = Bench()
    bench.ends(keys(20))
    bench.ends(keys(10), JUNK)
    assert bench.is_open()
    bench.ends(keys(11), JUNK)
    because = bench.breaker.paused_reason
    assert because is not None
    assert because.startswith("events of 11 of 20 keys that came through before")


@pytest.mark.parametrize("reason", [JUNK, *FAULTS])
def test_an_input_of_a_few_keys_is_stopped_by_a_long_row_of_dead_letters(reason: Reason) -> None:
    bench = Bench()
    bench.ends(keys(4) * 25, reason)
    bench.now += QUIET_SECONDS
    assert bench.is_open()
    bench.ends(keys(1), reason)
    assert not bench.is_open()


def test_a_long_row_of_junk_stops_nothing_while_most_known_keys_are_merely_silent() -> None:
    bench = Bench()
    bench.ends(keys(100, "silent"))
    bench.now += 3600
    bench.ends(keys(90, "junk") * 50, JUNK)
    assert bench.is_open()


def test_an_input_of_which_nothing_comes_through_for_a_while_has_changed_as_a_whole() -> None:
    bench = Bench()
    bench.ends(keys(101), JUNK)
    assert bench.is_open()
    bench.now += QUIET_SECONDS
    assert not bench.is_open()
    assert "nothing came through for 30 s" in (bench.breaker.paused_reason or "")


def test_a_ratio_of_one_never_closes_it() -> None:
    bench = Bench(10, 1.0)
    bench.ends(keys(100), Reason.STAGE_FAILED)
    bench.now += 3600
    assert bench.is_open()


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from([None, JUNK, *FAULTS]))),
)
def test_what_counts_is_how_the_latest_event_of_each_of_the_last_keys_ended(
    window: int, ends: list[tuple[int, Reason | None]]
) -> None:
    bench = Bench(window)
    latest: dict[int, Reason | None] = {}
    for key, reason in ends:
        bench.breaker.completed(end(b"%d" % key, reason))
        latest.pop(key, None)
        latest[key] = reason
    last = list(latest.values())[-window:]
    ours = sum(reason in FAULTS for reason in last)
    in_a_row = 0
    for _, reason in ends:
        in_a_row = 0 if reason is None else in_a_row + 1
    fewest = 0 if in_a_row > window / 2 else min(window, 20)
    alarm = bench.breaker.alarm
    is_ours = alarm is not None and alarm.is_ours
    assert is_ours == (ours > max(1, 0.5 * max(len(last), fewest)))


def test_a_few_events_are_let_through_after_a_while_and_open_it_when_they_succeed() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    bench.now += PROBE_FIRST_SECONDS - 1
    assert not bench.is_open()
    assert bench.breaker.update() == 0
    bench.now += 1
    assert not bench.is_open()
    assert bench.breaker.update() == PROBE_EVENTS
    bench.breaker.took(PROBE_EVENTS)
    assert bench.breaker.update() == 0
    bench.ends(keys(PROBE_EVENTS - 1))
    assert not bench.is_open()  # one has not ended yet
    bench.ends([b"last"])
    assert bench.is_open()
    assert bench.breaker.update() is None
    bench.ends(keys(10), Reason.STAGE_FAILED)
    assert bench.is_open()  # what was before counts no more


def test_each_round_that_meets_a_fault_of_ours_makes_the_pause_longer() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    for pause in (10, 20, 40, 80, 160, 300, 300):
        bench.now += pause - 1
        assert bench.breaker.update() == 0
        bench.now += 1
        assert bench.breaker.update() == PROBE_EVENTS
        bench.breaker.took(PROBE_EVENTS)
        bench.ends_of_round(PROBE_EVENTS, (Reason.REJECTED_BY_API, JUNK))
    assert not bench.is_open()


def test_more_faults_of_ours_than_good_ends_keep_it_closed() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    bench.round(None, Reason.STAGE_FAILED)
    assert not bench.is_open()
    bench.round(None, None, Reason.STAGE_FAILED)
    assert bench.is_open()


def test_where_the_input_changed_one_good_end_opens_it() -> None:
    bench = Bench()
    bench.ends(keys(101), JUNK)
    bench.now += QUIET_SECONDS
    assert not bench.is_open()
    bench.round(JUNK)
    assert not bench.is_open()
    bench.round(*[JUNK] * 9, None)
    assert bench.is_open()


def test_a_flood_of_junk_at_a_quiet_hour_is_worked_off_soon() -> None:
    bench = Bench()
    bench.ends(keys(101), JUNK)
    bench.now += QUIET_SECONDS
    bench.breaker.update()
    flood, began = 50_000, bench.now
    while flood > 0:
        bench.now += PROBE_FIRST_SECONDS
        room = bench.breaker.update() or 0
        assert 0 < room <= MOST_PROBE_EVENTS
        bench.breaker.took(room)
        bench.ends_of_round(room, (JUNK,))
        flood -= room
    assert bench.now - began < 300


def test_while_nothing_comes_in_it_stays_half_open() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    for _ in range(100):
        bench.now += 3600
        bench.breaker.update()
    assert bench.breaker.update() == PROBE_EVENTS


def test_events_of_a_round_that_never_end_here_do_not_keep_it_closed_for_ever() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    bench.now += PROBE_FIRST_SECONDS
    bench.breaker.update()
    bench.breaker.took(PROBE_EVENTS)
    bench.ends([b"good"])
    assert not bench.is_open()
    bench.now += ROUND_SECONDS
    assert bench.is_open()


def test_what_was_under_way_when_it_closed_opens_nothing() -> None:
    bench = Bench()
    bench.ends(keys(11), Reason.STAGE_FAILED)
    bench.ends(keys(1000))
    bench.now += PROBE_FIRST_SECONDS - 1
    assert not bench.is_open()


def test_what_is_passed_over_neither_hides_a_fault_nor_uses_up_what_is_let_through() -> None:
    bench = Bench()
    passed_over = Outcome(Disposition.PASSED_OVER, ())
    for key in keys(200):
        bench.breaker.completed(end(key, Reason.STAGE_FAILED))
        for _ in range(10):
            bench.breaker.completed(passed_over)
    assert not bench.is_open()
    bench.now += PROBE_LONGEST_SECONDS
    room = bench.breaker.update()
    assert room
    bench.breaker.took(room)
    for _ in range(room):
        bench.breaker.completed(passed_over)
    assert bench.breaker.update() == room
    bench.breaker.took(room)
    bench.ends_of_round(room, (None,))
    assert bench.is_open()
