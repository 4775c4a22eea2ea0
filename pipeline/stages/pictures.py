"""Images: checked before they are decoded, then made what the model will use.

Order matters. Type and pixel count come from the header, so a decompression bomb is refused
before a pixel of it exists; only then is the image decoded, turned upright, flattened and scaled.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.questions import Image, ImageType

# What Pillow warns of is refused here, or does no harm; a service's log is no place for it.
warnings.filterwarnings("ignore", module=r"PIL\.")

_FORMATS: dict[ImageType, str] = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_SENT_AS_THEY_ARE = frozenset({"RGB", "L", "1", "P"})
_SEND_AT_MOST = 4 << 20
"""Bytes above which an image is coded as JPEG; the API takes 10 MB of base64."""
_JPEG_QUALITY = 90

_DECODING_ERRORS = (
    ArithmeticError, EOFError, LookupError, OSError, SyntaxError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What is taken and what is made of it."""

    max_pixels: int
    long_edge: int


def prepare_image(
    data: bytes, media_type: ImageType, limits: PictureLimits, *, field: str
) -> Image:
    """Check an image and make it what is sent: upright, opaque, one frame, within the long edge.

    An image that is all that already is sent as it is. Equal input gives equal bytes.

    Raises:
        Invalid: `bad_image` where it cannot be decoded, `too_large` where it has too many pixels.
    """
    try:
        with Pillow.open(io.BytesIO(data), formats=[_FORMATS[media_type]]) as picture:
            _check_pixels(picture.size, limits.max_pixels, field)
            if _may_be_sent_as_it_is(picture, data, limits.long_edge):
                picture.load()
                return Image(media_type, data)
            return _encode(_shown(picture, limits.long_edge), media_type)
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise _too_many_pixels(field, limits.max_pixels) from None
    except UnidentifiedImageError:
        raise Invalid(
            DeadLetterReason.BAD_IMAGE, f"{field}: its header is damaged; it cannot be read."
        ) from None
    except _DECODING_ERRORS:
        raise Invalid(
            DeadLetterReason.BAD_IMAGE, f"{field}: it is damaged or cut off; it cannot be decoded."
        ) from None


def _check_pixels(size: tuple[int, int], most: int, field: str) -> None:
    if size[0] * size[1] > most:
        raise _too_many_pixels(field, most)


def _too_many_pixels(field: str, most: int) -> Invalid:
    return Invalid(DeadLetterReason.TOO_LARGE, f"{field}: has more than {most:,} pixels.")


def _may_be_sent_as_it_is(picture: Pillow.Image, data: bytes, long_edge: int) -> bool:
    return (
        max(picture.size) <= long_edge
        and len(data) <= _SEND_AT_MOST
        and picture.mode in _SENT_AS_THEY_ARE
        and "transparency" not in picture.info
        and not getattr(picture, "is_animated", False)
        and picture.getexif().get(_ORIENTATION_TAG, _UPRIGHT) == _UPRIGHT
    )


def _shown(picture: Pillow.Image, long_edge: int) -> Pillow.Image:
    """What a person would see of it, at the size that is sent."""
    # Scaled first, so that everything after works on few pixels. A JPEG decoder can even scale
    # while it decodes, which saves most of the work and memory.
    scale = min(1, long_edge / max(picture.size))
    width, height = picture.size
    picture.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    scaled = _scalable(picture)
    scaled.thumbnail((long_edge, long_edge), Pillow.Resampling.LANCZOS)
    upright = _opaque(ImageOps.exif_transpose(scaled))
    upright.info.clear()
    return upright


def _scalable(picture: Pillow.Image) -> Pillow.Image:
    """The same picture in a mode whose pixels can be averaged."""
    if picture.mode in {"RGB", "L"} and "transparency" not in picture.info:
        return picture
    if picture.has_transparency_data:
        return picture if picture.mode in {"RGBA", "LA"} else picture.convert("RGBA")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _opaque(picture: Pillow.Image) -> Pillow.Image:
    """Without transparency: on white, like paper."""
    if picture.mode not in {"RGBA", "LA"}:
        return picture
    layered = picture.convert("RGBA")
    paper = Pillow.new("RGBA", layered.size, "white")
    return Pillow.alpha_composite(paper, layered).convert("RGB")


def _encode(picture: Pillow.Image, media_type: ImageType) -> Image:
    if media_type != "image/jpeg":
        png = io.BytesIO()
        picture.save(png, "PNG", icc_profile=None)
        if png.tell() <= _SEND_AT_MOST:
            return Image("image/png", png.getvalue())
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=_JPEG_QUALITY, icc_profile=None)
    return Image("image/jpeg", jpeg.getvalue())
