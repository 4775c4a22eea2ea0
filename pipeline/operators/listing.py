"""Lists of records: the newest of them as lines, and counts of all that match."""

import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from pipeline.model.printable import printable
from pipeline.operators.selection import Place

COLUMN = 40  # characters that a column shows of what a record brings; few topics have longer names
_COUNTED = 30  # codes counted one by one: the pipeline has fewer, other writers any number
LineT = TypeVar("LineT")


def handled_cell(at: datetime | None, *, is_forgotten: bool) -> str:
    """When a record was handled, or that it is settled for good; empty where it is open."""
    if is_forgotten:
        return "forgotten"
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


class Listing(ABC, Generic[LineT]):
    """The newest `limit` lines, so that a long topic fits into memory; counts of all that match.

    With `handled`, only records that people have handled match, or only the others.
    """

    what: ClassVar[str]  # is listed
    headings: ClassVar[Sequence[str]]
    handled_as: ClassVar[str]  # what `handled` is called in the JSON document
    codes_as: ClassVar[str]  # what the counted codes are called there

    def __init__(self, limit: int, *, handled: bool | None = None) -> None:
        self.matching = self.handled = 0
        self.codes: Counter[str] = Counter()
        self._limit = limit
        self._wanted = handled
        self._kept: list[tuple[datetime, Place, LineT]] = []

    @property
    def lines(self) -> list[LineT]:
        """The oldest first."""
        return [line for *_, line in sorted(self._kept, key=lambda kept: kept[:2])]

    def add(
        self, line: LineT, at: datetime, place: Place, *, times: int, codes: Iterable[str]
    ) -> None:
        """Take in a record that was handled `times` times and is there because of `codes`."""
        is_handled = times > 0
        if self._wanted not in {None, is_handled}:
            return
        self.matching += 1
        self.handled += is_handled
        for code in (each[:COLUMN] for each in codes):
            is_counted = code in self.codes or len(self.codes) < _COUNTED
            self.codes[code if is_counted else "of other reasons"] += 1
        heapq.heappush(self._kept, (at, place, line))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    @abstractmethod
    def row(self, line: LineT) -> Sequence[str]:
        """The cells of a line, below `headings`."""

    def summary(self) -> str:
        """What the table does not show."""
        return self._sentence() if self.matching else f"No {self.what} match."

    @abstractmethod
    def _sentence(self) -> str: ...

    def remarks(self) -> Iterable[str]:
        """Sentences to be read before the table."""
        return ()

    def document(self) -> dict[str, Any]:
        return {
            "lines": self.lines,
            "matching": self.matching,
            self.handled_as: self.handled,
            self.codes_as: self.codes,
        }

    def _counts(self) -> str:
        return ", ".join(
            f"{count:,} {printable(code) or 'without a reason'}"
            for code, count in self.codes.most_common()
        )

    def _left_out(self) -> str:
        shown = len(self._kept)
        return (
            f" The newest {shown:,} are shown; --limit shows more." if self.matching > shown else ""
        )
