"""What a file is."""

import pytest

from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import bare_type, checked_type, says_nothing, sniff
from tests.stages.making import pdf, picture


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture(), "image/png"),
        (picture(file_format="JPEG"), "image/jpeg"),
        (picture(file_format="GIF"), "image/gif"),
        (picture(file_format="WEBP"), "image/webp"),
        (pdf(), "application/pdf"),
        (b"junk before" + pdf(), "application/pdf"),
        (picture(file_format="BMP"), "image/bmp"),
        (picture(file_format="TIFF"), "image/tiff"),
        (b"", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"MZ\x90", None),
    ],
)
def test_a_file_is_what_its_first_bytes_say(data: bytes, media_type: str | None) -> None:
    assert sniff(data) == media_type


@pytest.mark.parametrize(
    ("declared", "bare"),
    [
        ("image/png", "image/png"),
        ("Image/PNG; charset=binary", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("application/x-pdf", "application/pdf"),
        ("image/pjpeg", "image/jpeg"),
        ("image/x-png", "image/png"),
        ("'image/jpg'", "image/jpeg"),
        (".JPG", "image/jpeg"),
        ("text/pdf;charset=utf-8", "application/pdf"),
        ("", ""),
    ],
)
def test_a_content_type_is_reduced_to_what_matters(declared: str, bare: str) -> None:
    assert bare_type(declared) == bare


@pytest.mark.parametrize("declared", ["image/png", "image/x-png", "image/apng", "png"])
def test_a_file_that_is_what_it_says_passes(declared: str) -> None:
    assert checked_type(picture(), declared, field="file") == "image/png"


@pytest.mark.parametrize(
    "declared",
    ["", "application/octet-stream", "Binary/Octet-Stream; x=y", "*/*", "image/*", "unknown"],
)
def test_a_type_that_says_nothing_leaves_it_to_the_bytes(declared: str) -> None:
    assert says_nothing(declared)
    assert checked_type(picture(), declared, field="file") == "image/png"
    assert checked_type(pdf(), declared, field="file") == "application/pdf"


@pytest.mark.parametrize("before", [0, 1, 500, 1024])
def test_a_pdf_may_have_something_before_its_header(before: int) -> None:
    assert sniff(b"x" * before + pdf()) == "application/pdf"
    assert sniff(b"x" * 1025 + pdf()) is None


@pytest.mark.parametrize(
    ("data", "declared", "said"),
    [
        (picture(), "image/jpeg", "begins like image/png"),
        (picture(), "text/plain", "not taken"),
        (picture(), "image/jxl", "not taken"),
        (picture(), "image/tiff", "begins like image/png"),
        (b"%!PS", "application/pdf", "does not begin like one"),
        (picture(file_format="PPM"), "image/x-portable-pixmap", "not taken"),
        (b"{}", "application/octet-stream", "not taken"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(data: bytes, declared: str, said: str) -> None:
    with pytest.raises(InvalidEvent, match=f"file: .*{said}") as caught:
        checked_type(data, declared, field="file")
    assert caught.value.reason is DeadLetterReason.UNSUPPORTED_MEDIA
