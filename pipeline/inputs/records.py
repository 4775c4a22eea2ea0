"""What is read of a record, whatever its format, and what a format makes of it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from pipeline.model.errors import InvalidEvent, PipelineError
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.raw_events import EVENT_ID, header_of, read_object

SCHEMA_ID_HEADER = "__value_schema_id"
"""The header in which serializers of a schema registry put the schema's id, if not in the value."""
T = TypeVar("T")
_LONGEST_ID = 256
_LARGE_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record of a topic as it came; headers without those that are null, the last of a name."""

    topic: str
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)
    timestamp: datetime
    partition: int | None = None
    offset: int | None = None

    @property
    def own_id(self) -> str:
        """An id where there is none in the value: a header, else the key, else where it is.

        Raises:
            InvalidEvent: It has none of these, since it is not on a topic yet.
        """
        for name in (header_of(self.headers, EVENT_ID), self.key):
            text = (name or b"").decode(errors="replace")
            if 0 < len(text) <= _LONGEST_ID and text.isprintable() and "\ufffd" not in text:
                return text
        if self.partition is None or self.offset is None:
            detail = f"id: missing; it may be in the header {EVENT_ID}, or be the record's key."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
        return f"{self.topic}/{self.partition}/{self.offset}"[-_LONGEST_ID:]


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """One of several events in a record: what it is called, and what is different in it."""

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """What a format made of a record: a JSON object, of objects, and what its envelope said.

    Bytes in `fields` are files: what makes JSON of it writes them in base64. `about` holds what is
    not the event itself (attributes of a CloudEvent, Debezium's `source` and `op`, headers of a
    mail), which expressions reach as `$.about`. With `parts` it is an event for each of them, with
    these fields but for what is the part's own.
    """

    fields: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[DocumentPart] = ()


class NotAnEvent(PipelineError):
    """The record is not an event, and nothing is wrong with it: it is only counted.

    `because` is a word for what it is, of a small set that a format knows.
    """

    def __init__(self, because: str) -> None:
        super().__init__(f"It is passed over: {because}.")
        self.because = because


class Format(Protocol):
    """Reads one format."""

    async def read(self, record: InputRecord) -> Document | None:
        """The document in a record; None where it says that what its key names is gone.

        Raises:
            NotAnEvent: It is not an event, by what its envelope says.
            InvalidEvent: It is not of this format; the detail says why, and quotes nothing of it.
            Unavailable: The schema registry cannot be asked now: the record waits.
        """


async def off_loop(
    read: Callable[[InputRecord], T], record: InputRecord, *, larger_than: int = _LARGE_BYTES
) -> T:
    """Read a record, in a thread where it is large enough to hold up the event loop."""
    is_small = len(record.value or b"") <= larger_than
    return read(record) if is_small else await asyncio.to_thread(read, record)


class JsonObjects:
    """Reads one JSON object a record, within the limits of a stage's own reader."""

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        return await off_loop(lambda whole: Document(read_object(whole.value or b"")), record)
