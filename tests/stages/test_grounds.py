"""What a transparent picture is laid on."""

import io

import pytest
from PIL import Image, ImageDraw

from pipeline.model.questions import ImageType
from pipeline.stages.files.pictures import (
    GROUNDS,
    PictureLimits,
    ground_for,
    laid_on,
    prepare_image,
)

CLEAR = (0, 0, 0, 0)
WHITE, BLACK, GREY = (255, 255, 255, 255), (0, 0, 0, 255), (128, 128, 128, 255)
PAPER, DARK, *_ = GROUNDS
LIMITS = PictureLimits(max_pixels=1_000_000, long_edge=1000)
Colour = tuple[int, int, int, int]


def written(*colours: Colour, size: tuple[int, int] = (400, 200)) -> Image.Image:
    """A line of writing in each colour, on nothing."""
    page = Image.new("RGBA", size, CLEAR)
    for row, colour in enumerate(colours):
        ImageDraw.Draw(page).text((10, 10 + 40 * row), "Total 119.00", fill=colour, font_size=28)
    return page


def contrast(page: Image.Image, colour: Colour) -> int:
    """Of a line of writing against what it is laid on, in levels of grey."""
    return abs(ground_for([page]) - colour[0])


@pytest.mark.parametrize(
    ("colours", "ground"),
    [
        ((BLACK,), PAPER),
        ((GREY,), PAPER),
        (((0, 0, 160, 255), (200, 0, 0, 255)), PAPER),
        ((WHITE,), DARK),
        (((255, 255, 255, 60),), DARK),
        (((255, 255, 0, 255), WHITE), DARK),
        ((), PAPER),
    ],
)
def test_writing_is_laid_on_what_it_is_seen_on(colours: tuple[Colour, ...], ground: int) -> None:
    assert ground_for([written(*colours)]) == ground


def test_black_and_white_writing_are_both_seen() -> None:
    page = written(WHITE, BLACK)
    assert min(contrast(page, WHITE), contrast(page, BLACK)) > 60
    page = written(WHITE, BLACK, GREY)
    assert min(contrast(page, colour) for colour in (WHITE, BLACK, GREY)) > 40


def test_a_white_card_does_not_hide_the_black_writing_beside_it() -> None:
    page = written(BLACK)
    page.paste(WHITE, (0, 100, 400, 200))
    assert ground_for([page]) != DARK


def test_a_soft_shadow_is_no_content() -> None:
    page = Image.new("RGBA", (300, 300), CLEAR)
    for step in range(40):
        ImageDraw.Draw(page).rectangle((step, step, 299 - step, 299 - step), (0, 0, 0, 3 * step))
    page.paste((40, 40, 40, 255), (60, 60, 240, 240))
    assert ground_for([page]) == PAPER


def test_all_parts_of_a_picture_have_one_ground() -> None:
    assert ground_for([written(), written(WHITE)]) == DARK


def test_nothing_shows_through() -> None:
    flat = laid_on(DARK, written(WHITE))
    assert flat.mode == "RGB"
    assert flat.getpixel((0, 0)) == (DARK, DARK, DARK)


def saved(page: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    page.save(file, file_format, **options)
    return file.getvalue()


def white_writing_in_every_way() -> dict[str, tuple[bytes, ImageType]]:
    page = written(WHITE)
    mask = page.getchannel("A").point(lambda level: 255 if level > 127 else 0)
    levels = Image.composite(Image.new("L", page.size, 255), Image.new("L", page.size, 7), mask)
    colours = levels.convert("RGB")
    palette = levels.quantize(2)
    clear = palette.getpixel((0, 0))
    deep = Image.frombytes("I;16", page.size, b"".join(bytes((0, g)) for g in levels.tobytes()))
    return {
        "RGBA": (saved(page, "PNG"), "image/png"),
        "LA": (saved(page.convert("LA"), "PNG"), "image/png"),
        "a colour of RGB": (saved(colours, "PNG", transparency=(7, 7, 7)), "image/png"),
        "a level of L": (saved(levels, "PNG", transparency=7), "image/png"),
        "a level of 16 bits": (saved(deep, "PNG", transparency=7 << 8), "image/png"),
        "a colour of a palette": (saved(palette, "PNG", transparency=clear), "image/png"),
        "alphas of a palette": (
            saved(palette, "PNG", transparency=bytes((0, 255) if clear == 0 else (255, 0))),
            "image/png",
        ),
        "one bit": (saved(mask.convert("1"), "PNG", transparency=0), "image/png"),
        "GIF": (saved(palette, "GIF", transparency=clear), "image/gif"),
        "WebP": (saved(page, "WEBP"), "image/webp"),
        "lossless WebP": (saved(page, "WEBP", lossless=True), "image/webp"),
    }


WAYS = white_writing_in_every_way()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("long_edge", [1000, 200])
def test_white_writing_on_nothing_is_seen_however_it_is_stored(way: str, long_edge: int) -> None:
    data, media_type = WAYS[way]
    (sent,) = prepare_image(data, media_type, PictureLimits(10**6, long_edge), field="file")
    levels = Image.open(io.BytesIO(sent.data)).convert("L").histogram()
    assert sum(levels[:40]) > sum(levels) / 2
    assert sum(levels[170:]) > 30
