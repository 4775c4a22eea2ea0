"""Rate limits that nobody has to configure, shared by replicas that do not talk.

The API keeps one token bucket for each of three things: requests, input tokens (prompt cache
reads not counted) and output tokens. The headers of each response say the limit and what remains
of it, for the whole organisation. That level is the one signal all replicas see, and each sets its
own pace by it: the full rate while the bucket is nearly full, less the emptier it is. Four
replicas with enough to do then settle where each takes a quarter, with the bucket more than half
full; one alone takes all. What a replica does not use raises the level, and the others take it.

Pure: the time comes in as seconds of a clock that does not go back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from pipeline.model.observer import LimitKind

_KINDS: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "anthropic-ratelimit-requests"),
    ("input_tokens", "anthropic-ratelimit-input-tokens"),
    ("output_tokens", "anthropic-ratelimit-output-tokens"),
)
BURST_SECONDS = 0.2
"""What a pause may save up, for timers that come late: the API may enforce a limit over a second,
so there is no room for much."""
FULL_PACE = 0.9
"""From that share of the bucket the whole rate may be used."""
SLOW_PACE = 0.5
"""Down to that share the pace falls to `SLOW_SHARE` of the rate, and below slowly to nothing."""
SLOW_SHARE = 0.1
LEAST_SHARE = 0.005
"""Never stop altogether: without an answer there is no news of the level."""
CAUTION_AFTER_429 = 0.5
CAUTION_RECOVERY = 0.02
"""Of the rate, a second."""


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """What the API says of one limit.

    Args:
        limit: A minute.
        remaining: Of the shared bucket; tokens are rounded to the nearest thousand.
        full_in: Seconds until the bucket is full again; None where it does not say. Whole seconds.
    """

    limit: float
    remaining: float
    full_in: float | None


def read_limits(headers: Mapping[str, str]) -> dict[LimitKind, RateLimitSnapshot]:
    """Read the limits that a response reports; what is missing or unreadable is left out.

    Args:
        headers: With lower-case names. The `date` header is the clock that reset times are read
            against, so that this machine's own clock does not matter.
    """
    found: dict[LimitKind, RateLimitSnapshot] = {}
    for kind, prefix in _KINDS:
        try:
            limit = float(headers[f"{prefix}-limit"])
            remaining = max(0.0, float(headers[f"{prefix}-remaining"]))
        except (KeyError, ValueError):
            continue
        if limit > 0:
            full_in = _seconds_until(headers.get(f"{prefix}-reset"), headers.get("date"))
            found[kind] = RateLimitSnapshot(limit, remaining, full_in)
    return found


def _seconds_until(moment: str | None, now: str | None) -> float | None:
    if moment is None or now is None:
        return None
    try:
        until = datetime.fromisoformat(moment) - parsedate_to_datetime(now)
    except (ValueError, TypeError):
        return None
    return max(0.0, until.total_seconds())


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request takes from the limits."""

    input_tokens: float
    output_tokens: float

    def of(self, kind: LimitKind) -> float:
        match kind:
            case "requests":
                return 1.0
            case "input_tokens":
                return self.input_tokens
            case "output_tokens":
                return self.output_tokens


class Bucket:
    """One of the API's buckets, as seen from here, and this process's own pace."""

    __slots__ = ("_at", "_capacity", "_per_second", "_rate", "_remaining", "credit", "limit")

    def __init__(self, snapshot: RateLimitSnapshot, now: float) -> None:
        self._at = now
        self.credit = 0.0
        """What may go at the present pace; negative: what is owed."""
        self.limit = 0.0
        """A minute."""
        self._capacity = self._remaining = self._per_second = 0.0
        self.update(snapshot)
        self._rate = self._per_second

    def update(self, snapshot: RateLimitSnapshot) -> None:
        self.limit = snapshot.limit
        self._per_second = snapshot.limit / 60
        # The bucket holds a minute's worth or less, and says so by when it will be full.
        missing = (
            snapshot.limit if snapshot.full_in is None else snapshot.full_in * self._per_second
        )
        self._capacity = min(snapshot.limit, snapshot.remaining + missing)
        # What is owed is reported as 0; how much it is shows in when the bucket will be full.
        self._remaining = min(snapshot.remaining, max(snapshot.limit - missing, -snapshot.limit))

    def advance(self, now: float, caution: float) -> None:
        """Let time pass; the pace is reduced by `caution`, 0 to 1."""
        elapsed = now - self._at
        self._at = now
        capacity = self._capacity
        remaining = self._remaining = min(capacity, self._remaining + elapsed * self._per_second)
        share = pace(remaining / capacity) if capacity > 0 else 1.0
        rate = self._rate = self._per_second * max(LEAST_SHARE, caution * share)
        self.credit = min(max(rate * BURST_SECONDS, 1.0), self.credit + elapsed * rate)

    def wait(self, amount: float) -> float:
        """Seconds until a request of that size may go, at the present pace."""
        # A request goes as soon as nothing is owed, and owes what it takes: so large ones go, too.
        owed, missing = -self.credit, min(amount, self._capacity) - self._remaining
        if owed <= 0 and missing <= 0:
            return 0.0
        return max(0.0, owed / self._rate, missing / self._per_second)

    def take(self, amount: float) -> None:
        """Reserve, or give back where the amount is negative."""
        self.credit -= amount
        self._remaining -= amount


def pace(share: float) -> float:
    """The share of the rate to use when that share of the bucket is left."""
    if share >= FULL_PACE:
        return 1.0
    if share >= SLOW_PACE:
        rise = (share - SLOW_PACE) / (FULL_PACE - SLOW_PACE)
        return SLOW_SHARE + (1 - SLOW_SHARE) * rise
    return SLOW_SHARE * max(0.0, share) / SLOW_PACE


class Limits:
    """The buckets of one model; there are none until a response reports them."""

    def __init__(self) -> None:
        self._buckets: dict[LimitKind, Bucket] = {}
        self._caution = 1.0
        self._at = float("-inf")
        self.paused_until = float("-inf")
        """Until when the API asks to wait, whatever the buckets say."""

    def wait(self, cost: Cost, now: float) -> float:
        """Seconds until such a request may go; 0 is now."""
        wait = self.paused_until - now
        self._advance(now)
        for kind, bucket in self._buckets.items():
            wait = max(wait, bucket.wait(cost.of(kind)))
        return wait if wait > 0 else 0.0

    def take(self, cost: Cost) -> None:
        for kind, bucket in self._buckets.items():
            bucket.take(cost.of(kind))

    def settle(self, reserved: Cost, used: Cost) -> None:
        for kind, bucket in self._buckets.items():
            bucket.take(used.of(kind) - reserved.of(kind))

    def update(self, limits: Mapping[LimitKind, RateLimitSnapshot], now: float) -> None:
        if not limits:
            return
        self._advance(now)
        for kind, snapshot in limits.items():
            bucket = self._buckets.get(kind)
            if bucket is None:
                self._buckets[kind] = Bucket(snapshot, now)
            else:
                bucket.update(snapshot)

    def refused(self, now: float, *, seconds: float) -> None:
        """A 429: nothing goes for that long, and then more carefully."""
        self._advance(now)
        if now >= self.paused_until:
            self._caution *= CAUTION_AFTER_429
        self.paused_until = max(self.paused_until, now + seconds)

    def resumed(self) -> None:
        """Calls succeed again after a time in which none did: it saved up no claim to a burst."""
        for bucket in self._buckets.values():
            bucket.credit = min(bucket.credit, 0.0)

    def weight(self, cost: Cost) -> float:
        """The largest share of any limit that a request takes: what it costs its neighbours."""
        shares = (cost.of(kind) / bucket.limit for kind, bucket in self._buckets.items())
        return max(shares, default=1.0)

    def _advance(self, now: float) -> None:
        if now > self._at:
            self._caution = min(1.0, self._caution + (now - self._at) * CAUTION_RECOVERY)
            self._at = now
            for bucket in self._buckets.values():
                bucket.advance(now, self._caution)
