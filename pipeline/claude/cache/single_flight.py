"""Single flight: identical questions that are under way share one call."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from pipeline.model.errors import AnswerError

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class InFlightCall(Generic[T]):
    """One call, and how many wait for it.

    Args:
        key: What makes it identical.
        passengers: How many wait for its answer.
        sending: Whether its request is on its way, and will be paid whatever happens here.
    """

    key: bytes
    waiters: int = 0
    sending: bool = False
    task: "asyncio.Task[T] | None" = field(default=None, repr=False)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return self.waiters > 0


class SingleFlight(Generic[T]):
    """All calls under way, by key.

    A call runs in a task of its own: whoever asked first may go, and the others still get the
    answer. A call that nobody wants any more is cancelled, unless its request is on its way: it
    is paid then, so its answer is waited for and kept.
    """

    def __init__(self) -> None:
        self._flights: dict[bytes, InFlightCall[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def join(
        self, key: bytes, start: Callable[[InFlightCall[T]], Coroutine[Any, Any, T]]
    ) -> "tuple[asyncio.Task[T], bool]":
        """Wait for the call with that key, starting it where there is none.

        Args:
            key: What makes it identical.
            start: Makes the call; given the call in flight, so that it can say when it is sending.

        Returns:
            The call, which has ended, and whether it was somebody else's.
        """
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = self._flights[key] = InFlightCall(key)
        task = flight.task or self._take_off(flight, start)
        flight.waiters += 1
        try:
            await _until_done(task)
        finally:
            flight.waiters -= 1
            if not (flight.waiters or flight.sending or task.done()):
                self._forget(flight)
                task.cancel()
        return task, shared

    async def close(self) -> None:
        """Cancel all calls and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _take_off(
        self, flight: InFlightCall[T], start: Callable[[InFlightCall[T]], Coroutine[Any, Any, T]]
    ) -> "asyncio.Task[T]":
        task = flight.task = asyncio.get_running_loop().create_task(start(flight))
        self._tasks.add(task)
        task.add_done_callback(partial(self._landed, flight))
        return task

    def _landed(self, flight: InFlightCall[T], task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        self._forget(flight)
        if task.cancelled() or flight.is_wanted:
            return
        error = task.exception()
        if error is not None and not isinstance(error, AnswerError):
            log.error("a call that nobody waited for failed", exc_info=error)

    def _forget(self, flight: InFlightCall[T]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]


async def _until_done(task: "asyncio.Task[Any]") -> None:
    """Wait for a task; cancelling the waiter leaves the task alone."""
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: "asyncio.Task[Any]") -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        task.remove_done_callback(wake)
