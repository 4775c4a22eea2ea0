"""A queue of several stages in which a flood of one does not hold up the others.

Start-time fair queueing: each stage has a virtual time that moves on by what its requests take
from the limits; the stage that is furthest behind goes next. A stage that had nothing to ask
starts at the present and saves up no claim.

How many calls to a model may be under way at once.

Few at first, and one more for each success: the number doubles with every round of answers until
the setting is reached, so that neither a start nor a recovery is a burst. The API caps how fast
usage may grow (`ramp_limit_exceeded`), without saying how fast; after such an answer the window
is halved and grows by one a round.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class FairQueue(Generic[ItemT]):
    """First in, first out within a stage; fair between stages."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[ItemT]] = {}
        self._times: dict[str, float] = {}
        self._now = 0.0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, stage: str, item: ItemT, *, first: bool = False) -> None:
        """Add an item, at the end of its stage's queue or, if it has waited before, at its head."""
        queue = self._queues.setdefault(stage, deque())
        if not queue:
            self._times[stage] = max(self._times.get(stage, 0.0), self._now)
        if first:
            queue.appendleft(item)
        else:
            queue.append(item)
        self._size += 1

    def heads(self) -> Iterator[tuple[str, ItemT]]:
        """The first item of each stage that has one; the stage furthest behind first."""
        waiting = [stage for stage, queue in self._queues.items() if queue]
        for stage in sorted(waiting, key=self._times.__getitem__):
            yield stage, self._queues[stage][0]

    def pop(self, stage: str, *, weight: float) -> ItemT:
        """Take the first item of a stage; a weight of 0 says that it is only thrown away."""
        item = self._queues[stage].popleft()
        self._size -= 1
        if weight > 0:
            self._now = self._times[stage]
            self._times[stage] += weight
        return item

    def bring_forward(self, stage: str, is_meant: Callable[[ItemT], bool]) -> None:
        """Put the first item of a stage that is meant at its head, if there is one."""
        queue = self._queues[stage]
        found = next((at for at, item in enumerate(queue) if is_meant(item)), 0)
        if found:
            item = queue[found]
            del queue[found]
            queue.appendleft(item)

    def sizes(self) -> dict[str, int]:
        """Items waiting, by stage."""
        return {stage: len(queue) for stage, queue in self._queues.items() if queue}


START = 8


class Window:
    """The number of calls that may be under way.

    Args:
        most: The setting.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(min(START, most))
        self._doubles_below = float(most)

    @property
    def most(self) -> int:
        """The setting."""
        return self._most

    @property
    def size(self) -> int:
        """Calls at once."""
        return int(self._size)

    def succeeded(self, in_flight: int) -> None:
        """An answer came.

        Args:
            in_flight: Calls under way, this one included. A window that is not used does not
                grow: nothing was learnt about what lies beyond.
        """
        if in_flight < self._size / 2:
            return
        step = 1.0 if self._size < self._doubles_below else 1.0 / self._size
        self._size = min(self._most, self._size + step)

    def ramped(self) -> None:
        """Usage grew faster than the API allows."""
        self._size = max(1.0, self._size / 2)
        self._doubles_below = self._size

    def recovered(self) -> None:
        """The API answers again after an outage: start small, and grow fast."""
        self._size = max(1.0, min(self._size, max(START, self._size / 4)))
