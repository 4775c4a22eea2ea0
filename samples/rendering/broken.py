"""Broken events: what each is, and which dead letter it must become."""

import io
import re
import struct
import zlib
from dataclasses import dataclass, field

from pypdf import PdfReader, PdfWriter

from rendering.invoice import to_sheets
from rendering.invoices import PDF_INVOICES
from rendering.pdf import to_pdf
from rendering.picture import Look, encode, to_image
from rendering.tables import taxi_receipt

FAR_TOO_LARGE = 9_000_000
BOMB_SIDE = 20_000

JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Broken:
    """An event that no stage takes.

    Args:
        name: Of its file.
        value: Its bytes; None where they are made when it is published.
        reason: The `dlq-reason` of its dead letter.
        note: What is wrong with it.
    """

    stage: str
    name: str
    value: bytes | None
    reason: str
    note: str
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def broken_events() -> list[Broken]:
    """All of them."""
    return [*_tickets(), *_images(), *_invoices()]


def _tickets() -> list[Broken]:
    def ticket(name: str, value: bytes | None, reason: str, note: str, key: str) -> Broken:
        return Broken("tickets", name, value, reason, note, key, JSON)

    return [
        ticket(
            "not-json.txt",
            b"The printer on the second floor is jammed again. Kind regards, Ines\n",
            "invalid_json",
            "prose where JSON belongs",
            "C-118",
        ),
        ticket(
            "cut-off.json",
            b'{"id": "T-9002", "body": "The export button has',
            "invalid_json",
            "JSON that ends in the middle of a string",
            "C-131",
        ),
        ticket(
            "array.json",
            b'["T-9003", "Please call me back"]\n',
            "invalid_event",
            "JSON, but not an object",
            "C-142",
        ),
        ticket(
            "missing-body.json",
            b'{"id": "T-9004", "subject": "Where is my refund?", "customer_id": "C-204"}\n',
            "invalid_event",
            "the field `body` is missing",
            "C-204",
        ),
        ticket(
            "body-is-a-number.json",
            b'{"id": "T-9005", "body": 4417, "customer_id": "C-173"}\n',
            "invalid_event",
            "the field `body` has the wrong type",
            "C-173",
        ),
        ticket(
            "latin-1.json",
            '{"id": "T-9006", "body": "Die Rechnung für März fehlt."}\n'.encode("latin-1"),
            "invalid_json",
            "JSON in ISO 8859-1, not in UTF-8",
            "C-236",
        ),
        ticket(
            "far-too-large",
            None,
            "too_large",
            "larger than `stages.tickets.max_event_bytes`",
            "C-190",
        ),
    ]


def _images() -> list[Broken]:
    png = encode(to_image(taxi_receipt(), Look(1.2)), "PNG")
    bitmap = io.BytesIO()
    to_image(taxi_receipt(), Look(0.3)).convert("1").save(bitmap, "BMP")

    def image(name: str, value: bytes, reason: str, note: str, identity: str) -> Broken:
        headers = {"content-type": "image/png", "event-id": identity}
        return Broken("images", name, value, reason, note, identity, headers)

    return [
        Broken(
            "images",
            "bitmap.bmp",
            bitmap.getvalue(),
            "unsupported_media",
            "a picture of a type that is not taken",
            "D-9001",
            {"content-type": "image/bmp", "event-id": "D-9001"},
        ),
        image(
            "error-page.png",
            b"<!doctype html><title>404</title><p>The file you asked for has been moved.</p>\n",
            "unsupported_media",
            "a web page that says it is a PNG",
            "D-9002",
        ),
        image(
            "damaged.png",
            png[:8] + bytes(byte ^ 0x5A for byte in png[8:1200]),
            "bad_image",
            "a PNG signature before bytes that are no PNG",
            "D-9003",
        ),
        image(
            "truncated.png",
            png[: len(png) // 2],
            "bad_image",
            "the first half of a PNG",
            "D-9004",
        ),
        image(
            "decompression-bomb.png",
            _bomb(),
            "too_large",
            f"a small PNG of {BOMB_SIDE:,} x {BOMB_SIDE:,} pixels",
            "D-9005",
        ),
        Broken(
            "images",
            "without-id.png",
            png,
            "invalid_event",
            "a bare file with neither a key nor the header `event-id`",
            None,
            {"content-type": "image/png"},
        ),
        Broken(
            "images",
            "not-base64.json",
            b'{"id": "D-9007", "file": {"media_type": "image/png", "data": "see attachment"}}\n',
            "invalid_event",
            "a `file` whose data is not base64",
            "D-9007",
            JSON,
        ),
    ]


def _invoices() -> list[Broken]:
    pdf = to_pdf(to_sheets(PDF_INVOICES[2]), "Invoice")
    headers = {"content-type": "application/pdf"}
    return [
        Broken(
            "invoices",
            "encrypted.pdf",
            _encrypted(pdf),
            "bad_pdf",
            "a PDF that needs a password",
            "I-9001",
            headers | {"event-id": "I-9001"},
        ),
        Broken(
            "invoices",
            "truncated.pdf",
            pdf[:300],
            "bad_pdf",
            "the first 300 bytes of a PDF",
            "I-9002",
            headers | {"event-id": "I-9002"},
        ),
        Broken(
            "invoices",
            "without-content.json",
            b'{"id": "I-9003", "vendor": "Pellworth Signs Ltd"}\n',
            "invalid_event",
            "none of `text`, `file` and `uri`",
            "I-9003",
            JSON,
        ),
        Broken(
            "invoices",
            "forbidden-uri.json",
            b'{"id": "I-9004", "uri": "http://169.254.169.254/latest/meta-data/"}\n',
            "forbidden_uri",
            "a `uri` that leads into a private network",
            "I-9004",
            JSON,
        ),
    ]


def _encrypted(pdf: bytes) -> bytes:
    """Encrypt with a password that is nowhere written down but here.

    RC4, because AES takes random bytes and a library that the project does not need.
    """
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.encrypt("sesame-opens-nothing", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    # The second identifier is random and part of nothing else; the first is part of the key.
    return re.sub(rb"(/ID \[ (<\w+>) )<\w+>", rb"\1\2", buffer.getvalue())


def _bomb() -> bytes:
    """A valid black PNG, one bit a pixel, a thousand times larger decoded than it is."""
    packer = zlib.compressobj(9)
    row = bytes(1 + BOMB_SIDE // 8)
    packed = b"".join(packer.compress(row) for _ in range(BOMB_SIDE)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 1, 0, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", packed), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
