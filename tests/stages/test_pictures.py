"""Images: refused before they are decoded, or made what is sent."""

import contextlib
import io
import itertools
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image as Sent
from pipeline.model.questions import ImageType
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.pictures import PictureLimits, prepare_image
from tests.stages.making import (
    BLUE,
    RED,
    WHITE,
    animation,
    picture,
    png_bomb,
    png_header,
    turned_by_exif,
)

LIMITS = PictureLimits(max_pixels=1_000_000, long_edge=100)


def prepared(data: bytes, media_type: ImageType = "image/png") -> Image.Image:
    (sent,) = prepare_image(data, media_type, LIMITS, field="file")
    return Image.open(io.BytesIO(sent.data))


def refused(
    data: bytes, media_type: ImageType = "image/png", limits: PictureLimits = LIMITS
) -> InvalidEvent:
    with pytest.raises(InvalidEvent, match="file: ") as caught:
        prepare_image(data, media_type, limits, field="file")
    return caught.value


def near(found: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(found, tuple)
    return all(abs(a - b) < 40 for a, b in zip(found, colour, strict=True))


@pytest.mark.parametrize(
    ("file_format", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_a_small_plain_image_is_sent_as_it_is(file_format: str, media_type: ImageType) -> None:
    data = picture(file_format=file_format)
    assert prepare_image(data, media_type, LIMITS, field="file") == (Sent(media_type, data),)


def test_a_large_image_is_scaled_to_the_long_edge() -> None:
    assert prepared(picture((400, 200))).size == (100, 50)
    assert prepared(picture((200, 400), file_format="JPEG"), "image/jpeg").size == (50, 100)


def test_a_very_thin_image_keeps_a_pixel() -> None:
    assert prepared(picture((5000, 3))).size == (100, 1)


def test_exif_rotation_is_applied() -> None:
    upright = prepared(turned_by_exif(6), "image/jpeg")
    assert upright.size == (20, 40)
    assert near(upright.getpixel((10, 5)), RED)
    assert near(upright.getpixel((10, 35)), BLUE)
    assert not upright.getexif()


@pytest.mark.parametrize(
    ("file_format", "media_type"),
    [("GIF", "image/gif"), ("PNG", "image/png"), ("WEBP", "image/webp")],
)
def test_of_an_animation_the_first_frame_is_sent(file_format: str, media_type: ImageType) -> None:
    still = prepared(animation(file_format), media_type)
    assert not getattr(still, "is_animated", False)
    assert near(still.convert("RGB").getpixel((5, 5)), RED)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0)), ("RGBA", (255, 255, 255, 128))]
)
def test_transparency_becomes_white_paper(mode: str, colour: tuple[int, ...]) -> None:
    flat = prepared(picture(mode=mode, colour=colour))
    assert flat.mode == "RGB"
    assert flat.getpixel((0, 0)) == WHITE


def test_a_transparent_palette_becomes_white_paper() -> None:
    data = picture(mode="P", colour=0, transparency=0)
    assert prepared(data).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "CMYK", "RGBA", "LA", "RGB"])
def test_every_mode_is_taken_at_every_size(mode: str) -> None:
    colours: dict[str, int | tuple[int, ...]] = {
        "I;16": 40_000,
        "CMYK": (0, 0, 0, 0),
        "RGBA": (*RED, 255),
        "LA": (200, 255),
        "RGB": RED,
    }
    file_format, media_type = ("JPEG", "image/jpeg") if mode == "CMYK" else ("PNG", "image/png")
    data = picture((300, 150), mode=mode, colour=colours.get(mode, 1), file_format=file_format)
    assert prepared(data, "image/jpeg" if mode == "CMYK" else "image/png").size == (100, 50)
    assert media_type.endswith(file_format.lower())


def test_sixteen_bits_keep_their_brightness() -> None:
    grey = prepared(picture((300, 150), mode="I;16", colour=128 << 8))
    assert abs(int(str(grey.convert("L").getpixel((10, 10)))) - 128) <= 1


def test_what_compresses_badly_is_sent_as_jpeg() -> None:
    noise = Image.frombytes("RGB", (1700, 1700), random.Random(7).randbytes(1700 * 1700 * 3))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG", compress_level=0)
    limits = PictureLimits(max_pixels=10_000_000, long_edge=1568)
    (sent,) = prepare_image(buffer.getvalue(), "image/png", limits, field="file")
    assert sent.media_type == "image/jpeg"
    assert len(sent.data) < 7_500_000


def test_equal_input_gives_equal_bytes() -> None:
    for data, kind in ((picture((300, 200)), "image/png"), (turned_by_exif(), "image/jpeg")):
        media_type: ImageType = "image/png" if kind == "image/png" else "image/jpeg"
        first = prepare_image(data, media_type, LIMITS, field="file")
        assert first == prepare_image(data, media_type, LIMITS, field="file")


def test_no_metadata_is_sent_once_an_image_is_encoded_again() -> None:
    data = picture((300, 200), file_format="JPEG", comment=b"private", icc_profile=b"profile" * 99)
    (sent,) = prepare_image(data, "image/jpeg", LIMITS, field="file")
    assert b"private" not in sent.data
    assert b"profile" not in sent.data


@pytest.mark.parametrize(
    "data",
    [
        png_bomb(),
        png_header(1001, 1000),
        png_header(2**31 - 1, 2**31 - 1),
        picture((1001, 1000), file_format="GIF", mode="P", colour=0),
    ],
)
def test_too_many_pixels_are_refused_by_the_header_alone(data: bytes) -> None:
    media_type: ImageType = "image/gif" if data.startswith(b"GIF") else "image/png"
    invalid = refused(data, media_type)
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "1,000,000 pixels" in invalid.detail


def webp_header(width: int, height: int, *, kind: bytes = b"VP8L") -> bytes:
    """A WebP file of which little more than the header exists."""
    match kind:
        case b"VP8L":
            head = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
        case b"VP8X":
            sides = ((side - 1).to_bytes(3, "little") for side in (width, height))
            head = bytes(4) + b"".join(sides)
        case _:
            head = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    body = head + bytes(20 - len(head))
    return b"RIFF" + struct.pack("<I", 32) + b"WEBP" + kind + struct.pack("<I", 20) + body


@pytest.mark.parametrize("kind", [b"VP8L", b"VP8X", b"VP8 "])
def test_the_pixels_of_a_webp_are_counted_before_memory_is_taken_for_them(kind: bytes) -> None:
    data = webp_header(16_383, 16_383, kind=kind)
    generous = PictureLimits(max_pixels=50_000_000, long_edge=100)
    assert refused(data, "image/webp", generous).reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("sides", [(7071, 7071), (5000, 9999), (16_383, 3000)])
def test_a_header_that_claims_what_a_file_cannot_hold_is_refused(sides: tuple[int, int]) -> None:
    limits = PictureLimits(max_pixels=50_000_000, long_edge=1568)
    for data, media_type in (
        (webp_header(*sides), "image/webp"),
        (png_header(*sides), "image/png"),
    ):
        invalid = refused(data, "image/webp" if media_type == "image/webp" else "image/png", limits)
        assert invalid.reason is DeadLetterReason.BAD_IMAGE
        assert "nothing in it could fill them" in invalid.detail


def test_a_large_blank_page_is_no_bomb() -> None:
    data = picture((4000, 5000), file_format="WEBP", colour=WHITE, lossless=True)
    limits = PictureLimits(max_pixels=50_000_000, long_edge=100)
    assert len(prepare_image(data, "image/webp", limits, field="file")) == 1


def test_a_bomb_is_refused_even_where_the_limit_would_let_it_pass() -> None:
    generous = PictureLimits(max_pixels=10**12, long_edge=100)
    assert refused(png_bomb(), limits=generous).reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture()[:60], "image/png"),
        (picture((90, 90), file_format="JPEG")[:200], "image/jpeg"),
        (picture((90, 90), file_format="WEBP")[:40], "image/webp"),
        (picture((90, 90), file_format="GIF")[:30], "image/gif"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"GIF89a", "image/gif"),
        (png_header(0, 0), "image/png"),
        (png_header(50, 50, body=b"not deflate"), "image/png"),
    ],
)
def test_a_damaged_image_is_bad(data: bytes, media_type: ImageType) -> None:
    assert refused(data, media_type).reason is DeadLetterReason.BAD_IMAGE


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture(), "image/png"),
        (turned_by_exif(), "image/jpeg"),
        (animation(), "image/gif"),
        (picture(file_format="WEBP"), "image/webp"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_flipped_bytes_cost_at_most_the_image(data: bytes, media_type: ImageType) -> None:
    dice = random.Random(1)
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        with contextlib.suppress(InvalidEvent):
            prepare_image(bytes(broken), media_type, LIMITS, field="file")


def ruler(size: tuple[int, int]) -> Image.Image:
    """A long picture each of whose places along has a colour of its own, under fine stripes."""
    along = max(size)
    line = Image.new("RGB", (1, along))
    line.putdata([(place * 255 // along, 255 * (place % 64 < 32), 90) for place in range(along)])
    return line.resize(sorted(size), Image.Resampling.NEAREST)


def places(tile: Image.Image) -> tuple[int, int]:
    """How far along the picture a tile begins and ends, from 0 to 255."""
    first = tile.getpixel((tile.width // 2, 2))
    last = tile.getpixel((tile.width // 2, tile.height - 3))
    assert isinstance(first, tuple)
    assert isinstance(last, tuple)
    return first[0], last[0]


def stored_as(picture: Image.Image, orientation: int) -> Image.Image:
    """A picture as it lies in a file that says how to turn it."""
    undone_by = {6: 8, 8: 6}.get(orientation, orientation)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = undone_by
    picture.save(file, "PNG", exif=exif)
    return ImageOps.exif_transpose(Image.open(file))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_long_picture_is_sent_in_parts_from_its_top_to_its_end(
    file_format: str, orientation: int
) -> None:
    """Whatever way up it is stored: as cameras and scanners turn pictures."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    stored = stored_as(ruler((60, 1600)), orientation)
    stored.save(file, file_format, exif=exif, quality=95, subsampling=0)
    media_type: ImageType = "image/png" if file_format == "PNG" else "image/jpeg"
    limits = PictureLimits(max_pixels=1_000_000, long_edge=200)
    parts = prepare_image(file.getvalue(), media_type, limits, field="file")
    tiles = [Image.open(io.BytesIO(part.data)).convert("RGB") for part in parts]
    assert len(tiles) == 9
    assert {tile.width for tile in tiles} == {60}
    found = [places(tile) for tile in tiles]
    assert found == sorted(found)
    assert found[0][0] <= 5
    assert found[-1][1] >= 250
    assert all(one[1] >= following[0] for one, following in itertools.pairwise(found))


def test_a_wide_picture_is_sent_in_parts_from_left_to_right() -> None:
    file = io.BytesIO()
    ruler((60, 1600)).transpose(Image.Transpose.TRANSPOSE).save(file, "PNG")
    limits = PictureLimits(max_pixels=1_000_000, long_edge=200)
    parts = prepare_image(file.getvalue(), "image/png", limits, field="file")
    tiles = [Image.open(io.BytesIO(part.data)).convert("RGB") for part in parts]
    assert len(tiles) == 9
    found = [places(tile.transpose(Image.Transpose.TRANSPOSE)) for tile in tiles]
    assert found == sorted(found)


def test_a_picture_that_is_too_long_is_refused_with_the_reason() -> None:
    limits = PictureLimits(max_pixels=10_000_000, long_edge=200)
    invalid = refused(picture((100, 20_000)), limits=limits)
    assert invalid.reason is DeadLetterReason.TOO_LARGE
    assert "20 at most are sent" in invalid.detail


def test_all_parts_together_fit_into_a_request() -> None:
    noise = Image.frombytes("RGB", (240, 27_000), random.Random(7).randbytes(240 * 27_000 * 3))
    file = io.BytesIO()
    noise.save(file, "PNG", compress_level=0)
    limits = PictureLimits(max_pixels=50_000_000, long_edge=1568)
    parts = prepare_image(file.getvalue(), "image/png", limits, field="file")
    assert 18 <= len(parts) <= 20
    assert sum(len(part.data) for part in parts) < 15_000_000


MEMORY = """
import os, resource, sys
from pipeline.stages.files.pictures import PictureLimits, prepare_image
limits = PictureLimits(max_pixels=50_000_000, long_edge=1568)
for path, megabytes in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(path, "rb") as file, open("/proc/self/statm") as statm:
        data = file.read()
        now = int(statm.read().split()[0]) * resource.getpagesize()
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_AS, (now + (int(megabytes) << 20),) * 2)
        prepare_image(data, "image/png", limits, field="file")
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0, path
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux only")
def test_what_an_image_takes_follows_from_its_own_mode(tmp_path: Path) -> None:
    """16 million pixels, and 48 MB for all that is made of them."""
    arguments = []
    for mode, megabytes in {"1": 16, "P": 16, "I;16": 32, "RGB": 64}.items():
        data = picture((4000, 4000), mode=mode, colour=0)
        if mode == "P":
            data = picture((4000, 4000), mode=mode, colour=0, transparency=0)
        path = tmp_path / f"{mode}.png"
        path.write_bytes(data)
        arguments += [str(path), str(megabytes + 48)]
    subprocess.run([sys.executable, "-c", MEMORY, *arguments], check=True, timeout=100)
