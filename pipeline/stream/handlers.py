"""The handler calls of a partition, and the slots that all partitions share."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pipeline.stream.records import Handler, Outcome, Received


class Startable(Protocol):
    """Has records that could run."""

    def start_next(self) -> bool:
        """Start one; returns whether there was one to start."""
        ...


class ConcurrencyLimiter:
    """How many handler calls may run at once, shared fairly among the partitions.

    Args:
        limit: Calls at once.
        useful: How many calls at once are of use at present; None for any number.
    """

    def __init__(self, limit: int, useful: Callable[[], int | None] = lambda: None) -> None:
        self._limit = limit
        self._useful = useful
        self._busy = 0
        self._queue: deque[Startable] = deque()
        self._queued: set[Startable] = set()

    @property
    def are_awaited(self) -> bool:
        """Whether all are taken and records wait for one."""
        return bool(self._queue)

    def offer(self, startable: Startable) -> None:
        """It has something to start; it gets its turn at the next `fill`."""
        if startable not in self._queued:
            self._queued.add(startable)
            self._queue.append(startable)

    def fill(self) -> None:
        """Start what there are slots for, one partition after the other."""
        while self._queue and self._is_one_free():
            startable = self._queue.popleft()
            if startable.start_next():
                self._queue.append(startable)
            else:
                self._queued.discard(startable)

    def occupy(self) -> None:
        """A call starts."""
        self._busy += 1

    def release(self) -> None:
        """A call ended."""
        self._busy -= 1
        self.fill()

    def _is_one_free(self) -> bool:
        useful = self._useful()
        return self._busy < (self._limit if useful is None else min(self._limit, useful))


class Answers:
    """The handler's outcomes for one partition, by offset, from the call to the commit.

    They outlive a restart of the partition and a rebalance after which it comes back: an answer
    that was paid for is used, if the committed ledger says that it is still wanted.

    Args:
        handler: Turns a record into its outcome.
        slots: What the calls run in.
        completed: Called with every outcome, once, and how many seconds the record was here.
        fail: Called with what the handler raised.
    """

    def __init__(
        self,
        handler: Handler,
        slots: ConcurrencyLimiter,
        *,
        completed: Callable[[Outcome, float], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._handler = handler
        self._slots = slots
        self._completed = completed
        self._fail = fail
        self._now = asyncio.get_running_loop().time
        self._calls: dict[int, asyncio.Future[Outcome]] = {}
        self._cancelled: set[asyncio.Future[Outcome]] = set()

    def ask(
        self, record: Received, since: float, answered: Callable[[asyncio.Future[Outcome]], None]
    ) -> None:
        """Call the handler, unless it was called for this record before.

        Args:
            record: What is asked about.
            since: When it came in, on the event loop's clock.
            answered: Called from the event loop when the call is over.
        """
        call = self._calls.get(record.offset)
        if call is None:
            self._slots.occupy()
            call = self._calls[record.offset] = asyncio.create_task(self._call(record))
            call.add_done_callback(partial(self._ended, since))
        call.add_done_callback(answered)

    def replace(self, offset: int, outcome: Outcome) -> None:
        """The answer to a record is another one from now on."""
        call: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call.set_result(outcome)
        self._calls[offset] = call

    def forget(self, offset: int) -> None:
        """The record is committed, whoever did it: its answer is not wanted any more."""
        call = self._calls.pop(offset, None)
        if call is not None and not call.done():
            self._cancel(call)

    def retain(self, is_wanted: Callable[[int], bool]) -> None:
        """Forget all but the offsets that are still wanted."""
        for offset in [offset for offset in self._calls if not is_wanted(offset)]:
            self.forget(offset)

    def cancel(self) -> None:
        """Nobody will want any of the answers."""
        for call in self._calls.values():
            self._cancel(call)
        self._calls.clear()

    async def close(self) -> None:
        """Cancel the calls that run and wait for them to end."""
        self.cancel()
        if self._cancelled:
            await asyncio.wait(self._cancelled)

    async def _call(self, record: Received) -> Outcome:
        return await self._handler(record)

    def _cancel(self, call: asyncio.Future[Outcome]) -> None:
        if not call.done():
            call.cancel()
            self._cancelled.add(call)
            call.add_done_callback(self._cancelled.discard)

    def _ended(self, since: float, call: asyncio.Future[Outcome]) -> None:
        self._slots.release()
        if call.cancelled():
            if call not in self._cancelled:
                self._fail(RuntimeError("a handler was cancelled, and not by the stream"))
            return
        error = call.exception()
        if error is not None:
            self._fail(error)
        else:
            self._completed(call.result(), self._now() - since)
