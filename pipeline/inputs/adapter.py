"""From a record as it came to what its stage reads: its format, then the mapping and the filter."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.inputs.mapping import FieldMapping, written
from pipeline.inputs.records import Document, Format, InputRecord
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import RawJson
from pipeline.model.records import DeadLetterReason

CONTENT_TYPE = "content-type"
LARGE_BYTES = 100_000
"""Of a record; smaller ones are mapped within milliseconds where expressions only look up."""
WALKED_BYTES = 2_000
"""The same where an expression walks through lists: each two bytes may take 5 µs."""

JsonFields = Callable[[bytes, Mapping[str, bytes]], Mapping[str, RawJson] | None]
"""The fields of a JSON value with these headers; None where the record is a bare file. Raises
`InvalidEvent`."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What the stage parses: JSON, or a bare file as it came."""

    value: bytes = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A record that is no event of the stage: it is committed over, and nothing is published."""

    because: str


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
            document = await self.format.read(record)
            if document is None:
                return PassedOver("It is a tombstone.")
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
                return Adapted(value, record.headers)
            fields = found
        if self.mapping is None:
            event: bytes | None = written(fields)
        else:
            event = self.mapping.read(record, fields, about)
        if event is None:
            return PassedOver("`where` is not true of it.")
        # What it says is of the record as it came: of a CloudEvent, or of Avro.
        headers = {
            name: content
            for name, content in record.headers.items()
            if name.lower() != CONTENT_TYPE
        }
        return Adapted(event, headers)
