"""Times as a person writes them: a date and time, or how long ago. Pure.

Where a record is in its topic, as a person writes it: `PARTITION:OFFSET`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipeline.model.errors import UsageError
from pipeline.stream.records import Received

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
        UsageError: It is something else.
    """
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no time: write 2026-11-22T10:00 (UTC), 2026-11-22T10:00+01:00, or how "
            "long ago: 90s, 15m, 2h, 7d."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(since: str | None, until: str | None, now: datetime) -> Span:
    """Read both ends, each of which may be missing.

    Raises:
        UsageError: One of them is no time.
    """
    return Span(
        None if since is None else moment(since, now),
        None if until is None else moment(until, now),
    )


_FORM = re.compile(r"(?P<partition>[0-9]{1,9}):(?P<offset>[0-9]{1,18})")


class Place(NamedTuple):
    """A partition and an offset of a topic that is known."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def place_of(record: Received) -> Place:
    """Where a record is."""
    return Place(record.partition, record.offset)


def parse_place(text: str) -> Place:
    """Read `PARTITION:OFFSET`.

    Raises:
        UsageError: It is something else.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no PARTITION:OFFSET, such as 3:1841; `list` prints them.")
    return Place(int(found["partition"]), int(found["offset"]))
