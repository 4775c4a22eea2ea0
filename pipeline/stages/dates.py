"""Dates as answers give them."""

import re
from datetime import date

EARLIEST_YEAR = 1990
LATEST_YEAR = 2100
"""Outside these years a date on a business document is a misreading."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def parse_date(text: str) -> date | None:
    """Read an ISO 8601 date; None where the text is none, or the calendar has no such day."""
    if not _ISO.fullmatch(text.strip()):
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def is_plausible(day: date) -> bool:
    """Whether a business document may bear this date."""
    return EARLIEST_YEAR <= day.year <= LATEST_YEAR
