"""Images and PDF files in requests: are they what they say, and within the limits."""

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from pipeline.local.simulated.api_errors import ApiError, invalid

MAX_BASE64 = 10 * 1024 * 1024
MAX_SIDE = 8000
MAX_SIDE_OF_MANY = 2000
MANY_IMAGES = 20
MAX_IMAGES = 600
MAX_PDF_PAGES = 600
PDF = "application/pdf"
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
_IMAGE_TYPES = tuple(f"image/{name.lower()}" for name in _FORMATS)


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
        raise _too_large(limit, too_large)


def _too_large(limit: int, paths: Sequence[str]) -> ApiError:
    return ApiError(
        400,
        f"{paths[0]}.source.base64: At least one of the image dimensions exceed max "
        f"allowed size: {limit} pixels",
        details={
            "error_code": "image_dimensions_too_large",
            "max_side_length_pixels": limit,
            "paths": paths,
        },
    )


def _pdf(data: bytes, path: str) -> Media:
    if not data[:1024].lstrip().startswith(b"%PDF-"):
        raise invalid(f"{path}.source.base64", "The PDF specified was not valid.")
    return Media(PDF, data, 0, 0, path)


def _image(data: bytes, media_type: str, path: str) -> Media:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            actual, (width, height) = Image.MIME[str(image.format)], image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow's limit on pixels is above that of a square of the longest sides.
        raise _too_large(MAX_SIDE, [path]) from None
    except (OSError, ValueError, SyntaxError):
        raise invalid(f"{path}.source.base64", "Could not process image") from None
    if actual != media_type:
        raise invalid(
            f"{path}.source.base64.data",
            f"Image does not match the provided media type {media_type}",
        )
    return Media(media_type, data, width, height, path)
