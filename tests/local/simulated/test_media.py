"""Images and PDF files in requests."""

import base64
import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image
from pypdf import PdfWriter

from pipeline.local.simulated.api_errors import ApiError
from pipeline.local.simulated.media_limits import Media, check_together, read_media
from pipeline.local.simulated.stand_in.file_text import count_pdf_tokens


def picture(form: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, form)
    return out.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """The head of an image that nobody wants to decode."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunks + struct.pack(">I", 1) + b"IDAT"


def block(data: bytes, media_type: str = "image/png", kind: str = "image") -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {
        "type": kind,
        "source": {"type": "base64", "media_type": media_type, "data": encoded},
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (block(picture("JPEG")), "does not match"),
        (block(b"plain text"), "Could not process"),
        (block(b"\x89PNG\r\n\x1a\n"), "Could not process"),
        (block(b"\xff\xd8\xff\xe0", "image/jpeg"), "Could not process"),
        (block(picture(), "image/tiff"), "media_type"),
        (block(b"", "image/png"), "data"),
        (block(b"x" * 8_000_000), "10 MB"),
        (block(b"not a pdf", "application/pdf", "document"), "PDF"),
        ({"type": "image"}, "source"),
        ({"type": "image", "source": {"type": "url", "url": "https://x"}}, "base64"),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "?"},
            },
            "base64",
        ),
    ],
)
def test_a_file_that_is_not_what_it_says_is_a_400(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        read_media(given, "messages.0.content.0")
    assert refused.value.status == 400
    assert "messages.0.content.0" in refused.value.message


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_size_of_an_image_is_read_from_its_head(form: str) -> None:
    media = read_media(block(picture(form, (123, 45)), f"image/{form.lower()}"), "x")
    assert (media.width, media.height) == (123, 45)


@pytest.mark.parametrize("lossless", [True, False])
def test_every_kind_of_webp_is_understood(lossless: bool) -> None:
    out = io.BytesIO()
    Image.new("RGB", (77, 55), "white").save(out, "WEBP", lossless=lossless)
    media = read_media(block(out.getvalue(), "image/webp"), "x")
    assert (media.width, media.height) == (77, 55)


@pytest.mark.parametrize("size", [(8001, 10), (10_000, 10_000), (20_000, 20_000)])
def test_an_image_above_8000_pixels_is_refused_with_its_place(size: tuple[int, int]) -> None:
    with pytest.raises(ApiError) as refused:
        check_together([read_media(block(huge_png(*size)), "messages.0.content.1")])
    assert refused.value.details == {
        "error_code": "image_dimensions_too_large",
        "max_side_length_pixels": 8000,
        "paths": ["messages.0.content.1"],
    }


def test_many_images_have_to_be_smaller() -> None:
    images = [read_media(block(huge_png(2001, 10)), f"messages.0.content.{i}") for i in range(21)]
    check_together(images[:20])
    with pytest.raises(ApiError, match="2000"):
        check_together(images)


def pdf(pages: int, password: str | None = None) -> Media:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(72, 72)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return Media("application/pdf", out.getvalue(), 0, 0, "messages.0.content.0")


@pytest.mark.parametrize(
    ("media", "said"),
    [
        (pdf(1, "secret"), "password"),
        (pdf(601), "600"),
        (Media("application/pdf", b"%PDF-1.7 nothing", 0, 0, "x"), "not valid"),
    ],
)
def test_a_pdf_that_cannot_be_read_is_a_400(media: Media, said: str) -> None:
    with pytest.raises(ApiError, match=said):
        count_pdf_tokens(media)


def test_each_page_of_a_pdf_counts() -> None:
    assert count_pdf_tokens(pdf(3)) == 3 * count_pdf_tokens(pdf(1))
