"""Records that confluent-kafka's own serializers wrote, read by their schema in a registry."""

# ruff: noqa: ANN401 - what libraries take and give

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pipeline.config.inputs import InputSettings, RegistrySettings
from pipeline.inputs.formats import open_format
from pipeline.inputs.protobuf import ProtobufReader
from pipeline.inputs.records import Document, InputRecord
from pipeline.inputs.registry import Schema
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from tests.inputs.registry_server import RegistryServer

AVRO = json.dumps(
    {
        "type": "record",
        "name": "acme.Ticket",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "text", "type": ["null", "string"], "default": None},
        ],
    }
)
JSON = json.dumps(
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Ticket",
        "type": "object",
        "properties": {"id": {"type": "integer"}, "text": {"type": "string"}},
    }
)
PROTOBUF = 'syntax = "proto3"; message No { } message Ticket { int64 id = 1; string text = 2; }'
VALUE = {"id": 7, "text": "I was charged twice"}


class Registry(Protocol):
    url: str


def record(value: bytes | None, headers: dict[str, bytes] | None = None) -> InputRecord:
    return InputRecord("crm", b"k", value, headers or {}, datetime(2026, 11, 30, tzinfo=UTC))


@pytest.fixture
async def server() -> AsyncIterator[RegistryServer]:
    async with RegistryServer().serving() as serving:
        yield serving


async def read(
    server: Registry, one: InputRecord, *, message_indexes: bool = True, **settings: Any
) -> Document | None:
    registry = RegistrySettings(url=server.url, **settings)
    own = InputSettings(format="registry", message_indexes=message_indexes)
    opened = open_format(own, registry)
    assert opened is not None
    return await opened.read(one)


@cache
def message() -> Any:
    return ProtobufReader(Schema("PROTOBUF", PROTOBUF)).message((1,))(**VALUE)


async def as_others_write(server: Registry, kind: str, **conf: Any) -> InputRecord:
    """The record of VALUE by confluent-kafka's serializer, which registers its schema first."""

    def write() -> InputRecord:
        with SchemaRegistryClient({"url": server.url}) as client:
            serializer: Any
            if kind == "avro":
                serializer = AvroSerializer(client, AVRO, conf=conf)
            elif kind == "json":
                serializer = JSONSerializer(JSON, client, conf=conf)
            else:
                conf["use.deprecated.format"] = False
                serializer = ProtobufSerializer(type(message()), client, conf)
            headers: Any = []
            context = SerializationContext("crm", MessageField.VALUE, headers=headers)
            value = serializer(message() if kind == "protobuf" else VALUE, context)
            return record(value, dict(headers))

    return await asyncio.to_thread(write)


@pytest.mark.parametrize("is_in_header", [False, True])
@pytest.mark.parametrize("kind", ["avro", "json", "protobuf"])
async def test_what_confluents_serializers_write_is_read(
    server: RegistryServer, kind: str, is_in_header: bool
) -> None:
    conf = {"schema.id.serializer": header_schema_id_serializer} if is_in_header else {}
    one = await as_others_write(server, kind, **conf)
    assert ("__value_schema_id" in one.headers) == is_in_header
    found = await read(server, one)
    assert found is not None
    assert found.fields == VALUE | ({"id": "7"} if kind == "protobuf" else {})


async def test_protobuf_is_read_where_a_registry_gives_text_only(server: RegistryServer) -> None:
    schema_id = server.add("crm-value", PROTOBUF, "PROTOBUF")
    server.serializes = False
    payload = b"\x00" + schema_id.to_bytes(4, "big") + b"\x02\x02" + message().SerializeToString()
    found = await read(server, record(payload))
    assert found is not None
    assert found.fields["text"] == VALUE["text"]


async def test_protobuf_without_message_indexes_is_the_first_message(
    server: RegistryServer,
) -> None:
    first = PROTOBUF.replace("message No { } ", "")
    schema_id = server.add("crm-value", first, "PROTOBUF")
    payload = b"\x00" + schema_id.to_bytes(4, "big") + message().SerializeToString()
    found = await read(server, record(payload), message_indexes=False)
    assert found is not None
    assert found.fields["text"] == VALUE["text"]
    with pytest.raises(InvalidEvent, match="message"):
        await read(server, record(payload))


async def test_a_registry_is_asked_once_for_a_schema(server: RegistryServer) -> None:
    one = await as_others_write(server, "avro")
    server.asked.clear()
    opened = open_format(InputSettings(format="registry"), RegistrySettings(url=server.url))
    assert opened is not None
    for _ in range(3):
        await asyncio.gather(*(opened.read(one) for _ in range(4)))
    assert server.asked == ["GET /schemas/ids/1"]


async def test_ids_of_eight_bytes_are_read_where_that_is_set(server: RegistryServer) -> None:
    one = await as_others_write(server, "avro")
    assert one.value is not None
    longer = record(b"\x00" + bytes(4) + one.value[1:])
    found = await read(server, longer, id_bytes=8)
    assert found is not None
    assert found.fields == VALUE


async def test_a_tombstone_is_no_document(server: RegistryServer) -> None:
    assert await read(server, record(None)) is None


@pytest.mark.parametrize(
    ("value", "headers", "says"),
    [
        (b"", {}, "begins with nothing"),
        (b'{"id": 7}', {}, "begins with byte 123.*leave input.format at `json`"),
        (b"\x00\x00", {}, "byte 0"),
        (b"\x05\x00\x00\x00\x01\x02", {}, "begins with byte 5"),
        (b"\x00\x00\x00\x03\xe7\x02", {}, "knows no schema with the id 999"),
        (b"x", {"__value_schema_id": b"\x02abc"}, "not a schema id"),
        (b"x", {"__value_schema_id": b"\x01" + bytes(16)}, "knows no schema with the id 00000000-"),
    ],
)
async def test_a_frame_that_is_none_is_one_dead_letter_that_says_so(
    server: RegistryServer, value: bytes, headers: dict[str, bytes], says: str
) -> None:
    with pytest.raises(InvalidEvent, match=says):
        await read(server, record(value, headers))


async def test_a_payload_that_is_not_of_its_schema_is_one_dead_letter_that_says_so(
    server: RegistryServer,
) -> None:
    one = await as_others_write(server, "avro")
    assert one.value is not None
    # As where a writer sends what it has changed under the id of the schema before.
    with pytest.raises(InvalidEvent, match="left after the end of what its schema describes"):
        await read(server, record(one.value + b"\x02\x06new"))
    with pytest.raises(InvalidEvent, match="not of the schema that it names"):
        await read(server, record(one.value[:-3]))
    for text, kind, payload, says in (
        ('"string"', "AVRO", b"\x02x", "not of a record with fields"),
        (JSON, "JSON", b"{", "is not JSON"),
        (JSON, "JSON", b"[" * 200, "nested more than"),
        (JSON, "JSON", b"[1]", "not of a record with fields"),
    ):
        schema_id = server.add("other-value", text, kind)
        with pytest.raises(InvalidEvent, match=says):
            await read(server, record(b"\x00" + schema_id.to_bytes(4, "big") + payload))


async def test_records_wait_while_the_registry_is_away(server: RegistryServer) -> None:
    one = await as_others_write(server, "avro")
    server.authorization = "Basic another"
    with pytest.raises(Unavailable, match="401"):
        await read(server, one)


def test_plain_json_has_no_format_and_a_registry_needs_an_address() -> None:
    assert open_format(InputSettings(), RegistrySettings()) is None
    with pytest.raises(UsageError, match=r"registry\.url"):
        open_format(InputSettings(format="registry"), RegistrySettings())
