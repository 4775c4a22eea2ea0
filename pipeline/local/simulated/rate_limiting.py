"""Rate limits as token buckets, with the headers that state them.

Pure: the time comes in as seconds of any clock that does not go back.
"""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

SentHeaders = Literal["announced", "renamed", "retry_after", "none"]
"""What responses say of the limits: all that the API says; the same under the names that LiteLLM
gives it; `retry-after` alone; nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may be asked a minute; None is unlimited and sends no headers.

    `input_tokens` are those outside of the prompt cache. `all_input_tokens` is a workspace's limit
    beside it that counts what is read from the cache, too.
    """

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    all_input_tokens: int | None = None

    def __post_init__(self) -> None:
        if any(limit is not None and limit < 1 for limit in astuple(self)):
            raise ValueError("a rate limit is at least 1 a minute")


_KINDS = ("requests", "input-tokens", "output-tokens", "all-input-tokens")
"""Of limits, in the order of `Limits`."""
_NAMES: Mapping[str, frozenset[str]] = {
    "requests": frozenset({"requests"}),
    "input-tokens": frozenset({"input-tokens", "all-input-tokens"}),
    "output-tokens": frozenset({"output-tokens"}),
    "tokens": frozenset({"input-tokens", "output-tokens", "all-input-tokens"}),
}
"""What headers name, and the limits of which they state the one with the least left."""


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

    def share(self, now: float) -> float:
        """How full it is, 0 to 1."""
        return self.level(now) / self.capacity

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

    def admit(
        self, input_tokens: int, now: float, *, cache_reads: int = 0
    ) -> tuple[str, float] | None:
        """Take a request and its prompt, or say which limit is in the way and for how long.

        A request of more input tokens than the bucket holds is let in when the bucket is full.

        Returns:
            None where the request was admitted; else the limit's kind and the seconds to wait.
        """
        wanted = {
            "requests": 1.0,
            "input-tokens": float(input_tokens),
            "output-tokens": 1.0,
            "all-input-tokens": float(input_tokens + cache_reads),
        }
        waits = [
            (bucket.seconds_until(wanted[kind], now), kind)
            for kind, bucket in self._buckets.items()
        ]
        seconds, kind = max(waits, default=(0.0, ""))
        # Refill is a sum of floats: what is missing by less than a millionth of a second is there.
        if seconds > 1e-6:  # noqa: PLR2004
            return kind, seconds
        for kind, bucket in self._buckets.items():
            if kind != "output-tokens":
                bucket.take(wanted[kind], now)
        return None

    def settle(self, output_tokens: int, now: float) -> None:
        """Take what was produced; the prompt was counted exactly when it was admitted."""
        if bucket := self._buckets.get("output-tokens"):
            bucket.take(output_tokens, now)

    def headers(self, now: float, clock_time: datetime) -> dict[str, str]:
        """The `anthropic-ratelimit-*` headers."""
        headers: dict[str, str] = {}
        for name, kinds in _NAMES.items():
            buckets = [bucket for kind, bucket in self._buckets.items() if kind in kinds]
            if buckets:
                tightest = min(buckets, key=partial(Bucket.share, now=now))
                headers |= _bucket_headers(name, tightest, now, clock_time)
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


def as_sent(headers: Mapping[str, str], sent: SentHeaders) -> dict[str, str]:
    """What becomes of the headers about limits, `retry-after` among them."""
    match sent:
        case "renamed":
            return {f"llm_provider-{name}": value for name, value in headers.items()}
        case "retry_after":
            return {name: value for name, value in headers.items() if name == "retry-after"}
        case "none":
            return {}
    return dict(headers)
