"""Replicas and an API with rate limits, event by event, without a real clock."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from pipeline.claude.rate_limits import ALL_LIMITS, Cost, Limits, RateLimitSnapshot
from pipeline.model.observer import LimitKind


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
    says: bool = True
    """Whether responses state the limits; `retries`: whether 429s say when to come back."""
    retries: bool = True
    names: frozenset[LimitKind] = ALL_LIMITS
    """The limits that a 429 may be about, as its message says."""
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
FIRST_WINDOW, LARGEST_WINDOW = 8, 256
REFUSED_AFTER = 0.01
"""Seconds until a 429 comes."""


class Replica:
    """Always has enough to do; asks as soon as its limits allow."""

    def __init__(self, world: "World", name: int) -> None:
        self.world = world
        self.name = name
        self.limits = Limits()
        self.in_flight = 0
        self.window = FIRST_WINDOW
        self.looks_at = float("inf")

    def look(self, now: float) -> None:
        """Send all that may go now, and look again when the next may."""
        while self.in_flight < self.window:
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
        world, server = self.world, self.world.server
        self.limits.take(COST)
        self.in_flight += 1
        world.sent_at.append(now)
        seconds = server.admit(COST.input_tokens, now)
        if seconds is None:
            world.admitted_at.append((now, self.name))
            moment = now + world.latency * world.draws.lognormvariate(0, 0.3)
            world.at(moment, lambda: self.answered(moment))
        else:
            world.refused_at.append(now)
            after = now + REFUSED_AFTER * world.draws.uniform(0.5, 1.5)
            world.at(after, lambda: self.refused(after, now, seconds))

    def refused(self, now: float, sent_at: float, seconds: float) -> None:
        server = self.world.server
        self.in_flight -= 1
        if server.says:
            self.limits.update(server.snapshots(), now)
        asked = seconds if server.retries else None
        self.limits.refused(COST, server.names, now, sent_at=sent_at, seconds=asked)
        self.limits.settle(Cost(0, 0), instead_of=COST)
        self.look(now)

    def answered(self, now: float) -> None:
        self.in_flight -= 1
        self.window = min(LARGEST_WINDOW, self.window + 1)
        used = Cost(COST.input_tokens, self.world.draws.choice([20, 40, 60]))
        self.world.server.produce(used.output_tokens, now)
        self.limits.settle(used, instead_of=COST)
        self.limits.update(self.world.server.snapshots() if self.world.server.says else {}, now)
        self.look(now)


class World:
    """Replicas, an API, and a clock that jumps from event to event."""

    def __init__(
        self, server: Server, *, replicas: int, latency: float = 0.4, seed: int = 1
    ) -> None:
        self.server = server
        self.latency = latency
        self.draws = random.Random(seed)
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.sent_at: list[float] = []
        self.admitted_at: list[tuple[float, int]] = []
        self.refused_at: list[float] = []
        self.replicas = 0
        for _ in range(replicas):
            self.add(at=self.draws.random() * 0.1)

    def add(self, *, at: float) -> int:
        """One more replica from then on; returns its name."""
        self.replicas += 1
        Replica(self, self.replicas).look_again(at)
        return self.replicas

    def at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (moment, next(self.order), event))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] < until:
            heapq.heappop(self.events)[2]()

    def admitted(self, begin: float, end: float) -> Counter[int]:
        """How many requests of each replica were let in between two moments."""
        return Counter(name for moment, name in self.admitted_at if begin <= moment < end)

    def refused(self, begin: float, end: float) -> int:
        return sum(begin <= moment < end for moment in self.refused_at)


def server_of(rpm: float, itpm: float, otpm: float, window: float = 60.0) -> Server:
    return Server(
        ServerBucket(rpm, window),
        ServerBucket(itpm, window, rounded_to=1000),
        ServerBucket(otpm, window, rounded_to=1000),
    )
