"""Protobuf read as JSON, and what a hostile record or schema may not do."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs import protobuf
from pipeline.inputs.protobuf import ProtobufReader, message_indexes
from pipeline.inputs.registry import Schema
from pipeline.model.errors import InvalidEvent, Unavailable

MONEY = 'syntax = "proto3"; package acme; message Money { string currency = 1; int64 units = 2; }'
TICKET = """
syntax = "proto3";
package acme;
import "acme/money.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
message Other { message Part { bool is_there = 1; } }
enum State { NEW = 0; OPEN = 1; }
message Ticket {
  string id = 1;
  State state = 2;
  Money paid = 3;
  google.protobuf.Timestamp at = 4;
  google.protobuf.StringValue note = 5;
  google.protobuf.Struct more = 6;
  bytes file = 7;
  repeated Other.Part parts = 8;
  map<string, int32> counts = 9;
  optional string maybe = 10;
}
"""


@pytest.fixture(scope="module")
def read() -> ProtobufReader:
    return ProtobufReader(
        Schema("PROTOBUF", TICKET, {"acme/money.proto": Schema("PROTOBUF", MONEY)})
    )


def test_a_message_becomes_the_json_that_protobuf_says(read: ProtobufReader) -> None:
    ticket = read.message((1,))
    message = ticket(id="7", state=1, paid={"units": 5}, file=b"hi", parts=[{}], counts={"a": 1})
    message.at.FromJsonString("2026-11-30T18:05:04.123Z")
    message.note.value = "soon"
    message.more["z"] = [1, "x"]
    assert read(message.SerializeToString(), (1,)) == {
        "id": "7",
        "state": "OPEN",
        "paid": {"currency": "", "units": "5"},
        "at": "2026-11-30T18:05:04.123Z",
        "note": "soon",
        "more": {"z": [1.0, "x"]},
        "file": "aGk=",
        "parts": [{"is_there": False}],
        "counts": {"a": 1},
    }


def test_what_is_unset_has_the_default_that_its_writer_meant(read: ProtobufReader) -> None:
    found = read(b"", (1,))
    assert found == {"id": "", "state": "NEW", "file": "", "parts": [], "counts": {}}


def test_a_message_within_another_is_found_by_its_indexes(read: ProtobufReader) -> None:
    assert read(b"\x08\x01", (0, 0)) == {"is_there": True}
    for indexes in [(2,), (0, 1), (-1,), ()]:
        with pytest.raises(InvalidEvent, match="message"):
            read(b"", indexes)


def test_message_indexes_are_as_confluents_serializers_write_them() -> None:
    assert message_indexes(b"\x00rest") == ((0,), 1)
    assert message_indexes(b"\x02\x02rest") == ((1,), 2)
    assert message_indexes(b"\x04\x00\x02rest") == ((0, 1), 3)
    for wrong in (b"", b"\x02", b"\xff" * 9, b"\x01", b"\xfe\xff\xff\xff\x0f"):
        with pytest.raises(InvalidEvent, match="message"):
            message_indexes(wrong)


def test_bytes_that_are_no_message_are_one_dead_letter(read: ProtobufReader) -> None:
    for payload in (b"\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):
        with pytest.raises(InvalidEvent, match="not of the message that it names"):
            read(payload, (1,))


def test_more_values_than_an_event_may_have_are_not_made(read: ProtobufReader) -> None:
    payload = read.message((1,))(parts=[{}] * 60_000).SerializeToString()
    with pytest.raises(InvalidEvent, match="more names and values") as error:
        read(payload, (1,))
    assert error.value.reason == "too_large"


def test_of_a_small_record_of_wide_messages_no_more_values_are_made_either() -> None:
    fields = " ".join(f"string f{at} = {at};" for at in range(1, 51))
    schema = f'syntax = "proto3"; message A {{ repeated B b = 1; }} message B {{ {fields} }}'
    wide = ProtobufReader(Schema("PROTOBUF", schema))
    assert len(wide(b"\x0a\x00" * 500, (0,))["b"]) == 500
    with pytest.raises(InvalidEvent, match="more names and values"):
        wide(b"\x0a\x00" * 5_000, (0,))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_one_dead_letter(payload: bytes) -> None:
    with suppress(InvalidEvent):
        indexes, at = message_indexes(payload)
        assert at <= len(payload)
        assert 0 < len(indexes) <= protobuf.MAX_INDEXES


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("no schema", {}),
        (TICKET, {}),
        (TICKET, {"../money.proto": MONEY}),
        (TICKET, {"/etc/money.proto": MONEY}),
    ],
)
def test_a_schema_that_cannot_be_is_said_to_be_so(text: str, references: dict[str, str]) -> None:
    given = {name: Schema("PROTOBUF", each) for name, each in references.items()}
    with pytest.raises(InvalidEvent, match="its schema"):
        ProtobufReader(Schema("PROTOBUF", text, given))


def test_a_compiler_without_end_makes_records_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "COMPILE_SECONDS", 0.001)
    with pytest.raises(Unavailable, match="protoc"):
        ProtobufReader(Schema("PROTOBUF", MONEY))
