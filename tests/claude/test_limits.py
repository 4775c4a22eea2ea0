"""Replicas that do not talk share a limit: simulated event by event, without a real clock."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from pipeline.claude.headers import Told
from pipeline.claude.limits import Cost, Limits
from pipeline.claude.observer import LimitKind


@dataclass
class ServerBucket:
    """The API's side: continuous refill, levels told as the API tells them."""

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

    def told(self) -> Told:
        full_in = (self.capacity - self.level) * 60 / self.per_minute
        remaining = round(max(0.0, self.level) / self.rounded_to) * self.rounded_to
        return Told(self.per_minute, remaining, float(int(full_in + 0.5)))


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

    def told(self) -> dict[LimitKind, Told]:
        return {kind: bucket.told() for kind, bucket in self.buckets.items()}


COST = Cost(input_tokens=120, output_tokens=40)


class Replica:
    """Always has enough to do; asks as soon as its limits allow."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.limits = Limits()
        self.in_flight = 0
        self.looks_at = float("inf")

    def look(self, now: float) -> None:
        """Send all that may go now, and look again when the next may."""
        self.looks_at = float("inf")
        while self.in_flight < (512 if self.limits.levels else 8):
            wait = self.limits.wait(COST, now)
            if wait > 1e-4:
                self.look_again(now + min(wait, 1.0))
                return
            self.send(now)

    def look_again(self, moment: float) -> None:
        if moment < self.looks_at:
            self.looks_at = moment
            self.world.at(moment, lambda: self.looks_at == moment and self.look(moment))

    def send(self, now: float) -> None:
        server = self.world.server
        self.limits.take(COST)
        seconds = server.admit(COST.input_tokens, now)
        if seconds is None:
            self.in_flight += 1
            moment = now + self.world.latency * self.world.draws.lognormvariate(0, 0.3)
            self.world.at(moment, lambda: self.answered(moment))
        else:
            self.limits.settle(COST, Cost(0, 0))
            self.limits.refused(now, seconds=seconds)
            self.limits.told(server.told(), now)

    def answered(self, now: float) -> None:
        self.in_flight -= 1
        used = Cost(COST.input_tokens, self.world.draws.choice([20, 40, 60]))
        self.world.server.produce(used.output_tokens, now)
        self.limits.settle(COST, used)
        self.limits.told(self.world.server.told(), now)
        self.look(now)


class World:
    """Replicas, an API, and a clock that jumps from event to event."""

    def __init__(self, server: Server, *, replicas: int, latency: float) -> None:
        self.server = server
        self.latency = latency
        self.draws = random.Random(1)
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        self.order = count()
        for _ in range(replicas):
            Replica(self).look_again(self.draws.random() * 0.1)

    def at(self, moment: float, event: Callable[[], object]) -> None:
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


@pytest.mark.parametrize("replicas", [1, 2, 4, 16])
@pytest.mark.parametrize("rpm", [1_000, 10_000])
@pytest.mark.parametrize("latency", [0.4, 3.0])
def test_replicas_use_the_request_limit_and_trip_it_not(
    replicas: int, rpm: float, latency: float
) -> None:
    server = server_of(rpm, 1e9, 1e9)
    World(server, replicas=replicas, latency=latency).run(until=300)
    print(server.admitted, server.refused, server.admitted/rpm/5, server.requests.level)
    assert server.admitted >= 0.97 * rpm * 5
    assert server.refused < 0.001 * server.admitted
