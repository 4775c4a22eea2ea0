"""Rate limits as token buckets, with the headers that state them.

Pure: the time comes in as seconds of any clock that does not go back.
"""

import math
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may be asked a minute; None is unlimited and sends no headers."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        if any(limit is not None and limit < 1 for limit in astuple(self)):
            raise ValueError("a rate limit is at least 1 a minute")


_KINDS = ("requests", "input-tokens", "output-tokens")
"""Of limits, as headers name them, in the order of `Limits`."""


class Bucket:
    """A token bucket with continuous refill; its level may go below zero on settlement."""

    def __init__(self, per_minute: int, now: float, window: float = 60.0) -> None:
        self.per_minute = per_minute
        self._window = window
        self._level = self.capacity
        self._at = now

    @property
    def capacity(self) -> float:
        """What fits in; never less than one request."""
        return max(1.0, self.per_minute * self._window / 60.0)

    def level(self, now: float) -> float:
        if now > self._at:
            refilled = self._level + (now - self._at) * self.per_minute / 60.0
            self._level = min(self.capacity, refilled)
            self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take it, whatever the level."""
        self._level = min(self.capacity, self.level(now) - amount)

    def seconds_until(self, level: float, now: float) -> float:
        """How long until that level is reached; a level above the capacity counts as full."""
        missing = min(level, self.capacity) - self.level(now)
        return max(0.0, missing * 60.0 / self.per_minute)

    def resize(self, per_minute: int, now: float) -> None:
        """Change the rate; the level stays in proportion."""
        share = self.level(now) / self.capacity
        self.per_minute = per_minute
        self._level = share * self.capacity


class ModelLimiter:
    """The buckets of one model."""

    def __init__(self, limits: Limits, now: float, window: float = 60.0) -> None:
        self._window = window
        self._buckets: dict[str, Bucket] = {}
        self.limits = Limits()
        self.change(limits, now)

    def change(self, limits: Limits, now: float) -> None:
        for kind, per_minute in zip(_KINDS, astuple(limits), strict=True):
            bucket = self._buckets.get(kind)
            if per_minute is None:
                self._buckets.pop(kind, None)
            elif bucket is None:
                self._buckets[kind] = Bucket(per_minute, now, self._window)
            else:
                bucket.resize(per_minute, now)
        self.limits = limits

    def admit(self, input_tokens: int, now: float) -> tuple[str, float] | None:
        """Take a request and its prompt, or say which limit is in the way and for how long.

        A request of more input tokens than the bucket holds is let in when the bucket is full.

        Returns:
            None where the request was admitted; else the limit's kind and the seconds to wait.
        """
        wanted = {"requests": 1.0, "input-tokens": float(input_tokens), "output-tokens": 1.0}
        waits = [
            (bucket.seconds_until(wanted[kind], now), kind)
            for kind, bucket in self._buckets.items()
        ]
        seconds, kind = max(waits, default=(0.0, ""))
        # Refill is a sum of floats: what is missing by less than a millionth of a second is there.
        if seconds > 1e-6:  # noqa: PLR2004
            return kind, seconds
        for kind in ("requests", "input-tokens"):
            if kind in self._buckets:
                self._buckets[kind].take(wanted[kind], now)
        return None

    def settle(self, output_tokens: int, now: float) -> None:
        """Take what was produced; the prompt was counted exactly when it was admitted."""
        if bucket := self._buckets.get("output-tokens"):
            bucket.take(output_tokens, now)

    def headers(self, now: float, clock_time: datetime) -> dict[str, str]:
        """The `anthropic-ratelimit-*` headers."""
        headers: dict[str, str] = {}
        for kind, bucket in self._buckets.items():
            headers |= _bucket_headers(kind, bucket, now, clock_time)
        tokens = [bucket for kind, bucket in self._buckets.items() if kind != "requests"]
        if tokens:
            tightest = min(tokens, key=lambda bucket: bucket.level(now) / bucket.capacity)
            headers |= _bucket_headers("tokens", tightest, now, clock_time)
        return headers


def _bucket_headers(kind: str, bucket: Bucket, now: float, clock_time: datetime) -> dict[str, str]:
    level = max(0.0, bucket.level(now))
    remaining = math.floor(level) if kind == "requests" else round(level / 1000) * 1000
    full = clock_time + timedelta(seconds=bucket.seconds_until(bucket.capacity, now))
    prefix = f"anthropic-ratelimit-{kind}"
    return {
        f"{prefix}-limit": str(bucket.per_minute),
        f"{prefix}-remaining": str(remaining),
        f"{prefix}-reset": full.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
