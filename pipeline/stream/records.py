"""A record as it comes from Kafka, and what is to be published for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from pipeline.model.records import DeadLetterReason

Headers = tuple[tuple[str, bytes | None], ...]
"""In their order, names as often as they occur; Kafka knows values that are null."""
HEADER_BYTES = 128
"""What a header takes in memory beside its text, measured in CPython 3.11: a tuple, a string and
a bytes object. A record of a megabyte of empty headers takes that of a hundred megabytes."""


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of a record whose content is not carried on."""

    key_bytes: int
    value_bytes: int
    sha256: str
    """Of the value, in hexadecimal."""
    headers: int
    header_bytes: int
    """Of names and values together."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a record comes without its value: reading it would cost too much, or it is broken.

    `because` is a sentence for a person; there is no `original` where nothing could be learned.
    """

    because: str
    original: Original | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A record that was consumed, at `received_at` by this process.

    `unread` is set where the value was not read; it is None then, and so may be the rest. `tenant`
    is whose it is, where that took decoding it; empty where it was looked for, or names none.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    timestamp: datetime
    received_at: datetime
    unread: Unread | None = None
    tenant: str = ""

    @property
    def size(self) -> int:
        """Bytes that key, value and headers take in memory, for memory limits."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, content in self.headers:
            size += HEADER_BYTES + len(name) + len(content or b"")
        return size

    @property
    def is_tombstone(self) -> bool:
        """Whether it says that its key is gone: it is no event. An empty value is one."""
        return self.value is None and self.unread is None

    @property
    def original(self) -> Original:
        """What is to be said of it where its content cannot be carried on."""
        if self.unread is not None and self.unread.original is not None:
            return self.unread.original
        return Original(
            key_bytes=len(self.key or b""),
            value_bytes=len(self.value or b""),
            sha256=sha256(self.value or b"").hexdigest(),
            headers=len(self.headers),
            header_bytes=sum(len(name.encode()) + len(v or b"") for name, v in self.headers),
        )


def moment(milliseconds: int, now: datetime) -> datetime:
    """A record's timestamp; now, where it has none (-1), or one that no calendar knows."""
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


class Disposition(StrEnum):
    """The ends an event can come to in one stage: each event comes to exactly one.

    What is passed over is no event of the stage: nothing is published for it.
    """

    ENRICHED = "enriched"
    ESCALATED = "escalated"
    REVIEW = "review"
    DEAD_LETTER = "dead_letter"
    PASSED_OVER = "passed_over"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What handling a record came to: where it ended, and what is published for it.

    Only a dead letter has a `reason`.
    """

    end: Disposition
    records: tuple[Outgoing, ...]
    reason: DeadLetterReason | None = None


Handler = Callable[[Received], Awaitable[Outcome]]
"""Turns one record into its outcome. Whatever it raises ends the process: faults of an event
are outcomes, and all else is a bug that must be seen."""
Rescue = Callable[[Received, Outcome | None, str], Outcome | None]
"""What to publish instead of an outcome that the brokers will never take (too large, say), given
the sentence that says why: something smaller, or None where there is nothing smaller. Without an
outcome: for a record that could not be read."""
