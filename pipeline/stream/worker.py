"""One assigned partition, from the committed offset to the next commit."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from pipeline.errors import PipelineError
from pipeline.settings import Ordering
from pipeline.stream import ledger_codec
from pipeline.stream.answers import Answers, Slots
from pipeline.stream.brokers import (
    Aborted,
    Broken,
    BrokerError,
    Committed,
    Consumer,
    Fenced,
    OffsetReader,
    Session,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.flow import Load
from pipeline.stream.lanes import KeyLanes
from pipeline.stream.ledger import CommitPoint, LedgerFull, OffsetLedger, OffsetsWentBack
from pipeline.stream.ledger_codec import LedgerUnreadable
from pipeline.stream.observer import StreamObserver
from pipeline.stream.records import Outcome, Received

_log = logging.getLogger(__name__)

Rescue = Callable[[Received, Outcome, str], Outcome]
"""What to publish instead of an outcome that the brokers will never take (too large, say), given
the sentence that says why. Its own records must be publishable."""


class CannotPublish(PipelineError):
    """An outcome cannot be published and nothing can take its place."""


class State(StrEnum):
    """Where a partition is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    WAITING = "waiting"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a partition commits and comes back from failures, in seconds.

    Args:
        commit_interval: Between two commits of a partition, at least.
        commit_count: Results after which it commits nevertheless.
        fenced: How long it waits after it was fenced. A member that was taken for dead learns so
            from its next heartbeat; starting again before that would fence the new owner.
        retry_first: Before it tries again what failed.
        retry_max: The longest it waits before that.
    """

    commit_interval: float
    commit_count: int
    fenced: float
    retry_first: float = 0.1
    retry_max: float = 10.0


@dataclass(frozen=True, slots=True)
class _Held:
    record: Received
    since: float


@dataclass(frozen=True, slots=True)
class _Result:
    held: _Held
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class WorkerTools:
    """What the workers of an engine have in common."""

    stage: str
    ordering: Ordering
    max_unfinished: int
    consumer: Consumer
    reader: OffsetReader
    new_session: Callable[[TopicPartition], Session]
    slots: Slots
    pace: Pace
    observer: StreamObserver
    rescue: Rescue | None
    completed: Callable[[Outcome, float], None]
    fail: Callable[[BaseException], None]
    opened: asyncio.Event


class PartitionWorker:
    """Takes the records of one partition, has them handled, commits what came of them.

    There is one for each assignment of a partition: what an earlier one still had running cannot
    publish any more, because its session is closed and fenced.

    Args:
        partition: Which one.
        answers: Of this partition; they may hold some from an earlier assignment.
        tools: What all workers share.
        commit_interval: Seconds between two commits, at least.
    """

    def __init__(
        self,
        partition: TopicPartition,
        answers: Answers,
        tools: WorkerTools,
        *,
        commit_interval: float,
    ) -> None:
        self.partition = partition
        self.answers = answers
        self.state = State.STARTING
        self.problem: str | None = None
        self._tools = tools
        self._commit_interval = commit_interval
        self._wake = asyncio.Event()
        self._told = asyncio.Event()
        self._deadline: float | None = None
        self._retry = tools.pace.retry_first
        self._now = asyncio.get_running_loop().time
        self._last_progress = self._now()
        self._reset(CommitPoint(0, 0))

    def _reset(self, start: CommitPoint) -> None:
        """Begin anew: what runs goes on in `answers`, all else comes in again."""
        self._ledger = OffsetLedger(start, limit=self._tools.max_unfinished)
        self._lanes: KeyLanes[_Held] = KeyLanes(self._tools.ordering)
        self._held: dict[int, _Held] = {}
        self._held_bytes = 0
        self._results: list[_Result] = []
        self._awaited = 0
        self._went_back: OffsetsWentBack | None = None
        self._epoch = object()

    @property
    def load(self) -> Load:
        """What the partition holds."""
        return Load(
            unfinished=self._ledger.unfinished,
            active=self._lanes.ready + self._lanes.running,
            held_bytes=self._held_bytes,
        )

    @property
    def in_flight(self) -> int:
        """Records that are taken and not committed."""
        return len(self._held)

    @property
    def uncommitted(self) -> int:
        """Results that are ready and not committed."""
        return len(self._results)

    @property
    def last_progress(self) -> float:
        """When a record came in, was done or was committed, on the event loop's clock."""
        return self._last_progress

    @property
    def lag(self) -> int | None:
        """Records that are not committed, those that were not polled yet included."""
        if self.state not in {State.RUNNING, State.DRAINING}:
            return None
        end = self._tools.consumer.end(self.partition)
        ahead = 0 if end is None else max(0, end - self._ledger.position)
        return ahead + len(self._results) + self._ledger.unfinished

    @property
    def oldest(self) -> Received | None:
        """The oldest record that is held."""
        held = next(iter(self._held.values()), None)
        return None if held is None else held.record

    def accept(self, records: Sequence[Received]) -> None:
        """Take records that were polled."""
        tools = self._tools
        now = self._now()
        for record in records:
            try:
                is_wanted = self._ledger.take(record.offset)
            except LedgerFull:
                # Nothing is lost: it is fetched again when there is room.
                tools.consumer.start_at(self.partition, record.offset)
                break
            except OffsetsWentBack as error:
                self._went_back = error
                self.state = State.WAITING
                self._wake.set()
                return
            tools.observer.received(
                tools.stage, self.partition.topic, self.partition.partition, size=record.size
            )
            if not is_wanted:
                self.answers.forget(record.offset)
                continue
            held = _Held(record, now)
            self._held[record.offset] = held
            self._held_bytes += record.size
            self._lanes.put(record.key, held)
        self._last_progress = now
        self._report_in_flight()
        tools.slots.offer(self)
        tools.slots.fill()

    def start_next(self) -> bool:
        """Start one record, if one is ready and the partition is not about to go."""
        if self.state is not State.RUNNING or not self._lanes.ready:
            return False
        lane, held = self._lanes.start()
        self._awaited += 1
        self.answers.ask(held.record, partial(self._answered, self._epoch, lane, held))
        return True

    def drain(self, deadline: float) -> None:
        """Start nothing more; commit what is done by the deadline, then end.

        Args:
            deadline: On the event loop's clock.
        """
        if self.state is State.RUNNING:
            self.state = State.DRAINING
        self._deadline = deadline
        self._wake.set()
        self._told.set()

    async def run(self) -> None:
        """Serve the partition until it is drained, starting again after every failure."""
        try:
            while not self._told.is_set():
                try:
                    await self._serve_once()
                except Fenced as error:
                    pause = max(self._failed(error, "fenced"), self._tools.pace.fenced)
                except (BrokerError, LedgerUnreadable) as error:
                    pause = self._failed(error, "dead")
                else:
                    return
                await self._pause(pause)
        finally:
            self.state = State.OVER

    async def _serve_once(self) -> None:
        session = self._tools.new_session(self.partition)
        try:
            await self._start(session)
            await self._serve(session)
        finally:
            self._epoch = object()
            self.state = State.WAITING
            await session.close()

    async def _start(self, session: Session) -> None:
        """The order matters: only after the session has started is what we read final."""
        self.state = State.STARTING
        tools = self._tools
        await session.start()
        committed = await tools.reader.committed(self.partition)
        if committed is None:
            position = await tools.consumer.initial_position(self.partition)
            start = CommitPoint(position, position)
        else:
            start = ledger_codec.decode(committed.offset, committed.metadata)
        bounds = await tools.reader.bounds(self.partition)
        if self._deadline is not None:
            return
        if start.base > bounds.end:
            _log.error(
                "%s: the log ends at %d, before the committed offset %d, so it was made anew or "
                "lost its end: starting at %d",
                self.partition, bounds.end, start.base, bounds.begin,
            )  # fmt: skip
            self.answers.cancel()
            start = CommitPoint(bounds.begin, bounds.begin)
        elif start.base < bounds.begin:
            _log.error(
                "%s: the log begins at %d, after the committed offset %d: what lay between was "
                "removed by the topic's retention before it was done",
                self.partition, bounds.begin, start.base,
            )  # fmt: skip
        self._reset(start)
        self._ledger.advance(bounds.begin)
        tools.consumer.start_at(self.partition, max(start.base, bounds.begin))
        self.state = State.RUNNING
        self.problem = None
        self._last_progress = self._now()
        tools.opened.set()

    async def _serve(self, session: Session) -> None:
        last_commit = float("-inf")
        while True:
            if self._went_back is not None:
                self.answers.cancel()
                raise Broken(f"The log was made anew or lost its end ({self._went_back}).")
            if self._results:
                await self._linger(last_commit + self._commit_interval)
                await self._commit(session)
                last_commit = self._now()
            elif self._is_drained():
                return
            elif self._deadline is not None:
                await self._sleep(self._deadline - self._now())
            else:
                await self._sleep(None)

    async def _linger(self, due: float) -> None:
        """Wait for more results until a commit is due, for they cost no more together."""
        while True:
            if self._deadline is not None:
                if self._is_drained():
                    return
                due = self._deadline
            elif len(self._results) >= self._tools.pace.commit_count:
                return
            pause = due - self._now()
            if pause <= 0:
                return
            await self._sleep(pause)

    def _is_drained(self) -> bool:
        return self._deadline is not None and (
            self._awaited == 0 or self._now() >= self._deadline or self.state is State.STARTING
        )

    async def _commit(self, session: Session) -> None:
        tools = self._tools
        batch = tuple(self._results)
        point = self._ledger.commit_point()
        committed = Committed(point.base, ledger_codec.encode(point))
        records = [record for result in batch for record in result.outcome.records]
        started = self._now()
        try:
            await session.commit(records, committed)
        except Aborted as error:
            tools.observer.commit_failed(tools.stage, outcome="aborted")
            self._say(error)
            await self._back_off()
            return
        except Unpublishable as error:
            tools.observer.commit_failed(tools.stage, outcome="aborted")
            self._replace(batch, error)
            if error.is_session_lost:
                raise Broken(error.detail) from error
            return
        self.problem = None
        self._retry = tools.pace.retry_first
        self._last_progress = self._now()
        del self._results[: len(batch)]
        for result in batch:
            record = result.held.record
            offset = record.offset
            del self._held[offset]
            self._held_bytes -= record.size
            self.answers.forget(offset)
        tools.observer.committed(tools.stage, records=len(batch), seconds=self._now() - started)
        self._report_in_flight()

    def _answered(
        self,
        epoch: object,
        lane: bytes | None,
        held: _Held,
        call: asyncio.Task[Outcome],
    ) -> None:
        if call.cancelled():
            return
        error = call.exception()
        if error is not None:
            self._awaited -= 1
            self._tools.fail(error)
            self._wake.set()
            return
        if epoch is not self._epoch:
            # The partition has begun anew or is over. Where the record comes in again, the
            # answer is found in `answers`.
            return
        outcome = call.result()
        self._awaited -= 1
        self._lanes.finish(lane)
        self._ledger.finish(held.record.offset)
        self._results.append(_Result(held, outcome))
        self._last_progress = self._now()
        tools = self._tools
        tools.completed(outcome, self._last_progress - held.since)
        waiting = len(self._results)
        if waiting == 1 or waiting >= tools.pace.commit_count or self._deadline is not None:
            self._wake.set()
        if self._lanes.ready:
            tools.slots.offer(self)
            tools.slots.fill()

    def _replace(self, batch: Sequence[_Result], error: Unpublishable) -> None:
        """Put what the brokers will take in the place of what they will not."""
        owners: list[int] = []
        for number, result in enumerate(batch):
            owners += [number] * len(result.outcome.records)
        for number in {owners[index] for index in error.indices}:
            held, outcome = batch[number].held, batch[number].outcome
            substitute = outcome
            if self._tools.rescue is not None:
                substitute = self._tools.rescue(held.record, outcome, error.detail)
            if substitute == outcome:
                self._tools.fail(
                    CannotPublish(
                        f"The result of {self.partition} offset {held.record.offset} cannot be "
                        f"published, and nothing can take its place: {error.detail}"
                    )
                )
                raise Broken(error.detail) from error
            self._results[number] = _Result(held, substitute)

    def _failed(self, error: PipelineError, outcome: str) -> float:
        self._tools.observer.commit_failed(self._tools.stage, outcome=outcome)
        self._say(error)
        pause = self._retry
        self._retry = min(self._retry * 2, self._tools.pace.retry_max)
        return pause

    def _say(self, error: PipelineError) -> None:
        sentence = f"{self.partition}: {error}"
        if sentence != self.problem:
            _log.warning("%s", sentence)
        self.problem = sentence

    async def _back_off(self) -> None:
        await self._pause(self._retry)
        self._retry = min(self._retry * 2, self._tools.pace.retry_max)

    def _report_in_flight(self) -> None:
        self._tools.observer.in_flight(
            self._tools.stage,
            self.partition.topic,
            self.partition.partition,
            count=len(self._held),
        )

    async def _sleep(self, seconds: float | None) -> None:
        """Wait until woken or until the time is over."""
        await _wait(self._wake, seconds)
        self._wake.clear()

    async def _pause(self, seconds: float) -> None:
        """Wait before something is tried again; only the end of the partition cuts it short."""
        await _wait(self._told, seconds)


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
