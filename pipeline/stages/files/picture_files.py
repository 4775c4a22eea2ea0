"""Picture files as they come, made files that any decoder reads: kept is what shows the picture.

Viewers show a picture whose caption has a wrong checksum, whose colour profile is broken, or
whose last bytes were lost; decoders refuse some of that, and the API may. So whatever lies beside
the picture is left out (texts, profiles, thumbnails, what follows the end), and an end that is
missing is put there. How much of the picture itself is missing is then measured.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from PIL import Image as Pillow

from pipeline.model.questions import ImageType

FORMATS: Final[dict[ImageType, str]] = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
"""Pillow's names."""
DECODING_ERRORS: Final = (
    ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_VERIFIED = frozenset({b"IHDR", b"PLTE"})
"""Without these right there is no picture, so their checksums count."""
_PNG_KEPT = _PNG_VERIFIED | {b"tRNS", b"IDAT"}
_PNG_SAMPLES = {0: 1, 2: 3}
"""Numbers that make a colour, by colour type: of grey and of true colours without alpha."""
_PNG_PALETTE = 3
_JPEG_END = b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""What ends a scan: neither a stuffed byte nor a restart."""
_JPEG_SCAN = 0xDA
_JPEG_BESIDE = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
"""APP1 to APP13, APP15 and comments; APP0 and APP14 say how colours are coded."""
_JPEG_FINEST = (63, 0)
"""Last coefficient of a scan, and bits it leaves for later: after such a scan nothing is coarse."""
_JPEG_UNFILLED = (126, 130)
"""The grey that a decoder leaves where data is missing, with room for CMYK, which is inverted."""
_ROWS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file, reduced to what shows the picture.

    Args:
        media_type: What it is.
        data: The file.
        exif: Its EXIF data, where it lay outside `data`; may be broken.
        is_whole: Whether its end was there; of a GIF decoding shows that.
        missing: The share that is known to be missing without decoding, from 0 to 1.
    """

    media_type: ImageType
    data: bytes
    exif: bytes = b""
    is_whole: bool = True
    missing: float = 0.0


def read_picture_file(data: bytes, media_type: ImageType) -> PictureFile:
    """Reduce a file to what shows the picture; what is not understood stays as it is.

    Args:
        data: Begins as files of that type do.
        media_type: What it is.
    """
    match media_type:
        case "image/png":
            return _read_png(data)
        case "image/jpeg":
            return _read_jpeg(data)
        case "image/webp":
            return _read_webp(data)
        case _:
            return PictureFile(media_type, data)


def claimed_size(file: PictureFile) -> tuple[int, int]:
    """Width and height by the header of a WebP file, 0 where it has none; 0 of other types.

    Of these Pillow reports the size before it takes memory for the picture; of WebP afterwards.
    """
    data = file.data
    match data[12:16] if file.media_type == "image/webp" else b"":
        case b"VP8X":
            width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = (
                int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28)
            )
        case _:
            width, height = 0, 0
    return width, height


def missing_share(file: PictureFile, decoded: Pillow.Image) -> float:
    """How much of a picture a damaged file lacks, from 0 to 1.

    Args:
        file: The file.
        decoded: What was decoded of it; of a JPEG it may be scaled.
    """
    match file.media_type:
        case "image/png" | "image/gif":
            return _untouched_rows(file, decoded) / decoded.height
        case "image/jpeg":
            return max(file.missing, _unfilled_rows(decoded) / decoded.height)
        case _:
            return file.missing


def _read_png(data: bytes) -> PictureFile:
    kept, exif, is_whole, header = [_PNG_MAGIC], b"", False, b""
    for kind, found, checksum in _png_chunks(data):
        header = header or found
        body = _png_transparency(header, found) if kind == b"tRNS" else found
        if kind == b"IEND":
            is_whole = True
            break
        if kind == b"eXIf":
            exif = exif or body
        elif kind in _PNG_KEPT and body:
            right = struct.pack(">I", zlib.crc32(kind + body))
            verified = checksum if kind in _PNG_VERIFIED else right
            kept += (struct.pack(">I", len(body)), kind, body, verified)
    return PictureFile("image/png", b"".join([*kept, _PNG_END]), exif, is_whole)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, body and checksum; the last ones may be cut off."""
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        yield data[at + 4 : at + 8], data[at + 8 : end], data[end : end + 4]
        at = end + 4


def _png_transparency(header: bytes, body: bytes) -> bytes:
    """The transparent colour in the eight bits that Pillow compares; nothing where there is none.

    Of a palette it is an alpha for each colour. Types that have an alpha channel take none.
    """
    if len(header) < 10:  # noqa: PLR2004 - up to the colour type
        return b""
    depth, colours = header[8], header[9]
    if colours == _PNG_PALETTE:
        return body[:256]
    samples = struct.unpack(f">{len(body) // 2}H", body[: len(body) // 2 * 2])
    if colours not in _PNG_SAMPLES or len(samples) < _PNG_SAMPLES[colours]:
        return b""
    levels = [
        sample >> 8 if depth == 16 else min(255, sample * 255 // (2**depth - 1))  # noqa: PLR2004
        for sample in samples[: _PNG_SAMPLES[colours]]
    ]
    return struct.pack(f">{len(levels)}H", *levels)


def _untouched_rows(file: PictureFile, decoded: Pillow.Image) -> int:
    """How many rows a decoder leaves as they were: seen by decoding over another colour."""
    with Pillow.open(io.BytesIO(file.data), formats=[FORMATS[file.media_type]]) as other:
        other.im = Pillow.new(other.mode, other.size, 255).im
        with suppress(*DECODING_ERRORS):
            other.load()
        other.tile = []  # what is there is all there is
        rows = ((0, top, decoded.width, top + 1) for top in range(decoded.height))
        return sum(decoded.crop(row).tobytes() != other.crop(row).tobytes() for row in rows)


def _read_jpeg(data: bytes) -> PictureFile:
    kept, exif, missing = [data[:2]], b"", 1.0
    for at, end in _jpeg_segments(data):
        segment = data[at:end]
        if segment == _JPEG_END:
            return PictureFile("image/jpeg", b"".join([*kept, _JPEG_END]), exif)
        if segment[1] not in _JPEG_BESIDE:
            kept.append(segment)
        elif segment[4:10] == b"Exif\0\0":
            exif = exif or segment[10:]
        if _is_finest_scan(segment):
            missing = 0.0
    file = b"".join([*kept, _JPEG_END])
    return PictureFile("image/jpeg", file, exif, is_whole=False, missing=missing)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each, a scan with its data; the last one may be cut off."""
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at = found.start()
        if data.startswith(_JPEG_END, at):
            yield at, at + 2
            return
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _JPEG_SCAN:
            following = _JPEG_MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield at, end
        at = end


def _is_finest_scan(segment: bytes) -> bool:
    """Whether it holds the first component, brightness mostly, to the last bit.

    Of a progressive file earlier scans show the whole picture, but blurred.
    """
    if segment[1] != _JPEG_SCAN or len(segment) < 5:  # noqa: PLR2004 - up to the number of components
        return False
    last, bits = 6 + 2 * segment[4], 7 + 2 * segment[4]
    return len(segment) > bits and (segment[last], segment[bits] & 0x0F) == _JPEG_FINEST


def _unfilled_rows(picture: Pillow.Image) -> int:
    """How many rows at its end a JPEG decoder left grey."""
    darkest, brightest = _JPEG_UNFILLED
    bottom = picture.height
    while bottom > 0:
        rows = picture.crop((0, max(0, bottom - _ROWS_AT_ONCE), picture.width, bottom))
        levels = [level for band in rows.split() for level in _extremes(band)]
        if min(levels) < darkest or max(levels) > brightest:
            break
        bottom -= _ROWS_AT_ONCE
    return picture.height - max(0, bottom)


def _extremes(band: Pillow.Image) -> tuple[int, int]:
    levels = [level for level, count in enumerate(band.histogram()) if count]
    return levels[0], levels[-1]


def _read_webp(data: bytes) -> PictureFile:
    """Put zeros where the last bytes are missing: a decoder wants all that the header speaks of."""
    declared = 8 + int.from_bytes(data[4:8], "little")
    if declared <= len(data):
        return PictureFile("image/webp", data)
    at, length = _last_chunk(data)
    missing = max(0, at + 8 + length - len(data))
    share = min(1.0, missing / (1 + length))
    if share > 1 / 2:
        return PictureFile("image/webp", data, is_whole=False, missing=share)
    # Zeros may be longer codes than what was lost, so there are more of them; lengths are even.
    zeros = bytes(1024 + 8 * missing) if missing else b""
    file = bytearray(data + zeros + bytes(len(data) % 2))
    for place in (4, at + 4):
        file[place : place + 4] = (len(file) - place - 4).to_bytes(4, "little")
    return PictureFile("image/webp", bytes(file), is_whole=False, missing=share)


def _last_chunk(webp: bytes) -> tuple[int, int]:
    """Where the last chunk begins, and the length that it says its content has."""
    at = 12
    while True:
        length = int.from_bytes(webp[at + 4 : at + 8], "little")
        following = at + 8 + length + length % 2
        if following + 8 > len(webp):
            return at, length
        at = following
