"""One assigned partition, from the committed offset to the next commit."""

import asyncio
import logging
from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from pipeline.model.errors import PipelineError
from pipeline.stream import ledger_codec
from pipeline.stream.handlers import Answers
from pipeline.stream.intake import Load
from pipeline.stream.ledger import CommitPoint, LedgerFull, OffsetRegression
from pipeline.stream.ledger_codec import LedgerUnreadable
from pipeline.stream.pacing import WorkerContext
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokerError,
    Fenced,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outcome, Received
from pipeline.stream.workload import Result, Ticket, Workload

_log = logging.getLogger(__name__)
_SECOND_LOOK = 5.0
"""Seconds before a log that seems to end too early is looked at again."""


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

    There is one for each assignment of a partition. What an earlier one still had running cannot
    publish any more, because its session is closed and fenced; if the partition came back, its
    answers are found in `answers`.

    Args:
        partition: Which one.
        answers: Of this partition; they may hold some from an earlier assignment.
        tools: What all workers share.

    Attributes:
        past: Records that were there before the group had committed anything; else 0.
    """

    def __init__(self, partition: TopicPartition, answers: Answers, tools: WorkerContext) -> None:
        self.partition = partition
        self.state = State.STARTING
        self.problem: str | None = None
        self.is_full = False
        self.past = 0
        self._answers = answers
        self._tools = tools
        self._now = asyncio.get_running_loop().time
        self._retry = tools.pace.retry_first
        self._wake = asyncio.Event()
        self._leaving = asyncio.Event()
        self._deadline = float("inf")
        self._awaited = 0
        self._lost_because: str | None = None
        self._workload = self._new_workload(CommitPoint(0, 0), is_new=False)
        self._is_failing = False
        self.last_progress = self._now()
        self.last_asked = self._now()

    @property
    def load(self) -> Load:
        """What the partition holds."""
        return self._workload.load

    @property
    def in_flight(self) -> int:
        """Records that are taken and not committed."""
        return self._workload.in_flight

    @property
    def uncommitted(self) -> int:
        """Results that are ready and not committed."""
        return self._workload.done

    @property
    def oldest(self) -> Received | None:
        """The oldest record that is held."""
        return self._workload.oldest

    @property
    def position(self) -> int:
        """The offset that is expected next."""
        return self._workload.position

    @property
    def base(self) -> int | None:
        """The first offset that is not done; None while the partition is not served."""
        is_served = self.state in {State.RUNNING, State.DRAINING}
        return self._workload.base if is_served else None

    def lag(self, end: int | None) -> int | None:
        """Records that are not committed, those that were not polled yet included.

        Args:
            end: Where the log ended when the brokers were asked; the last fetch may know more.

        Returns:
            None while the partition is not served, or nobody knows where the log ends.
        """
        ends = [
            each for each in (end, self._tools.consumer.end(self.partition)) if each is not None
        ]
        if not ends or self.base is None:
            return None
        return self._workload.lag(max(ends))

    def accept(self, records: Sequence[Received]) -> None:
        """Take records that were polled."""
        tools, workload = self._tools, self._workload
        now = self.last_progress = self._now()
        for record in records:
            try:
                is_wanted = workload.take(record, now)
            except LedgerFull:
                # Nothing is lost: it is fetched again when there is room.
                tools.consumer.start_at(self.partition, record.offset)
                self.is_full = True
                break
            except OffsetRegression as error:
                self.lose_position(str(error))
                return
            if record.is_tombstone:
                tools.observer.tombstone(tools.stage)
            else:
                tools.observer.received(
                    tools.stage, record.topic, record.partition, size=record.size
                )
            if not is_wanted:
                self._answers.forget(record.offset)
        tools.slots.offer(self)
        tools.slots.fill()

    def lose_position(self, why: str) -> None:
        """The log is not what it was: look again at its ends and at what is committed."""
        self._lost_because = why
        self.state = State.WAITING
        self._wake.set()

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`: the log holds no records there."""
        if self.state is State.RUNNING:
            self._workload.advance(position)
            if self._workload.has_news:
                self._wake.set()

    def start_next(self) -> bool:
        """Start one record, if one is ready and there is a point in it.

        There is none where the partition is about to go, or where commits fail: a crash would
        cost every answer that could not be committed.
        """
        if self.state is not State.RUNNING or self._is_failing or not self._workload.has_ready:
            return False
        ticket = self._workload.start()
        held = ticket.held
        self._awaited += 1
        answered = partial(self._answered, self._workload, ticket)
        self._answers.ask(held.record, held.since, answered)
        return True

    def drain(self, deadline: float) -> None:
        """Start nothing more; commit what is done by the deadline, then end.

        Args:
            deadline: On the event loop's clock.
        """
        if self.state is State.RUNNING:
            self.state = State.DRAINING
        self._deadline = deadline
        self._leaving.set()
        self._wake.set()

    async def run(self) -> None:
        """Serve the partition until it is drained, starting again after every failure."""
        try:
            while not self._leaving.is_set():
                try:
                    await self._serve_once()
                except Fenced as error:
                    self._say(error)
                    await self._back_off(at_least=self._tools.pace.fenced)
                except (BrokerError, LedgerUnreadable) as error:
                    self._say(error)
                    await self._back_off()
        finally:
            self.state = State.OVER

    async def _serve_once(self) -> None:
        session = self._tools.new_session(self.partition)
        try:
            self.state = State.STARTING
            await self._start(session)
            await self._serve(session)
        finally:
            # What is answered from here on waits in `answers` for the next workload.
            self.state = State.WAITING
            self._workload = self._new_workload(CommitPoint(0, 0), is_new=False)
            await session.close()

    async def _start(self, session: PartitionWriter) -> None:
        """The order matters: what is committed is final only after the session has started."""
        tools = self._tools
        await session.start()
        committed = await tools.reader.committed(self.partition)
        bounds = await tools.reader.bounds(self.partition)
        if committed is None:
            self.past = bounds.end - bounds.begin
            offset = bounds.end if tools.starts_at_end else bounds.begin
            start = CommitPoint(offset, offset)
        else:
            start = ledger_codec.decode(committed.offset, committed.metadata)
        if start.base > bounds.end:
            # All that is left would be done again, so it is worth a second look.
            await asyncio.sleep(_SECOND_LOOK)
            bounds = await tools.reader.bounds(self.partition)
        if start.base > bounds.end:
            _log.error(
                "%s: the log ends at %d, before the committed offset %d, so it was created "
                "again or lost its end: starting at %d",
                *(self.partition, bounds.end, start.base, bounds.begin),
            )
            self._answers.cancel()
            start = CommitPoint(bounds.begin, bounds.begin)
        elif start.base < bounds.begin:
            _log.error(
                "%s: the log begins at %d, after the committed offset %d: what lay between was "
                "removed by the topic's retention before it was done",
                *(self.partition, bounds.begin, start.base),
            )
        self._begin(self._new_workload(start, is_new=committed is None), bounds.begin)

    def _begin(self, workload: Workload, first: int) -> None:
        """Take records from now on; nothing is awaited from here to the first poll."""
        workload.advance(first)
        self._answers.retain(lambda offset: not workload.is_done(offset))
        self._workload = workload
        self._awaited = 0
        self._is_failing = False
        self._lost_because = None
        self.is_full = False
        self._tools.consumer.start_at(self.partition, workload.position)
        self.state = State.DRAINING if self._leaving.is_set() else State.RUNNING
        self.problem = None
        self.last_progress = self._now()
        self._wake.set()
        self._tools.opened.set()

    async def _serve(self, session: PartitionWriter) -> None:
        next_commit = self._now()
        while True:
            if self._lost_because is not None:
                raise Broken(f"The place in the log was lost: {self._lost_because}.")
            if self._workload.has_news or self._is_failing:
                turn = self._tools.pacer.reserve(
                    self._now(), is_backlog=self._tools.slots.are_awaited
                )
                await self._linger(max(turn, next_commit))
                await self._commit(session)
                next_commit = self._now() + self._tools.pace.commit_interval
            elif self._is_drained():
                return
            else:
                await self._sleep(self._deadline - self._now())

    async def _linger(self, due: float) -> None:
        """Wait for more results: they cost no more together."""
        while not self._is_drained() and self.uncommitted < self._tools.pace.commit_count:
            pause = min(due, self._deadline) - self._now()
            if pause <= 0:
                return
            await self._sleep(pause)

    def _is_drained(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self._leaving.is_set() and (self._awaited == 0 or self._now() >= self._deadline)

    async def _commit(self, session: PartitionWriter) -> None:
        tools, workload = self._tools, self._workload
        batch = workload.batch()
        started = self._now()
        try:
            await session.commit(batch.records, batch.committed)
        except Aborted as error:
            tools.observer.commit_failed(tools.stage, outcome="aborted")
            self._is_failing = True
            self._say(error)
            await self._back_off()
            return
        except Unpublishable as error:
            tools.observer.commit_failed(tools.stage, outcome="aborted")
            workload.replace(batch, error.indices, partial(self._substitute, error))
            if error.is_session_lost:
                raise Broken(error.detail) from error
            return
        except BrokerError as error:
            outcome = "fenced" if isinstance(error, Fenced) else "dead"
            tools.observer.commit_failed(tools.stage, outcome=outcome)
            raise
        self.problem = None
        self._retry = tools.pace.retry_first
        self.last_progress = self._now()
        workload.settle(batch)
        if self._is_failing:
            self._is_failing = False
            tools.slots.offer(self)
            tools.slots.fill()
        for result in batch.results:
            self._answers.forget(result.record.offset)
        tools.observer.committed(
            tools.stage, records=len(batch.results), seconds=self.last_progress - started
        )

    def _answered(self, workload: Workload, ticket: Ticket, call: asyncio.Future[Outcome]) -> None:
        if workload is not self._workload:
            # The partition has started again or is over. Where the record comes in again, the
            # answer is found in `answers`.
            return
        self._awaited -= 1
        if call.cancelled() or call.exception() is not None:
            self._wake.set()
            return
        workload.finish(ticket, call.result())
        self.is_full = False
        self.last_progress = self._now()
        tools = self._tools
        if self._leaving.is_set() or workload.done in {1, tools.pace.commit_count}:
            self._wake.set()
        if workload.has_ready:
            tools.slots.offer(self)
            tools.slots.fill()

    def _substitute(self, error: Unpublishable, result: Result) -> Outcome:
        """What the brokers will take instead of what they will not."""
        rescue, outcome = self._tools.rescue, None
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
        return Workload(
            start,
            is_new=is_new,
            ordering=self._tools.ordering,
            limit=self._tools.max_unfinished,
        )

    def _say(self, error: PipelineError) -> None:
        sentence = f"{self.partition}: {error}"
        if sentence != self.problem:
            _log.warning("%s", sentence)
        self.problem = sentence

    async def _back_off(self, *, at_least: float = 0.0) -> None:
        """Wait before something is tried again; being told to leave cuts it short once."""
        pause = max(self._retry, at_least)
        self._retry = min(self._retry * 2, self._tools.pace.retry_max)
        if self._leaving.is_set():
            await asyncio.sleep(pause)
        else:
            await _wait(self._leaving, pause)

    async def _sleep(self, seconds: float) -> None:
        """Wait until woken or until the time is over."""
        await _wait(self._wake, seconds)
        self._wake.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(None if seconds == float("inf") else seconds):
            await event.wait()
    except TimeoutError:
        return
