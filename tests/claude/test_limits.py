"""Replicas that do not talk share a limit that headers state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.rate_limits import (
    ALL_LIMITS,
    Bucket,
    Cost,
    Limits,
    RateLimitSnapshot,
    pace,
    read_limits,
)
from tests.claude.limited_replicas import COST, Server, World, server_of
from tests.claude.server import shape

MINUTES = 2.5


def run(server: Server, *, replicas: int, latency: float = 0.4) -> World:
    world = World(server, replicas=replicas, latency=latency)
    world.run(until=MINUTES * 60)
    return world


@pytest.mark.parametrize("replicas", [1, 4, 16])
@pytest.mark.parametrize("latency", [0.4, 2.0])
def test_replicas_use_the_request_limit_without_exceeding_it(replicas: int, latency: float) -> None:
    server = server_of(1000, 1e9, 1e9)
    run(server, replicas=replicas, latency=latency)
    assert server.admitted >= 0.97 * 1000 * MINUTES
    assert server.refused < 0.001 * server.admitted


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize(
    ("itpm", "otpm"), [(120_000, 1e9), (1e9, 40_000)], ids=["input tokens", "output tokens"]
)
def test_the_same_holds_where_tokens_are_the_limit(replicas: int, itpm: float, otpm: float) -> None:
    server = server_of(1e6, itpm, otpm)
    run(server, replicas=replicas)
    # A request of these takes 120 input and 40 output tokens: either limit allows 1,000.
    assert server.admitted >= 0.97 * 1000 * MINUTES
    assert server.refused < 0.001 * server.admitted


def test_a_limit_that_is_halved_is_followed_at_once() -> None:
    server = server_of(1000, 1e9, 1e9)
    world = World(server, replicas=4, latency=0.4)
    world.run(until=60)
    before = server.admitted
    server.requests.advance(60)
    server.requests.resize(500)
    world.run(until=180)
    assert server.admitted - before >= 0.97 * 500 * 2
    assert server.refused < 0.001 * server.admitted


def test_a_limit_that_is_enforced_over_ten_seconds_is_kept_as_well() -> None:
    server = server_of(1000, 1e9, 1e9, window=10)
    run(server, replicas=4)
    assert server.admitted >= 0.97 * 1000 * MINUTES
    assert server.refused < 0.001 * server.admitted


def test_one_replica_never_exceeds_the_rate_even_from_a_full_bucket() -> None:
    server = server_of(1000, 1e9, 1e9)
    world = run(server, replicas=1)
    seconds = [int(moment) for moment in world.sent_at]
    assert max(seconds.count(second) for second in range(2, 140)) <= 1000 / 60 * 2
    assert len(world.sent_at) <= 1000 * MINUTES * 1.01


def limits_at(remaining: float, *, limit: float = 60.0, full_in: float | None = None) -> Limits:
    limits = Limits()
    full_in = (limit - remaining) * 60 / limit if full_in is None else full_in
    limits.update({"requests": RateLimitSnapshot(limit, remaining, full_in)}, 0.0)
    return limits


def test_nothing_is_held_back_before_a_limit_is_known() -> None:
    assert Limits().wait(COST, 0.0) == 0.0


def test_the_first_request_goes_at_once_and_the_next_at_the_rate() -> None:
    limits = limits_at(60)
    assert limits.wait(COST, 0.0) == 0.0
    limits.take(COST)
    assert limits.wait(COST, 0.0) == pytest.approx(1.0)
    assert limits.wait(COST, 1.0) == pytest.approx(0.0)


def refuse(limits: Limits, now: float, *, seconds: float | None) -> None:
    limits.refused(COST, ALL_LIMITS, now, sent_at=now, seconds=seconds)


def test_a_429_stops_everything_for_as_long_as_it_says_and_then_slows_down() -> None:
    limits = limits_at(5)
    refuse(limits, 0.0, seconds=7)
    assert limits.paused_until == 7.0
    assert limits.wait(COST, 2.0) >= 5.0
    assert limits.wait(COST, 7.0) == 0.0
    for _ in range(3):
        limits.take(COST)
    assert limits.wait(COST, 7.0) > 2.0


def test_an_overdrawn_bucket_that_is_reported_as_empty_is_understood() -> None:
    overdrawn = limits_at(0, limit=600, full_in=90)
    empty = limits_at(0, limit=600, full_in=60)
    assert overdrawn.wait(COST, 0.0) >= 30.0 > empty.wait(COST, 0.0)


def test_a_request_larger_than_the_bucket_goes_when_the_bucket_is_full() -> None:
    limits = Limits()
    limits.update({"input_tokens": RateLimitSnapshot(10_000, 10_000, 0.0)}, 0.0)
    assert limits.wait(Cost(1_000_000, 10), 0.0) == 0.0


def test_what_was_reserved_too_much_is_given_back() -> None:
    limits = Limits()
    limits.update({"output_tokens": RateLimitSnapshot(60_000, 60_000, 0.0)}, 0.0)
    limits.take(Cost(10, 1_000))
    assert limits.wait(Cost(10, 1_000), 0.0) == pytest.approx(1.0)
    limits.settle(Cost(10, 100), instead_of=Cost(10, 1_000))
    assert limits.wait(Cost(10, 1_000), 0.0) == pytest.approx(0.1)


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_the_pace_never_falls_as_the_bucket_fills(one: float, other: float) -> None:
    lower, higher = sorted([one, other])
    assert 0 <= pace(lower) <= pace(higher) <= 1


@given(
    st.lists(
        st.tuples(
            st.floats(0, 5), st.floats(0, 5000), st.floats(0, 500), st.floats(0, 60), st.booleans()
        ),
        max_size=40,
    )
)
def test_whatever_happens_a_request_may_go_in_finite_time(
    steps: list[tuple[float, float, float, float, bool]],
) -> None:
    limits, now = Limits(), 0.0
    for pause, remaining, tokens, full_in, refused in steps:
        now += pause
        limits.update({"requests": RateLimitSnapshot(1000, min(remaining, 1000), full_in)}, now)
        wait = limits.wait(Cost(tokens, tokens), now)
        assert 0 <= wait < 7200
        limits.take(Cost(tokens, tokens))
        if refused:
            refuse(limits, now, seconds=full_in)


def test_headers_are_read_against_the_servers_own_clock() -> None:
    found = read_limits(shape("answer")["headers"] | {"date": "Sun, 22 Nov 2026 10:00:00 GMT"})
    assert found["requests"] == RateLimitSnapshot(1000, 999, 1.0)
    assert found["input_tokens"] == RateLimitSnapshot(2_000_000, 1_999_000, 1.0)
    assert found["output_tokens"] == RateLimitSnapshot(400_000, 400_000, 0.0)


def test_headers_that_litellm_renamed_are_read() -> None:
    headers = shape("answer")["headers"] | {"date": "Sun, 22 Nov 2026 10:00:00 GMT"}
    renamed = {f"llm_provider-{name}": value for name, value in headers.items()}
    # A proxy has a clock of its own.
    renamed["date"] = "Sun, 22 Nov 2026 11:00:00 GMT"
    assert read_limits(renamed) == read_limits(headers)


def test_a_limit_on_tokens_that_counts_what_is_read_from_the_cache_is_recognised() -> None:
    limits, now, level = Limits(), 0.0, 60_000.0
    used = Cost(100, 10, cache_read_tokens=2_000)
    for _ in range(60):
        limits.update({"input_tokens": RateLimitSnapshot(60_000, level, 60 - level / 1000)}, now)
        now += limits.wait(used, now)
        limits.take(used)
        limits.settle(used, instead_of=used)
        now += 1
        level = min(60_000, level - 2_100 + 1_000)
    # Of what 1,000 tokens a second allow, 2,100 take 2.1 s.
    assert limits.weight(used) == pytest.approx(2_100 / 60_000)


def test_cache_reads_that_others_were_mistaken_for_are_counted_no_longer() -> None:
    bucket = Bucket("input_tokens")
    bucket.update(RateLimitSnapshot(60_000, 10_000, 50), 0.0)
    bucket.used(Cost(100, 10, cache_read_tokens=20_000))
    bucket.update(RateLimitSnapshot(60_000, 5_000, 55), 30.0)
    assert bucket.reads_count
    bucket.update(RateLimitSnapshot(60_000, 60_000, 0), 90.0)
    assert not bucket.reads_count


@pytest.mark.parametrize("value", ["", "many", "-", "1e999x"])
def test_headers_that_make_no_sense_are_ignored(value: str) -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": value,
        "anthropic-ratelimit-requests-remaining": value,
        "anthropic-ratelimit-requests-reset": value,
    }
    assert read_limits(headers) == {}
