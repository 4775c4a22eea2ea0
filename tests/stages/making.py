"""Files made for tests: right ones, wrong ones, hostile ones."""

import io
import struct
import zlib

from PIL import Image
from pypdf import PdfWriter

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def picture(
    size: tuple[int, int] = (40, 20),
    *,
    file_format: str = "PNG",
    mode: str = "RGB",
    colour: int | tuple[int, ...] = RED,
    **options: bytes | int,
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, file_format, **options)
    return buffer.getvalue()


def two_halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return image


def turned_by_exif(orientation: int = 6) -> bytes:
    """A JPEG whose EXIF says how to turn it; 6: a quarter clockwise."""
    image, exif = two_halves(), Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def animation(file_format: str = "GIF") -> bytes:
    frames = [Image.new("RGB", (40, 20), colour) for colour in (RED, BLUE)]
    buffer = io.BytesIO()
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_header(width: int, height: int, *, body: bytes = b"") -> bytes:
    """A PNG of which little more than the header exists."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def png_bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A small file that decodes to more than a gigabyte."""
    return png_header(width, height, body=zlib.compress(bytes(width * 3 + 1) * 64, 9))


def pdf(pages: int = 1, *, password: str | None = None) -> bytes:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=200, height=200)
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def pdf_of(objects: dict[int, bytes]) -> bytes:
    """A PDF written by hand; object 1 is the catalogue."""
    body, offsets = b"%PDF-1.4\n", {}
    for number, content in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    entries = b"".join(b"%010d 00000 n \n" % offsets[number] for number in sorted(offsets))
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(offsets) + 1, entries)
    trailer = b"trailer\n<< /Root 1 0 R /Size %d >>\n" % (len(offsets) + 1)
    return body + table + trailer + b"startxref\n%d\n%%%%EOF" % len(body)
