"""A sheet as a picture: as a screen shows it, or as a scanner or a phone sees it."""

import io
import random
import unicodedata
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from rendering.sheet import Area, Ink, Sheet, Stroke, Text, combining

Format = Literal["PNG", "JPEG", "GIF", "WEBP"]
Segment = tuple[float, float, float, float]

# Pillow's embedded font has no letter with an accent, so the accents are drawn: short strokes
# above (below, for the cedilla) the middle of the letter, in thousandths of the size. A stroke
# without length is a dot.
_ACCENTS: dict[str, tuple[Segment, ...]] = {
    "\N{COMBINING DIAERESIS}": ((-125, 0, -125, 0), (125, 0, 125, 0)),
    "\N{COMBINING ACUTE ACCENT}": ((-40, 40, 90, -60),),
    "\N{COMBINING GRAVE ACCENT}": ((-90, -60, 40, 40),),
    "\N{COMBINING CIRCUMFLEX ACCENT}": ((-110, 40, 0, -60), (0, -60, 110, 40)),
    "\N{COMBINING TILDE}": ((-130, 20, -40, -30), (-40, -30, 40, 20), (40, 20, 130, -30)),
    "\N{COMBINING CEDILLA}": ((0, 850, 30, 930), (30, 930, -60, 960)),
}
_RISE_SMALL = 0.62
_RISE_CAPITAL = 0.80
_WORD_SPACE = 0.32  # of the size; the font's own is so narrow that readers run words together


@dataclass(frozen=True, slots=True)
class Look:
    """How the picture was taken.

    Args:
        scale: Pixels a point.
        paper: Colour of the paper.
        rotation: Degrees, counter-clockwise.
        grain: Share of noise, 0 to 1.
        blur: Radius in pixels.
        brightness: 1 as it is, 0 black.
        seed: Of the noise.
    """

    scale: float = 1.4
    paper: Ink = (255, 255, 255)
    rotation: float = 0
    grain: float = 0
    blur: float = 0
    brightness: float = 1
    seed: int = 1


def to_image(sheet: Sheet, look: Look) -> Image.Image:
    """Draw a sheet and look at it."""
    size = round(sheet.width * look.scale), round(sheet.height * look.scale)
    image = Image.new("RGB", size, look.paper)
    pen = ImageDraw.Draw(image)
    for mark in sheet.marks:
        match mark:
            case Text():
                _write(pen, mark, look.scale)
            case Stroke():
                points = [(x * look.scale, y * look.scale) for x, y in mark.points]
                pen.line(points, mark.ink, max(1, round(mark.width * look.scale)), joint="curve")
            case Area():
                left, top = mark.x * look.scale, mark.y * look.scale
                right, bottom = left + mark.width * look.scale, top + mark.height * look.scale
                pen.rectangle((left, top, right, bottom), mark.ink)
    return _seen(image, look)


def encode(image: Image.Image, kind: Format, quality: int = 70) -> bytes:
    """The bytes of a file, small rather than pretty."""
    buffer = io.BytesIO()
    match kind:
        case "PNG" | "GIF":
            method = Image.Quantize.FASTOCTREE
            image.quantize(32, method, dither=Image.Dither.NONE).save(buffer, kind, optimize=True)
        case "JPEG" | "WEBP":
            image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def _seen(image: Image.Image, look: Look) -> Image.Image:
    if look.rotation:
        bilinear = Image.Resampling.BILINEAR
        image = image.rotate(look.rotation, bilinear, fillcolor=look.paper)
    if look.blur:
        image = image.filter(ImageFilter.GaussianBlur(look.blur))
    if look.grain:
        noise = random.Random(look.seed).randbytes(image.width * image.height)  # noqa: S311 - grain, not a secret
        speckle = Image.frombytes("L", image.size, noise).convert("RGB")
        image = ImageChops.overlay(image, Image.blend(_grey(image), speckle, look.grain))
    if look.brightness != 1:
        image = ImageEnhance.Brightness(image).enhance(look.brightness)
    return image


def _grey(image: Image.Image) -> Image.Image:
    return Image.new("RGB", image.size, (128, 128, 128))


def _write(pen: ImageDraw.ImageDraw, mark: Text, scale: float) -> None:
    size = mark.size * scale
    font = ImageFont.load_default(size=size)
    words = [_taken_apart(word) for word in mark.text.split(" ")]
    advances = [font.getlength(letters) + _WORD_SPACE * size for letters, _ in words]
    shift = {"left": 0.0, "center": 0.5, "right": 1.0}[mark.align]
    x = mark.x * scale - shift * (sum(advances) - _WORD_SPACE * size)
    weight = size / 32 if mark.bold else 0
    for (letters, accents), advance in zip(words, advances, strict=True):
        start = (x, mark.y * scale)
        pen.text(start, letters, mark.ink, font, anchor="ls", stroke_width=weight)
        for index, accent in accents:
            middle = x + font.getlength(letters[:index]) + font.getlength(letters[index]) / 2
            rise = _RISE_CAPITAL if letters[index].isupper() else _RISE_SMALL
            _accent(pen, (middle, mark.y * scale - rise * size), accent, size, mark.ink)
        x += advance


def _accent(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], accent: str, size: float, ink: Ink
) -> None:
    middle, top = place
    for x1, y1, x2, y2 in _ACCENTS[accent]:
        ends = ((x1, y1), (x2, y2))
        points = [(middle + x * size / 1000, top + y * size / 1000) for x, y in ends]
        if points[0] == points[1]:
            pen.circle(points[0], size / 16, ink)
        else:
            pen.line(points, ink, max(1, round(size / 11)))


def _taken_apart(text: str) -> tuple[str, list[tuple[int, str]]]:
    """Plain letters, and which of them carries which accent."""
    letters, accents = "", []
    for char in unicodedata.normalize("NFD", text):
        if combining(char):
            accents.append((len(letters) - 1, char))
        elif char.isascii():
            letters += char
        else:
            raise ValueError(f"the embedded font cannot show {char!r} in {text!r}")
    return letters, accents
