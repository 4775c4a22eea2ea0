"""Keeps the newest of many things, so that a long topic fits into memory. Pure."""

import heapq
from datetime import datetime
from typing import Generic, TypeVar

from pipeline.desk.place import Place

T = TypeVar("T")


class Newest(Generic[T]):
    """The last `limit` of what it was given, by time.

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
