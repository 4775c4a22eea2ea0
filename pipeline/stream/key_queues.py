"""Who may run next: one at a time for each key, different keys at once."""

from collections import deque
from typing import Generic, TypeVar

from pipeline.config import Ordering

ItemT = TypeVar("ItemT")


class KeyedQueue(Generic[ItemT]):
    """The order of one partition's records: pure, no tasks, no clock.

    A lane is a queue of records that run one after the other. With the ordering `key` each key
    has a lane, and records without a key have none in common, as in Kafka itself; with
    `partition` all share one; with `none` each record is alone.

    Args:
        ordering: What shares a lane.
    """

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering
        self._ready: deque[tuple[bytes | None, ItemT]] = deque()
        # A lane is here while one of its records is ready or running; the queue holds the rest.
        self._lanes: dict[bytes, deque[ItemT]] = {}
        self._running = 0
        self._queued = 0

    @property
    def ready(self) -> int:
        """Records that may start now."""
        return len(self._ready)

    @property
    def running(self) -> int:
        """Records that were started and not finished."""
        return self._running

    @property
    def queued(self) -> int:
        """Records that wait for an earlier one of their lane."""
        return self._queued

    def put(self, key: bytes | None, item: ItemT) -> None:
        """Add a record behind those of its lane."""
        lane = self._lane_of(key)
        if lane is None:
            self._ready.append((None, item))
            return
        waiting = self._lanes.get(lane)
        if waiting is None:
            self._lanes[lane] = deque()
            self._ready.append((lane, item))
        else:
            waiting.append(item)
            self._queued += 1

    def start(self) -> tuple[bytes | None, ItemT]:
        """Start the record that has been ready the longest.

        Returns:
            Its lane, to be given to `finish`, and the record.

        Raises:
            IndexError: None is ready.
        """
        started = self._ready.popleft()
        self._running += 1
        return started

    def finish(self, lane: bytes | None) -> None:
        """The running record of a lane came to its end: the next one of the lane is ready."""
        self._running -= 1
        if lane is None:
            return
        waiting = self._lanes[lane]
        if waiting:
            self._ready.append((lane, waiting.popleft()))
            self._queued -= 1
        else:
            del self._lanes[lane]

    def _lane_of(self, key: bytes | None) -> bytes | None:
        match self._ordering:
            case "key":
                return key
            case "partition":
                return b""
            case "none":
                return None
