"""How many records are taken in, from which partitions; and the loop that polls for them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Generic, Protocol, TypeVar

from pipeline.config import StreamSettings
from pipeline.model.errors import Unavailable
from pipeline.model.observer import Observer
from pipeline.stream.assignment import Assignment
from pipeline.stream.dead_letter_breaker import DeadLetterBreaker
from pipeline.stream.ledger import LIMIT_WITH_PARKED
from pipeline.stream.partition_worker import PartitionWorker, State, WorkerContext
from pipeline.stream.protocols import PositionLost, TopicPartition
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.stream.workload import Load

_log = logging.getLogger(__name__)
POLL_RECORDS = 100
"""Records that one poll brings at most. A gate closes that much below its limit, so that the
poll that is under way when it closes cannot overshoot."""
_FIRST_GUESS = 1 << 14
"""Bytes that a record is taken for before one was seen."""
_BYTES_SHARE = 4
"""One partition may fill a quarter of the memory: one that waits for a slow key must not close the
others."""
_WAIT = 0.2
"""Seconds that a poll waits for the first record."""
_IDLE_WAIT = 1.0
"""The same where none came for `_IDLE_AFTER` seconds: a poll costs as much as fetching does."""
_IDLE_AFTER = 10.0
_WAIT_WHILE_SOME_ARE_FULL = 0.02
"""The same while a partition may open at any time."""
_WAIT_WHILE_CLOSED = 0.25
"""Seconds between polls that take nothing: while intake is closed the group must still see that
this member lives, and the reason may be gone."""
_PACE = 0.02
"""Seconds from poll to poll at least. Records that trickle in are fetched and decoded together,
which costs much less and delays none noticeably: a model call takes twenty times as long."""
_PACE_AHEAD = 0.005
"""The same while all that comes is passed over, on the way to what may be worked on: 20,000 records
a second at most. To pass one over takes 6 µs, beside what it takes to read it."""
_LONGEST_FIND = 5.0
"""Seconds that the search for the tenants of one poll of a partition may take; meanwhile nothing
else is polled."""
_FIND_AGAIN = 1.0
"""Seconds before records are read again whose tenant could not be found."""
_LONGEST_TURN = 0.01
"""Seconds of decoding records after which others get a turn."""
_NOT_ASKED = 5.0
"""Seconds without being polled after which a partition has time to begin again."""
KeyT = TypeVar("KeyT", bound=Hashable)


class IntakeGate(Protocol):
    """Says when nothing shall be taken in, and how much may be worked on at once.

    What speaks against it is a budget, a breaker, a missing key. Both are asked often, so they
    must be quick.
    """

    def paused_reason(self) -> str | None:
        """The reason in a sentence; None if records may be taken."""
        ...

    def at_once(self) -> int | None:
        """How many handler calls are of use at once; None for any number.

        More would wait for each other. Where a partition is drained they would still get their
        turn, be paid for, and come too late to be committed.
        """
        ...


class Throttle(Protocol):
    """Says how many records may be taken where all is well, and yet not everything at once."""

    def room(self) -> int | None:
        """How many records may be taken now; None for any number. Asked often: must be quick."""
        ...

    def throttled_reason(self) -> str | None:
        """Why none may be taken now, in a sentence; None where some may."""
        ...

    def took(self, records: int) -> None:
        """So many were taken."""
        ...


@dataclass(eq=False)
class Intake:
    """Closed by the gate, or by too many dead letters; held by the throttle; reports each change.

    `paused_reason` and `is_limited`, whether it counts what is taken, are as of the last `room()`.
    """

    stage: str
    gate: IntakeGate | None
    dead_letters: DeadLetterBreaker
    observer: Observer
    throttle: Throttle | None = None
    paused_reason: str | None = field(default=None, init=False)
    is_limited: bool = field(default=False, init=False)
    _throttled_reason: str | None = field(default=None, init=False)

    def room(self) -> int | None:
        """How many records may be taken now; None for any number.

        While dead letters close it that may be a few, to see whether the cause is gone.
        """
        probes = self.dead_letters.update()
        gate = None if self.gate is None else self.gate.paused_reason()
        reason = self.dead_letters.paused_reason or gate
        if reason != self.paused_reason:
            self.paused_reason = reason
            self.observer.intake(self.stage, paused_reason=reason)
            if reason is None:
                _log.info("%s: intake is open again", self.stage)
            else:
                _log.warning("%s: intake is closed: %s", self.stage, reason)
        rooms = [probes, None if gate is None else 0]
        if self.throttle is not None:
            reason = self.throttle.throttled_reason()
            rooms.append(self.throttle.room() if reason is None else 0)
            if reason != self._throttled_reason:
                self._throttled_reason = reason
                self.observer.held(self.stage, because=reason)
                _log.info("%s: %s", self.stage, reason or "what waited for its turn goes on")
        least = min((room for room in rooms if room is not None), default=None)
        self.is_limited = least is not None
        return least

    def took(self, records: int) -> None:
        """So many records came in while it `is_limited`."""
        if self.throttle is not None:
            self.throttle.took(records)
        if self.paused_reason is not None:
            self.dead_letters.took(records)

    def completed(self, outcome: Outcome, seconds: float) -> None:
        """A record came to its end, `seconds` after it came in."""
        self.dead_letters.completed(outcome)
        if outcome.end is not Disposition.PASSED_OVER:
            self.observer.completed(self.stage, outcome.end, seconds=seconds)


class FlowGate:
    """Closes at a high-water mark and opens again at a low one, not for every record.

    `limit` is never exceeded: the level rises by `step` at most between two looks.
    """

    def __init__(self, limit: int, *, step: int, reopen: float = 0.5) -> None:
        self._high = limit - step
        self._low = min(int(limit * reopen), self._high)
        self._is_open = True

    def update(self, level: int) -> bool:
        """Look at the level; returns whether the gate is open."""
        self._is_open = level <= (self._high if self._is_open else self._low)
        return self._is_open


class Flow(Generic[KeyT]):
    """Which partitions may bring more, and how much: memory and slots are bounded, and shared."""

    def __init__(self, settings: StreamSettings) -> None:
        self._unfinished, self._reopen = settings.max_unfinished, 0.5
        self._has_tenants = settings.tenant_from is not None
        if self._has_tenants:
            # Those that wait keep a partition nearly full, and what comes behind them is let in.
            self._unfinished, self._reopen = min(self._unfinished, LIMIT_WITH_PARKED), 1.0
        self._running = settings.max_in_flight
        self._held_bytes = settings.max_in_flight_bytes
        # Twice as many records are active as can run: opening at three quarters keeps every slot
        # busy while the next poll is on its way.
        self._most_active = 2 * self._running
        self.poll_records = max(1, min(POLL_RECORDS, self._unfinished // 4, self._most_active // 4))
        self._active = FlowGate(self._most_active, step=self.poll_records, reopen=0.75)
        self._bytes = FlowGate(self._held_bytes, step=0)
        self._gates: dict[KeyT, tuple[FlowGate, FlowGate]] = {}
        self._mean_bytes: float = _FIRST_GUESS

    def look(self, loads: Mapping[KeyT, Load]) -> tuple[list[KeyT], int, int]:
        """The partitions that may bring more, how many records in all, and of each one.

        Fewer if they are large.
        """
        held_bytes = sum(load.held_bytes for load in loads.values())
        active = sum(load.active for load in loads.values())
        if held := sum(load.held for load in loads.values()):
            self._mean_bytes = held_bytes / held
        self._gates = {key: self._gates.get(key) or self._new_gates() for key in loads}
        is_active_open = self._active.update(active)
        if not self._bytes.update(held_bytes) or not is_active_open:
            return [], 1, 1
        # While slots are free every partition may bring more. Once all are taken, only those that
        # have less than their share, so that one's backlog does not hold up the others.
        share = self._most_active
        if active >= self._running:
            share = max(1, self._most_active // max(1, len(loads)))
        is_open = {
            key: records.update(loads[key].unfinished) & size.update(loads[key].held_bytes)
            for key, (records, size) in self._gates.items()
        }
        room = int((self._held_bytes - held_bytes) / max(1, self._mean_bytes))
        return (
            [key for key, load in loads.items() if is_open[key] and load.active < share],
            max(1, min(self.poll_records, room)),
            # Much of what tenants bring is only passed over.
            self.poll_records if self._has_tenants else share,
        )

    def _new_gates(self) -> tuple[FlowGate, FlowGate]:
        return (
            FlowGate(self._unfinished, step=self.poll_records, reopen=self._reopen),
            FlowGate(self._held_bytes // _BYTES_SHARE, step=0),
        )


class Poller:
    """Polls what may bring more, always, so that the group membership stays."""

    def __init__(self, context: WorkerContext, assignment: Assignment, intake: Intake) -> None:
        self._consumer = context.consumer
        self._opened = context.opened
        self._tenants = context.tenants
        self._assignment = assignment
        self._intake = intake
        self._flow: Flow[PartitionWorker] = Flow(context.settings)
        self._now = asyncio.get_running_loop().time
        self._last_limited = -inf
        self._look_again: dict[TopicPartition, float] = {}
        self._last_record = self._now()
        self.last_poll = self._now()

    async def run(self) -> None:
        """Join the group, and poll until cancelled."""
        await self._consumer.start(self._assignment)
        while True:
            started = self._now()
            if self._opened.is_set():
                self._opened.clear()
                self._last_record = started
            workers, records, each, wait = self._choose()
            is_idle = started - self._last_record > _IDLE_AFTER and wait == _WAIT_WHILE_CLOSED
            seconds = _IDLE_WAIT if is_idle else min(wait, _WAIT)
            try:
                polled = await self._consumer.poll(
                    [worker.partition for worker in workers],
                    seconds=seconds if workers else 0.0,
                    records=records,
                    each=each,
                )
            except PositionLost as lost:
                polled = {}
                loser = self._assignment.workers.get(lost.partition)
                if loser is not None and loser.state is State.RUNNING:
                    loser.lose_position(str(lost))
            self.last_poll = self._now()
            if self._tenants is not None and self._tenants.find is not None:
                were_taken = await self._accept_of_tenants(polled, self._tenants.find)
            else:
                were_taken = self._accept(polled)
            pace = _PACE if were_taken or not polled else _PACE_AHEAD
            if workers:
                await asyncio.sleep(max(0.0, started + pace - self._now()))
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._opened.wait()

    def _accept(self, polled: Mapping[TopicPartition, Sequence[Received]]) -> bool:
        """Hand on what came; returns whether any of it was taken in."""
        were_taken = False
        for partition, came in polled.items():
            self._last_record = self.last_poll
            worker = self._assignment.workers.get(partition)
            if worker is not None and worker.state is State.RUNNING:
                were_taken |= worker.accept(came)
                if self._intake.is_limited:
                    self._intake.took(len(came))
        return were_taken

    async def _accept_of_tenants(
        self,
        polled: Mapping[TopicPartition, Sequence[Received]],
        find: Callable[[Received], Awaitable[str]],
    ) -> bool:
        """The same, with the tenant of each record, which takes time to find.

        What follows a record that has to wait is read again, and so is what was polled of a
        partition that has moved on meanwhile.
        """
        places = {
            partition: worker
            for partition, worker in self._assignment.workers.items()
            if partition in polled and worker.state is State.RUNNING
        }
        before: dict[TopicPartition, tuple[object, ...]] = {}
        for partition, worker in places.items():
            worker.reads += 1
            before[partition] = (worker, worker.workload, worker.reads)
        found: dict[TopicPartition, list[Received]] = {partition: [] for partition in places}
        again: list[PartitionWorker] = []
        try:
            for partition, came in found.items():
                since = self._now()
                try:
                    async with asyncio.timeout(_LONGEST_FIND):
                        for record in polled[partition]:
                            came.append(replace(record, tenant=await find(record)))
                            if self._now() - since > _LONGEST_TURN:
                                await asyncio.sleep(0)
                                since = self._now()
                except (Unavailable, TimeoutError):
                    again.append(places[partition])
                    self._look_again[partition] = self._now() + _FIND_AGAIN
            for partition, worker in places.items():
                now_there = self._assignment.workers.get(partition)
                if (now_there, worker.workload, worker.reads) != before[partition]:
                    del found[partition]
                    again.append(worker)
            were_taken = self._accept(found)
            for worker in again:
                worker.resume()
        finally:
            for worker in places.values():
                worker.reads += 1
        return were_taken

    def _choose(self) -> tuple[list[PartitionWorker], int, int, float]:
        """Whom to poll, for how many records in all and of each one, seconds to the next look."""
        loads = {
            worker: worker.workload.load
            for worker in self._assignment.workers.values()
            if worker.state is State.RUNNING
        }
        room = self._intake.room()
        self._look_at_tenants(loads)
        now = self._now()
        is_limited = room is not None and (
            room < self._flow.poll_records or self._intake.paused_reason is not None
        )
        if is_limited:
            self._last_limited = now
        if room == 0:
            return [], 1, 1, _WAIT_WHILE_CLOSED
        if self._tenants is not None:
            for worker in loads:
                worker.catch_up()
        workers, records, each = self._flow.look(loads)
        workers = [
            worker
            for worker in workers
            if not worker.is_full and self._look_again.get(worker.partition, now) <= now
        ]
        if not is_limited:
            # With less than that a partition may go without for long, and is not stuck.
            for worker in workers:
                was_limited = worker.last_asked <= self._last_limited
                if was_limited or now - worker.last_asked > _NOT_ASKED:
                    # What did not come in while it was not polled is no sign of being stuck: an
                    # outage opens intake for moments.
                    worker.last_progress = now
                worker.last_asked = now
        wait = _WAIT_WHILE_SOME_ARE_FULL if len(workers) < len(loads) else _WAIT_WHILE_CLOSED
        return workers, records if room is None else max(1, min(records, room)), each, wait

    def _look_at_tenants(self, workers: Iterable[PartitionWorker]) -> None:
        if self._tenants is None:
            return
        waiting = self._tenants.waiting()
        if waiting is self._tenants.turns.waiting:
            return
        self._tenants.turns.waiting = waiting
        for worker in workers:
            worker.start()
