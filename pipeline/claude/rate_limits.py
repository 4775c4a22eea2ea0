"""Rate limits that nobody has to configure, shared by replicas that do not talk.

The API keeps a token bucket each for requests, input tokens (prompt cache reads not counted) and
output tokens. The headers of each response say the limit and what remains of it, for the whole
organisation. That level is the one signal all replicas see, and each sets its own pace by it: the
full rate while the bucket is nearly full, less the emptier it is. Four replicas with enough to do
settle where each takes a quarter, with the bucket more than half full; one alone takes all.

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
"""Above that share of the bucket the whole rate may be used."""
SLOW_PACE = 0.5
"""At that share the pace is `SLOW_SHARE` of the rate, and below it falls slowly to nothing."""
SLOW_SHARE = 0.1
LEAST_SHARE = 0.005
"""The pace never falls below: without an answer there is no news of the level."""
CAUTION_AFTER_429 = 0.5
CAUTION_RECOVERY = 0.02


@dataclass(frozen=True, slots=True)
class RateLimitSnapshot:
    """What the API says of one limit, a minute; `full_in` is in whole seconds, if it says.

    What remains of tokens is rounded to the nearest thousand.
    """

    limit: float
    remaining: float
    full_in: float | None


def read_limits(headers: Mapping[str, str]) -> dict[LimitKind, RateLimitSnapshot]:
    """Read the limits in headers with lower-case names; what is unreadable is left out.

    Reset times are read against the `date` header: this machine's own clock does not matter.
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
    """What a request takes from the limits; its fields are named like them."""

    input_tokens: float
    output_tokens: float
    requests: float = 1.0


NO_TOKENS = Cost(0.0, 0.0)
"""What a request took that gave no answer."""
NOTHING = Cost(0.0, 0.0, requests=0.0)


@dataclass(slots=True)
class Bucket:
    """One of the API's buckets; `rate` is this process's own pace, a second.

    `credit` is what may go at that pace; negative: what is owed.
    """

    limit: float = 0.0
    per_second: float = 0.0
    capacity: float = 0.0
    remaining: float = 0.0
    rate: float = 0.0
    credit: float = 0.0

    def update(self, snapshot: RateLimitSnapshot) -> None:
        limit = self.limit = snapshot.limit
        self.per_second = limit / 60
        # The bucket holds a minute's worth or less, and says so by when it will be full.
        missing = limit if snapshot.full_in is None else snapshot.full_in * self.per_second
        self.capacity = min(limit, snapshot.remaining + missing)
        # What is owed is reported as 0; how much it is shows in when the bucket will be full.
        self.remaining = min(snapshot.remaining, max(limit - missing, -limit))


def pace(share: float) -> float:
    if share >= FULL_PACE:
        return 1.0
    if share >= SLOW_PACE:
        rise = (share - SLOW_PACE) / (FULL_PACE - SLOW_PACE)
        return SLOW_SHARE + (1 - SLOW_SHARE) * rise
    return SLOW_SHARE * max(0.0, share) / SLOW_PACE


class Limits:
    def __init__(self) -> None:
        self._buckets: dict[LimitKind, Bucket] = {}
        self._caution = 1.0
        self._at = float("-inf")
        self.paused_until = float("-inf")
        """Until when the API asks to wait, whatever the buckets say."""

    def wait(self, cost: Cost, now: float) -> float:
        wait = max(0.0, self.paused_until - now)
        self._advance(now)
        for kind, bucket in self._buckets.items():
            # It goes as soon as nothing is owed, and owes what it takes: so large ones go, too.
            missing = min(getattr(cost, kind), bucket.capacity) - bucket.remaining
            if bucket.credit < 0 or missing > 0:
                wait = max(wait, -bucket.credit / bucket.rate, missing / bucket.per_second)
        return wait

    def take(self, cost: Cost, *, instead_of: Cost = NOTHING) -> None:
        """Reserve what a request will take, or count what it took instead of that."""
        for kind, bucket in self._buckets.items():
            amount = getattr(cost, kind) - getattr(instead_of, kind)
            bucket.credit -= amount
            bucket.remaining -= amount

    def update(self, limits: Mapping[LimitKind, RateLimitSnapshot], now: float) -> None:
        self._advance(now)
        for kind, snapshot in limits.items():
            if (bucket := self._buckets.get(kind)) is None:
                bucket = self._buckets[kind] = Bucket(rate=snapshot.limit / 60)
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

    @property
    def are_known(self) -> bool:
        return bool(self._buckets)

    def weight(self, cost: Cost) -> float:
        """The largest share of any limit that a request takes: what it costs its neighbours."""
        shares = (getattr(cost, kind) / bucket.limit for kind, bucket in self._buckets.items())
        return max(shares, default=1.0)

    def _advance(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed <= 0:
            return
        self._at = now
        caution = self._caution = min(1.0, self._caution + elapsed * CAUTION_RECOVERY)
        for bucket in self._buckets.values():
            capacity = bucket.capacity
            remaining = min(capacity, bucket.remaining + elapsed * bucket.per_second)
            share = pace(remaining / capacity) if capacity > 0 else 1.0
            rate = bucket.per_second * max(LEAST_SHARE, caution * share)
            bucket.credit = min(max(rate * BURST_SECONDS, 1.0), bucket.credit + elapsed * rate)
            bucket.remaining, bucket.rate = remaining, rate
