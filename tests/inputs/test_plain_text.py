"""Plain text: read in the charset that is declared or shows, and refused where neither is so."""

import codecs
from dataclasses import replace

import pytest

from pipeline.inputs.plain_text import PlainText
from tests.inputs.records import read, record, refused

TEXT = "Grüße, 你好"


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        (TEXT.encode(), b""),
        (TEXT.encode(), b"text/plain"),
        (TEXT.encode("utf-8-sig"), b""),
        (TEXT.encode("utf-8-sig"), b"text/plain; charset=iso-8859-1"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), b""),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), b"text/plain; charset=utf-16"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), b""),
        (TEXT.encode("gb18030"), b'text/plain; charset="GB2312"'),
        (TEXT.encode("utf-16-le"), b"text/plain;charset=UTF-16LE"),
        (TEXT.encode(), b"text/plain; charset=x-unknown"),
        (TEXT.encode(), b"charset=\xff\xfe"),
    ],
)
async def test_text_is_read_in_its_charset(value: bytes, content_type: bytes) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    document = await read(PlainText(), record(value, headers=headers))
    assert document.fields == {"id": "in/2/7", "text": TEXT}


@pytest.mark.parametrize(
    ("headers", "said"),
    [({}, "UTF-8"), ({"content-type": b"text/plain; charset=utf-8"}, "what its content-type says")],
)
async def test_what_is_in_no_known_charset_is_refused_and_not_guessed(
    headers: dict[str, bytes], said: str
) -> None:
    refusal = await refused(PlainText(), record("Grüße".encode("latin-1"), headers=headers))
    assert refusal.detail == (
        f"The text is not {said}; declare it, as in text/plain; charset=windows-1252."
    )


@pytest.mark.parametrize(
    ("key", "headers", "id_"),
    [
        (None, {}, "in/2/7"),
        (b"k-1", {}, "k-1"),
        (b"k-1", {"Event-Id": b"e-1"}, "e-1"),
        (b"\0\0\0\0\x01\x06abc", {}, "in/2/7"),
        (b"\xff", {}, "in/2/7"),
        (b"k" * 257, {}, "in/2/7"),
        (b"", {"event-id": b""}, "in/2/7"),
    ],
)
async def test_the_id_is_in_a_header_or_the_key_or_says_where_it_was(
    key: bytes | None, headers: dict[str, bytes], id_: str
) -> None:
    assert (await read(PlainText(), record(b"x", key, headers))).fields["id"] == id_


async def test_an_empty_value_is_an_empty_text_and_none_is_a_tombstone() -> None:
    assert (await read(PlainText(), record(b""))).fields["text"] == ""
    assert await PlainText().read(record(None)) is None


async def test_a_record_that_is_on_no_topic_yet_needs_an_id() -> None:
    refusal = await refused(PlainText(), replace(record(b"x"), offset=None))
    assert (
        refusal.detail == "id: missing; it may be in the header event-id, or be the record's key."
    )
