"""Avro read as JSON, and what a hostile record or schema may not do."""

import io
import json
import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs import avro
from pipeline.inputs.avro import AvroReader
from pipeline.inputs.registry import Schema
from pipeline.model.errors import InvalidEvent


def reader(schema: object, **references: object) -> AvroReader:
    texts = {name: Schema("AVRO", json.dumps(each)) for name, each in references.items()}
    return AvroReader(Schema("AVRO", json.dumps(schema), texts))


def record(**fields: object) -> dict[str, Any]:
    described = [{"name": name, "type": type_} for name, type_ in fields.items()]
    return {"type": "record", "name": "Ticket", "fields": described}


def written(schema: object, value: object) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(json.loads(json.dumps(schema))), value)
    return file.getvalue()


def long(value: int) -> bytes:
    return written("long", value)


def test_a_list_of_itself_is_read_as_deep_as_json_is_and_no_deeper() -> None:
    linked = reader(record(next=["null", "Ticket"]))
    assert linked(b"\x02\x02\x00") == {"next": {"next": {"next": None}}}
    with pytest.raises(InvalidEvent, match="nested too deep"):
        linked(b"\x02" * 100 + b"\x00")
    # In C this is the end of the process.
    with pytest.raises(InvalidEvent, match="nested too deep"):
        linked(b"\x02" * 500_000 + b"\x00")


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "null"},
        {"type": "fixed", "name": "F", "size": 0},
        {"type": "record", "name": "Nothing", "fields": [{"name": "a", "type": "null"}]},
    ],
)
def test_items_that_take_no_bytes_are_refused_with_their_schema(items: object) -> None:
    with pytest.raises(InvalidEvent, match="take no bytes"):
        reader(record(tags={"type": "array", "items": items}))


def test_more_values_than_an_event_may_have_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro, "MAX_READS", 1_000)
    flags = reader(record(flags={"type": "array", "items": "boolean"}))
    with pytest.raises(InvalidEvent, match="more names and values") as error:
        flags(long(200_000) + bytes(200_000) + b"\x00")
    assert error.value.reason == "too_large"


def doubled(times: int, of: object) -> dict[str, Any]:
    """A record of two records, each of two, and so on."""
    levels = [{"type": "record", "name": "R0", "fields": [{"name": "a", "type": of}]}]
    for at in range(times):
        fields = [{"name": name, "type": f"R{at}"} for name in "ab"]
        levels.append({"type": "record", "name": f"R{at + 1}", "fields": fields})
    return record(**{f"f{at}": ["null", level] for at, level in enumerate(levels)})


def last_of(bomb: dict[str, Any], type_: object) -> dict[str, Any]:
    return {**bomb, "fields": [*bomb["fields"], {"name": "last", "type": type_}]}


def test_a_schema_that_makes_billions_of_values_of_no_bytes_is_refused_at_once() -> None:
    bomb = doubled(60, "null")
    with pytest.raises(InvalidEvent, match="more values than an event may have"):
        reader(last_of(bomb, "R60"))
    with pytest.raises(InvalidEvent, match="take no bytes"):
        reader(last_of(bomb, {"type": "array", "items": "R60"}))
    with pytest.raises(InvalidEvent, match="more values than an event may have"):
        reader(last_of(doubled(60, "int"), {"type": "map", "values": "R60"}))


def test_items_of_many_values_that_take_no_bytes_are_counted_with_those(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(avro, "MAX_READS", 100_000)
    item = {"type": "record", "name": "Item", "fields": [
        {"name": "a", "type": "int"}, *({"name": f"n{at}", "type": "null"} for at in range(200)),
    ]}  # fmt: skip
    items = reader(record(items={"type": "array", "items": item}))
    assert len(items(long(500) + bytes(500) + b"\x00")["items"]) == 500
    with pytest.raises(InvalidEvent, match="more names and values"):
        items(long(90_000) + bytes(90_000) + b"\x00")


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("string", b""),
        ("string", long(1 << 40) + b"abc"),
        ("string", long(-5) + b"abc"),
        ("string", long(2) + b"\xff\xfe"),
        ("long", b"\xff" * 40),
        ("double", b"ab"),
        (["null", "int"], long(7)),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, long(3)),
        ({"type": "array", "items": "string"}, long(1 << 40) + b"abc"),
        ({"type": "long", "logicalType": "timestamp-millis"}, long(1 << 61)),
        ({"type": "int", "logicalType": "date"}, long(1 << 30)),
        ({"type": "string", "logicalType": "uuid"}, long(2) + b"xx"),
        # A number of a million digits takes minutes to write out.
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            long(400_000) + b"\x55" * 400_000,
        ),
        ("boolean", b"\x01\x01"),
    ],
)
def test_what_is_not_of_the_schema_is_one_dead_letter_that_quotes_nothing(
    type_: object, payload: bytes
) -> None:
    with pytest.raises(InvalidEvent, match="not readable Avro") as error:
        reader(record(field=type_))(payload)
    assert not re.search(r"abc|xx|0x", error.value.detail)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_one_dead_letter(payload: bytes) -> None:
    with suppress(InvalidEvent):
        assert isinstance(_ANY(payload), dict)


_ANY = reader(
    record(
        a=["null", "string", "double"],
        b={"type": "map", "values": {"type": "array", "items": ["null", "Ticket"]}},
        c={"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    )
)


@pytest.mark.parametrize("text", ["", "[", '"Unknown"', '{"type": "nonsense"}', "[" * 5_000])
def test_a_schema_that_is_none_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidEvent, match="its schema in the registry is not Avro"):
        AvroReader(Schema("AVRO", text))


def test_logical_types_become_what_json_has_for_them() -> None:
    moment = datetime(2026, 11, 30, 18, 5, 4, 123_000, tzinfo=UTC)
    schema = record(
        id={"type": "string", "logicalType": "uuid"},
        paid={"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        due={"type": "int", "logicalType": "date"},
        at={"type": "long", "logicalType": "timestamp-millis"},
        local={"type": "long", "logicalType": "local-timestamp-micros"},
        opens={"type": "int", "logicalType": "time-millis"},
        lasts={"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"},
        nanos={"type": "long", "logicalType": "timestamp-nanos"},
        file="bytes",
        state={"type": "enum", "name": "State", "symbols": ["OPEN", "CLOSED"]},
        note=["null", "string"],
        unknown={"type": "string", "logicalType": "somebodys-own"},
    )
    value = {
        "id": str(UUID(int=5)),
        "paid": Decimal("-12.50"),
        "due": date(2026, 12, 24),
        "at": moment,
        "local": moment.replace(tzinfo=None) + timedelta(microseconds=7),
        "opens": time(8, 30),
        "lasts": bytes([1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]),
        "nanos": 1_000_000_007,
        "file": b"%PDF",
        "state": "CLOSED",
        "note": "soon",
        "unknown": "x",
    }
    assert reader(schema)(written(schema, value)) == {
        "id": "00000000-0000-0000-0000-000000000005",
        "paid": "-12.50",
        "due": "2026-12-24",
        "at": "2026-11-30T18:05:04.123Z",
        "local": "2026-11-30T18:05:04.123007",
        "opens": "08:30:00.000",
        "lasts": "P1M2DT0.005S",
        "nanos": "1970-01-01T00:00:01.000000007Z",
        "file": b"%PDF",
        "state": "CLOSED",
        "note": "soon",
        "unknown": "x",
    }


def test_types_of_other_schemas_are_found_by_their_names() -> None:
    street = {"type": "record", "name": "acme.Street", "fields": [{"name": "n", "type": "string"}]}
    read = reader(record(home=["null", "acme.Street"]), **{"acme.Street": street})
    assert read(b"\x02" + long(1) + b"x") == {"home": {"n": "x"}}


def test_debeziums_own_types_become_what_they_are_in_json_with_its_schema() -> None:
    def of(kind: str, name: str) -> dict[str, Any]:
        return {"type": kind, "connect.version": 1, "connect.name": f"io.debezium.{name}"}

    price = of("record", "data.VariableScaleDecimal") | {
        "name": "VariableScaleDecimal",
        "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
    }
    schema = record(
        millis=of("long", "time.Timestamp"),
        micros=["null", of("long", "time.MicroTimestamp")],
        nanos=of("long", "time.NanoTimestamp"),
        day=of("int", "time.Date"),
        opens=of("int", "time.Time"),
        closes=of("long", "time.MicroTime"),
        ticks=of("long", "time.NanoTime"),
        zoned=of("string", "time.ZonedTimestamp"),
        year=of("int", "time.Year"),
        never=of("long", "time.MicroTimestamp"),
        price=price,
        prices={"type": "array", "items": "VariableScaleDecimal"},
    )
    value = {
        "millis": 1796030400123,
        "micros": 1796030400123456,
        "nanos": 1796030400123456789,
        "day": 20787,
        "opens": 30_600_000,
        "closes": 30_600_000_001,
        "ticks": 30_600_000_000_001,
        "zoned": "2026-11-30T09:20:00.5Z",
        "year": 2026,
        "never": 2**63 - 1,
        "price": {"scale": 2, "value": b"\x04\xd2"},
        "prices": [{"scale": 0, "value": b"\x07"}],
    }
    assert reader(schema)(written(schema, value)) == {
        "millis": "2026-11-30T09:20:00.123",
        "micros": "2026-11-30T09:20:00.123456",
        "nanos": "2026-11-30T09:20:00.123456789",
        "day": "2026-11-30",
        "opens": "08:30:00",
        "closes": "08:30:00.000001",
        "ticks": "08:30:00.000000001",
        "zoned": "2026-11-30T09:20:00.5Z",
        "year": 2026,
        "never": 2**63 - 1,
        "price": "12.34",
        "prices": ["7"],
    }
