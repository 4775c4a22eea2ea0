"""Change events of Debezium in the shapes that its connectors for three databases write."""

import base64
from typing import Any

import pytest

from pipeline.inputs.debezium import Debezium
from pipeline.inputs.records import Document, InputRecord, NotAnEvent
from tests.inputs.records import read, record, refused

SOURCE = {
    "version": "3.3.1.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1796030400000,
    "snapshot": "false", "db": "shop", "schema": "public", "table": "tickets", "txId": 571,
    "lsn": 24023128,
}  # fmt: skip
ROW = {"id": 7, "body": "It is broken", "price": "BNI=", "seen": 1796030400123456, "day": 20787}
FIELDS = [
    {"type": "int32", "optional": False, "field": "id"},
    {"type": "string", "optional": True, "field": "body"},
    {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
     "parameters": {"scale": "2", "connect.decimal.precision": "10"}, "field": "price"},
    {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "version": 1, "field": "seen"},
    {"type": "int32", "name": "io.debezium.time.Date", "version": 1, "field": "day"},
]  # fmt: skip
STRUCT = {"type": "struct", "fields": FIELDS, "optional": True, "name": "shop.public.tickets.Value"}
SCHEMA = {
    "type": "struct",
    "fields": [
        {**STRUCT, "field": "before"},
        {**STRUCT, "field": "after"},
        {"type": "struct", "fields": [], "field": "source"},
        {"type": "string", "field": "op"},
    ],
    "name": "shop.public.tickets.Envelope",
}
TYPED = {
    "id": 7,
    "body": "It is broken",
    "price": "12.34",
    "seen": "2026-11-30T09:20:00.123456",
    "day": "2026-11-30",
}


def change(op: str, after: Any = ROW, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"before": None, "after": after, "source": SOURCE, "op": op, "ts_ms": 1, **more}


@pytest.mark.parametrize("op", ["c", "u", "r"])
async def test_the_row_after_a_change_is_the_event_and_the_envelope_is_about_it(op: str) -> None:
    document = await read(Debezium(), record(change(op)))
    assert document.fields == ROW
    assert document.about == {"source": SOURCE, "op": op, "ts_ms": 1}


async def test_a_schema_says_what_numbers_and_bytes_mean() -> None:
    document = await read(Debezium(), record({"schema": SCHEMA, "payload": change("u")}))
    assert document.fields == TYPED


async def test_a_payload_without_its_schema_is_read_as_it_is() -> None:
    document = await read(Debezium(), record({"schema": None, "payload": change("u")}))
    assert document.fields == ROW


@pytest.mark.parametrize(
    "value",
    [
        None,
        change("d", after=None, before={"id": 7}),
        {"schema": SCHEMA, "payload": change("d", after=None)},
        {"schema": None, "payload": None},
        {"id": 7, "__deleted": "true"},
        {"schema": STRUCT, "payload": {"id": 7, "__deleted": True}},
    ],
)
async def test_a_delete_is_a_tombstone(value: Any) -> None:  # noqa: ANN401
    assert await Debezium().read(record(value, key=b'{"id":7}')) is None


@pytest.mark.parametrize(
    ("value", "because"),
    [
        (change("t", after=None), "truncate"),
        ({"op": "m", "ts_ms": 1, "source": SOURCE, "message": {"prefix": "p"}}, "message"),
    ],
)
async def test_what_is_about_no_row_is_passed_over(value: Any, because: str) -> None:  # noqa: ANN401
    with pytest.raises(NotAnEvent) as caught:
        await Debezium().read(record(value))
    assert caught.value.because == because


async def test_rows_that_debezium_has_unwrapped_are_read() -> None:
    row = {**ROW, "__deleted": "false", "__op": "u", "__table": "tickets", "__source_ts_ms": 1}
    document = await read(Debezium(), record({"schema": STRUCT, "payload": row}))
    assert document.fields == TYPED
    assert document.about == {"deleted": "false", "op": "u", "table": "tickets", "source_ts_ms": 1}
    # A table may have a column of that name.
    assert (await read(Debezium(), record({"id": 7, "op": "x"}))).fields == {"id": 7, "op": "x"}


async def test_a_large_value_that_did_not_change_is_missing() -> None:
    placeholder = "__debezium_unavailable_value"
    row = {
        "id": 7,
        "body": placeholder,
        "photo": base64.b64encode(placeholder.encode()).decode(),
        "tags": [placeholder],
        "seen": None,
    }
    assert (await read(Debezium(), record(change("u", row)))).fields == {"id": 7, "seen": None}


MYSQL = [
    ("io.debezium.time.Timestamp", "int64", 1796030400123, "2026-11-30T09:20:00.123"),
    (
        "io.debezium.time.NanoTimestamp",
        "int64",
        1796030400000000001,
        "2026-11-30T09:20:00.000000001",
    ),
    ("io.debezium.time.Timestamp", "int64", -1, "1969-12-31T23:59:59.999"),
    ("io.debezium.time.MicroTime", "int64", 33600000000, "09:20:00"),
    ("io.debezium.time.Time", "int32", 33600500, "09:20:00.5"),
    ("org.apache.kafka.connect.data.Date", "int32", -1, "1969-12-31"),
    ("io.debezium.time.ZonedTimestamp", "string", "2026-11-30T09:20:00Z", "2026-11-30T09:20:00Z"),
    ("io.debezium.time.MicroTimestamp", "int64", 2**63 - 1, 2**63 - 1),
    ("io.debezium.time.Date", "int32", 2**31 - 1, 2**31 - 1),
    ("io.debezium.time.Year", "int32", 2026, 2026),
    ("io.debezium.data.Json", "string", '{"a": 1}', '{"a": 1}'),
    ("io.debezium.data.VariableScaleDecimal", "struct", {"scale": 3, "value": "/w=="}, "-0.001"),
    ("io.debezium.data.Enum", "string", "open", "open"),
]


@pytest.mark.parametrize(("name", "kind", "value", "means"), MYSQL)
async def test_a_semantic_type_is_read_as_it_is_meant(
    name: str, kind: str, value: object, means: object
) -> None:
    field = {"type": kind, "name": name, "field": "v"}
    nested = {"type": "array", "items": {"type": kind, "name": name}, "field": "many"}
    mapped = {"type": "map", "values": {"type": kind, "name": name}, "field": "by_name"}
    inner = {"type": "struct", "fields": [field], "field": "inner"}
    after = {"type": "struct", "fields": [field, nested, mapped, inner], "field": "after"}
    row = {"v": value, "many": [value, None], "by_name": {"a": value}, "inner": {"v": value}}
    event = {"schema": {"type": "struct", "fields": [after]}, "payload": change("c", row)}
    assert (await read(Debezium(), record(event))).fields == {
        "v": means,
        "many": [means, None],
        "by_name": {"a": means},
        "inner": {"v": means},
    }


@pytest.mark.parametrize(
    ("digits", "scale", "means"),
    [("AA==", "0", "0"), ("AA==", "2", "0.00"), ("/w==", "0", "-1"), ("AQ==", "-3", "1000"),
     ("Cg==", "1", "1.0")],
)  # fmt: skip
async def test_decimals_are_exact(digits: str, scale: str, means: str) -> None:
    field = {**FIELDS[2], "parameters": {"scale": scale}}
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": [field], "field": "after"}]}
    event = {"schema": schema, "payload": change("c", {"price": digits})}
    assert (await read(Debezium(), record(event))).fields == {"price": means}


async def test_a_document_of_mongodb_is_json_in_a_string_and_loses_its_type_wrappers() -> None:
    after = (
        '{"_id": {"$oid": "6745a1b2"}, "at": {"$date": 1796030400123}, "n": {"$numberLong": "9"},'
        ' "sum": {"$numberDecimal": "12.30"}, "tags": [{"$numberInt": "1"}], "old": {"$date":'
        ' {"$numberLong": "-1"}}, "when": {"$date": "2026-11-30T09:20:00Z"}, "a": {"b": 1}}'
    )
    document = await read(Debezium(), record(change("c", after)))
    assert document.fields == {
        "_id": "6745a1b2",
        "at": "2026-11-30T09:20:00.123Z",
        "n": 9,
        "sum": "12.30",
        "tags": [1],
        "old": "1969-12-31T23:59:59.999Z",
        "when": "2026-11-30T09:20:00Z",
        "a": {"b": 1},
    }


async def test_what_another_format_decoded_is_read_alike() -> None:
    class Decoded:
        async def read(self, record: InputRecord) -> Document | None:
            return Document(
                change("u", {"id": 7, "photo": b"__debezium_unavailable_value"}), {"s": 1}
            )

    document = await read(Debezium(Decoded()), record(b"\0\0\0\0\x01x"))
    assert document.fields == {"id": 7}
    assert document.about["s"] == 1


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (change("x"), "op: an operation that is not known."),
        (change("u", after=None), ("after: missing; MongoDB's connector has it with "
                                   "capture.mode=change_streams_update_full.")),
        ({"schema": None, "payload": [1]}, "payload: an object is needed, the change event."),
        ({"schema": SCHEMA, "payload": change("u", {"price": "%"})},
         "A decimal is not base64, or its schema has no scale."),
        ({"schema": SCHEMA, "payload": change("u", {"price": "A" * 4000})},
         "A decimal has more than 1000 digits."),
        (b"\0\0\0\0\x01x", None),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(value: Any, detail: str | None) -> None:  # noqa: ANN401
    refusal = await refused(Debezium(), record(value))
    assert detail in {refusal.detail, None}


async def test_a_scale_that_would_write_out_a_billion_zeros_is_refused() -> None:
    field = {**FIELDS[2], "parameters": {"scale": "-1000000000"}}
    schema = {"type": "struct", "fields": [{"type": "struct", "fields": [field], "field": "after"}]}
    event = {"schema": schema, "payload": change("c", {"price": "AQ=="})}
    assert (
        await refused(Debezium(), record(event))
    ).detail == "A decimal has more than 1000 digits."
