"""The time of day, for those who hand it on; whoever uses it is handed it."""

from datetime import UTC, datetime


def now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)
