"""Raw records: what is read, and what is said of the rest."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import TicketSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import MAX_DEPTH, dumps
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.raw_events import (
    from_json_object,
    read_event,
    to_json_object,
)
from pipeline.stages.images import ImageEvent
from pipeline.stages.tickets import TicketEvent, Tickets

SECRET = "s3cret-payload"


def refusal(value: bytes, *, max_bytes: int = 10_000) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        read_event(TicketEvent, value, max_bytes=max_bytes)
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"id": NaN}',
        b"[" * 5000,
        b'{"id": "\xed\xa0\x80"}',
    ],
)
def test_what_is_not_json_is_refused_as_such(value: bytes) -> None:
    assert refusal(value).reason is DeadLetterReason.INVALID_JSON


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"7", "a number"),
        (b'"x"', "a string"),
        (b"[]", "an array"),
    ],
)
def test_json_that_is_no_object_is_refused_with_what_it_is(value: bytes, said: str) -> None:
    invalid = refusal(value)
    assert invalid.reason is DeadLetterReason.INVALID_EVENT
    assert said in invalid.detail


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"body": SECRET}, "id: missing"),
        ({"id": "", "body": SECRET}, "id:"),
        ({"id": "x" * 257, "body": SECRET}, "id:"),
        ({"id": 7, "body": SECRET}, "id:"),
        ({"id": "1"}, "body: missing"),
        ({"id": "1", "body": None, "x": SECRET}, "body:"),
        ({"id": "1", "body": {"html": SECRET}}, "body:"),
        ({"id": "1", "body": SECRET, "subject": [SECRET]}, "subject:"),
        ({"id": "1", "body": SECRET, "extra": 2**70}, "extra:"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not(event: dict[str, Any], field: str) -> None:
    invalid = refusal(json.dumps(event).encode())
    assert invalid.reason is DeadLetterReason.INVALID_EVENT
    assert invalid.detail.startswith(field)
    assert SECRET not in invalid.detail
    assert invalid.detail.endswith(".")


def test_several_wrong_fields_are_counted() -> None:
    assert "(1 more)" in refusal(b"{}").detail


def test_a_number_beyond_a_double_is_refused_rather_than_changed() -> None:
    assert refusal(b'{"id":"1","body":"b","n":1e999}').detail.startswith("n:")


def test_unknown_fields_may_nest_as_deep_as_every_reader_follows() -> None:
    fits = b'{"id":"1","body":"b","x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"
    assert read_event(TicketEvent, fits, max_bytes=10_000).unknown_fields["x"]
    deeper = b'{"id":"1","body":"b","x":[' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]}"
    assert refusal(deeper).detail.startswith("x: nested")


def test_a_hostile_field_name_is_fit_for_a_header() -> None:
    event = {"id": "1", "body": "b", "\r\nevil: 1\u202e" + "n" * 500: 2**70}
    detail = refusal(json.dumps(event).encode()).detail
    assert detail.isprintable()
    assert len(detail) < 200


def test_size_is_checked_before_anything_is_read() -> None:
    assert refusal(b"x" * 11, max_bytes=10).reason is DeadLetterReason.TOO_LARGE


def test_a_text_that_is_too_long_is_refused_by_name() -> None:
    stage = Tickets(TicketSettings(max_text_chars=10))

    def parse(length: int) -> TicketEvent:
        value = b'{"id": "1", "body": "%b"}' % (b"x" * length)
        return stage.parse(value, key=None, headers={})

    assert parse(10).body == "x" * 10
    with pytest.raises(InvalidEvent, match="body: has 11 characters") as caught:
        parse(11)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


def test_a_byte_order_mark_does_no_harm() -> None:
    value = b'\xef\xbb\xbf{"id":"1","body":"b"}'
    assert read_event(TicketEvent, value, max_bytes=100).id == "1"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    extra=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
            lambda name: name not in TicketEvent.model_fields
        ),
        json_values,
        max_size=4,
    ),
    body=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_what_is_read_can_be_written_and_read_again_unchanged(
    extra: dict[str, Any], body: str
) -> None:
    written = {"id": "1", "body": body, **extra}
    event = read_event(TicketEvent, json.dumps(written).encode(), max_bytes=1 << 20)
    assert event.unknown_fields == extra
    again = to_json_object(event)
    assert again == written
    assert from_json_object(TicketEvent, json.loads(dumps(again))) == event


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_event_or_a_dead_letter(value: bytes) -> None:
    for model in (TicketEvent, ImageEvent):
        with contextlib.suppress(InvalidEvent):
            read_event(model, value, max_bytes=200)
