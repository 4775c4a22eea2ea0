from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.breaker import QUIET_SECONDS, Breaker, Pass


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
