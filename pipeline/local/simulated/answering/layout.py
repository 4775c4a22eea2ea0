"""A text as lines of cells: what stands beside and below a label."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_CELL = re.compile(r"[^\s|](?:[^\n\t|]*?[^\s|])?(?=\s{2,}|\s*\t|\s*\||\s*$)")
_NEAR = 14
_LINES_BELOW = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a line, apart from the next by two blanks, a tab or a bar.

    Args:
        text: What it says.
        line: The number of its line.
        start: Its first column.
        index: Its number in the line.
    """

    text: str
    line: int
    start: int
    index: int

    @property
    def end(self) -> int:
        """The column behind it."""
        return self.start + len(self.text)


class Layout:
    """The cells of a text; empty lines are left out.

    Args:
        text: The text.
    """

    def __init__(self, text: str) -> None:
        lines = [line.expandtabs(4) for line in text.splitlines() if line.strip()]
        self.lines: Sequence[Sequence[Cell]] = [
            [
                Cell(match.group(), number, match.start(), index)
                for index, match in enumerate(_CELL.finditer(line))
            ]
            for number, line in enumerate(lines)
        ]
        self.texts: Sequence[str] = lines

    def __iter__(self) -> Iterator[Cell]:
        return (cell for line in self.lines for cell in line)

    def right_of(self, cell: Cell) -> Cell | None:
        """The next cell of the same line."""
        line = self.lines[cell.line]
        return line[cell.index + 1] if cell.index + 1 < len(line) else None

    def below(self, cell: Cell, lines: int = _LINES_BELOW) -> Iterator[Cell]:
        """The cells under it, nearest first."""
        last = self.right_of(cell) is None
        for number in range(cell.line + 1, min(len(self.lines), cell.line + 1 + lines)):
            for other in self.lines[number]:
                overlaps = other.start < cell.end and cell.start < other.end
                beyond = last and other.start >= cell.start
                if overlaps or beyond or abs(other.start - cell.start) <= _NEAR:
                    yield other
                    break
