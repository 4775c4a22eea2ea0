"""Images and PDF files are read as text."""

import base64
import io
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from PIL import Image, ImageDraw, ImageFont

from pipeline.claude.request_body import content_of
from pipeline.stages.files.pictures import PictureLimits, prepare_image
from tests.local.simulated.conftest import SONNET, answer_of, asking, schema_of

pytest.importorskip("tesserocr", reason="needs the extra `local`")

LEGIBILITY = {"type": "string", "enum": ["legible", "partly", "illegible"]}
TYPES = {"type": "string", "enum": ["invoice", "receipt", "letter", "other"]}


def picture(*lines: str, colour: str = "white") -> bytes:
    image = Image.new("RGB", (600, 60 + 44 * len(lines)), colour)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((30, 30 + 44 * number), line, "black", ImageFont.load_default(26))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def as_content(data: bytes, media_type: str = "image/png", kind: str = "image") -> list[Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return [{"role": "user", "content": [{"type": kind, "source": source}]}]


async def test_what_an_image_says_is_read(client: AsyncAnthropic) -> None:
    data = picture("INVOICE", "Invoice no: 20417", "Date: 2025-03-14", "Total: EUR 48.20")
    config = schema_of(
        document_type=TYPES,
        invoice_number={"type": "string"},
        total={"type": "number"},
        legibility=LEGIBILITY,
    )
    message = await client.messages.create(
        **asking(
            messages=as_content(data),
            output_config=config,
            model=SONNET,
            thinking={"type": "between_tools"},
        )
    )
    assert answer_of(message) == {
        "document_type": "invoice",
        "invoice_number": "20417",
        "total": 48.2,
        "legibility": "legible",
    }
    assert message.usage.input_tokens > 22 * 8


async def test_an_image_without_words_is_illegible(client: AsyncAnthropic) -> None:
    config = schema_of(legibility=LEGIBILITY, unclear={"type": "boolean"})
    message = await client.messages.create(
        **asking(messages=as_content(picture(colour="black")), output_config=config)
    )
    assert answer_of(message) == {"legibility": "illegible", "unclear": True}


async def test_a_broken_image_is_a_400(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="Could not process image"):
        await client.messages.create(**asking(messages=as_content(picture("x")[:80])))


async def test_a_scanned_pdf_is_read_like_an_image(client: AsyncAnthropic) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(picture("RECEIPT", "Total: 7.50"))).save(out, "PDF")
    message = await client.messages.create(
        **asking(
            messages=as_content(out.getvalue(), "application/pdf", "document"),
            output_config=schema_of(total={"type": "string"}),
        )
    )
    assert answer_of(message) == {"total": "7.50"}
    assert message.usage.input_tokens > 1500


async def test_the_parts_of_a_long_picture_are_read_together(client: AsyncAnthropic) -> None:
    lines = ["RECEIPT", *(f"Coffee no. {row}   {row}.20" for row in range(60)), "Total: 72.00"]
    limits = PictureLimits(max_pixels=50_000_000, long_edge=1000)
    parts = prepare_image(picture(*lines), "image/png", limits, field="file")
    assert len(parts) == 3
    config = schema_of(document_type=TYPES, total={"type": "number"}, legibility=LEGIBILITY)
    message = await client.messages.create(
        **asking(
            messages=[{"role": "user", "content": content_of(parts)}],
            output_config=config,
            model=SONNET,
            thinking={"type": "between_tools"},
        )
    )
    assert answer_of(message)["document_type"] == "receipt"
    assert answer_of(message)["legibility"] == "legible"
