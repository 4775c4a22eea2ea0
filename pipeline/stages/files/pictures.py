"""Images: checked before they are decoded, then made what the model will use.

Order matters. Type and pixel count come from the header, so a decompression bomb is refused
before a pixel of it exists; only then is the image decoded, scaled, turned upright and flattened,
and a very long one is cut into tiles.

What that takes is the file twice, the decoded image in its own mode (four bytes a pixel; one in
modes 1, L and P, two in 16 bits of grey), and some tens of megabytes whatever its size. Decoders
add to it: of a progressive JPEG two bytes a pixel and component, of a WebP image 13 a pixel, and
of a damaged PNG or GIF as much as it is. A baseline JPEG that is scaled takes a fraction.

What a transparent picture is laid on: a ground on which its content is seen.

Black writing on nothing is read on paper, white writing is not. What decides is the content's
edge, where it meets the ground: a letter is hardly more than that, and of a photograph with a
transparent margin nothing else could be lost.
"""

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from PIL import Image as Pillow
from PIL import ImageChops, UnidentifiedImageError

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, ImageType
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.picture_files import (
    DECODING_ERRORS,
    FORMATS,
    PictureFile,
    claimed_size,
    missing_share,
    read_picture_file,
)
from pipeline.stages.files.tiles import MAX_TILES, Box, Size, Tile, TooLong, tiles_of

GROUNDS: Final = (255, 16, 128, 64, 192)
"""Levels of grey, the most usual first: paper, dark, and what sets off black and white alike."""
_PAPER = GROUNDS[0]
_ALIKE = 40
"""Levels of grey between content and ground below which writing is hard to read."""
_NEGLIGIBLE = 0.005
"""Share of the edges that may be lost on paper: what scaling and compression leave behind."""
_EDGE = 16
"""Levels of opacity by which content rises over its neighbours at an edge; shadows rise less."""
_NEIGHBOURS = ((-2, 0), (2, 0), (0, -2), (0, 2))
"""Where they lie, in pixels: a stroke of up to four pixels is all edge."""


def ground_for(parts: Iterable[Pillow.Image]) -> int:
    """The level of grey that the parts of a picture are laid on.

    Args:
        parts: In mode RGBA, at the size that is sent.
    """
    levels = [0] * 256
    for part in parts:
        levels = [a + b for a, b in zip(levels, _levels_at_edges(part), strict=True)]
    lost = {ground: _levels_like(ground, levels) for ground in GROUNDS}
    if lost[_PAPER] <= _NEGLIGIBLE * sum(levels):
        return _PAPER
    return min(GROUNDS, key=lost.__getitem__)


def laid_on(ground: int, part: Pillow.Image) -> Pillow.Image:
    """A picture in mode RGBA, opaque."""
    below = Pillow.new("RGBA", part.size, (ground, ground, ground, 255))
    return Pillow.alpha_composite(below, part).convert("RGB")


def _levels_at_edges(part: Pillow.Image) -> list[int]:
    """How many pixels at the content's edges have each level of grey."""
    opacity = part.getchannel("A")
    lowest = opacity
    for across, down in _NEIGHBOURS:
        lowest = ImageChops.darker(lowest, ImageChops.offset(opacity, across, down))
    rise = ImageChops.subtract(opacity, lowest)
    edges = rise.point([0] * _EDGE + [255] * (256 - _EDGE))
    return part.convert("RGB").convert("L").histogram(edges)


def _levels_like(ground: int, levels: list[int]) -> int:
    return sum(levels[max(0, ground - _ALIKE) : ground + _ALIKE + 1])


# What Pillow warns of is refused here, or does no harm; a service's log is no place for it.
warnings.filterwarnings("ignore", module=r"PIL\.")


_ORIENTATION_TAG = 0x0112
_UPRIGHT = 1
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What makes an image upright, by its orientation; any other number means that it is."""
_ENDS_LEFT = frozenset({2, 3, 7, 8})
_ENDS_AT_THE_TOP = frozenset({3, 4, 6, 7})
"""Orientations in which what is last in the file, across or down, is first in the picture."""
_SENT_AS_THEY_ARE = frozenset({"RGB", "L", "1", "P"})
_SEND_AT_MOST = 3_750_000
"""Bytes of one image: 5 MB of base64, which Bedrock and Google Cloud take; the API takes 10."""
_SEND_IN_ALL = 14_000_000
"""Bytes of all parts: with the rest of a request below the 20 MB that Bedrock takes."""
_JPEG_QUALITIES = (90, 75, 60, 40)
_MOST_MISSING = 1 / 20
"""Of a picture, less than the margin of a page; what lacks more is not what was sent."""
_MOST_PIXELS_A_BYTE = 100_000
"""The most that encoders were seen to reach is 25,000: a blank page as lossless WebP."""
_PIXELS_AT_ONCE = 1 << 20
_FILTER_SEES = 3
"""Pixels of the result beyond which Lanczos' filter does not look, when it makes things smaller."""
_REDUCING_GAP = 3.0
"""How much larger than the result it may be averaged first: from this on without a difference."""


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """What is taken and what is made of it."""

    max_pixels: int
    long_edge: int


def prepare_image(
    data: bytes, media_type: ImageType, limits: PictureLimits, *, field: str
) -> tuple[Image, ...]:
    """Check an image and make it what is sent: upright, opaque, one frame, within the long edge.

    An image that is all that already is sent as it is, without what its file holds beside it. A
    very long one becomes several, from its beginning to its end, that overlap. Where up to a
    twentieth of the picture is missing at its end, it is taken as it is shown. Equal input gives
    equal bytes.

    Raises:
        InvalidEvent: `bad_image` where it cannot be decoded or more is missing, `too_large` where
            it has too many pixels or takes too many tiles.
    """
    try:
        file = read_picture_file(data, media_type)
        if file.missing > _MOST_MISSING:
            raise _cut_off(field)
        _check_size(claimed_size(file), file, limits, field)
        with Pillow.open(io.BytesIO(file.data), formats=[FORMATS[media_type]]) as picture:
            _check_size(picture.size, file, limits, field)
            return _prepared(picture, file, limits, field)
    except TooLong as too_long:
        raise InvalidEvent(
            DeadLetterReason.TOO_LARGE,
            f"{field}: so long and narrow that it takes {too_long.tiles} parts to be read, and "
            f"{MAX_TILES} at most are sent; send it in pieces.",
        ) from None
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise _too_many_pixels(field, limits.max_pixels) from None
    except UnidentifiedImageError:
        raise InvalidEvent(
            DeadLetterReason.BAD_IMAGE, f"{field}: its header is damaged; it cannot be read."
        ) from None
    except DECODING_ERRORS:
        raise InvalidEvent(
            DeadLetterReason.BAD_IMAGE, f"{field}: it is damaged or cut off; it cannot be decoded."
        ) from None


def _check_size(size: Size, file: PictureFile, limits: PictureLimits, field: str) -> None:
    pixels = size[0] * size[1]
    if pixels > limits.max_pixels:
        raise _too_many_pixels(field, limits.max_pixels)
    if pixels > _MOST_PIXELS_A_BYTE * len(file.data):
        raise InvalidEvent(
            DeadLetterReason.BAD_IMAGE,
            f"{field}: its header claims {pixels:,} pixels, and nothing in it could fill them.",
        )


def _too_many_pixels(field: str, most: int) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.TOO_LARGE, f"{field}: has more than {most:,} pixels.")


def _cut_off(field: str) -> InvalidEvent:
    return InvalidEvent(
        DeadLetterReason.BAD_IMAGE,
        f"{field}: it is cut off or damaged: more than a twentieth of it is missing.",
    )


def _prepared(
    picture: Pillow.Image, file: PictureFile, limits: PictureLimits, field: str
) -> tuple[Image, ...]:
    tiles: Sequence[Tile] = tiles_of(picture.size, limits.long_edge)
    orientation = _orientation(picture, file)
    untouched = orientation not in _TURNS and tiles[0].size == picture.size
    as_it_is = untouched and _may_be_sent_as_it_is(picture, file)
    if not untouched:
        tiles = _drafted(picture, tiles)
    is_whole = _load(picture, file, field)
    if as_it_is and is_whole:
        return (Image(file.media_type, file.data),)
    parts = [_turned(_scaled(picture, tile), orientation) for tile in tiles]
    ends_first = _ENDS_AT_THE_TOP if picture.height > picture.width else _ENDS_LEFT
    if orientation in ends_first:
        parts.reverse()
    most = min(_SEND_AT_MOST, _SEND_IN_ALL // len(parts))
    return tuple(_encoded(part, file.media_type, most) for part in _opaque(parts))


def _orientation(picture: Pillow.Image, file: PictureFile) -> int:
    exif = Pillow.Exif()
    try:
        exif.load(file.exif or picture.info.get("exif", b""))
        return int(exif.get(_ORIENTATION_TAG, _UPRIGHT))
    except DECODING_ERRORS:
        return _UPRIGHT


def _may_be_sent_as_it_is(picture: Pillow.Image, file: PictureFile) -> bool:
    return (
        len(file.data) <= _SEND_AT_MOST
        and picture.mode in _SENT_AS_THEY_ARE
        and "transparency" not in picture.info
        and not _is_animated(picture)
    )


def _is_animated(picture: Pillow.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except DECODING_ERRORS:
        return True  # what follows the first frame is damaged


def _drafted(picture: Pillow.Image, tiles: Sequence[Tile]) -> Sequence[Tile]:
    """Let a JPEG decoder scale while it decodes, which saves most of the work and memory."""
    width, height = picture.size
    left, upper, right, lower = tiles[0].box
    scale = max(tiles[0].size[0] / (right - left), tiles[0].size[1] / (lower - upper))
    picture.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    across, down = picture.width / width, picture.height / height
    return [Tile(_rescaled(tile.box, across, down), tile.size) for tile in tiles]


def _rescaled(box: Box, across: float, down: float) -> Box:
    left, upper, right, lower = box
    return round(left * across), round(upper * down), round(right * across), round(lower * down)


def _load(picture: Pillow.Image, file: PictureFile, field: str) -> bool:
    """Decode, and report whether all of it was there."""
    is_whole = file.is_whole
    try:
        picture.load()
    except DECODING_ERRORS:
        if file.media_type not in {"image/png", "image/gif"}:
            raise
        is_whole = False
        picture.tile = []  # type: ignore[attr-defined]  # what was decoded is all there is
    if not is_whole and missing_share(file, picture) > _MOST_MISSING:
        raise _cut_off(field)
    return is_whole


def _scaled(picture: Pillow.Image, tile: Tile) -> Pillow.Image:
    """A part of the picture at the size that is sent, in mode L, RGB or RGBA.

    Done in bands, so that never all of a large picture is converted at once.
    """
    left, upper, right, lower = tile.box
    width, height = tile.size
    ratio = (lower - upper) / height
    rows = max(1, int(_PIXELS_AT_ONCE / (right - left) / ratio))
    scaled: Pillow.Image | None = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # With what the filter sees beyond the band, so that bands join without a seam.
        first, last = max(0, top - _FILTER_SEES), min(height, bottom + _FILTER_SEES)
        begin, end = first * ratio, min(last * ratio, lower - upper)
        crop = (left, upper + math.floor(begin), right, upper + math.ceil(end))
        box = (0, begin - math.floor(begin), right - left, end - math.floor(begin))
        band = _averageable(picture.crop(crop)).resize(
            (width, last - first), Pillow.Resampling.LANCZOS, box, reducing_gap=_REDUCING_GAP
        )
        if scaled is None:
            scaled = Pillow.new(band.mode, tile.size)
        scaled.paste(band.crop((0, top - first, width, bottom - first)), (0, top))
    assert scaled is not None  # noqa: S101 - a tile has a row at least
    return scaled


def _averageable(part: Pillow.Image) -> Pillow.Image:
    """The same in a mode whose pixels can be averaged."""
    if part.mode.startswith("I"):
        part = part.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if part.has_transparency_data:
        return part.convert("RGBA")
    return part.convert("L" if part.mode in {"1", "L"} else "RGB")


def _turned(part: Pillow.Image, orientation: int) -> Pillow.Image:
    turn = _TURNS.get(orientation)
    return part if turn is None else part.transpose(turn)


def _opaque(parts: Sequence[Pillow.Image]) -> Sequence[Pillow.Image]:
    if parts[0].mode != "RGBA":
        return parts
    return [*map(partial(laid_on, ground_for(parts)), parts)]


def _encoded(part: Pillow.Image, media_type: ImageType, most: int) -> Image:
    """As PNG or, where it was JPEG or would be too large, as JPEG.

    Args:
        part: What is sent.
        media_type: What it was.
        most: Bytes of the result.
    """
    if media_type != "image/jpeg":
        png = _saved(part, "PNG")
        if len(png) <= most:
            return Image("image/png", png)
    jpeg = _saved(part, "JPEG", _JPEG_QUALITIES[0])
    for quality in _JPEG_QUALITIES[1:]:
        if len(jpeg) <= most:
            break
        jpeg = _saved(part, "JPEG", quality)
    return Image("image/jpeg", jpeg)


def _saved(part: Pillow.Image, file_format: str, quality: int = 0) -> bytes:
    # A picture carries what was beside it in its file, and that would be saved with it.
    part.info.clear()
    file = io.BytesIO()
    part.save(file, file_format, quality=quality)
    return file.getvalue()
