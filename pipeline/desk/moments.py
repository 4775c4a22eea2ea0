"""Times as a person writes them: a date and time, or how long ago. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.errors import WrongUse

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, until before `until`; None where it is open."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        begun = self.since is None or moment >= self.since
        return begun and (self.until is None or moment < self.until)


def moment(text: str, now: datetime) -> datetime:
    """Read `2026-11-22`, `2026-11-22T10:00`, with or without a zone (else UTC), or `90m`, `2d`.

    Raises:
        WrongUse: It is something else.
    """
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(
            f"{text!r} is no time: write 2026-11-22T10:00 (UTC), 2026-11-22T10:00+01:00, or how "
            "long ago: 90s, 15m, 2h, 7d."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(since: str | None, until: str | None, now: datetime) -> Span:
    """Read both ends, each of which may be missing.

    Raises:
        WrongUse: One of them is no time.
    """
    return Span(
        None if since is None else moment(since, now),
        None if until is None else moment(until, now),
    )
