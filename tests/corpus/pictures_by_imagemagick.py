"""Pictures by ImageMagick, which writes what Pillow does not: depths, interlacing, arithmetic."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from tests.corpus.made import Made, program, run, saved, written

_TYPES = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_KINDS = (
    "Bilevel", "Grayscale", "GrayscaleAlpha", "Palette", "PaletteAlpha", "TrueColor",
    "TrueColorAlpha",
)  # fmt: skip


def by_imagemagick(folder: Path) -> Iterator[Made]:
    """About ninety."""
    convert, source = program("magick", "convert"), folder / "source.png"
    source.write_bytes(saved(written(), "PNG"))
    for number, (ending, options) in enumerate(_ways()):
        made = folder / f"{number}.{ending}"
        run([convert, str(source), *options, str(made)])
        yield Made("imagemagick", f"imagemagick-{made.name}", made.read_bytes(), _TYPES[ending])


Way = tuple[str, tuple[str, ...]]
"""An ending, and the options that lead to it."""


def _ways() -> Iterator[Way]:
    yield from _pngs()
    yield from _changed()
    yield from _jpegs()
    yield from _webps()
    yield from _gifs()


def _pngs() -> Iterator[Way]:
    for kind, interlace in itertools.product(_KINDS, ("None", "PNG")):
        yield "png", ("-type", kind, "-interlace", interlace)
    for form, interlace in itertools.product(("PNG8", "PNG24", "PNG32", "PNG48", "PNG64"), ("None", "PNG")):  # noqa: E501  # fmt: skip
        yield "png", ("-define", f"png:format={form.lower()}", "-interlace", interlace)
    for depth in (1, 2, 4, 8, 16):
        yield "png", (*_png_of(depth, 0), "-colorspace", "Gray")
    for depth in (1, 2, 4, 8):
        yield "png", (*_png_of(depth, 3), "-colors", "2")
    yield "png", ("-set", "comment", "words " * 5000, "-set", "Title", "Rechnung ü")


def _png_of(depth: int, colours: int) -> tuple[str, ...]:
    return "-define", f"png:bit-depth={depth}", "-define", f"png:color-type={colours}"


def _changed() -> Iterator[Way]:
    """White made transparent, a long roll, a page that lies askew."""
    for white in ("-transparent", "-fuzz 20% -transparent"):
        for ending in ("png", "gif", "webp"):
            yield ending, (*white.split(), "white")
    for ending in ("png", "jpg", "webp"):
        yield ending, ("-resize", "200x6000!")
        yield ending, ("-rotate", "3", "-background", "none")


def _jpegs() -> Iterator[Way]:
    for interlace, space in itertools.product(("None", "JPEG"), ("sRGB", "Gray", "CMYK", "YCbCr")):
        yield "jpg", ("-interlace", interlace, "-colorspace", space)
    for factor in ("1x1", "2x1", "2x2", "4x1", "1x2"):
        yield "jpg", ("-sampling-factor", factor)
    for turn in ("TopRight", "BottomRight", "LeftTop", "RightTop", "LeftBottom"):
        yield "jpg", ("-orient", turn)
    for quality in (1, 30, 100):
        yield "jpg", ("-quality", str(quality))


def _webps() -> Iterator[Way]:
    for quality in (1, 30, 100):
        yield "webp", ("-quality", str(quality))
    for lossless, exact in itertools.product(("true", "false"), repeat=2):
        yield "webp", ("-define", f"webp:lossless={lossless}", "-define", f"webp:exact={exact}")


def _gifs() -> Iterator[Way]:
    for dispose in ("None", "Background", "Previous"):
        yield "gif", ("-dispose", dispose, "(", "+clone", "-negate", ")", "-loop", "0")
    for interlace, colours in itertools.product(("None", "GIF"), ("2", "16", "256")):
        yield "gif", ("-interlace", interlace, "-colors", colours)
    yield "gif", ("-page", "+20+30", "-background", "none")
