"""Records whose schema is in a registry, framed as Confluent's serializers do.

The schema's id is before the payload, a zero byte and four bytes, or in the header
`__value_schema_id`: a zero byte and the four bytes there, or a one and the sixteen of a GUID, as
Confluent's clients write since 2.11. Of Protobuf, which message of the schema it is follows the id,
wherever that is.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from pipeline.config.inputs import RegistrySettings
from pipeline.inputs.avro import SMALL_BYTES, AvroReader
from pipeline.inputs.protobuf import ProtobufReader, message_indexes
from pipeline.inputs.records import SCHEMA_ID_HEADER, Document, InputRecord
from pipeline.inputs.registry import OnceEach, Schema, SchemaId, SchemaRegistry
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import MAX_DEPTH, OverLimit, measured
from pipeline.model.records import DeadLetterReason

_ID, _GUID = 0, 1
_GUID_BYTES, _HEADER_ID_BYTES = 16, 4


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the payloads of one schema; those of up to `small_bytes` take milliseconds at most.

    With a payload comes what followed the schema's id where that was: in the header, or nothing
    where it is before the payload still.
    """

    read: Callable[[bytes, bytes], Any]
    small_bytes: int = SMALL_BYTES


class Framed:
    """The format `registry`: Avro, JSON Schema or Protobuf, whichever a record's schema is.

    Without `message_indexes` those of Protobuf are the first message of their schema.
    """

    def __init__(self, settings: RegistrySettings, *, message_indexes: bool = True) -> None:
        self._message_indexes = message_indexes
        self._registry = SchemaRegistry(settings)
        self._id_bytes = settings.id_bytes
        self._readers: OnceEach[SchemaId, Reader] = OnceEach(self._reader_of)

    async def read(self, record: InputRecord) -> Document | None:
        """The document in a record; None for a tombstone.

        Raises:
            InvalidEvent: It is not framed so, has an unknown schema, or is not of its schema.
            Unavailable: The registry cannot be asked now.
        """
        if record.value is None:
            return None
        schema_id, about, payload = self._unframed(record.value, record.headers)
        reader = await self._readers.get(schema_id)
        read = partial(reader.read, payload, about)
        value = await asyncio.to_thread(read) if len(payload) > reader.small_bytes else read()
        if not isinstance(value, dict):
            raise _invalid("Its schema is not of a record with fields: register one that is.")
        return Document(value)

    def _unframed(
        self, value: bytes, headers: Mapping[str, bytes]
    ) -> tuple[SchemaId, bytes, bytes]:
        """The schema's id, what followed it in a header, and the payload."""
        if (header := headers.get(SCHEMA_ID_HEADER)) is not None:
            found = _id_of(header, _HEADER_ID_BYTES)
            if found is None:
                raise _invalid(
                    f"The header {SCHEMA_ID_HEADER} is not a schema id as clients write it."
                )
            schema_id, length = found
            return schema_id, header[length:], value
        found = _id_of(value, self._id_bytes) if value[:1] == b"\x00" else None
        if found is None:
            first = f"byte {value[0]}" if value else "nothing"
            raise _invalid(
                f"It begins with {first}, not with the byte 0 and a schema id of "
                f"{self._id_bytes} bytes, and has no header {SCHEMA_ID_HEADER}: if it is plain "
                "JSON, leave input.format at `json`."
            )
        schema_id, length = found
        return schema_id, b"", value[length:]

    async def _reader_of(self, schema_id: SchemaId) -> Reader:
        schema = await self._registry.schema(schema_id)
        return await asyncio.to_thread(_reader, schema, self._message_indexes)


def _id_of(framed: bytes, id_bytes: int) -> tuple[SchemaId, int] | None:
    """The id that bytes begin with, and where it ends."""
    match framed[:1]:
        case b"\x00" if len(framed) > id_bytes:
            return int.from_bytes(framed[1 : 1 + id_bytes], "big"), 1 + id_bytes
        case b"\x01" if len(framed) > _GUID_BYTES:
            return UUID(bytes=framed[1 : 1 + _GUID_BYTES]), 1 + _GUID_BYTES
    return None


def _reader(schema: Schema, has_indexes: bool) -> Reader:
    match schema.kind:
        case "AVRO":
            avro = AvroReader(schema)
            return Reader(lambda payload, _: avro(payload), avro.small_bytes)
        case "PROTOBUF":
            protobuf = ProtobufReader(schema)

            def read(payload: bytes, about: bytes) -> dict[str, Any]:
                indexes, at = message_indexes(about or payload) if has_indexes else ((0,), 0)
                return protobuf(payload if about else payload[at:], indexes)

            return Reader(read, protobuf.small_bytes)
        case _:
            # Whoever wrote it has validated it; what the stage needs of it, the stage checks.
            return Reader(lambda payload, _: _json(payload))


def _json(payload: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        measured(payload, max_depth=MAX_DEPTH + 1)
        return orjson.loads(payload)
    except OverLimit as error:
        detail = f"The record is not readable JSON: it has or is {error}."
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail) from error
    except orjson.JSONDecodeError as error:
        raise InvalidEvent(
            DeadLetterReason.INVALID_JSON,
            "What follows the schema id is not JSON, which its schema says it is.",
        ) from error


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
