"""PDF files."""

import contextlib
import random

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
NO_PAGES = pdf_of({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [] >>"})


def refused(data: bytes, max_pages: int = 10) -> Invalid:
    with pytest.raises(Invalid, match="file: ") as caught:
        prepare_pdf(data, max_pages, field="file")
    return caught.value


@pytest.mark.parametrize("data", [pdf(), pdf(10), KIDS_OF_THEMSELVES, DEEP])
def test_a_pdf_within_the_limit_is_sent_as_it_is(data: bytes) -> None:
    assert prepare_pdf(data, 10, field="file").data == data


@pytest.mark.parametrize("data", [pdf(11), LIES_ABOUT_ITS_COUNT])
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


def test_flipped_bytes_cost_at_most_the_file() -> None:
    dice, data = random.Random(1), pdf(3)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(Invalid):
            prepare_pdf(bytes(broken), 10, field="file")
