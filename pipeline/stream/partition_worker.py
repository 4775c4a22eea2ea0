"""One assigned partition: from its committed offset to one commit after the other."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from functools import partial
from math import inf

from pipeline.config import Ordering, StreamSettings
from pipeline.model.errors import PipelineError
from pipeline.model.observer import Observer, OffsetFault
from pipeline.stream.handlers import Answers, ConcurrencyLimiter
from pipeline.stream.ledger import (
    CommitPoint,
    LedgerFull,
    LedgerMoved,
    LedgerUnreadable,
    OffsetRegression,
    decode,
)
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokerError,
    Brokers,
    Committed,
    Consumer,
    Fenced,
    OffsetReader,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Handler, Outcome, Received, Rescue
from pipeline.stream.tenants import Tenants
from pipeline.stream.workload import Held, Left, Result, Workload

_log = logging.getLogger(__name__)
COMMIT_COUNT = 500
"""Results of a partition after which it commits before its time: more would make a transaction slow
by its size alone."""
COMMITS_PER_SECOND = 60.0
"""Of all partitions of a stage in a process, in the long run, however many there are. A commit
costs 2.3 ms of a core whatever is in it (measured with 1 to 15 records), so this is a seventh of
one."""
BACKLOG_SECONDS = 0.25
"""From commit to commit of a partition while records wait for a slot. They wait longer than that,
so a later one is not noticed. What bounds it is what a killed process has to ask again: what was
answered in that time, beside what was in flight."""
BURST = 10.0
"""Commits that may go at once after a pause."""
_RETRY_FIRST = 0.1
"""Seconds before what failed is tried again; twice as long after each further failure."""
_RETRY_LONGEST = 10.0
_SECOND_LOOK = 5.0
"""Seconds before a log that seems to end too early is looked at again."""
_LOOK_SECONDS = 1.0
"""That a drain waits to hear where the log ends."""
_COMMIT_MARGIN = 5.0
"""Seconds that the last commit may take after the drain budget, before the session is left to be
settled by the partition's next owner."""


@dataclass(eq=False)
class CommitPacer:
    """Spreads the commits of all partitions of a stage over time, and less in a backlog.

    A partition that has not committed for `stream.commit_interval` commits as soon as it has a
    result. The more there is to commit, the more shares a transaction; the more `partitions` there
    are, the longer each waits for its turn. Those with a backlog do not hold up the others.
    """

    _: KW_ONLY
    per_second: float = COMMITS_PER_SECOND
    in_backlog: float = BACKLOG_SECONDS
    burst: float = BURST
    partitions: int = field(default=1, init=False)
    _next: float = field(default=-inf, init=False)
    _next_in_backlog: float = field(default=-inf, init=False)

    def reserve(self, now: float, *, is_backlog: bool = False) -> float:
        """Take the next turn; returns when it is, in seconds of the event loop's clock."""
        turn = max(self._next, now - self.burst / self.per_second)
        self._next = turn + 1 / self.per_second
        if is_backlog:
            turn = max(turn, self._next_in_backlog)
            self._next_in_backlog = max(now, turn) + self.in_backlog / self.partitions
        return max(now, turn)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the workers of an engine share.

    `completed` is called with every outcome, once, and how many seconds the record was here; `fail`
    ends the engine with an error; `opened` is set when a partition takes records.
    """

    stage: str
    group: str
    ordering: Ordering
    settings: StreamSettings
    commit_count: int
    brokers: Brokers
    consumer: Consumer
    reader: OffsetReader
    handler: Handler
    slots: ConcurrencyLimiter
    pacer: CommitPacer
    observer: Observer
    rescue: Rescue | None
    completed: Callable[[Outcome, float], None]
    fail: Callable[[BaseException], None]
    opened: asyncio.Event
    tenants: Tenants | None = None
    handles_tombstones: bool = False


class CannotPublish(BrokerError):
    """An outcome cannot be published and nothing can take its place: its partition waits."""


class State(StrEnum):
    """Where a partition is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    WAITING = "waiting"
    OVER = "over"


class PartitionWorker:
    """Takes the records of one partition, has them handled, commits what came of them.

    It serves on through rebalances for as long as the partition stays here. What an earlier worker
    still had running cannot publish any more, because its session is closed and fenced; if the
    partition came back, its answers are found in `answers`.

    Attributes:
        workload: What it holds; empty while the partition is not served.
        problem: What went wrong last and is not fixed, in a sentence.
        is_full: Whether the ledger had no room for what was polled last.
        reads: Odd while polled records wait to be taken in, so that the consumer is ahead of the
            workload; another number once they are, and once reading begins elsewhere.
        past: Records that were there before the group had committed anything; else 0.
        last_progress: When a record came in, was answered or was committed.
    """

    def __init__(self, partition: TopicPartition, answers: Answers, context: WorkerContext) -> None:
        self.partition = partition
        self.state = State.STARTING
        self.problem: str | None = None
        self.is_full = False
        self.reads = 0
        self.past = 0
        self._answers = answers
        self._context = context
        self._now = asyncio.get_running_loop().time
        self._retry = _RETRY_FIRST
        self._next_commit = 0.0
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._deadline = inf
        self._limit: asyncio.Timeout | None = None
        self._awaited = 0
        self._lost_because: str | None = None
        self._is_failing = False
        self._fenced_at: float | None = None
        self._reported: tuple[OffsetFault, Committed | None] | None = None
        self.workload = self._new_workload(CommitPoint(0, 0), is_new=False)
        self.last_progress = self.last_asked = self._now()
        self._read_again_since = self._read_again_from = -inf

    @property
    def is_leaving(self) -> bool:
        """Whether it ends as soon as what runs is finished."""
        return self._leaving.is_set()

    @property
    def base(self) -> int | None:
        """The first offset that is not done; None while the partition is not served."""
        is_served = self.state in {State.RUNNING, State.DRAINING}
        return self.workload.ledger.base if is_served else None

    def lag(self, end: int | None) -> int | None:
        """Records that are not committed, those that were not polled yet included.

        `end` is where the log ended when the brokers were asked; the last fetch may know more. None
        while the partition is not served, or the end is unknown.
        """
        fetched = self._context.consumer.end(self.partition)
        ends = [each for each in (end, fetched) if each is not None]
        if not ends or self.base is None:
            return None
        return self.workload.lag(max(ends))

    def accept(self, records: Sequence[Received]) -> bool:
        """Take what was polled; returns whether any of it did not only stay in Kafka."""
        context, were_taken = self._context, False
        observer, now = context.observer, self._now()
        self.last_progress = now
        for record in records:
            try:
                held = self.workload.take(record, now)
            except LedgerFull:
                # Nothing is lost: it is fetched again when there is room.
                context.consumer.start_at(self.partition, record.offset)
                self.is_full = True
                break
            except OffsetRegression as error:
                self.lose_position(str(error))
                return True
            were_taken |= not isinstance(held, Left)
            if held is None:
                self._answers.forget(record.offset)
            if record.is_tombstone and not isinstance(held, Left):
                observer.tombstone(context.stage)
            elif not isinstance(held, Left):
                size = record.size if held is None else held.size
                observer.received(context.stage, record.topic, record.partition, size=size)
            if self.workload.ends_catching_up():
                self._read_again_from = now + (now - self._read_again_since)
                if self.workload.position != record.offset + 1:
                    context.consumer.start_at(self.partition, self.workload.position)
                    break
        self.start()
        return were_taken

    def catch_up(self) -> None:
        """Read again what was left in Kafka, if there is room for it, as long as what is new."""
        if (now := self._now()) < self._read_again_from:
            return
        position = self.workload.catch_up()
        if position is not None:
            self._read_again_since, self.is_full = now, False
            self._context.consumer.start_at(self.partition, position)

    def start(self) -> None:
        """Start what there are slots for, when it is its turn."""
        has_tenants = self._context.tenants is not None
        self._context.slots.fill(self.start_next, self._turn if has_tenants else None)

    def lose_position(self, why: str) -> None:
        """The log is not what it was: look again at its ends and at what is committed."""
        self._lost_because = why
        self.state = State.WAITING
        # Of another log they would be the answers to other records.
        self._answers.cancel()
        self._wake.set()

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`: the log holds no records there."""
        if self.state is State.RUNNING:
            self.workload.advance(position)
            if self.workload.has_news:
                self._wake.set()

    def start_next(self) -> bool:
        """Start one record, if one is ready and may be started.

        None may where the partition is about to go, or where commits fail: a crash would cost
        every answer that could not be committed.
        """
        workload = self.workload
        is_failing = self.state is not State.RUNNING or self._is_failing
        if is_failing or not workload.ready or workload.ready.turn == inf:
            return False
        lane, held = workload.start()
        self._awaited += 1
        answered = partial(self._answered, workload, lane, held)
        self._answers.ask(held.record, held.since, answered)
        return True

    def resume(self) -> None:
        """The consumer has forgotten where it was: go on where reading stopped."""
        self.reads += 2
        if self.state is State.RUNNING:
            self._context.consumer.start_at(self.partition, self.workload.position)

    def drain(self, deadline: float) -> None:
        """Start nothing more; commit what is done by the deadline (loop time), then end."""
        is_served = self.state in {State.RUNNING, State.DRAINING}
        self.state = State.DRAINING if is_served else self.state
        self._deadline = min(deadline, self._deadline)
        self._leaving.set()
        self._wake.set()
        if self._limit is not None and not self._limit.expired():
            last = self._deadline + _COMMIT_MARGIN
            self._limit.reschedule(last if is_served else self._now())

    async def run(self) -> None:
        """Serve the partition until it is drained, starting again after every failure."""
        self._limit = limit = asyncio.timeout(None)
        try:
            async with limit:
                while not self.is_leaving:
                    await self._try_to_serve()
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self.state, self._limit = State.OVER, None

    async def _try_to_serve(self) -> None:
        try:
            await self._serve()
        except (BrokerError, LedgerUnreadable) as error:
            self._note_problem(error)
            self._fenced_at = self._now() if isinstance(error, Fenced) else None
            await self._back_off()

    async def _serve(self) -> None:
        context = self._context
        session = context.brokers.session(context.group, self.partition, context.consumer)
        try:
            self.state = State.STARTING
            await self._start(session)
            turn: float | None = None
            while self._lost_because is None:
                now, until = self._now(), self._deadline
                is_drained = self.is_leaving and (self._awaited == 0 or now >= until)
                if self.workload.has_news or self._is_failing:
                    if turn is None:
                        backlog = self.start_next in context.slots.waiting
                        turn = context.pacer.reserve(now, is_backlog=backlog)
                    # Until then more results may come: they cost no more together.
                    until = min(max(turn, self._next_commit), until)
                    is_full = len(self.workload.results) >= context.commit_count
                    if is_full or is_drained or now >= until:
                        if self.is_leaving and await self._is_new_log():
                            self.lose_position("it ends before what was read of it")
                            break
                        await self._commit(session)
                        turn = None
                        continue
                elif is_drained:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if until == inf else until - now):
                        await self._wake.wait()
                self._wake.clear()
            raise Broken(f"The place in the log was lost: {self._lost_because}.")
        finally:
            # What is answered from here on waits in `answers` for the next workload.
            self.state = State.WAITING
            self.workload = self._new_workload(CommitPoint(0, 0), is_new=False)
            await session.close()

    async def _start(self, session: PartitionWriter) -> None:
        """The order matters: what is committed is final only after the session has started."""
        context = self._context
        # It fences whoever serves the partition, which is not for a member that was taken for dead.
        await context.consumer.confirmed(self._fenced_at)
        await session.start()
        committed = await context.reader.committed(self.partition)
        bounds = await context.reader.bounds(self.partition)
        if committed is None:
            self.past = bounds.end - bounds.begin
            offset = bounds.end if context.brokers.starts_at_end else bounds.begin
            start = CommitPoint(offset, offset)
        else:
            start = self._point_of(committed)
        if start.high > bounds.end:
            # All that is left would be done again, so it is worth a second look.
            await asyncio.sleep(_SECOND_LOOK)
            bounds = await context.reader.bounds(self.partition)
        if start.high > bounds.end:
            self._report_fault(
                "log_shorter",
                committed,
                f"the log ends at {bounds.end}, and all below {start.high} was seen (the committed "
                f"offset is {start.base}), so it was created again or lost its end. Nobody knows "
                f"which records are the same: starting at {bounds.begin}, all that it holds is "
                "done, and paid, again. To start elsewhere, stop the stage and run `pipeline "
                "offsets reset`",
            )
            self._answers.cancel()
            start = CommitPoint(bounds.begin, bounds.begin)
        elif start.base < bounds.begin:
            self._report_fault(
                "records_expired",
                committed,
                f"the log begins at {bounds.begin}, after the committed offset {start.base}: what "
                "lay between was removed by the topic's retention before it was done",
            )
        # Nothing is awaited from here to the first poll.
        workload = self._new_workload(start, is_new=committed is None)
        workload.ledger.advance(bounds.begin)
        workload.ledger.expired(bounds.begin)
        self._answers.retain(lambda offset: not workload.ledger.is_done(offset))
        self.workload = workload
        self._awaited = 0
        self._lost_because = self.problem = None
        self._is_failing = self.is_full = False
        context.consumer.start_at(self.partition, workload.position)
        self.state = State.DRAINING if self.is_leaving else State.RUNNING
        self.last_progress = self._now()
        self._wake.set()
        context.opened.set()

    def _point_of(self, committed: Committed) -> CommitPoint:
        try:
            point = decode(committed.offset, committed.metadata, self._context.reader.cluster)
        except LedgerMoved as error:
            self._report_fault(
                "ledger_moved",
                committed,
                f"{error} Starting there without it: nothing is lost, and what was done above the "
                "offset is done, paid and published again",
            )
            return CommitPoint(committed.offset, committed.offset)
        tenants = self._context.tenants
        is_known = tenants is not None and tenants.parks and tenants.rule == point.rule
        if point.parked and not (is_known and self._context.ordering != "partition"):
            raise LedgerUnreadable(
                f"The offset committed at {point.base} leaves events of {len(point.parked)} tenants"
                " for later, and stream.tenant_from, or the ordering or input of the stage, has"
                " changed since:"
                " set it as it was until they are done; or stop the stage and set the ledger"
                " aside, which repeats what it says is done (`pipeline offsets reset STAGE --to"
                " current`)."
            )
        return point

    def _report_fault(self, fault: OffsetFault, committed: Committed | None, sentence: str) -> None:
        """Once for what is committed, however often the partition has to start with it."""
        if self._reported != (fault, committed):
            self._reported = (fault, committed)
            self._context.observer.offset_fault(self._context.stage, fault)
            _log.error("%s: %s", self.partition, sentence)

    async def _is_new_log(self) -> bool:
        """Whether the log surely ends too early; a topic that is created again begins at 0.

        While a partition is drained nothing is polled, so nothing else would show it, and the new
        log would get an offset of the old one.
        """
        with suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                bounds = await self._context.reader.bounds(self.partition)
            return bounds.end < self.workload.ledger.position
        return False

    async def _commit(self, session: PartitionWriter) -> None:
        context, workload = self._context, self.workload
        batch = workload.batch()
        started = self._now()
        try:
            await session.commit(batch.records, batch.committed)
        except Aborted as error:
            context.observer.commit_failed(context.stage, outcome="aborted")
            self._is_failing = True
            self._note_problem(error)
            await self._back_off()
            return
        except Unpublishable as error:
            context.observer.commit_failed(context.stage, outcome="aborted")
            workload.replace(batch, error.indices, partial(self._substitute, error))
            if error.is_session_lost:
                raise Broken(error.detail) from error
            return
        except BrokerError as error:
            outcome = "fenced" if isinstance(error, Fenced) else "dead"
            context.observer.commit_failed(context.stage, outcome=outcome)
            raise
        self.problem = None
        self._retry = _RETRY_FIRST
        self.last_progress = self._now()
        if batch.results:
            self._next_commit = started + context.settings.commit_interval
        workload.settle(batch)
        for result in batch.results:
            self._answers.forget(result.record.offset)
        if self._is_failing:
            self._is_failing = False
            self.start()
        context.observer.committed(
            context.stage, records=len(batch.results), seconds=self.last_progress - started
        )

    def _answered(
        self, workload: Workload, lane: bytes | None, held: Held, call: asyncio.Future[Outcome]
    ) -> None:
        if workload is not self.workload:
            # The partition has started again or is over. Where the record comes in again, the
            # answer is found in `answers`.
            return
        self._awaited -= 1
        if call.cancelled() or call.exception() is not None:
            self._wake.set()
            return
        workload.finish(lane, held.record, call.result())
        self.is_full = False
        self.last_progress = self._now()
        context = self._context
        if self.is_leaving or len(workload.results) in {1, context.commit_count}:
            self._wake.set()
        if workload.ready:
            self.start()

    def _substitute(self, error: Unpublishable, result: Result) -> Outcome:
        """What the brokers will take instead of what they will not."""
        rescue, outcome = self._context.rescue, None
        if rescue is not None:
            outcome = rescue(result.record, result.outcome, error.detail)
        if outcome is None:
            topics = ", ".join(sorted({record.topic for record in result.outcome.records}))
            raise CannotPublish(
                f"What came of offset {result.record.offset} is too large for {topics}, and "
                f"nothing can take its place: {error.detail} Raise topics.max_message_bytes and "
                "that topic's max.message.bytes; until then the partition waits."
            ) from error
        # Where the partition has to start again, this is the answer that is found.
        self._answers.replace(result.record.offset, outcome)
        return outcome

    def _new_workload(self, start: CommitPoint, *, is_new: bool) -> Workload:
        context = self._context
        return Workload(
            start,
            is_new=is_new,
            ordering=context.ordering,
            limit=context.settings.max_unfinished,
            cluster=context.reader.cluster,
            tenants=context.tenants,
            handles_tombstones=context.handles_tombstones,
        )

    def _turn(self) -> float:
        return self.workload.ready.turn

    def _note_problem(self, error: PipelineError) -> None:
        sentence = f"{self.partition}: {error}"
        if sentence != self.problem:
            _log.warning("%s", sentence)
        self.problem = sentence

    async def _back_off(self) -> None:
        """Wait before something is tried again; being asked to leave cuts it short once."""
        pause = self._retry
        self._retry = min(self._retry * 2, _RETRY_LONGEST)
        if self.is_leaving:
            await asyncio.sleep(pause)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._leaving.wait()
