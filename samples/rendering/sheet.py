"""A sheet of paper: what stands where, before anybody decides whether it is a PDF or a picture."""

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Ink = tuple[int, int, int]
Align = Literal["left", "right", "center"]

BLACK: Ink = (20, 20, 24)
GREY: Ink = (110, 110, 116)
PALE: Ink = (232, 232, 236)
BLUE: Ink = (28, 44, 130)

# Advance widths of Helvetica for U+0020 to U+007E in thousandths of the size, from the metrics
# that Adobe publishes for the base fonts. An accented letter is as wide as its base letter.
_WIDTHS = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 "
    "556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 556 "
    "1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 "
    "667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 "
    "333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 "
    "556 556 333 500 278 556 500 722 500 500 500 334 260 334 584"
)
_WIDTH = {chr(32 + index): int(width) for index, width in enumerate(_WIDTHS.split())}
_DEFAULT_WIDTH = 556


def text_width(text: str, size: float) -> float:
    """Width of a line in points, set in Helvetica."""
    letters = [char for char in unicodedata.normalize("NFD", text) if not combining(char)]
    return sum(_WIDTH.get(char, _DEFAULT_WIDTH) for char in letters) * size / 1000


def combining(char: str) -> bool:
    """Whether this is an accent that sits on the letter before it."""
    return unicodedata.combining(char) != 0


@dataclass(frozen=True, slots=True)
class Text:
    """One line; `x` is its left end, right end or middle, `y` its base line."""

    x: float
    y: float
    text: str
    size: float = 10
    bold: bool = False
    align: Align = "left"
    ink: Ink = BLACK


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through points, as a ruler or a pen draws it."""

    points: tuple[tuple[float, float], ...]
    width: float = 0.7
    ink: Ink = BLACK


@dataclass(frozen=True, slots=True)
class Area:
    """A filled rectangle; `y` is its upper edge."""

    x: float
    y: float
    width: float
    height: float
    ink: Ink = PALE


Mark = Text | Stroke | Area


@dataclass(slots=True)
class Sheet:
    """Marks on paper, in points from the upper left corner.

    Args:
        width: Points; 595 is A4.
        height: Points; 842 is A4.
    """

    width: float = 595
    height: float = 842
    marks: list[Mark] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 10,
        *,
        bold: bool = False,
        align: Align = "left",
        ink: Ink = BLACK,
    ) -> None:
        """Write one line."""
        self.marks.append(Text(x, y, text, size, bold, align, ink))

    def lines(
        self, x: float, y: float, lines: Sequence[str], size: float = 10, leading: float = 1.4
    ) -> float:
        """Write lines below each other; returns where the next one would stand."""
        for line in lines:
            self.text(x, y, line, size)
            y += size * leading
        return y

    def paragraph(
        self, x: float, y: float, text: str, size: float = 10, *, width: float = 455
    ) -> float:
        """Write prose, broken to about the width; returns where the next line would stand."""
        columns = int(width / (size * 0.45))
        return self.lines(x, y, textwrap.wrap(text, columns), size) + size * 0.5

    def rule(self, x: float, y: float, length: float, width: float = 0.7, ink: Ink = BLACK) -> None:
        """Draw a horizontal line."""
        self.marks.append(Stroke(((x, y), (x + length, y)), width, ink))

    def frame(self, x: float, y: float, width: float, height: float, line: float = 0.7) -> None:
        """Draw the outline of a rectangle."""
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y))
        self.marks.append(Stroke(corners, line))

    def area(self, x: float, y: float, width: float, height: float, ink: Ink = PALE) -> None:
        """Fill a rectangle."""
        self.marks.append(Area(x, y, width, height, ink))

    def stroke(
        self, points: Sequence[tuple[float, float]], width: float = 1, ink: Ink = BLACK
    ) -> None:
        """Draw through points."""
        self.marks.append(Stroke(tuple(points), width, ink))

    def signature(self, x: float, y: float, loops: Sequence[int]) -> None:
        """Sign: a pen that goes up and down by these heights, to the right."""
        points = [(x, y)]
        for index, height in enumerate(loops):
            points += [(x + 9 * index + 4, y - height), (x + 9 * index + 9, y + height % 5 - 2)]
        self.stroke(points, 1.3, BLUE)
