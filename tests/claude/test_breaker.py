import heapq
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.breaker import MOST_FAILURES, QUIET_SECONDS, Breaker, Pass


def opened(at: float = 0.0, *, probes: int = 1) -> Breaker:
    """A breaker that opened at that time and probes five seconds later."""
    breaker = Breaker(failures=1, open_seconds=5, probes=probes)
    breaker.failed(breaker.enter(at), at, "529")
    return breaker


def test_it_opens_after_failures_in_a_row_and_says_why() -> None:
    breaker = Breaker(failures=3, open_seconds=5)
    for now in range(2):
        breaker.failed(breaker.enter(now), now, "529")
    assert breaker.state(2) == "closed"
    breaker.failed(breaker.enter(2), 2, "the API is overloaded")
    assert breaker.state(2) == "open"
    assert breaker.because == "the API is overloaded"
    assert breaker.opens_at(2) == 7


def test_failures_that_successes_interrupt_within_a_second_do_not_open_it() -> None:
    breaker = Breaker(failures=3, open_seconds=5)
    breaker.succeeded(breaker.enter(10), 10.0)
    for step in range(20):
        now = 10 + step * QUIET_SECONDS / 25
        breaker.failed(breaker.enter(now), now, "529")
    assert breaker.state(10.9) == "closed"
    breaker.failed(breaker.enter(11), 10.0 + QUIET_SECONDS, "529")
    assert breaker.state(11.0) == "open"


def test_one_call_probes_and_its_success_closes_it() -> None:
    breaker = opened()
    assert breaker.opens_at(4) == 5
    assert breaker.state(5) == "half_open"
    probe = breaker.enter(5)
    assert probe.probe
    assert breaker.opens_at(5) > 5
    breaker.succeeded(probe, 6)
    assert breaker.state(6) == "closed"
    assert breaker.opens_at(6) == 6


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker = opened()
    breaker.failed(breaker.enter(6), 6, "still")
    assert breaker.opens_at(6) == 11
    assert breaker.because == "still"


def test_one_success_of_several_probes_is_enough() -> None:
    breaker = opened(probes=3)
    first, second, third = (breaker.enter(5) for _ in range(3))
    assert breaker.opens_at(5) == 10
    breaker.failed(first, 6, "unlucky")
    breaker.succeeded(second, 6)
    breaker.failed(third, 7, "late")
    assert breaker.state(7) == "closed"


def test_it_opens_again_when_all_probes_have_failed() -> None:
    breaker = opened(probes=3)
    for probe in [breaker.enter(5) for _ in range(3)]:
        assert breaker.state(6) == "half_open"
        breaker.failed(probe, 6, "still")
    assert breaker.opens_at(6) == 11


def test_a_probe_that_hangs_does_not_keep_others_from_trying() -> None:
    breaker = opened()
    hanging = breaker.enter(5)
    assert breaker.opens_at(9) == 10
    breaker.succeeded(breaker.enter(10), 11)
    breaker.failed(hanging, 60, "timed out")
    assert breaker.state(60) == "closed"


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.abandoned(breaker.enter(5))
    assert breaker.opens_at(6) == 6


def test_calls_from_before_an_outage_say_nothing_about_what_came_after() -> None:
    breaker = Breaker(failures=1, open_seconds=5)
    old = [breaker.enter(0) for _ in range(10)]
    breaker.failed(breaker.enter(0), 0, "529")
    breaker.succeeded(breaker.enter(6), 6)
    for passed in old:
        breaker.failed(passed, 7, "late")
    assert breaker.state(7) == "closed"


def test_a_block_trips_it_at_once() -> None:
    breaker = Breaker(failures=100, open_seconds=15)
    breaker.trip(breaker.enter(0), 0, "the key is not accepted")
    assert breaker.because == "the key is not accepted"
    assert breaker.opens_at(1) == 15


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.sampled_from(["ok", "bad", "gone", "hangs"]), st.floats(0, 3)), max_size=60
    ),
)
def test_few_calls_probe_and_it_never_locks_up(probes: int, steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(failures=2, open_seconds=1, probes=probes), 0.0
    hanging: list[Pass] = []
    for end, pause in steps:
        now += pause
        assert breaker.opens_at(now) <= now + 1
        now = max(now, breaker.opens_at(now))
        passed = breaker.enter(now)
        assert passed.probe == (breaker.because is not None)
        match end:
            case "ok":
                breaker.succeeded(passed, now)
                assert breaker.state(now) == "closed"
            case "bad":
                breaker.failed(passed, now, "bad")
            case "gone":
                breaker.abandoned(passed)
            case _:
                hanging.append(passed)
    for passed in hanging:
        breaker.failed(passed, now, "late")
    assert breaker.opens_at(now) <= now + 1


def ends(
    chance: float, *, rate: float, seconds: float, calls: int, seed: int
) -> Iterator[tuple[float, bool, int]]:
    """When each call ends, whether in failure, and how many others are under way then.

    Failures come at once, answers after some seconds; after every hundred calls there is a pause.
    """
    draw = random.Random(seed)
    now, under_way = 0.0, list[float]()
    ended: list[tuple[float, bool, int]] = []
    for n in range(calls):
        now += draw.expovariate(rate) + (30 if n % 100 == 0 else 0)
        while under_way and under_way[0] <= now:
            ended.append((heapq.heappop(under_way), False, 0))
        if draw.random() < chance:
            ended.append((now + 0.01, True, len(under_way)))
        else:
            heapq.heappush(under_way, now + seconds * draw.uniform(0.7, 1.5))
    return iter(sorted(ended))


@pytest.mark.parametrize("chance", [0.05, 0.2, 0.3])
@pytest.mark.parametrize("rate", [0.2, 2, 20, 200])
@pytest.mark.parametrize("seconds", [0.3, 3])
def test_failures_by_chance_leave_it_closed_whatever_the_traffic(
    chance: float, rate: float, seconds: float
) -> None:
    breaker, opened_at = Breaker(failures=5, open_seconds=5), list[float]()
    for now, is_failure, under_way in ends(chance, rate=rate, seconds=seconds, calls=5_000, seed=4):
        passed = breaker.enter(max(now, breaker.opens_at(now)))
        if is_failure:
            breaker.failed(passed, now, "529", under_way=under_way)
            if breaker.because is not None:
                opened_at.append(now)
                breaker.succeeded(breaker.enter(now + 5), now + 5)
        else:
            breaker.succeeded(passed, now)
    # The first few calls know nothing of the chance yet.
    assert len(opened_at) <= 1, opened_at


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 100), st.integers(1, 10))
def test_an_outage_opens_it_soon_whatever_went_before(
    history: list[bool], under_way: int, least: int
) -> None:
    breaker, now = Breaker(failures=least, open_seconds=5), 0.0
    for failed in history:
        now += 0.1
        passed = breaker.enter(max(now, breaker.opens_at(now)))
        if failed:
            breaker.failed(passed, now, "by chance")
        else:
            breaker.succeeded(passed, now)
    if breaker.because is None:
        breaker.succeeded(breaker.enter(now), now)
    failures = 0
    while breaker.because is None:
        now += 0.1
        failures += 1
        breaker.failed(breaker.enter(now), now, "outage", under_way=under_way)
    assert failures <= max(MOST_FAILURES, 2 * under_way, QUIET_SECONDS / 0.1 + 1)


def test_where_hardly_any_call_fails_few_failures_in_a_row_are_enough() -> None:
    breaker = Breaker(failures=5, open_seconds=5)
    for now in range(200):
        if now % 20 == 0:
            breaker.failed(breaker.enter(now), now, "by chance")
        breaker.succeeded(breaker.enter(now), now)
    for now in range(300, 305):
        assert breaker.because is None
        breaker.failed(breaker.enter(now), now, "529")
    assert breaker.because == "529"


def test_failures_that_come_before_the_answers_of_calls_that_began_with_them_do_not_open_it() -> (
    None
):
    breaker = Breaker(failures=5, open_seconds=5)
    for n in range(8):
        breaker.failed(breaker.enter(60), 60 + n / 100, "529", under_way=20)
    assert breaker.because is None
    breaker.succeeded(breaker.enter(60), 61)
    assert breaker.state(61) == "closed"
