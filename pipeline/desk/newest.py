"""Keeps the newest of many things, so that a long topic fits into memory. Pure."""

import heapq
from datetime import datetime
from typing import Generic, TypeVar

from pipeline.desk.place import Place

T = TypeVar("T")


class Newest(Generic[T]):
    """The last `limit` of what it was given, by time; `seen` is how many it was given.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[tuple[datetime, Place, T]] = []
        self.seen = 0

    def add(self, moment: datetime, place: Place, item: T) -> None:
        """Let one in; the oldest goes where there are too many. No place comes twice."""
        self.seen += 1
        heapq.heappush(self._kept, (moment, place, item))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    def items(self) -> list[T]:
        """What is kept, the oldest first."""
        return [item for _, _, item in sorted(self._kept, key=lambda entry: entry[:2])]


def left_out(found: int, *, shown: int) -> str:
    """A sentence to append if more were found than are shown."""
    return f" The newest {shown:,} are shown; --limit shows more." if found > shown else ""
