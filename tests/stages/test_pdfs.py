"""PDF files: whole, damaged, encrypted, hostile."""

import contextlib
import io
import random
import re
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any, Literal

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.pdfs import prepare_pdf
from tests.stages.hostile import (
    CATALOGUE,
    PAGE,
    content_bomb,
    deep_tree,
    object_stream_bomb,
    one_page_named,
    table_that_names_itself,
    tree_of_shared_nodes,
    tree_with_a_loop,
    unclosed_streams,
)
from tests.stages.making import pdf, pdf_of

LIES_ABOUT_ITS_COUNT = pdf_of(
    {
        1: CATALOGUE,
        2: b"<< /Type /Pages /Kids [%b] /Count 1 >>"
        % b" ".join(b"%d 0 R" % number for number in range(3, 53)),
        **dict.fromkeys(range(3, 53), PAGE),
    }
)
NO_PAGES = pdf_of({1: CATALOGUE, 2: b"<< /Type /Pages /Kids [] >>"})


def with_content(before_end: bytes) -> bytes:
    """One page, and these bytes between its content and `endstream`."""
    content = zlib.compress(b"BT /F1 12 Tf (Invoice) Tj ET")
    head = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(content)
    return pdf_of(
        {
            1: CATALOGUE,
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>",
            4: head + content + before_end + b"endstream",
        }
    )


def saved(document: pikepdf.Pdf, **options: Any) -> bytes:  # noqa: ANN401 - those of pikepdf
    written = io.BytesIO()
    document.save(written, **options)
    return written.getvalue()


def blank(pages: int) -> pikepdf.Pdf:
    document = pikepdf.new()
    for _ in range(pages):
        document.add_blank_page(page_size=(200, 200))
    return document


def hybrid(*hidden: int) -> bytes:
    """One page; the objects of these numbers stand in the stream that old viewers do not know."""
    objects = {
        1: CATALOGUE,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /Resources << >> /MediaBox [0 0 9 9] >>",
    }
    places, packed = b"", b""
    for number in hidden:
        places += b"%d %d " % (number, len(packed))
        packed += objects.pop(number) + b" "
    inflated = places + packed
    objects[5] = b"<< /Type /ObjStm /N %d /First %d /Length %d >>\nstream\n%b\nendstream" % (
        len(hidden), len(places), len(inflated), inflated,
    )  # fmt: skip
    body, offsets = b"%PDF-1.5\n", dict[int, int]()
    for number, content in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    rows = b"".join(b"\2" + struct.pack(">IH", 5, at) for at in range(len(hidden)))
    rows += b"\1" + struct.pack(">IH", offsets.pop(5), 0)
    index = b"".join(b"%d 1 " % number for number in (*hidden, 5))
    said = b"<< /Type /XRef /Size 7 /W [1 4 2] /Index [%b] /Length %d >>" % (index, len(rows))
    table = len(body) + len(stream := b"6 0 obj\n%b\nstream\n%b\nendstream\n" % (said, rows))
    entries = b"".join(
        b"%010d 00000 n \n" % offsets[n] if n in offsets else b"0000000000 65535 f \n"
        for n in range(7)
    )
    trailer = b"<< /Size 7 /Root 1 0 R /ID [<01><02>] /Prev 0 /XRefStm %d >>" % len(body)
    end = b"startxref\n%d\n%%%%EOF\n" % table
    return body + stream + b"xref\n0 7\n%btrailer\n%b\n%b" % (entries, trailer, end)


def with_attachment(pages: int, attached_pages: int) -> bytes:
    document = blank(pages)
    document.attachments["a.pdf"] = pikepdf.AttachedFileSpec(
        document, saved(blank(attached_pages), compress_streams=False), filename="a.pdf"
    )
    return saved(document, compress_streams=False)


def encrypted(*, user: str, owner: str, revision: Literal[2, 3, 4, 6]) -> bytes:
    rules = pikepdf.Encryption(
        user=user, owner=owner, R=revision, aes=revision > 3, metadata=revision > 3
    )
    return saved(blank(2), encryption=rules)


def with_rules(streams: bytes, strings: bytes) -> bytes:
    """One page, and an encryption whose password nobody knows, for what the two names say."""
    rules = (
        b"<< /Filter /Standard /V 4 /R 4 /Length 128 /P -4 /O <%b> /U <%b> /CF << /StdCF "
        b"<< /CFM /AESV2 /AuthEvent /EFOpen /Length 16 >> >> /StmF /%b /StrF /%b /EFF /StdCF >>"
    )
    objects = {
        1: CATALOGUE,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: PAGE,
        4: rules % (b"11" * 32, b"22" * 32, streams, strings),
    }
    named = b"/Root 1 0 R /Encrypt 4 0 R /ID [<00><00>]"
    return pdf_of(objects).replace(b"/Root 1 0 R", named)


def pages_of(data: bytes) -> int:
    with pikepdf.open(io.BytesIO(data)) as document:
        assert not document.is_encrypted
        return len(document.pages)


def refused(data: bytes, max_pages: int = 10) -> InvalidEvent:
    with pytest.raises(InvalidEvent, match="file: ") as caught:
        prepare_pdf(data, max_pages, field="file")
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        pdf(),
        pdf(10),
        with_content(b"\n"),
        with_content(b"\r\n"),
        with_content(b"\r"),
        with_content(b""),
        saved(blank(3), object_stream_mode=pikepdf.ObjectStreamMode.generate),
        saved(blank(3), object_stream_mode=pikepdf.ObjectStreamMode.disable),
        saved(blank(3), linearize=True),
        saved(blank(3), qdf=True),
        with_attachment(1, 120),
        with_attachment(10, 500),
        deep_tree(60),
        tree_with_a_loop(),
    ],
)
def test_a_whole_pdf_is_sent_as_it_is(data: bytes) -> None:
    assert prepare_pdf(data, 10, field="file").data == data


@pytest.mark.parametrize(
    "data",
    [
        pdf(11),
        LIES_ABOUT_ITS_COUNT,
        saved(blank(11), object_stream_mode=pikepdf.ObjectStreamMode.generate),
        with_attachment(11, 1),
    ],
)
def test_too_many_pages_are_refused_whatever_the_file_says(data: bytes) -> None:
    invalid = refused(data)
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "more than 10 pages" in invalid.detail


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: data.rindex(b"%%EOF")],
        lambda data: re.sub(rb"startxref\s+\d+", b"startxref\n7", data),
        lambda data: re.sub(rb"startxref\s+\d+\s+%%EOF", b"", data),
        lambda data: data[: data.rindex(b"xref") - 20],
        lambda data: data + bytes(3000),
        lambda data: data + b"<html></html>" * 300,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"0000000", b"0000001"),
    ],
    ids=["end", "offset", "no-offset", "cut", "zeros", "page", "line-ends", "table"],
)
def test_a_damaged_pdf_is_sent_repaired_and_always_the_same(
    damage: Callable[[bytes], bytes],
) -> None:
    data = damage(with_content(b"\n"))
    sent = prepare_pdf(data, 10, field="file").data
    assert pages_of(sent) == 1
    assert sent == prepare_pdf(data, 10, field="file").data


@pytest.mark.parametrize("hidden", [(2, 3), (1, 2, 3), (3,)])
def test_pages_that_old_viewers_do_not_see_are_sent(hidden: tuple[int, ...]) -> None:
    for before in (b"", b"From: somebody\r\n\r\n"):
        sent = prepare_pdf(before + hybrid(*hidden), 1, field="file").data
        assert len(pikepdf.open(io.BytesIO(sent)).pages) == 1


def test_a_page_behind_one_that_is_null_counts() -> None:
    tree = b"<< /Type /Pages /Kids [3 0 R null 4 0 R] /Count 3 >>"
    data = pdf_of({1: CATALOGUE, 2: tree, 3: PAGE, 4: PAGE})
    assert prepare_pdf(data, 2, field="file").data == data
    with pytest.raises(InvalidEvent, match="more than 1 pages"):
        prepare_pdf(data, 1, field="file")


def test_bytes_before_the_header_do_no_harm() -> None:
    assert pages_of(prepare_pdf(b"\r\n\r\n" + pdf(3), 10, field="file").data) == 3


@pytest.mark.parametrize("revision", [2, 3, 4, 6])
def test_a_document_with_a_password_is_refused(revision: Literal[2, 3, 4, 6]) -> None:
    invalid = refused(encrypted(user="secret", owner="other", revision=revision))
    assert invalid.reason is DeadLetterReason.BAD_PDF
    assert "needs a password" in invalid.detail


@pytest.mark.parametrize("revision", [2, 3, 4, 6])
def test_what_opens_without_a_password_is_sent_without_encryption(
    revision: Literal[2, 3, 4, 6],
) -> None:
    data = encrypted(user="", owner="other", revision=revision)
    sent = prepare_pdf(data, 10, field="file").data
    assert pages_of(sent) == 2
    assert b"/Encrypt" not in sent
    assert sent == prepare_pdf(data, 10, field="file").data


def test_encryption_of_attachments_alone_is_not_the_documents() -> None:
    sent = prepare_pdf(with_rules(b"Identity", b"Identity"), 10, field="file").data
    assert pages_of(sent) == 1


@pytest.mark.parametrize("rules", [(b"StdCF", b"StdCF"), (b"StdCF", b"Identity")])
def test_encryption_of_streams_or_strings_is_the_documents(rules: tuple[bytes, bytes]) -> None:
    assert "needs a password" in refused(with_rules(*rules)).detail


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-",
        b"%PDF-1.7\n%%EOF",
        pdf()[:30],
        b"%PDF-1.4\ntrailer <</Root 1 0 R>>",
        NO_PAGES,
        tree_of_shared_nodes(1, 1),
        table_that_names_itself(),
        b"%PDF-1.4\ntrailer <</Root 5>>\n%%EOF",
        pdf_of({1: b"<< /Type /Catalog /Pages (text) >>"}),
        pdf_of({1: b"<< /Type /Catalog >>"}),
    ],
)
def test_what_has_no_pages_is_bad(data: bytes) -> None:
    assert refused(data).reason is DeadLetterReason.BAD_PDF


@pytest.mark.parametrize(
    "made",
    [
        lambda: unclosed_streams(1),
        lambda: deep_tree(3_000),
        lambda: tree_of_shared_nodes(40, 20),
        lambda: one_page_named(50_000),
        lambda: content_bomb(256),
        lambda: b"%PDF-1.4\n" + b"<<" * 700_000 + b"%%EOF",
        lambda: b"%PDF-1.4\n" + b"[" * 1_500_000 + b"%%EOF",
        lambda: b"%PDF-1.4\n" + b"9" * 1_500_000 + b"%%EOF",
        lambda: b"%PDF-1.4\n" + b"1 0 obj (" * 150_000 + b"%%EOF",
    ],
    ids=["unclosed", "deep", "shared", "named", "content", "nested", "lists", "digits", "texts"],
)
def test_a_megabyte_of_anything_takes_little_work(made: Callable[[], bytes]) -> None:
    data = made()
    began = time.process_time()
    with contextlib.suppress(InvalidEvent):
        prepare_pdf(data, 10, field="file")
    assert time.process_time() - began < 2


def test_an_object_stream_is_inflated_as_far_as_memory_goes_and_no_object_hides_in_it() -> None:
    sent = prepare_pdf(object_stream_bomb(1), 10, field="file")
    assert pages_of(sent.data) == 1


@given(st.binary(max_size=400))
def test_any_bytes_are_a_pdf_or_invalid(data: bytes) -> None:
    with contextlib.suppress(InvalidEvent):
        prepare_pdf(b"%PDF-1.4\n" + data, 10, field="file")


def test_flipped_bytes_are_a_pdf_or_invalid() -> None:
    dice, data = random.Random(1), with_attachment(3, 2)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(InvalidEvent):
            prepare_pdf(bytes(broken), 10, field="file")
