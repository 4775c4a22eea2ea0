"""Images: checked before they are decoded, then made what the model will use.

Order matters: type and pixel count come from the header, so a decompression bomb is refused before
a pixel of it exists. Decoding takes the file twice, the image in its own mode (one to four bytes a
pixel), and some tens of megabytes; a progressive JPEG two bytes a pixel and component on top, WebP
13 a pixel, a damaged PNG or GIF as much as it is. A baseline JPEG that is scaled takes a fraction.

Viewers show a picture whose caption has a wrong checksum, whose colour profile is broken, or whose
last bytes were lost; decoders refuse some of that, and the API may. So whatever lies beside the
picture is left out, and an end that is missing is put there. How much of the picture itself is
missing is then measured.

A model scales down what exceeds a long edge or a number of visual tokens, one for each square of 28
pixels. Of a till receipt, a screenshot of a chat or a panorama that leaves a stripe in which
nothing can be read, so those are cut into tiles that overlap, each at the scale of a page.

A transparent picture is laid on a ground on which the edge of its content is seen: black writing is
read on paper, white writing is not.
"""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, cast, get_args

from PIL import AvifImagePlugin, ImageChops, UnidentifiedImageError
from PIL import Image as Pillow

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import HIGH_RESOLUTION, Image, ImageLimits, ImageType
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import PictureType

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each would have its own stack, of a decoder's memory
# What Pillow warns of is refused here, or does no harm; a service's log is no place for it.
warnings.filterwarnings("ignore", module=r"PIL\.")

Size = tuple[int, int]
Box = tuple[int, int, int, int]
MAX_TILES: Final = 20
"""Parts of one picture. With more than 20 pictures in a request the API takes none with a side
over 2,000 pixels; and 20 tiles of 4,784 tokens stay below the 100,000 from which Haiku's price is
five times as high."""
_PATCH = 28
_PAGE = math.sqrt(2)
"""Sides of a sheet of A4: a long picture is sent at the scale at which a sheet as wide would be."""
_CUT_BELOW = 0.6
"""It is cut if, sent whole, it kept less than this share of that scale."""
_NO_WRITING = 8
"""Pixels across in which no letter has room, so that nothing is lost by scaling: a line, a rule."""
_OVERLAP = 12
"""A twelfth of a tile's length is repeated in the next: two to four lines of print."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, left, upper, right and lower edge, and the size at which it is sent."""

    box: Box
    size: Size


class TooLong(Exception):
    """A picture whose parts would be more than `MAX_TILES`; `tiles` is how many."""

    def __init__(self, tiles: int) -> None:
        super().__init__(f"{tiles} tiles")
        self.tiles = tiles


def visual_tokens(size: Size) -> int:
    return math.ceil(size[0] / _PATCH) * math.ceil(size[1] / _PATCH)


def tiles_of(size: Size, limits: ImageLimits) -> tuple[Tile, ...]:
    """The parts in which a picture is sent: itself, or tiles from its beginning to its end.

    Each is within the limits. Raises TooLong.
    """
    edge = limits.long_edge
    page = _fitting((max(1, int(edge / _PAGE)), edge), limits)
    short, long = sorted(size)
    scale = min(1.0, page[0] / short)
    if edge >= _CUT_BELOW * scale * long or short < _NO_WRITING:
        return (Tile((0, 0, *size), _fitting(size, limits)),)
    # In pixels of the picture; all tiles are equally long.
    most = max(1, int(page[1] / scale))
    overlap = most // _OVERLAP
    count = math.ceil((long - overlap) / (most - overlap))
    if count > MAX_TILES:
        raise TooLong(count)
    length = math.ceil((long + (count - 1) * overlap) / count)
    starts = [round(i * (long - length) / (count - 1)) for i in range(count)]
    across, along = max(1, round(short * scale)), max(1, min(page[1], round(length * scale)))
    if size[1] == long:
        return tuple(Tile((0, at, short, at + length), (across, along)) for at in starts)
    return tuple(Tile((at, 0, at + length, short), (along, across)) for at in starts)


def _fitting(size: Size, limits: ImageLimits) -> Size:
    """The largest size of the same proportions that is within the limits."""
    scale = min(1.0, limits.long_edge / max(size))
    while True:
        scaled = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        if visual_tokens(scaled) <= limits.tokens:
            return scaled
        scale = (max(scaled) - 1) / max(size)


FORMATS: Final[dict[PictureType, str]] = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/heic": "HEIF",
    "image/tiff": "TIFF",
}
"""Pillow's names, and pi-heif's."""
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
_MAY_END_EARLY = frozenset({"image/png", "image/gif"})
"""Of these what was decoded before an error is kept."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file, reduced to what shows the picture."""

    media_type: PictureType
    data: bytes
    exif: bytes = b""  # where it lay outside `data`; may be broken
    is_whole: bool = True  # whether its end was there; of a GIF decoding shows that
    missing: float = 0.0  # the share, from 0 to 1, known without decoding
    is_animated: bool = False  # of a PNG, whose other frames are not in `data`


def read_picture_file(data: bytes, media_type: PictureType) -> PictureFile:
    """Reduce a file to what shows the picture; what is not understood stays as it is."""
    readers = {"image/png": _read_png, "image/jpeg": _read_jpeg, "image/webp": _read_webp}
    reader = readers.get(media_type)
    return PictureFile(media_type, data) if reader is None else reader(data)


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
            size = (int.from_bytes(data[at : at + 2], "little") for at in (26, 28))
            width, height = (edge & 0x3FFF for edge in size)
        case _:
            width, height = 0, 0
    return width, height


def _missing_share(file: PictureFile, decoded: Pillow.Image) -> float:
    """How much of a picture a damaged file lacks, from 0 to 1; a decoded JPEG may be scaled."""
    if file.media_type in _MAY_END_EARLY:
        return _untouched_rows(file, decoded) / decoded.height
    if file.media_type == "image/jpeg":
        return max(file.missing, _unfilled_rows(decoded) / decoded.height)
    return file.missing


def _read_png(data: bytes) -> PictureFile:
    kept, exif, is_whole, header, is_animated = [_PNG_MAGIC], b"", False, b"", False
    for kind, found, checksum in _png_chunks(data):
        header = header or found
        body = _png_transparency(header, found) if kind == b"tRNS" else found
        if kind == b"IEND":
            is_whole = True
            break
        if kind == b"acTL":
            is_animated = int.from_bytes(body[:4], "big") > 1
        elif kind == b"eXIf":
            exif = exif or body
        elif kind in _PNG_KEPT and body:
            right = struct.pack(">I", zlib.crc32(kind + body))
            verified = checksum if kind in _PNG_VERIFIED else right
            kept += (struct.pack(">I", len(body)), kind, body, verified)
    file = b"".join([*kept, _PNG_END])
    return PictureFile("image/png", file, exif, is_whole, is_animated=is_animated)


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
    at = 2
    while found := _JPEG_MARKER.search(data, at):
        at = found.start()
        if data.startswith(_JPEG_END, at):
            return PictureFile("image/jpeg", b"".join([*kept, _JPEG_END]), exif)
        kind, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == _JPEG_SCAN:
            # With its data, which the next marker ends; the last scan may be cut off.
            following = _JPEG_MARKER.search(data, end)
            end = following.start() if following else len(data)
        segment = data[at:end]
        if kind not in _JPEG_BESIDE:
            kept.append(segment)
        elif segment[4:10] == b"Exif\0\0":
            exif = exif or segment[10:]
        if _is_finest_scan(segment):
            missing = 0.0
        at = end
    file = b"".join([*kept, _JPEG_END])
    return PictureFile("image/jpeg", file, exif, is_whole=False, missing=missing)


def _is_finest_scan(segment: bytes) -> bool:
    """Whether it holds the first component, brightness mostly, to the last bit.

    Of a progressive file earlier scans show the whole picture, but blurred.
    """
    if segment[1] != _JPEG_SCAN or len(segment) < 5:  # noqa: PLR2004 - up to the number of components
        return False
    last, bits = 6 + 2 * segment[4], 7 + 2 * segment[4]
    return len(segment) > bits and (segment[last], segment[bits] & 0x0F) == _JPEG_FINEST


def _unfilled_rows(picture: Pillow.Image) -> int:
    darkest, brightest = _JPEG_UNFILLED
    bottom = picture.height
    while bottom > 0:
        rows = picture.crop((0, max(0, bottom - _ROWS_AT_ONCE), picture.width, bottom))
        levels = {i for band in rows.split() for i, count in enumerate(band.histogram()) if count}
        if min(levels) < darkest or max(levels) > brightest:
            break
        bottom -= _ROWS_AT_ONCE
    return picture.height - max(0, bottom)


def _read_webp(data: bytes) -> PictureFile:
    """Put zeros where the last bytes are missing: a decoder wants all that the header speaks of."""
    declared = 8 + int.from_bytes(data[4:8], "little")
    if declared <= len(data):
        return PictureFile("image/webp", data)
    at = 12  # where the last chunk begins, and the length that it says its content has
    while True:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        following = at + 8 + length + length % 2
        if following + 8 > len(data):
            break
        at = following
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
    """The level of grey that the parts, in mode RGBA at the size that is sent, are laid on."""
    levels = [0] * 256  # how many pixels at the content's edges have each level of grey
    for part in parts:
        opacity = part.getchannel("A")
        lowest = opacity
        for across, down in _NEIGHBOURS:
            lowest = ImageChops.darker(lowest, ImageChops.offset(opacity, across, down))
        rise = ImageChops.subtract(opacity, lowest)
        edges = rise.point([0] * _EDGE + [255] * (256 - _EDGE))
        found = part.convert("RGB").convert("L").histogram(edges)
        levels = [a + b for a, b in zip(levels, found, strict=True)]
    lost = {at: sum(levels[max(0, at - _ALIKE) : at + _ALIKE + 1]) for at in GROUNDS}
    if lost[_PAPER] <= _NEGLIGIBLE * sum(levels):
        return _PAPER
    return min(GROUNDS, key=lost.__getitem__)


def laid_on(ground: int, part: Pillow.Image) -> Pillow.Image:
    below = Pillow.new("RGBA", part.size, (ground, ground, ground, 255))
    return Pillow.alpha_composite(below, part).convert("RGB")


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
SEND_IN_ALL: Final = 14_000_000
"""Bytes of all parts: with the rest of a request below the 20 MB that Bedrock takes."""
_PHOTOGRAPHS = frozenset({"image/jpeg", "image/heic", "image/avif"})
_MAY_BE_ANIMATED = frozenset({"image/png", "image/gif", "image/webp", "image/avif"})
_JPEG_QUALITIES = (90, 75, 60, 40)
_MOST_MISSING = 1 / 20
"""Of a picture, less than the margin of a page; what lacks more is not what was sent."""
_CUT_OFF = "it is cut off or damaged: more than a twentieth of it is missing"
_MOST_PIXELS_A_BYTE = 100_000
"""The most that encoders were seen to reach is 25,000: a blank page as lossless WebP."""
_PIXELS_AT_ONCE = 1 << 20
_FILTER_SEES = 3
"""Pixels of the result beyond which Lanczos' filter does not look, when it makes things smaller."""
_REDUCING_GAP = 3.0
"""How much larger than the result it may be averaged first: from this on without a difference."""


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """Pixels that a picture may have, and what is sent of it: long edge, and visual tokens."""

    max_pixels: int
    long_edge: int
    tokens: int = HIGH_RESOLUTION.tokens


def prepare_image(
    data: bytes, media_type: PictureType, limits: PictureLimits, *, field: str
) -> tuple[Image, ...]:
    """Check an image and make it what is sent: upright, opaque, one frame, within the long edge.

    Its type is one that the API takes: a photograph of another type becomes a JPEG, all else a PNG.

    One that is all that already is sent without what its file holds beside it; a very long one
    becomes several that overlap. Equal input gives equal bytes. Refused is what cannot be decoded,
    lacks more than a twentieth at its end, has too many pixels or takes too many tiles.
    """
    if media_type == "image/heic" and not reads_heic():
        raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {_NO_HEIC}")
    with refusals(limits, field=field):
        file = read_picture_file(data, media_type)
        if file.missing > _MOST_MISSING:
            raise bad_picture(field)
        check_size(claimed_size(file), file, limits, field)
        with Pillow.open(io.BytesIO(file.data), formats=[FORMATS[media_type]]) as picture:
            return prepare_opened(picture, file, limits, field=field)


@contextmanager
def refusals(limits: PictureLimits, *, field: str) -> Iterator[None]:
    """Whatever is raised over a picture, as an InvalidEvent that says what to do."""
    try:
        yield
    except TooLong as too_long:
        detail = f"so long and narrow that it takes {too_long.tiles} parts to be read"
        hint = f"{MAX_TILES} at most are sent; send it in pieces."
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, f"{field}: {detail}, and {hint}") from None
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise _too_many_pixels(field, limits.max_pixels) from None
    except UnidentifiedImageError:
        raise bad_picture(field, "its header is damaged; it cannot be read") from None
    except DECODING_ERRORS:
        raise bad_picture(field, "it is damaged or cut off; it cannot be decoded") from None


_NO_HEIC = "HEIC needs the extra heic: pip install 'haiku-pipeline[heic]', or send it as JPEG."


@cache
def reads_heic() -> bool:
    """Whether the extra for pictures of telephones is there, which Pillow learns of by this."""
    try:
        import pi_heif  # noqa: PLC0415 - an extra
    except ImportError:
        return False
    pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return True


def check_size(size: Size, file: PictureFile, limits: PictureLimits, field: str) -> None:
    pixels = size[0] * size[1]
    if pixels > limits.max_pixels:
        raise _too_many_pixels(field, limits.max_pixels)
    if pixels > _MOST_PIXELS_A_BYTE * len(file.data):
        raise bad_picture(
            field, f"its header claims {pixels:,} pixels, and nothing in it could fill them"
        )


def _too_many_pixels(field: str, most: int) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.TOO_LARGE, f"{field}: has more than {most:,} pixels.")


def bad_picture(field: str, what: str = _CUT_OFF) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.BAD_IMAGE, f"{field}: {what}.")


def prepare_opened(
    picture: Pillow.Image, file: PictureFile, limits: PictureLimits, *, field: str
) -> tuple[Image, ...]:
    """Make a picture that is open what is sent, within `refusals`."""
    check_size(picture.size, file, limits, field)
    tiles: Sequence[Tile] = tiles_of(picture.size, ImageLimits(limits.long_edge, limits.tokens))
    orientation = _orientation(picture, file)
    untouched = orientation not in _TURNS and tiles[0].size == picture.size
    is_animated = file.is_animated or _is_animated(picture, file)
    as_it_is = untouched and not is_animated and _may_be_sent_as_it_is(picture, file)
    if not untouched:
        tiles = _drafted(picture, tiles)
    is_whole = _load(picture, file, field)
    if as_it_is and is_whole:
        return (Image(cast("ImageType", file.media_type), file.data, is_animated),)
    parts = [_scaled(picture, tile) for tile in tiles]
    if orientation in _TURNS:
        parts = [part.transpose(_TURNS[orientation]) for part in parts]
    ends_first = _ENDS_AT_THE_TOP if picture.height > picture.width else _ENDS_LEFT
    if orientation in ends_first:
        parts.reverse()
    if parts[0].mode == "RGBA":
        ground = ground_for(parts)
        parts = [laid_on(ground, part) for part in parts]
    most = min(_SEND_AT_MOST, SEND_IN_ALL // len(parts))
    is_photograph = file.media_type in _PHOTOGRAPHS or picture.info.get("compression") == "jpeg"
    encoded = (_encoded(part, most, is_photograph=is_photograph) for part in parts)
    return tuple(replace(each, is_animated=is_animated) for each in encoded)


def _orientation(picture: Pillow.Image, file: PictureFile) -> int:
    try:
        exif = Pillow.Exif()
        exif.load(file.exif or picture.info.get("exif", b""))
        return int(exif.get(_ORIENTATION_TAG, _UPRIGHT))
    except DECODING_ERRORS:
        return _UPRIGHT


def _is_animated(picture: Pillow.Image, file: PictureFile) -> bool:
    """Whether there are other frames; other pictures in the file of a photograph are none."""
    try:
        return file.media_type in _MAY_BE_ANIMATED and getattr(picture, "is_animated", False)
    except DECODING_ERRORS:
        return False


def _may_be_sent_as_it_is(picture: Pillow.Image, file: PictureFile) -> bool:
    if file.media_type not in get_args(ImageType) or picture.mode not in _SENT_AS_THEY_ARE:
        return False
    if len(file.data) > _SEND_AT_MOST:
        return False
    try:
        return "transparency" not in picture.info and not getattr(picture, "is_animated", False)
    except DECODING_ERRORS:
        return False  # what follows the first frame is damaged


def _drafted(picture: Pillow.Image, tiles: Sequence[Tile]) -> Sequence[Tile]:
    """Let a JPEG decoder scale while it decodes, which saves most of the work and memory."""
    width, height = picture.size
    left, upper, right, lower = tiles[0].box
    scale = max(tiles[0].size[0] / (right - left), tiles[0].size[1] / (lower - upper))
    picture.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    across, down = picture.width / width, picture.height / height
    boxes = [
        (round(left * across), round(upper * down), round(right * across), round(lower * down))
        for left, upper, right, lower in (tile.box for tile in tiles)
    ]
    return [Tile(box, tile.size) for box, tile in zip(boxes, tiles, strict=True)]


def _load(picture: Pillow.Image, file: PictureFile, field: str) -> bool:
    is_whole = file.is_whole
    try:
        picture.load()
    except DECODING_ERRORS:
        if file.media_type not in _MAY_END_EARLY:
            raise
        is_whole = False
        picture.tile = []  # type: ignore[attr-defined]  # what was decoded is all there is
    if not is_whole and _missing_share(file, picture) > _MOST_MISSING:
        raise bad_picture(field)
    return is_whole


def _scaled(picture: Pillow.Image, tile: Tile) -> Pillow.Image:
    """A part of the picture at the size that is sent, in mode L, RGB or RGBA; done in bands."""
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
    if part.mode.startswith("I"):
        part = part.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if part.has_transparency_data:
        return part.convert("RGBA")
    return part.convert("L" if part.mode in {"1", "L"} else "RGB")


def _encoded(part: Pillow.Image, most: int, *, is_photograph: bool) -> Image:
    """As PNG or, where it is a photograph or would have more than `most` bytes, as JPEG."""
    if not is_photograph:
        png = _saved(part, "PNG")
        if len(png) <= most:
            return Image("image/png", png)
    for quality in _JPEG_QUALITIES[:-1]:
        if len(jpeg := _saved(part, "JPEG", quality)) <= most:
            return Image("image/jpeg", jpeg)
    return Image("image/jpeg", _saved(part, "JPEG", _JPEG_QUALITIES[-1]))


def _saved(part: Pillow.Image, file_format: str, quality: int = 0) -> bytes:
    # A picture carries what was beside it in its file, and that would be saved with it.
    part.info.clear()
    file = io.BytesIO()
    part.save(file, file_format, quality=quality)
    return file.getvalue()
