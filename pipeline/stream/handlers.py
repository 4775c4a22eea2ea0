"""The handler calls of a partition, and the slots that all partitions share."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from pipeline.stream.records import Handler, Outcome, Received, Rescue


class ConcurrencyLimiter:
    """How many handler calls may run at once, shared fairly among the partitions.

    Args:
        limit: Calls at once.
        useful: How many calls at once are of use at present; None for any number.

    Attributes:
        busy: Calls that run.
        waiting: Of the partitions that wait for a slot, in turn: each starts one record of its
            partition, and returns whether it had one.
    """

    def __init__(self, limit: int, useful: Callable[[], int | None] | None = None) -> None:
        self.busy = 0
        self.waiting: deque[Callable[[], bool]] = deque()
        self._limit = limit
        self._useful = useful

    def offer(self, start_next: Callable[[], bool]) -> None:
        """A partition has something to start: at once, or when a slot is free."""
        if start_next not in self.waiting:
            self.waiting.append(start_next)
        self.fill()

    def fill(self) -> None:
        """Start what there are slots for, one partition after the other."""
        while self.waiting:
            useful = None if self._useful is None else self._useful()
            if self.busy >= (self._limit if useful is None else min(self._limit, useful)):
                return
            start_next = self.waiting.popleft()
            if start_next():
                self.waiting.append(start_next)


class Answers:
    """The handler's outcomes for one partition, by offset, from the call to the commit.

    They outlive a restart of the partition and a rebalance after which it comes back: an answer
    that was paid for is used, if the committed ledger says that it is still wanted.

    Args:
        handler: Turns a record into its outcome.
        slots: What the calls run in.
        completed: Called with every outcome, once, and how many seconds the record was here.
        fail: Called with what the handler raised.
        rescue: Asked first about a record that could not be read.
    """

    def __init__(
        self,
        handler: Handler,
        slots: ConcurrencyLimiter,
        *,
        completed: Callable[[Outcome, float], None],
        fail: Callable[[BaseException], None],
        rescue: Rescue | None = None,
    ) -> None:
        self._handler = handler
        self._slots = slots
        self._completed = completed
        self._fail = fail
        self._rescue = rescue
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
            answered: Called by the event loop when the call is over.
        """
        call = self._calls.get(record.offset)
        if call is None:
            self._slots.busy += 1
            call = self._calls[record.offset] = asyncio.create_task(self._call(record))
            call.add_done_callback(partial(self._ended, since))
        call.add_done_callback(answered)

    def replace(self, offset: int, outcome: Outcome) -> None:
        """The answer to a record is another one from now on."""
        call: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        call.set_result(outcome)
        self._calls[offset] = call

    def forget(self, offset: int) -> None:
        """The record is committed, by whichever process: its answer is not wanted any more."""
        call = self._calls.pop(offset, None)
        if call is not None and not call.done():
            self._cancel(call)

    def retain(self, is_wanted: Callable[[int], bool]) -> None:
        """Forget all but the offsets that are still wanted."""
        for offset in [offset for offset in self._calls if not is_wanted(offset)]:
            self.forget(offset)

    def cancel(self) -> None:
        """None of the answers will be wanted."""
        for call in self._calls.values():
            if not call.done():
                self._cancel(call)
        self._calls.clear()

    async def close(self) -> None:
        """Cancel the calls that run and wait for them to end."""
        self.cancel()
        if self._cancelled:
            await asyncio.wait(self._cancelled)

    async def _call(self, record: Received) -> Outcome:
        if record.unread is not None and self._rescue is not None:
            outcome = self._rescue(record, None, record.unread.because)
            if outcome is not None:
                return outcome
        return await self._handler(record)

    def _cancel(self, call: asyncio.Future[Outcome]) -> None:
        call.cancel()
        self._cancelled.add(call)
        call.add_done_callback(self._cancelled.discard)

    def _ended(self, since: float, call: asyncio.Future[Outcome]) -> None:
        self._slots.busy -= 1
        self._slots.fill()
        if call.cancelled():
            if call not in self._cancelled:
                self._fail(RuntimeError("a handler was cancelled, and not by the stream"))
            return
        error = call.exception()
        if error is not None:
            self._fail(error)
        else:
            self._completed(call.result(), self._now() - since)
