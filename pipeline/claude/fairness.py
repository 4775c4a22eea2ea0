"""A queue of several stages in which a flood of one does not hold up the others.

Start-time fair queueing: each stage has a virtual time that moves on by what its requests take
from the limits; the stage that is furthest behind goes next. A stage that had nothing to ask
starts at the present and saves up no claim.
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
