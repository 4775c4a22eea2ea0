from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.breaker import QUIET_SECONDS, Breaker


def failing(breaker: Breaker, times: int, *, start: float = 0.0, step: float = 1.0) -> float:
    now = start
    for _ in range(times):
        breaker.failed(breaker.enter(), now, "529")
        now += step
    return now


def test_it_opens_after_failures_in_a_row_and_says_why() -> None:
    breaker = Breaker(failures=3, open_seconds=5)
    failing(breaker, 2)
    assert breaker.state(2) == "closed"
    breaker.failed(breaker.enter(), 2, "the API is overloaded")
    assert breaker.state(2) == "open"
    assert breaker.because == "the API is overloaded"
    assert breaker.opens_at(2) == 7


def test_failures_that_successes_interrupt_within_a_second_do_not_open_it() -> None:
    breaker = Breaker(failures=3, open_seconds=5)
    breaker.succeeded(breaker.enter(), 10.0)
    failing(breaker, 20, start=10.0, step=QUIET_SECONDS / 25)
    assert breaker.state(10.9) == "closed"
    breaker.failed(breaker.enter(), 10.0 + QUIET_SECONDS, "529")
    assert breaker.state(11.0) == "open"


def test_one_call_probes_and_its_success_closes_it() -> None:
    breaker = Breaker(failures=1, open_seconds=5)
    failing(breaker, 1)
    assert breaker.opens_at(4) == 5
    assert breaker.state(5) == "half_open"
    probe = breaker.enter()
    assert probe.probe
    assert breaker.opens_at(5) is None
    breaker.succeeded(probe, 6)
    assert breaker.state(6) == "closed"
    assert breaker.opens_at(6) == 6


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker = Breaker(failures=1, open_seconds=5)
    failing(breaker, 1)
    breaker.failed(breaker.enter(), 6, "still")
    assert breaker.opens_at(6) == 11


def test_a_probe_that_is_given_up_makes_room_for_the_next() -> None:
    breaker = Breaker(failures=1, open_seconds=5)
    failing(breaker, 1)
    probe = breaker.enter()
    breaker.abandoned(probe)
    assert breaker.opens_at(6) == 6


def test_calls_from_before_an_outage_say_nothing_about_what_came_after() -> None:
    breaker = Breaker(failures=1, open_seconds=5)
    old = [breaker.enter() for _ in range(10)]
    failing(breaker, 1)
    breaker.succeeded(breaker.enter(), 6)
    for passed in old:
        breaker.failed(passed, 7, "late")
    assert breaker.state(7) == "closed"


def test_a_block_trips_it_at_once() -> None:
    breaker = Breaker(failures=100, open_seconds=5)
    breaker.trip(breaker.enter(), 0, "the key is not accepted", seconds=15)
    assert breaker.because == "the key is not accepted"
    assert breaker.opens_at(1) == 15


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "gone"]), st.floats(0, 3)), max_size=60))
def test_at_most_one_call_probes_and_it_never_locks_up(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(failures=2, open_seconds=1), 0.0
    for end, pause in steps:
        now += pause
        opens_at = breaker.opens_at(now)
        assert opens_at is not None
        now = max(now, opens_at)
        passed = breaker.enter()
        assert passed.probe == (breaker.because is not None)
        if passed.probe:
            assert breaker.opens_at(now) is None
        match end:
            case "ok":
                breaker.succeeded(passed, now)
                assert breaker.state(now) == "closed"
            case "bad":
                breaker.failed(passed, now, "bad")
            case _:
                breaker.abandoned(passed)
