"""Images and PDF files in requests: are they what they say, and within the limits."""

import base64
import binascii
import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.local.simulated.api_errors import ApiError, invalid

MAX_BASE64 = 10 * 1024 * 1024
MAX_SIDE = 8000
MAX_SIDE_OF_MANY = 2000
MANY_IMAGES = 20
MAX_IMAGES = 600
MAX_PDF_PAGES = 600
PDF = "application/pdf"
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")


@dataclass(frozen=True, slots=True)
class Media:
    """A file in a request."""

    media_type: str
    data: bytes = field(repr=False)
    width: int
    height: int
    path: str

    @property
    def digest(self) -> bytes:
        return hashlib.blake2b(self.data, digest_size=16).digest()


def read_media(block: Mapping[str, Any], path: str) -> Media:
    """The file of an `image` or `document` block."""
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise invalid(f"{path}.source", "Field required")
    if source.get("type") != "base64":
        raise invalid(
            f"{path}.source.type", "the simulated API takes base64 sources only: it fetches nothing"
        )
    media_type, encoded = source.get("media_type"), source.get("data")
    expected = _IMAGE_TYPES if block["type"] == "image" else (PDF,)
    if media_type not in expected:
        options = ", ".join(repr(option) for option in expected)
        raise invalid(f"{path}.source.base64.media_type", f"Input should be {options}")
    if not isinstance(encoded, str) or not encoded:
        raise invalid(f"{path}.source.base64.data", "Field required")
    if block["type"] == "image" and len(encoded) > MAX_BASE64:
        raise invalid(
            f"{path}.source.base64",
            f"image exceeds 10 MB maximum: {len(encoded)} bytes > {MAX_BASE64} bytes",
        )
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{path}.source.base64.data", "Invalid base64 data") from None
    return _pdf(data, path) if media_type == PDF else _image(data, str(media_type), path)


def check_together(images: Sequence[Media]) -> None:
    """The limits that hold over all images of a request."""
    if len(images) > MAX_IMAGES:
        raise ApiError(400, f"messages: too many images: {len(images)} > {MAX_IMAGES}")
    limit = MAX_SIDE_OF_MANY if len(images) > MANY_IMAGES else MAX_SIDE
    too_large = [image.path for image in images if max(image.width, image.height) > limit]
    if too_large:
        raise ApiError(
            400,
            f"{too_large[0]}.source.base64: At least one of the image dimensions exceed max "
            f"allowed size: {limit} pixels",
            details={
                "error_code": "image_dimensions_too_large",
                "max_side_length_pixels": limit,
                "paths": too_large,
            },
        )


def _pdf(data: bytes, path: str) -> Media:
    if not data[:1024].lstrip().startswith(b"%PDF-"):
        raise invalid(f"{path}.source.base64", "The PDF specified was not valid.")
    return Media(PDF, data, 0, 0, path)


def _image(data: bytes, media_type: str, path: str) -> Media:
    actual = sniff(data)
    if actual is None:
        raise invalid(f"{path}.source.base64", "Could not process image")
    if actual != media_type:
        raise invalid(
            f"{path}.source.base64.data",
            f"Image does not match the provided media type {media_type}",
        )
    try:
        width, height = _SIZES[actual](data)
    except (struct.error, IndexError, ValueError):
        raise invalid(f"{path}.source.base64", "Could not process image") from None
    if min(width, height) < 1:
        raise invalid(f"{path}.source.base64", "Could not process image")
    return Media(media_type, data, width, height, path)


def sniff(data: bytes) -> str | None:
    """The media type that the first bytes show, if it is one of the four."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        case _:
            raise ValueError("no WebP picture")
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004 - every JPEG marker starts so
            raise ValueError("no JPEG marker")
        while data[at] == 0xFF:  # noqa: PLR2004
            at += 1
        marker = data[at]
        at += 1
        # Start of frame, but not the tables and extensions that share its range.
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if not (0xD0 <= marker <= 0xD8 or marker == 0x01):  # noqa: PLR2004 - those have no length
            (length,) = struct.unpack_from(">H", data, at)
            at += length


_SIZES = {
    "image/png": _png_size,
    "image/jpeg": _jpeg_size,
    "image/gif": _gif_size,
    "image/webp": _webp_size,
}
