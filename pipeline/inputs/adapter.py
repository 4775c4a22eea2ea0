"""From a record as it came to what its stage reads: its format, then the mapping and the filter."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.inputs.mapping import FieldMapping, written
from pipeline.inputs.records import Document, DocumentPart, Format, InputRecord, NotAnEvent
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import RawJson
from pipeline.model.records import DeadLetterReason

CONTENT_TYPE = "content-type"
LARGE_BYTES = 100_000
"""Of a record; smaller ones are mapped within milliseconds where expressions only look up."""
WALKED_BYTES = 2_000
"""The same where an expression walks through lists: each two bytes may take 5 µs."""
_PARTS_GROW = 2
"""Times the largest record: what the events in it may come to, files in base64."""

JsonFields = Callable[[bytes, Mapping[str, bytes]], Mapping[str, RawJson] | None]
"""The fields of a JSON value with these headers; None where the record is a bare file. Raises
`InvalidEvent`."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What the stage parses: JSON, or a bare file as it came.

    Of a record that holds several events `parts` has each, with its name; `value` is the first.
    """

    value: bytes = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)
    parts: Sequence[tuple[str, bytes]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A record that is no event of the stage: it is committed over, and nothing is published.

    Unless it says that what is under its key is gone, and tombstones are passed on.
    """

    because: str
    is_tombstone: bool = False


_LEFT_OUT = PassedOver("`where` is not true of it.")


@dataclass(frozen=True, slots=True)
class Adapter:
    """Makes records of any shape those of one stage.

    Args:
        format: Reads the records; None for JSON, whose fields `json_fields` finds.
        mapping: Finds the stage's fields; None where records have them by the stage's own names.
        max_bytes: Of a record; larger ones are not looked at.
    """

    json_fields: JsonFields
    max_bytes: int
    format: Format | None = None
    mapping: FieldMapping | None = None

    async def read(self, record: InputRecord) -> Adapted | PassedOver:
        """Adapt a record.

        Raises:
            InvalidEvent: It is not of the format, or a setting of the mapping does not fit it.
            Unavailable: The schema registry cannot be asked now: the record waits.
        """
        size = len(record.value or b"")
        if size > self.max_bytes:
            detail = f"The value has {size:,} bytes; at most {self.max_bytes:,} are taken."
            raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail)
        document: Document | None = None
        if self.format is not None:
            try:
                document = await self.format.read(record)
            except NotAnEvent as other:
                return PassedOver(other.because)
            if document is None:
                return PassedOver("It is a tombstone.", is_tombstone=True)
        walks = self.mapping is not None and self.mapping.is_costly
        if size < (WALKED_BYTES if walks else LARGE_BYTES):
            return self.adapt(record, document)
        return await asyncio.to_thread(self.adapt, record, document)

    def adapt(self, record: InputRecord, document: Document | None) -> Adapted | PassedOver:
        """The same of what the format read: pure; without a document the record is JSON."""
        about: Mapping[str, object] = {}
        if document is not None:
            fields, about = document.fields, document.about
        else:
            value = record.value or b""
            found = self.json_fields(value, record.headers)
            if found is None:
                if self.mapping is not None and not self.mapping.takes_file(record):
                    return _LEFT_OUT
                return Adapted(value, record.headers)
            fields = found
        parts = () if document is None else document.parts
        events, left = [], _PARTS_GROW * self.max_bytes
        for part in parts or (DocumentPart("", {}),):
            event = self._event(record, {**fields, **part.fields}, about)
            if event is None:
                continue
            events.append((part.name, event))
            left -= len(event)
            # What the parts have in common is in each of them.
            if parts and left < 0:
                detail = (
                    f"The {len(parts):,} events in it come to more than "
                    f"{_PARTS_GROW * self.max_bytes:,} bytes: map less of what they share."
                )
                raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail)
        if not events:
            return _LEFT_OUT
        # What it says is of the record as it came: of a CloudEvent, or of Avro.
        headers = {
            name: content
            for name, content in record.headers.items()
            if name.lower() != CONTENT_TYPE
        }
        return Adapted(events[0][1], headers, events if parts else ())

    def _event(
        self, record: InputRecord, fields: Mapping[str, Any], about: Mapping[str, object]
    ) -> bytes | None:
        if self.mapping is None:
            return written(fields)
        return self.mapping.read(record, fields, about)
