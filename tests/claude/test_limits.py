"""Replicas that do not talk share a limit: simulated event by event, without a real clock."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.rate_limits import Cost, Limits, RateLimitSnapshot, pace, read_limits
from pipeline.model.observer import LimitKind
from tests.claude.server import shape


@dataclass
class ServerBucket:
    """The API's side: continuous refill, levels reported as the API reports them."""

    per_minute: float
    window: float = 60.0
    rounded_to: int = 1
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.capacity

    @property
    def capacity(self) -> float:
        return self.per_minute * self.window / 60

    def advance(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def resize(self, per_minute: float) -> None:
        share = self.level / self.capacity
        self.per_minute = per_minute
        self.level = share * self.capacity

    def snapshot(self) -> RateLimitSnapshot:
        full_in = (self.capacity - self.level) * 60 / self.per_minute
        remaining = round(max(0.0, self.level) / self.rounded_to) * self.rounded_to
        return RateLimitSnapshot(self.per_minute, remaining, float(int(full_in + 0.5)))


@dataclass
class Server:
    requests: ServerBucket
    input_tokens: ServerBucket
    output_tokens: ServerBucket
    admitted: int = 0
    refused: int = 0

    @property
    def buckets(self) -> dict[LimitKind, ServerBucket]:
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }

    def admit(self, input_tokens: float, now: float) -> float | None:
        """None, or the seconds to wait."""
        for bucket in self.buckets.values():
            bucket.advance(now)
        wanted = {"requests": 1.0, "input_tokens": input_tokens, "output_tokens": 1.0}
        for kind, bucket in self.buckets.items():
            missing = wanted[kind] - bucket.level
            if missing > 1e-9:
                self.refused += 1
                return float(max(1, round(missing * 60 / bucket.per_minute)))
        self.requests.level -= 1
        self.input_tokens.level -= input_tokens
        self.admitted += 1
        return None

    def produce(self, output_tokens: float, now: float) -> None:
        for bucket in self.buckets.values():
            bucket.advance(now)
        self.output_tokens.level -= output_tokens

    def snapshots(self) -> dict[LimitKind, RateLimitSnapshot]:
        return {kind: bucket.snapshot() for kind, bucket in self.buckets.items()}


COST = Cost(input_tokens=120, output_tokens=40)


class Replica:
    """Always has enough to do; asks as soon as its limits allow."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.limits = Limits()
        self.in_flight = 0
        self.knows_limits = False
        self.looks_at = float("inf")

    def look(self, now: float) -> None:
        """Send all that may go now, and look again when the next may."""
        while self.in_flight < (512 if self.knows_limits else 8):
            wait = self.limits.wait(COST, now)
            if wait > 1e-4:
                self.look_again(now + min(wait, 1.0))
                return
            self.send(now)

    def look_again(self, moment: float) -> None:
        if moment < self.looks_at:
            self.looks_at = moment
            self.world.at(moment, lambda: self.look_on_time(moment))

    def look_on_time(self, moment: float) -> None:
        # A later look may have been replaced by an earlier one.
        if self.looks_at == moment:
            self.looks_at = float("inf")
            self.look(moment)

    def send(self, now: float) -> None:
        server = self.world.server
        self.limits.take(COST)
        self.world.sent_at.append(now)
        seconds = server.admit(COST.input_tokens, now)
        if seconds is None:
            self.in_flight += 1
            moment = now + self.world.latency * self.world.draws.lognormvariate(0, 0.3)
            self.world.at(moment, lambda: self.answered(moment))
        else:
            self.limits.take(Cost(0, 0), instead_of=COST)
            self.limits.refused(now, seconds=seconds)
            self.limits.update(server.snapshots(), now)

    def answered(self, now: float) -> None:
        self.in_flight -= 1
        self.knows_limits = True
        used = Cost(COST.input_tokens, self.world.draws.choice([20, 40, 60]))
        self.world.server.produce(used.output_tokens, now)
        self.limits.take(used, instead_of=COST)
        self.limits.update(self.world.server.snapshots(), now)
        self.look(now)


class World:
    """Replicas, an API, and a clock that jumps from event to event."""

    def __init__(self, server: Server, *, replicas: int, latency: float) -> None:
        self.server = server
        self.latency = latency
        self.draws = random.Random(1)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.sent_at: list[float] = []
        for _ in range(replicas):
            Replica(self).look_again(self.draws.random() * 0.1)

    def at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (moment, next(self.order), event))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] < until:
            heapq.heappop(self.events)[2]()


def server_of(rpm: float, itpm: float, otpm: float, window: float = 60.0) -> Server:
    return Server(
        ServerBucket(rpm, window),
        ServerBucket(itpm, window, rounded_to=1000),
        ServerBucket(otpm, window, rounded_to=1000),
    )


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


def test_a_429_stops_everything_for_as_long_as_it_says_and_then_slows_down() -> None:
    limits = limits_at(60)
    limits.refused(0.0, seconds=7)
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
    limits.take(Cost(10, 100), instead_of=Cost(10, 1_000))
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
            limits.refused(now, seconds=full_in)


def test_headers_are_read_against_the_servers_own_clock() -> None:
    found = read_limits(shape("answer")["headers"] | {"date": "Sun, 22 Nov 2026 10:00:00 GMT"})
    assert found["requests"] == RateLimitSnapshot(1000, 999, 1.0)
    assert found["input_tokens"] == RateLimitSnapshot(2_000_000, 1_999_000, 1.0)
    assert found["output_tokens"] == RateLimitSnapshot(400_000, 400_000, 0.0)


@pytest.mark.parametrize("value", ["", "many", "-", "1e999x"])
def test_headers_that_make_no_sense_are_ignored(value: str) -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": value,
        "anthropic-ratelimit-requests-remaining": value,
        "anthropic-ratelimit-requests-reset": value,
    }
    assert read_limits(headers) == {}
