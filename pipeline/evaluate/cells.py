"""Counting into cells: every item in exactly one, or there is no table at all."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

CellT = TypeVar("CellT", bound=StrEnum)


def cells(kinds: type[CellT], items: Iterable[CellT]) -> Mapping[CellT, int]:
    """Count items by kind; a kind without items has a 0.

    Raises:
        RuntimeError: The cells do not add up to the items: a fault of the program.
    """
    found = Counter(items)
    counted = {kind: found[kind] for kind in kinds}
    check_whole(counted.values(), found.total())
    return counted


def check_whole(counts: Iterable[int], items: int) -> None:
    """Make sure that each of the items was counted once.

    Raises:
        RuntimeError: It was not: a fault of the program.
    """
    if (counted := sum(counts)) != items:
        raise RuntimeError(f"{items} items are in cells that count {counted}")
