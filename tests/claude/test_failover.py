"""Which endpoint of a tier is asked, by what is known of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.failover import (
    FIRST_HOLD_SECONDS,
    LONG_PAUSE_SECONDS,
    LONGEST_HOLD_SECONDS,
    RETURN_SECONDS,
    Failover,
    Standing,
)
from pipeline.model.observer import Place

WELL = Standing()
OUT = Standing("The API answered 529")
Span = tuple[float, float]


def paused(until: float) -> Standing:
    return Standing(paused_until=until)


@dataclass
class Tier:
    """A tier that is asked now and then, and when its endpoints are out."""

    first_out: Sequence[Span] = ()
    fallback_out: Sequence[Span] = ()
    failover: Failover = field(default_factory=Failover)

    def standings(self, now: float) -> tuple[Standing, Standing]:
        return (
            OUT if any(begin <= now < end for begin, end in self.first_out) else WELL,
            OUT if any(begin <= now < end for begin, end in self.fallback_out) else WELL,
        )

    def asked(self, begin: float, end: float, per_second: int = 1) -> list[tuple[float, Place]]:
        moments = [begin + step / per_second for step in range(int((end - begin) * per_second))]
        return [(now, self.failover.pick(*self.standings(now), now)) for now in moments]


def test_the_first_is_asked_as_long_as_it_can_be() -> None:
    tier = Tier(fallback_out=[(5, 10)])
    assert {place for _, place in tier.asked(0, 20)} == {"first"}


def test_the_fallback_is_asked_from_the_moment_the_first_is_out() -> None:
    tier = Tier(first_out=[(5, 60)])
    places = tier.asked(0, 60)
    assert all(place == ("first" if now < 5 else "fallback") for now, place in places)


def test_questions_wait_for_the_first_where_both_are_out() -> None:
    tier = Tier(first_out=[(0, 60)], fallback_out=[(0, 20)])
    assert {place for _, place in tier.asked(0, 20)} == {"first"}
    assert {place for _, place in tier.asked(20, 60)} == {"fallback"}


def test_the_share_of_the_first_rises_to_all_within_seconds_of_its_return() -> None:
    tier = Tier(first_out=[(0, 60)])
    tier.asked(0, 60)
    counts = [
        sum(place == "first" for _, place in tier.asked(second, second + 1, 10))
        for second in range(60, 75)
    ]
    assert counts[0] <= 2
    assert counts == sorted(counts)
    assert set(counts[int(RETURN_SECONDS) + 1 :]) == {10}


def test_the_fallback_going_out_ends_the_return_at_once() -> None:
    tier = Tier(first_out=[(0, 60)], fallback_out=[(62, 70)])
    tier.asked(0, 62)
    assert {place for _, place in tier.asked(62, 70)} == {"first"}


@pytest.mark.parametrize(
    ("seconds", "place"), [(LONG_PAUSE_SECONDS, "first"), (LONG_PAUSE_SECONDS + 1, "fallback")]
)
def test_a_short_pause_is_waited_for_and_a_long_one_is_not(seconds: float, place: Place) -> None:
    assert Failover().pick(paused(until=seconds), WELL, 0.0) == place


def test_a_long_pause_is_left_alone_to_its_end() -> None:
    failover = Failover()
    moments = range(60)
    places = [failover.pick(paused(until=60), WELL, now) for now in moments]
    assert set(places) == {"fallback"}
    assert failover.in_use(WELL, WELL, 60.0) == ("first", "fallback")
    assert failover.in_use(WELL, WELL, 60 + RETURN_SECONDS) == ("first",)


def test_what_waits_at_the_first_leaves_when_it_goes_out_and_not_when_it_is_back() -> None:
    failover = Failover()
    assert not failover.leaves("first", WELL, WELL, 0.0)
    assert failover.leaves("first", OUT, WELL, 1.0)
    assert not failover.leaves("first", OUT, OUT, 1.0)
    assert not failover.leaves("fallback", WELL, WELL, 2.0)


def test_what_waits_at_the_fallback_leaves_it_only_for_a_first_that_is_back() -> None:
    failover = Failover()
    assert not failover.leaves("fallback", OUT, OUT, 0.0)
    assert failover.leaves("fallback", WELL, OUT, 1.0)


def test_an_endpoint_that_breaks_again_under_load_is_left_alone_for_longer_each_time() -> None:
    failover = Failover()
    now, returns = 0.0, list[float]()
    standing = OUT
    while now < 3600:
        now += 0.5
        place = failover.pick(standing, WELL, now)
        if standing is OUT:
            # A probe is answered after five seconds.
            standing = WELL if now % 5 == 0 else OUT
        elif place == "first":
            returns.append(now)
            standing = OUT
    # After the first one, which was no relapse.
    gaps = [later - earlier for earlier, later in pairwise(returns[1:])]
    assert gaps[0] >= FIRST_HOLD_SECONDS
    assert all(later >= earlier - 10 for earlier, later in pairwise(gaps))
    assert gaps[-1] >= LONGEST_HOLD_SECONDS


def test_an_outage_that_is_no_relapse_ends_with_the_first_probe_that_is_answered() -> None:
    tier = Tier(first_out=[(10, 20), (200, 210)])
    tier.asked(0, 210)
    assert tier.failover.in_use(WELL, WELL, 210.1) == ("first", "fallback")


spans = st.lists(st.tuples(st.floats(0, 300), st.floats(0.1, 120)), max_size=6).map(
    lambda found: [(begin, begin + length) for begin, length in found]
)


@given(spans, spans)
def test_an_endpoint_that_is_out_is_never_asked_while_the_other_is_not(
    first_out: list[Span], fallback_out: list[Span]
) -> None:
    tier = Tier(first_out, fallback_out)
    for now, place in tier.asked(0, 450):
        first, fallback = tier.standings(now)
        if first is not fallback:
            assert place == ("first" if fallback is OUT else "fallback") or first is WELL
            assert place == "first" or fallback is WELL


@given(spans, spans, st.sampled_from(["first", "fallback"]))
def test_no_question_goes_back_and_forth(
    first_out: list[Span], fallback_out: list[Span], place: Place
) -> None:
    tier = Tier(first_out, fallback_out)
    other: Place = "fallback" if place == "first" else "first"
    for step in range(900):
        now = step / 2
        standings = tier.standings(now)
        if tier.failover.leaves(place, *standings, now):
            assert not tier.failover.leaves(other, *standings, now)


@given(spans, spans)
def test_in_the_end_the_first_has_all_questions(
    first_out: list[Span], fallback_out: list[Span]
) -> None:
    tier = Tier(first_out, fallback_out)
    tier.asked(0, 450)
    well_since = 450.0 + LONGEST_HOLD_SECONDS
    tier.asked(450, well_since + RETURN_SECONDS)
    late = tier.asked(well_since + RETURN_SECONDS, well_since + RETURN_SECONDS + 5)
    assert {place for _, place in late} == {"first"}


@given(spans)
def test_the_first_never_gets_more_than_its_share_when_it_returns(first_out: list[Span]) -> None:
    tier = Tier(first_out)
    out_until, asked = 0.0, 0
    for now, place in tier.asked(0, 450):
        if tier.standings(now)[0] is OUT:
            out_until = now
            asked = 0
        elif out_until and now - out_until < RETURN_SECONDS:
            asked += place == "first"
            # One a second, of which the share is at most the elapsed part of the return.
            elapsed = now - out_until
            assert asked <= 1 + elapsed * elapsed / RETURN_SECONDS
