"""CloudEvents in structured mode: what every stage makes of them."""

import base64
import json
from typing import Any

import pytest

from pipeline.config import StagesSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.api import build_stages
from pipeline.stages.files.media import checked_type
from pipeline.stages.files.raw_events import from_json_object, to_json_object
from tests.stages.making import picture
from tests.stages.raw_events import RAW

STAGES = build_stages(StagesSettings())
ABOUT = {"specversion": "1.0", "id": "ce-1", "source": "/shop", "type": "com.example.created"}
each_stage = pytest.mark.parametrize("name", STAGES)


def parsed(name: str, document: Any, content_type: bytes | None = None) -> Any:  # noqa: ANN401
    headers = {} if content_type is None else {"Content-Type": content_type}
    value = document if isinstance(document, bytes) else json.dumps(document).encode()
    return STAGES[name].parse(value, key=b"k", headers=headers)


def refused(name: str, document: Any, content_type: bytes | None = None) -> InvalidEvent:  # noqa: ANN401
    with pytest.raises(InvalidEvent) as caught:
        parsed(name, document, content_type)
    assert caught.value.detail.endswith(".")
    return caught.value


@each_stage
@pytest.mark.parametrize("declared", [None, b"application/cloudevents+json; charset=UTF-8"])
def test_the_data_is_the_event_and_the_envelope_an_unknown_field(
    name: str, declared: bytes | None
) -> None:
    raw = json.loads(RAW[name])
    event = parsed(name, {**ABOUT, "time": "2026-11-22T10:00:00Z", "data": raw}, declared)
    plain = parsed(name, RAW[name])
    assert event.id == raw["id"]
    assert event.unknown_fields == {
        **plain.unknown_fields,
        "cloudevent": {**ABOUT, "time": "2026-11-22T10:00:00Z"},
    }
    assert STAGES[name].question(event) == STAGES[name].question(plain)
    assert from_json_object(type(event), to_json_object(event)) == event


@each_stage
def test_the_id_is_the_envelopes_where_the_data_has_none(name: str) -> None:
    raw = {key: field for key, field in json.loads(RAW[name]).items() if key != "id"}
    assert parsed(name, {**ABOUT, "data": raw}).id == "ce-1"


@each_stage
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("more", [{}, {"data": None}])
def test_the_data_may_be_base64(name: str, before: bytes, more: dict[str, Any]) -> None:
    wrapped = base64.encodebytes(before + RAW[name]).decode()
    event = parsed(name, {**ABOUT, **more, "data_base64": wrapped})
    assert event.id == json.loads(RAW[name])["id"]


@pytest.mark.parametrize("name", ["images", "invoices"])
@pytest.mark.parametrize(
    "about",
    [
        {"datacontenttype": "image/png"},
        {"datacontenttype": "image/x-png; a=b", "data": None},
        {"datacontenttype": "application/octet-stream"},
        {},
    ],
)
def test_a_file_may_be_the_data_as_it_is(name: str, about: dict[str, Any]) -> None:
    encoded = base64.b64encode(picture()).decode()
    event = parsed(name, {**ABOUT, **about, "data_base64": encoded})
    assert event.id == "ce-1"
    assert event.file.data == picture()
    declared = event.file.media_type
    assert checked_type(event.file.data, declared, field="file") == "image/png"


def test_a_field_that_is_called_like_an_attribute_is_the_events_own() -> None:
    source = {"language": "python", "source": "def f(): pass\n"}
    event = parsed("code", {**ABOUT, "data": source})
    assert event.source == source["source"]
    flat = parsed("code", {**ABOUT, **source})
    assert flat.source == source["source"]
    assert flat.unknown_fields == {"specversion": "1.0", "type": ABOUT["type"]}


@each_stage
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "text"}, "data: a JSON object"),
        ({"data": None}, "data: a JSON object"),
        ({"data": [{}]}, "data: a JSON object"),
        ({"data_base64": "%"}, "data_base64: not base64"),
        ({"data_base64": 7}, "data_base64:"),
        ({"data_base64": base64.b64encode(b"\x00\x01").decode()}, "data_base64: not JSON"),
        ({"data": {"id": "1"}, "x": 2**70}, "an attribute"),
        ({}, "data: missing"),
    ],
)
def test_what_holds_no_event_is_refused_with_what_is_wrong(
    name: str, change: dict[str, Any], said: str
) -> None:
    invalid = refused(name, {**ABOUT, **change}, b"application/cloudevents+json")
    assert invalid.detail.startswith(said)


@each_stage
def test_a_declared_envelope_has_all_that_every_cloudevent_has(name: str) -> None:
    raw = json.loads(RAW[name])
    detail = refused(name, {"id": "x", "data": raw}, b"application/cloudevents+json").detail
    assert detail.startswith("specversion: missing")


@each_stage
@pytest.mark.parametrize("declared", [None, b"application/cloudevents-batch+json"])
def test_a_batch_is_refused_with_what_to_do(name: str, declared: bytes | None) -> None:
    batch = [{**ABOUT, "data": json.loads(RAW[name])}]
    invalid = refused(name, batch, declared)
    assert invalid.reason is DeadLetterReason.INVALID_EVENT
    assert "send each event as a record of its own" in invalid.detail
