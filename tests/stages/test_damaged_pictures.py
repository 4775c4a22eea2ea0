"""Damage that does a picture no harm is no reason to refuse it; a picture that is not there is."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageDraw, PngImagePlugin

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image as Sent
from pipeline.model.questions import ImageType
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.pictures import PictureLimits, prepare_image

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")

LIMITS = PictureLimits(max_pixels=1_000_000, long_edge=1000)
TYPES: dict[str, ImageType] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
}
SIZE = (300, 400)


def page(mode: str = "RGB") -> Image.Image:
    """Writing from top to bottom; no row is white alone, and none grey."""
    dice = random.Random(3)
    image = Image.new("RGB", SIZE, "white")
    for row in range(0, SIZE[1], 20):
        colour = (dice.randrange(100), 0, dice.randrange(200))
        ImageDraw.Draw(image).text((5, row), f"{row} Total 119.00", fill=colour, font_size=18)
    ImageDraw.Draw(image).line((0, 0, 0, SIZE[1]), fill="red", width=3)
    return image.convert(mode)


def saved(
    file_format: str,
    image: Image.Image | None = None,
    **options: Any,  # noqa: ANN401 - Pillow's
) -> bytes:
    file = io.BytesIO()
    (image or page()).save(file, file_format, **options)
    return file.getvalue()


def sent(data: bytes, file_format: str) -> Sent:
    (only,) = prepare_image(data, TYPES[file_format], LIMITS, field="file")
    return only


def likeness(data: bytes, file_format: str) -> float:
    """The share of pixels that a model sees as they were."""
    seen = Image.open(io.BytesIO(sent(data, file_format).data)).convert("L")
    return alike(seen, page("L"))


def alike(one: Image.Image, other: Image.Image) -> float:
    """The share of pixels that are nearly as light in both."""
    assert one.size == other.size
    return sum(ImageChops.difference(one, other).histogram()[:40]) / (one.width * one.height)


def refused(data: bytes, file_format: str) -> InvalidEvent:
    with pytest.raises(InvalidEvent, match="file: ") as caught:
        prepare_image(data, TYPES[file_format], LIMITS, field="file")
    return caught.value


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", right)


def png_with(
    extra: bytes, *, before: bytes = b"IDAT", options: dict[str, Any] | None = None
) -> bytes:
    data = saved("PNG", **(options or {}))
    at = data.index(before) - 4
    return data[:at] + extra + data[at:]


def jpeg_with(marker: int, body: bytes) -> bytes:
    data = saved("JPEG", quality=95)
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def wrong_idat_checksum() -> bytes:
    data = saved("PNG")
    end = data.index(b"IEND") - 4
    return data[: end - 4] + b"\1\2\3\4" + data[end:]


def stray_bytes() -> bytes:
    data = saved("JPEG", quality=95)
    at = data.index(b"\xff\xdb")
    return data[:at] + b"\0\0\xff" + data[at:]


MEGABYTES = random.Random(1).randbytes(2 << 20).translate(bytes(65 + n % 26 for n in range(256)))
TEXTS = PngImagePlugin.PngInfo()
TEXTS.add_text("Raw profile", MEGABYTES.decode(), zip=True)
TEXTS.add_itxt("Comment", MEGABYTES.decode(), zip=True)

BESIDE_THE_PICTURE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "megabytes of zTXt and iTXt": ("PNG", lambda: saved("PNG", pnginfo=TEXTS)),
    "zTXt that inflates to 60 MB": (
        "PNG",
        lambda: png_with(chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(60 << 20)))),
    ),
    "zTXt that is not deflate": ("PNG", lambda: png_with(chunk(b"zTXt", b"x\0\0nothing"))),
    "tEXt with a wrong checksum": ("PNG", lambda: png_with(chunk(b"tEXt", b"a\0b", 7))),
    "tEXt after the pixels, wrong": (
        "PNG",
        lambda: png_with(chunk(b"tEXt", b"a\0b", 7), before=b"IEND"),
    ),
    "iCCP that is broken": ("PNG", lambda: png_with(chunk(b"iCCP", b"icc\0\0nothing"))),
    "iCCP without an end": ("PNG", lambda: png_with(chunk(b"iCCP", b"icc"))),
    "pHYs, gAMA, cHRM, tIME cut off": (
        "PNG",
        lambda: png_with(b"".join(chunk(k, b"\1") for k in (b"pHYs", b"gAMA", b"cHRM", b"tIME"))),
    ),
    "eXIf that is broken": ("PNG", lambda: png_with(chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"))),
    "tRNS that is too short": ("PNG", lambda: png_with(chunk(b"tRNS", b"\0"))),
    "acTL that is cut off": ("PNG", lambda: png_with(chunk(b"acTL", b"\0\0"))),
    "chunks nobody knows": ("PNG", lambda: png_with(chunk(b"prVt", MEGABYTES, 1))),
    "IDAT with a wrong checksum": ("PNG", wrong_idat_checksum),
    "junk after a PNG": ("PNG", lambda: saved("PNG") + MEGABYTES),
    "EXIF that is broken": ("JPEG", lambda: jpeg_with(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1")),
    "EXIF that points nowhere": (
        "JPEG",
        lambda: jpeg_with(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(200)),
    ),
    "EXIF that is odd": ("JPEG", lambda: jpeg_with(0xE1, b"Exif\0\0what?")),
    "XMP that is broken": ("JPEG", lambda: jpeg_with(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:")),
    "an ICC profile of 3 MB": ("JPEG", lambda: saved("JPEG", icc_profile=MEGABYTES + MEGABYTES)),
    "an ICC segment that is cut off": ("JPEG", lambda: jpeg_with(0xE2, b"ICC_PROFILE\0")),
    "MPF that is broken": ("JPEG", lambda: jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff")),
    "Photoshop's resources, broken": (
        "JPEG",
        lambda: jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff\xff"),
    ),
    "an empty comment": ("JPEG", lambda: jpeg_with(0xFE, b"")),
    "a film after a JPEG": ("JPEG", lambda: saved("JPEG", quality=95) + MEGABYTES),
    "bytes between segments": ("JPEG", stray_bytes),
    "a GIF's comment": ("GIF", lambda: saved("GIF", comment=b"x" * 250)),
    "junk after a GIF": ("GIF", lambda: saved("GIF") + b"\0junk"),
    "XMP and EXIF that are broken, in WebP": (
        "WEBP",
        lambda: saved("WEBP", lossless=True, exif=b"Exif\0\0MM", xmp=b"<x:", icc_profile=b"no"),
    ),
    "junk after a WebP": ("WEBP", lambda: saved("WEBP", lossless=True) + b"junk"),
}


@pytest.mark.parametrize("what", BESIDE_THE_PICTURE)
def test_what_lies_beside_the_picture_does_not_matter(what: str) -> None:
    file_format, make = BESIDE_THE_PICTURE[what]
    assert likeness(make(), file_format) > 0.97


@pytest.mark.parametrize("what", [w for w, (f, _) in BESIDE_THE_PICTURE.items() if f != "WEBP"])
def test_what_is_sent_holds_the_picture_and_little_else(what: str) -> None:
    file_format, make = BESIDE_THE_PICTURE[what]
    assert len(sent(make(), file_format).data) < 100_000


deep = page("L").convert("I").point(lambda level: level * 257).convert("I;16")
FILES: dict[str, tuple[str, bytes]] = {
    "PNG": ("PNG", saved("PNG")),
    "PNG of a palette": ("PNG", saved("PNG", page("P"))),
    "PNG of one bit": ("PNG", saved("PNG", page("1"))),
    "PNG of 16 bits": ("PNG", saved("PNG", deep)),
    "PNG with alpha": ("PNG", saved("PNG", page("RGBA"))),
    "JPEG": ("JPEG", saved("JPEG", quality=95)),
    "JPEG in grey": ("JPEG", saved("JPEG", page("L"), quality=95)),
    "JPEG in CMYK": ("JPEG", saved("JPEG", page("CMYK"), quality=95)),
    "JPEG with restarts": ("JPEG", saved("JPEG", quality=95, restart_marker_rows=1)),
    "progressive JPEG": ("JPEG", saved("JPEG", quality=95, progressive=True)),
    "GIF": ("GIF", saved("GIF")),
    "GIF not interlaced": ("GIF", saved("GIF", interlace=0)),
    "WebP": ("WEBP", saved("WEBP", quality=95)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("cut", [1, 2, 3, 4, 12, 16])
def test_an_end_that_is_missing_costs_nothing(name: str, cut: int) -> None:
    file_format, data = FILES[name]
    whole = likeness(data, file_format)
    assert likeness(data[:-cut], file_format) > whole - 0.05


@pytest.mark.parametrize(
    ("name", "left"),
    [
        (name, left)
        for name in FILES
        for left in (0.3, 0.5, 0.8)
        # Of that only the last bits of brightness are missing then: it can be read.
        if (name, left) != ("progressive JPEG", 0.8)
    ],
)
def test_a_picture_of_which_a_part_is_missing_is_refused(name: str, left: float) -> None:
    file_format, data = FILES[name]
    invalid = refused(data[: int(left * len(data))], file_format)
    assert invalid.reason is DeadLetterReason.BAD_IMAGE


def test_a_progressive_picture_that_lacks_its_last_bits_is_taken() -> None:
    data = FILES["progressive JPEG"][1]
    assert likeness(data[: int(0.9 * len(data))], "JPEG") > 0.9


def test_the_error_says_that_the_picture_is_cut_off() -> None:
    data = saved("PNG")
    assert "more than a twentieth of it is missing" in refused(data[:-4000], "PNG").detail


def test_a_picture_whose_header_is_damaged_is_refused() -> None:
    data = bytearray(saved("PNG"))
    data[18] ^= 1  # of the width
    assert refused(bytes(data), "PNG").reason is DeadLetterReason.BAD_IMAGE


def test_rows_that_cannot_be_decoded_are_missing_rows() -> None:
    raw = bytearray(zlib.decompress(_pixels(saved("PNG"))))
    raw[200 * (1 + 3 * SIZE[0])] = 9  # a filter that there is not
    header = saved("PNG")[:33]
    data = header + chunk(b"IDAT", zlib.compress(bytes(raw))) + chunk(b"IEND", b"")
    assert refused(data, "PNG").reason is DeadLetterReason.BAD_IMAGE


def _pixels(png: bytes) -> bytes:
    at, found = 8, b""
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            found += png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def test_a_black_picture_is_whole() -> None:
    """What a decoder leaves black, or grey, may be what the picture shows."""
    for colour in ("black", (128, 128, 128)):
        for file_format in ("PNG", "JPEG", "GIF"):
            blank = Image.new("RGB", SIZE, colour)
            sent(saved(file_format, blank), file_format)
            if file_format != "JPEG":
                sent(saved(file_format, blank)[:-2], file_format)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])  # fmt: skip  # noqa: E501
def test_orientation_is_read_wherever_it_stands(
    file_format: str, orientation: int, turn: Image.Transpose
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(file_format, exif=exif, quality=95)
    upright = Image.open(io.BytesIO(sent(data, file_format).data)).convert("L")
    assert alike(upright, page("L").transpose(turn)) > 0.95


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert likeness(saved("JPEG", exif=exif, quality=95), "JPEG") > 0.97


def test_of_several_pictures_in_a_jpeg_the_first_is_sent() -> None:
    data = saved("MPO", save_all=True, append_images=[Image.new("RGB", SIZE, "red")], quality=95)
    assert likeness(data, "JPEG") > 0.97
    assert len(sent(data, "JPEG").data) < len(data)


def test_a_later_frame_that_is_damaged_does_not_matter() -> None:
    later = [Image.new("P", SIZE, colour) for colour in (1, 2, 3)]
    data = saved("GIF", page("P"), save_all=True, append_images=later)
    first = saved("GIF", page("P"), save_all=True, append_images=later[:1])
    for cut in range(len(first) - 300, len(first), 7):
        assert likeness(data[:cut], "GIF") > 0.9


@pytest.mark.parametrize(
    ("file_format", "begin", "filling"),
    [
        ("JPEG", b"\xff\xd8\xff", b"\xff"),
        ("JPEG", b"\xff\xd8\xff\xda\0\2", b"\xff\0"),
        ("JPEG", b"\xff\xd8", b"\xff\xe1\0\2"),
        ("PNG", b"\x89PNG\r\n\x1a\n", b"\0\0\0\0tEXtabcd"),
        ("WEBP", b"RIFF\xff\xff\xff\0WEBP", b"VP8 \0\0\0\0"),
        ("GIF", b"GIF89a\1\0\1\0\0\0\0", b"!\xfe\0"),
    ],
)
def test_megabytes_of_nothing_cost_no_more_than_reading_them(
    file_format: str, begin: bytes, filling: bytes
) -> None:
    """A second or so each: what grows with the square of them would take hours."""
    data = begin + filling * ((4 << 20) // len(filling))
    assert refused(data, file_format).reason is DeadLetterReason.BAD_IMAGE
