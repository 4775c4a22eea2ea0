"""Rate limits that nobody has to configure, shared by replicas that do not talk.

The API keeps one token bucket for each of three things: requests, input tokens (prompt cache
reads not counted) and output tokens. Each response tells the limit and what remains of it, for
the whole organisation. That level is the one signal all replicas see, and each sets its own pace
by it: the full rate while the bucket is nearly full, less the emptier it is. Four replicas with
enough to do then settle where each takes a quarter, with the bucket more than half full; one
alone takes all. What a replica does not use raises the level, and the others take it.

Pure: the time comes in as seconds of a clock that does not go back.

The rate-limit headers of a response.

What a request will take from the limits, learnt from those before it.

A limit is reserved before the call and settled after it, so an estimate need not be exact; a
good one keeps many calls at once from overdrawing it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from pipeline.model.observer import LimitKind
from pipeline.model.questions import Image, Part, Pdf, Text

_PREFIXES: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "anthropic-ratelimit-requests"),
    ("input_tokens", "anthropic-ratelimit-input-tokens"),
    ("output_tokens", "anthropic-ratelimit-output-tokens"),
)


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
    """Read the limits that a response tells; what is missing or unreadable is left out.

    Args:
        headers: With lower-case names. The `date` header is the clock that reset times are read
            against, so that this machine's own clock does not matter.
    """
    found: dict[LimitKind, RateLimitSnapshot] = {}
    for kind, prefix in _PREFIXES:
        limit = _number(headers.get(f"{prefix}-limit"))
        remaining = _number(headers.get(f"{prefix}-remaining"))
        if limit is not None and remaining is not None and limit > 0:
            full_in = _seconds_until(headers.get(f"{prefix}-reset"), headers.get("date"))
            found[kind] = RateLimitSnapshot(limit, remaining, full_in)
    return found


def _number(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        return None


def _seconds_until(moment: str | None, now: str | None) -> float | None:
    if moment is None or now is None:
        return None
    try:
        until = datetime.fromisoformat(moment) - parsedate_to_datetime(now)
    except (ValueError, TypeError):
        return None
    return max(0.0, until.total_seconds())


KINDS: tuple[LimitKind, ...] = ("requests", "input_tokens", "output_tokens")
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
class Cost:
    """What a request takes from the limits."""

    input_tokens: float
    output_tokens: float

    def of(self, kind: LimitKind) -> float:
        """The amount of one kind."""
        match kind:
            case "requests":
                return 1.0
            case "input_tokens":
                return self.input_tokens
            case "output_tokens":
                return self.output_tokens


@dataclass(frozen=True, slots=True)
class Level:
    """What is known of one limit, for people and metrics."""

    limit: float
    remaining: float


class Bucket:
    """One of the API's buckets, as seen from here, and this process's own pace.

    Args:
        snapshot: What the first response said.
        now: When.
    """

    __slots__ = ("_at", "_capacity", "_credit", "_limit", "_per_second", "_rate", "_remaining")

    def __init__(self, snapshot: RateLimitSnapshot, now: float) -> None:
        self._at = now
        self._credit = 0.0
        self._capacity = self._remaining = self._limit = self._per_second = 0.0
        self.update(snapshot)
        self._rate = self._per_second

    @property
    def level(self) -> Level:
        """As of the last look."""
        return Level(self._limit, max(0.0, self._remaining))

    @property
    def limit(self) -> float:
        """A minute."""
        return self._limit

    def update(self, snapshot: RateLimitSnapshot) -> None:
        """Take over what a response says."""
        self._limit = snapshot.limit
        self._per_second = snapshot.limit / 60
        # The bucket holds a minute's worth or less, and says so by when it will be full.
        missing = (
            snapshot.limit if snapshot.full_in is None else snapshot.full_in * self._per_second
        )
        self._capacity = min(snapshot.limit, snapshot.remaining + missing)
        # What is owed is reported as 0; how much it is shows in when the bucket will be full.
        self._remaining = min(snapshot.remaining, max(snapshot.limit - missing, -snapshot.limit))

    def advance(self, now: float, caution: float) -> None:
        """Let time pass.

        Args:
            now: The present.
            caution: 0 to 1, by which the pace is reduced.
        """
        elapsed = now - self._at
        self._at = now
        capacity = self._capacity
        remaining = self._remaining = min(capacity, self._remaining + elapsed * self._per_second)
        share = pace(remaining / capacity) if capacity > 0 else 1.0
        rate = self._rate = self._per_second * max(LEAST_SHARE, caution * share)
        self._credit = min(max(rate * BURST_SECONDS, 1.0), self._credit + elapsed * rate)

    def wait(self, amount: float) -> float:
        """Seconds until a request of that size may go, at the present pace."""
        # A request goes as soon as nothing is owed, and owes what it takes: so large ones go, too.
        owed, missing = -self._credit, min(amount, self._capacity) - self._remaining
        if owed <= 0 and missing <= 0:
            return 0.0
        return max(0.0, owed / self._rate, missing / self._per_second)

    def take(self, amount: float) -> None:
        """Reserve, or give back where the amount is negative."""
        self._credit -= amount
        self._remaining -= amount

    def forgo(self) -> None:
        """Let go of what was saved up."""
        self._credit = min(self._credit, 0.0)


def pace(share: float) -> float:
    """The share of the rate to use when that share of the bucket is left."""
    if share >= FULL_PACE:
        return 1.0
    if share >= SLOW_PACE:
        rise = (share - SLOW_PACE) / (FULL_PACE - SLOW_PACE)
        return SLOW_SHARE + (1 - SLOW_SHARE) * rise
    return SLOW_SHARE * max(0.0, share) / SLOW_PACE


class Limits:
    """The buckets of one model; there are none until a response tells of them."""

    def __init__(self) -> None:
        self._buckets: dict[LimitKind, Bucket] = {}
        self._caution = 1.0
        self._at = float("-inf")
        self._paused_until = float("-inf")

    @property
    def levels(self) -> dict[LimitKind, Level]:
        """What is known."""
        return {kind: bucket.level for kind, bucket in self._buckets.items()}

    def wait(self, cost: Cost, now: float) -> float:
        """Seconds until such a request may go; 0 is now."""
        wait = self._paused_until - now
        self._advance(now)
        for kind, bucket in self._buckets.items():
            missing = bucket.wait(cost.of(kind))
            wait = max(wait, missing)
        return wait if wait > 0 else 0.0

    def take(self, cost: Cost) -> None:
        """Reserve what a request will take."""
        for kind, bucket in self._buckets.items():
            bucket.take(cost.of(kind))

    def settle(self, reserved: Cost, used: Cost) -> None:
        """Correct a reservation by what was used."""
        for kind, bucket in self._buckets.items():
            bucket.take(used.of(kind) - reserved.of(kind))

    def update(self, limits: Mapping[LimitKind, RateLimitSnapshot], now: float) -> None:
        """Take over what a response says."""
        if not limits:
            return
        self._advance(now)
        for kind, snapshot in limits.items():
            bucket = self._buckets.get(kind)
            if bucket is None:
                self._buckets[kind] = Bucket(snapshot, now)
            else:
                bucket.update(snapshot)

    def pause(self, now: float) -> float:
        """Seconds that the API asks to wait, whatever the buckets say."""
        return max(0.0, self._paused_until - now)

    def refused(self, now: float, *, seconds: float) -> None:
        """A 429: nothing goes for that long, and then more carefully."""
        caution = self._advance(now)
        if now >= self._paused_until:
            self._caution = caution * CAUTION_AFTER_429
        self._paused_until = max(self._paused_until, now + seconds)

    def resumed(self) -> None:
        """Calls succeed again after a time in which none did: it saved up no claim to a burst."""
        for bucket in self._buckets.values():
            bucket.forgo()

    def weight(self, cost: Cost) -> float:
        """The largest share of any limit that a request takes: what it costs its neighbours."""
        return max(self._weights(cost), default=1.0)

    def _weights(self, cost: Cost) -> Iterable[float]:
        for kind, bucket in self._buckets.items():
            yield cost.of(kind) / bucket.limit

    def _advance(self, now: float) -> float:
        """Let time pass; returns the caution in force."""
        if now > self._at:
            self._caution = min(1.0, self._caution + (now - self._at) * CAUTION_RECOVERY)
            self._at = now
            for bucket in self._buckets.values():
                bucket.advance(now, self._caution)
        return self._caution


TOKENS_PER_BYTE = 0.4
"""Of the 2026 tokenizer, by the model pages: 1M tokens are about 2.5M characters of English."""
IMAGE_BYTES = 4000
"""The text that counts as much as an image scaled to 1568 pixels: about 1,600 tokens."""
PDF_PAGE_BYTES = 50_000
"""Of file, a page, as a rule of thumb."""
PAGE_TEXT_BYTES = 4000
FRAME_BYTES = 200
"""Markers, roles, and what structured output adds."""
FIRST_OUTPUT_TOKENS = 200
LEARNING_RATE = 0.05


def weigh(parts: Sequence[Part]) -> int:
    """The size of a question's content, as bytes of text that count as much."""
    total = FRAME_BYTES
    for part in parts:
        match part:
            case Text(_, text):
                total += len(text)
            case Image():
                total += IMAGE_BYTES
            case Pdf(data):
                total += PAGE_TEXT_BYTES * (1 + len(data) // PDF_PAGE_BYTES)
    return total


class Estimates:
    """What requests of one stage to one model take.

    Args:
        static_bytes: Of the request's static part, which is counted until it is seen cached.
    """

    def __init__(self, static_bytes: int) -> None:
        self._static_bytes = static_bytes
        self._counted_static = static_bytes
        self._tokens_per_byte = TOKENS_PER_BYTE
        self._output_tokens: float = FIRST_OUTPUT_TOKENS
        self._samples = 0

    def cost(self, weight: int, *, max_output_tokens: int) -> Cost:
        """The estimate for a question of that weight."""
        return Cost(
            input_tokens=(weight + self._counted_static) * self._tokens_per_byte,
            output_tokens=min(self._output_tokens, max_output_tokens),
        )

    def learn(self, weight: int, used: Cost, *, cached: bool) -> None:
        """Take an answer into account.

        Args:
            weight: Of the question.
            used: What was counted.
            cached: Whether the static part was read from the prompt cache, and so not counted.
        """
        self._samples += 1
        rate = max(LEARNING_RATE, 1 / self._samples)
        self._counted_static = 0 if cached else self._static_bytes
        seen = used.input_tokens / (weight + self._counted_static)
        self._tokens_per_byte += rate * (seen - self._tokens_per_byte)
        self._output_tokens += rate * (used.output_tokens - self._output_tokens)
