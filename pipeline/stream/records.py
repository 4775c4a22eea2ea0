"""A record as it comes from Kafka, and what is to be published for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from pipeline.events import DeadLetterReason

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A record that was consumed.

    Args:
        timestamp: The record's own timestamp.
        received_at: When this process got it.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    timestamp: datetime
    received_at: datetime

    @property
    def size(self) -> int:
        """Bytes of key and value, for memory limits."""
        return len(self.key or b"") + len(self.value or b"")


def moment(milliseconds: int, now: datetime) -> datetime:
    """A record's timestamp; now, where it has none, or one that no calendar knows."""
    if milliseconds < 0:
        return now
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return now


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)


class End(StrEnum):
    """The ends an event can come to in one stage: each event comes to exactly one."""

    ENRICHED = "enriched"
    ESCALATED = "escalated"
    REVIEW = "review"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What handling a record came to: where it ended, and what is published for it.

    Args:
        reason: Of a dead letter; None for any other end.
    """

    end: End
    records: tuple[Outgoing, ...]
    reason: DeadLetterReason | None = None


Handler = Callable[[Received], Awaitable[Outcome]]
"""Turns one record into its outcome. Whatever it raises ends the process: faults of an event
are outcomes, and all else is a bug that must be seen."""
