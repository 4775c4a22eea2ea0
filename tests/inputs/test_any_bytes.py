"""Whatever bytes come in, a format makes a document of them or says that the event is invalid."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inputs.cloudevents import CloudEvents
from pipeline.inputs.debezium import Debezium
from pipeline.inputs.mail import Mail
from pipeline.inputs.plain_text import PlainText
from pipeline.inputs.records import Document, Format, NotAnEvent
from pipeline.model.errors import InvalidEvent
from tests.inputs import mails
from tests.inputs.records import record
from tests.inputs.test_debezium import ROW, SCHEMA, change

FORMATS: dict[str, Format] = {
    "cloudevents": CloudEvents(attachments="together"),
    "debezium": Debezium(),
    "mail": Mail("each"),
    "mail, together": Mail("together"),
    "text": PlainText(),
}
MIME = [
    b"Content-Type: multipart/mixed; boundary=b\n", b"Content-Type: multipart/digest; boundary=b\n",
    b"Content-Type: message/rfc822\n", b"Content-Type: text/html; charset=", b"--b\n", b"--b--\n",
    b"utf-16\n", b"idna\n", b"unicode_escape\n", b"undefined\n", b"utf-7\n", b"\0\n", b"\n",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: x-uuencode\n",
    b"Content-Disposition: attachment; filename*0*=utf-16''%ff; filename*1=\xff\n",
    b"Content-Disposition: attachment; filename*=a\0b''%00\n", b"begin 644 x\nM\n",
    b"Subject: =?utf-8?b?w?= =?x?q?=FF?= =?idna?b?////?=\n", b"To: \"(<@,;:\\\n",
    b"Date: Mon, 99 Foo 99999999999 99:99:99 +9999999\n", b"Message-ID: <\xff>\n", b"From: a@b\n",
    b"<blockquote type=cite>", b"> ", b"On 1.1.2026 10:00 a@b wrote:\n", b"In-Reply-To: x\n",
    b"\xff", b"Content-Type: multipart/mixed; boundary*=''b; boundary*0=b\n",
    b"Content-Disposition: attachment; filename*=''a; filename*0=b; filename=c\n",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8)
    | st.sampled_from(["c", "u", "d", "t", "AQ==", "__debezium_unavailable_value", "text/plain",
                       "message/rfc822", "1.0", "struct", "io.debezium.time.Date"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(
        st.sampled_from([
            "schema", "payload", "before", "after", "op", "source", "fields", "field", "name",
            "type", "items", "values", "parameters", "scale", "value", "$date", "$numberLong",
            "specversion", "id", "data", "data_base64", "datacontenttype", "__deleted",
        ]), each, max_size=6),
    max_leaves=25,
)  # fmt: skip


async def is_bounded(format_: Format, value: bytes, headers: dict[str, bytes]) -> None:
    try:
        document = await format_.read(record(value, headers=headers))
    except (InvalidEvent, NotAnEvent):
        return
    assert document is None or serializable(document)


def serializable(document: Document) -> bool:
    """Whether JSON can be made of it, files in base64."""

    def default(value: Any) -> str:  # noqa: ANN401
        assert isinstance(value, bytes)
        return "file"

    return bool(orjson.dumps([document.fields, document.about], default=default))


HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "ce_id", "ce_source", "ce_type", "ce_specversion"]),
    st.sampled_from([b"text/plain; charset=utf-16", b"message/rfc822", b"application/json", b"",
                     b"application/cloudevents+json", b"image/png", b"text/x;charset*=a\0''b",
                     b"\xff"]),
)  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@given(value=st.binary(max_size=60) | st.lists(st.sampled_from(MIME), max_size=14).map(b"".join),
       headers=HEADERS)  # fmt: skip
async def test_any_bytes(name: str, value: bytes, headers: dict[str, bytes]) -> None:
    await is_bounded(FORMATS[name], value, headers)


@pytest.mark.parametrize("name", ["cloudevents", "debezium"])
@given(value=JSON, headers=HEADERS)
async def test_any_json(name: str, value: Any, headers: dict[str, bytes]) -> None:  # noqa: ANN401
    await is_bounded(FORMATS[name], orjson.dumps(value), headers)


ORIGINALS = {
    "mail": mails.outlook(),
    "mail, together": mails.apple(),
    "debezium": orjson.dumps({"schema": SCHEMA, "payload": change("u", ROW)}),
}


@pytest.mark.parametrize("name", ORIGINALS)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 5000), st.integers(0, 40), st.binary(max_size=6) | st.sampled_from(MIME)
        ),
        min_size=1,
        max_size=6,
    )
)
async def test_real_ones_that_are_damaged(name: str, edits: list[tuple[int, int, bytes]]) -> None:
    value = ORIGINALS[name]
    for at, length, replacement in edits:
        begin = at % len(value)
        value = value[:begin] + replacement + value[begin + length :]
    await is_bounded(FORMATS[name], value, {})
