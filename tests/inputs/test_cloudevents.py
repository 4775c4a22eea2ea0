"""CloudEvents as their own SDK writes them, in both modes, and what is refused of them."""

from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from pipeline.inputs.cloudevents import CloudEvents
from pipeline.inputs.records import Document, InputRecord
from pipeline.model.records import DeadLetterReason
from tests.inputs import mails
from tests.inputs.records import read, record, refused

ABOUT = {"specversion": "1.0", "id": "ce-1", "source": "/shop", "type": "com.example.created"}
PLACED = {**ABOUT, "tenant": "blue", "subject": "order 7"}
both_modes = pytest.mark.parametrize("write", [to_binary_event, to_structured_event])


def written(write: Any, data: Any, content_type: str | None = "application/json") -> InputRecord:  # noqa: ANN401
    attributes = {**PLACED, **({"datacontenttype": content_type} if content_type else {})}
    message: KafkaMessage = write(CloudEvent(attributes, data))
    return record(message.value, headers=message.headers)


@both_modes
async def test_the_data_is_the_event_and_the_attributes_are_about_it(write: Any) -> None:  # noqa: ANN401
    document = await read(CloudEvents(), written(write, {"id": "t-1", "body": "Hello", "n": [1]}))
    assert document.fields == {"id": "t-1", "body": "Hello", "n": [1]}
    assert PLACED.items() <= document.about.items()


@both_modes
async def test_the_id_is_the_envelopes_where_the_data_has_none(write: Any) -> None:  # noqa: ANN401
    assert (await read(CloudEvents(), written(write, {"a": 1}))).fields == {"id": "ce-1", "a": 1}


@both_modes
async def test_data_is_read_by_its_content_type(write: Any) -> None:  # noqa: ANN401
    text = await read(CloudEvents(), written(write, "Grüße", "text/plain; charset=utf-8"))
    assert text.fields == {"id": "ce-1", "text": "Grüße"}
    mail = await read(CloudEvents(), written(write, mails.gmail(), "message/rfc822"))
    assert mail.fields["id"] == "CAF1@mail.gmail.example"
    assert mail.about["type"] == ABOUT["type"]
    assert "headers" in mail.about
    file = await read(CloudEvents(), written(write, mails.PNG, "image/png"))
    assert file.fields == {"id": "ce-1", "file": {"media_type": "image/png", "data": mails.PNG}}
    other = await read(CloudEvents(), written(write, b'{"a": 1}', "application/vnd.shop.v1+json"))
    assert other.fields == {"id": "ce-1", "a": 1}


@pytest.mark.parametrize("declared", [b"application/octet-stream", b""])
async def test_a_file_is_known_by_its_bytes_where_its_type_says_nothing(declared: bytes) -> None:
    headers = {f"ce_{name}": value.encode() for name, value in ABOUT.items()}
    each = record(mails.PDF, headers={**headers, "content-type": declared})
    assert (await read(CloudEvents(), each)).fields["file"]["data"] == mails.PDF


@pytest.mark.parametrize("name", ["content-type", "Content-Type", "CONTENT-TYPE"])
async def test_names_of_headers_may_have_any_case(name: str) -> None:
    headers = {f"CE_{key.title()}": value.encode() for key, value in ABOUT.items()}
    each = record(b"Hello", headers={**headers, name: b"text/plain"})
    document = await read(CloudEvents(), each)
    assert document.fields == {"id": "ce-1", "text": "Hello"}
    assert document.about == ABOUT


async def test_json_that_quotes_the_beginning_of_a_file_is_json() -> None:
    headers = {f"ce_{name}": value.encode() for name, value in ABOUT.items()}
    document = await read(CloudEvents(), record({"body": "it says %PDF-1.7"}, headers=headers))
    assert document.fields == {"id": "ce-1", "body": "it says %PDF-1.7"}


async def test_a_mail_or_text_has_the_id_of_the_envelope_before_that_of_its_place() -> None:
    each = written(to_structured_event, b"From: a@b.example\n\nHello", "message/rfc822")
    assert (await read(CloudEvents(), each)).fields["id"] == "ce-1"


async def test_an_envelope_is_known_without_its_content_type() -> None:
    document = await read(CloudEvents(), record({**ABOUT, "data": {"a": 1}}))
    assert document.fields == {"id": "ce-1", "a": 1}


async def test_other_data_is_read_by_the_format_within() -> None:
    class Framed:
        async def read(self, record: InputRecord) -> Document | None:
            return Document({"size": len(record.value or b"")}, {"schema_id": 7})

    document = await read(
        CloudEvents(Framed()), written(to_binary_event, b"\0\0\0\0\x07x", "x/avro")
    )
    assert document.fields == {"id": "ce-1", "size": 6}
    assert document.about["schema_id"] == 7


async def test_a_tombstone_stays_one() -> None:
    headers = {f"ce_{name}": value.encode() for name, value in ABOUT.items()}
    assert await CloudEvents().read(record(None, headers=headers)) is None


@pytest.mark.parametrize(
    ("value", "headers", "detail"),
    [
        (b"[]", {"content-type": b"application/cloudevents-batch+json; charset=utf-8"},
         "A batch of CloudEvents: send each event as a record of its own."),
        (b"x", {"content-type": b"application/cloudevents+avro"},
         "Of CloudEvents in structured mode only JSON is read."),
        ({"id": "t-1", "body": "x"}, {},
         "This is not a CloudEvent: it has no ce_ headers and is not an envelope."),
        (b"words", {}, "This is not a CloudEvent: it has no ce_ headers and is not an envelope."),
        ({"a": 1}, {"ce_id": b"1", "ce_source": b"/s", "ce_type": b"t"},
         "specversion: missing; every CloudEvent has it, as text."),
        ({**ABOUT, "id": 5, "data": {}}, {}, "id: missing; every CloudEvent has it, as text."),
        (ABOUT, {"content-type": b"application/cloudevents+json"},
         "data: missing; it is the raw event."),
        ({**ABOUT, "data": [1]}, {}, "data: a JSON object is needed, the raw event."),
        ({**ABOUT, "data_base64": "%"}, {}, "data_base64: not base64."),
        ({**ABOUT, "datacontenttype": "application/x-own", "data_base64": "eA=="}, {},
         "The data has a type that is not read; JSON, text, mails and files are."),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(value: Any, headers: dict[str, bytes], detail: str) -> None:  # noqa: ANN401
    assert (await refused(CloudEvents(), record(value, headers=headers))).detail == detail


async def test_json_that_nests_too_deep_is_refused() -> None:
    each = written(to_binary_event, orjson.dumps({"a": 1}))
    deep = b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"
    refusal = await refused(CloudEvents(), record(deep, headers=each.headers))
    assert refusal.reason in {DeadLetterReason.INVALID_EVENT, DeadLetterReason.INVALID_JSON}
