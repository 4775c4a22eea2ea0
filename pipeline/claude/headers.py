"""The rate-limit headers of a response."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from pipeline.claude.observer import LimitKind

_PREFIXES: tuple[tuple[LimitKind, str], ...] = (
    ("requests", "anthropic-ratelimit-requests"),
    ("input_tokens", "anthropic-ratelimit-input-tokens"),
    ("output_tokens", "anthropic-ratelimit-output-tokens"),
)


@dataclass(frozen=True, slots=True)
class Told:
    """What the API says of one limit.

    Args:
        limit: A minute.
        remaining: Of the shared bucket; tokens are rounded to the nearest thousand.
        full_in: Seconds until the bucket is full again; None where it does not say. Whole seconds.
    """

    limit: float
    remaining: float
    full_in: float | None


def read_limits(headers: Mapping[str, str]) -> dict[LimitKind, Told]:
    """Read the limits that a response tells; what is missing or unreadable is left out.

    Args:
        headers: With lower-case names. The `date` header is the clock that reset times are read
            against, so that this machine's own clock does not matter.
    """
    told: dict[LimitKind, Told] = {}
    for kind, prefix in _PREFIXES:
        limit = _number(headers.get(f"{prefix}-limit"))
        remaining = _number(headers.get(f"{prefix}-remaining"))
        if limit is not None and remaining is not None and limit > 0:
            full_in = _seconds_until(headers.get(f"{prefix}-reset"), headers.get("date"))
            told[kind] = Told(limit, remaining, full_in)
    return told


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
