"""The handler calls of a partition, and the slots that all partitions share."""

import asyncio
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import partial

from pipeline.stream.records import Handler, Outcome, Received, Rescue

Turn = Callable[[], float]
"""The lowest goes first."""


@dataclass(eq=False)
class ConcurrencyLimiter:
    """How many handler calls may run at once, shared fairly among the partitions.

    Of the partitions that wait for a slot, each has a function in `waiting` that starts one of its
    records and returns whether it had one, and one that says when it would be its turn: they go in
    that order, and those of the same turn one after the other. `useful` says how many calls at once
    are of use at present; None for any number.
    """

    limit: int
    useful: Callable[[], int | None] | None = None
    busy: int = field(default=0, init=False)
    waiting: dict[Callable[[], bool], Turn | None] = field(default_factory=dict, init=False)

    def fill(self, more: Callable[[], bool] | None = None, turn: Turn | None = None) -> None:
        """Start what there are slots for, one partition after the other.

        `more` is a partition that has something to start, now or when a slot is free; where one has
        no `turn` none has.
        """
        if more is not None:
            self.waiting.setdefault(more, turn)
        while self.waiting:
            useful = None if self.useful is None else self.useful()
            if self.busy >= (self.limit if useful is None else min(self.limit, useful)):
                return
            start_next = self._next()
            turn = self.waiting.pop(start_next)
            if start_next():
                self.waiting[start_next] = turn

    def _next(self) -> Callable[[], bool]:
        turns = {each: turn() for each, turn in self.waiting.items() if turn is not None}
        return min(turns, key=turns.__getitem__) if turns else next(iter(self.waiting))


@dataclass(eq=False)
class Answers:
    """The handler's outcomes for one partition, by offset, from the call to the commit.

    They outlive a restart of the partition and a rebalance after which it comes back: an answer
    that was paid for is used, if the committed ledger says that it is still wanted.
    """

    handler: Handler
    slots: ConcurrencyLimiter
    _: KW_ONLY
    completed: Callable[[Outcome, float], None]
    fail: Callable[[BaseException], None]
    rescue: Rescue | None = None

    def __post_init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._calls: dict[int, asyncio.Future[Outcome]] = {}
        self._cancelled: set[asyncio.Future[Outcome]] = set()

    def ask(
        self, record: Received, since: float, answered: Callable[[asyncio.Future[Outcome]], None]
    ) -> None:
        """Call the handler, unless it was called for this record before.

        `answered` is called by the event loop when the call is over.
        """
        call = self._calls.get(record.offset)
        if call is None:
            self.slots.busy += 1
            is_unread = record.unread is not None and self.rescue is not None
            made = self._rescued(record) if is_unread else self.handler(record)
            call = self._calls[record.offset] = asyncio.ensure_future(made)
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

    async def _rescued(self, record: Received) -> Outcome:
        outcome = None
        if record.unread is not None and self.rescue is not None:
            outcome = self.rescue(record, None, record.unread.because)
        return await self.handler(record) if outcome is None else outcome

    def _cancel(self, call: asyncio.Future[Outcome]) -> None:
        call.cancel()
        self._cancelled.add(call)
        call.add_done_callback(self._cancelled.discard)

    def _ended(self, since: float, call: asyncio.Future[Outcome]) -> None:
        self.slots.busy -= 1
        self.slots.fill()
        if call.cancelled():
            if call not in self._cancelled:
                self.fail(RuntimeError("a handler was cancelled, and not by the stream"))
            return
        error = call.exception()
        if error is not None:
            self.fail(error)
        else:
            self.completed(call.result(), self._now() - since)
