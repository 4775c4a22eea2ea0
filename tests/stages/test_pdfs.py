"""PDF files."""

import contextlib
import random
import time
import zlib

import pytest

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.stages.pdfs import prepare_pdf
from tests.stages.making import pdf, pdf_of

KIDS_OF_THEMSELVES = pdf_of(
    {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R >>",
    }
)
LIES_ABOUT_ITS_COUNT = pdf_of(
    {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%b] /Count 1 >>"
        % b" ".join(b"%d 0 R" % n for n in range(3, 53)),
        **dict.fromkeys(range(3, 53), b"<< /Type /Page /Parent 2 0 R >>"),
    }
)
DEEP = pdf_of(
    {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        **{n: b"<< /Type /Pages /Kids [%d 0 R] >>" % (n + 1) for n in range(2, 3000)},
        3000: b"<< /Type /Page >>",
    }
)


def in_object_streams(*pages: list[int], plain: bool = False, first: int | None = None) -> bytes:
    """A PDF whose pages, by number, lie in compressed object streams."""
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages >>"}
    for at, numbers in enumerate(pages, start=900):
        bodies = [b"<< /Type /Page /Parent 2 0 R >> " for _ in numbers]
        offsets = [sum(map(len, bodies[:place])) for place in range(len(bodies))]
        index = b" ".join(b"%d %d" % pair for pair in zip(numbers, offsets, strict=True)) + b" "
        content = index + b"".join(bodies)
        stream = content if plain else zlib.compress(content)
        coding = b"" if plain else b"/Filter /FlateDecode"
        head = b"<< /Type /ObjStm /N %d /First %d %b >>\nstream\n"
        said = len(index) if first is None else first
        objects[at] = head % (len(numbers), said, coding) + stream + b"\nendstream"
    return pdf_of(objects)


NO_PAGES = pdf_of({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [] >>"})


def refused(data: bytes, max_pages: int = 10) -> Invalid:
    with pytest.raises(Invalid, match="file: ") as caught:
        prepare_pdf(data, max_pages, field="file")
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        pdf(),
        pdf(10),
        KIDS_OF_THEMSELVES,
        DEEP,
        in_object_streams([3, 4, 5]),
        in_object_streams([3, 4, 5], plain=True),
        in_object_streams([3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 7, 8]),
    ],
)
def test_a_pdf_within_the_limit_is_sent_as_it_is(data: bytes) -> None:
    assert prepare_pdf(data, 10, field="file").data == data


@pytest.mark.parametrize(
    "data",
    [
        pdf(11),
        LIES_ABOUT_ITS_COUNT,
        in_object_streams(list(range(3, 14))),
        in_object_streams(list(range(3, 14)), plain=True),
        in_object_streams([3, 4, 5, 6, 7, 8], [13, 14, 15, 16, 17, 18]),
    ],
)
def test_too_many_pages_are_refused_whatever_the_file_says(data: bytes) -> None:
    assert refused(data).reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("password", ["secret", ""])
def test_an_encrypted_pdf_is_refused_and_told_why(password: str) -> None:
    invalid = refused(pdf(password=password))
    assert invalid.reason is DeadLetterReason.BAD_PDF
    assert "encrypted" in invalid.detail


@pytest.mark.parametrize(
    "data",
    [b"%PDF-", b"%PDF-1.7\n%%EOF", pdf()[:200], b"%PDF-1.4\ntrailer <</Root 1 0 R>>", NO_PAGES],
)
def test_a_damaged_or_empty_pdf_is_bad(data: bytes) -> None:
    assert refused(data).reason is DeadLetterReason.BAD_PDF


def test_what_cannot_be_looked_into_is_left_to_the_api() -> None:
    hidden = in_object_streams([3]).replace(b"/FlateDecode", b"/LZWDecode ")
    assert prepare_pdf(hidden, 10, field="file").data == hidden


@pytest.mark.parametrize(
    "data",
    [
        in_object_streams([3], first=5 << 20),
        pdf_of(
            {
                1: b"<< /Type /ObjStm /First 9 /Filter /FlateDecode >>\nstream\n"
                + zlib.compress(bytes(65 << 20), 9)
                + b"\nendstream",
            }
        ),
    ],
    ids=["index", "bomb"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(data: bytes) -> None:
    invalid = refused(data)
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "more than can be checked" in invalid.detail


@pytest.mark.parametrize(
    "content",
    [
        b"1 0 obj /Type /ObjStm stream\n" * 50_000,
        b"1 0 obj /Type /ObjStm /First 1 stream\nx endstream\n" * 25_000,
        b"1 0 obj << /Type /ObjStm >> stream\n" + b"endstream stream\n" * 80_000,
        b"<<" * 700_000,
        b"9" * 1_500_000,
        b"\n" * 1_500_000,
    ],
    ids=["unended", "many", "repeated", "nested", "digits", "blank"],
)
def test_time_is_bounded_by_the_size_of_the_file(content: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(Invalid):
        prepare_pdf(b"%PDF-1.4\n" + content + b"%%EOF", 10, field="file")
    assert time.process_time() - began < 2


def test_flipped_bytes_cost_at_most_the_file() -> None:
    dice, data = random.Random(1), pdf(3)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(Invalid):
            prepare_pdf(bytes(broken), 10, field="file")
