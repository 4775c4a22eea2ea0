"""The stream engine: from Kafka to a handler and back, each record exactly once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from pipeline.config import Ordering, StreamSettings
from pipeline.model.observer import Observer
from pipeline.stream.assignment import Assignment
from pipeline.stream.dead_letter_breaker import WINDOW_KEYS, DeadLetterBreaker, DeadLetterWindow
from pipeline.stream.handlers import Answers, ConcurrencyLimiter
from pipeline.stream.health import Monitor
from pipeline.stream.intake import FlowLimits, Intake, IntakeGate, NoThrottle, OpenGate, Throttle
from pipeline.stream.pacing import COMMIT_COUNT, CommitPacer, Pace, Rescue, WorkerContext
from pipeline.stream.poller import Poller
from pipeline.stream.protocols import Brokers, Consumer, OffsetReader
from pipeline.stream.records import Handler, Outcome, Received
from pipeline.stream.status import StreamStatus

_log = logging.getLogger(__name__)
_CLOSE_LIMIT = 15.0
"""Seconds that leaving the group, and letting go of the connections, may take."""


class Engine:
    """Consumes topics as one stage's group, has each record handled, publishes what comes of it.

    Args:
        stage: Names this stream in metrics.
        topics: What is consumed.
        handler: Turns a record into its outcome; what it raises ends the engine.
        brokers: Where records come from and go to.
        group: The consumer group.
        settings: Limits and times.
        ordering: What runs one at a time, in order.
        gate: Closes intake without leaving the group.
        throttle: Holds intake now and then although nothing is wrong.
        observer: Receives what happens.
        rescue: What to publish instead of an outcome that the brokers will never take, and for a
            record that could not be read. Without it the former stops its partition, and the
            latter is handled as it is.
        commit_count: Results of a partition after which it commits before its time.
    """

    def __init__(
        self,
        stage: str,
        topics: Sequence[str],
        handler: Handler,
        *,
        brokers: Brokers,
        group: str,
        settings: StreamSettings,
        ordering: Ordering = "key",
        gate: IntakeGate | None = None,
        throttle: Throttle | None = None,
        observer: Observer | None = None,
        rescue: Rescue | None = None,
        commit_count: int = COMMIT_COUNT,
    ) -> None:
        self._stage = stage
        self._topics = tuple(topics)
        self._handler = handler
        self._brokers = brokers
        self._group = group
        self._settings = settings
        self._ordering = ordering
        self._gate = gate or OpenGate()
        self._throttle = throttle or NoThrottle()
        self._observer = observer or Observer()
        self._rescue = rescue
        self._commit_count = commit_count
        self._monitor: Monitor | None = None

    def status(self) -> StreamStatus:
        """What there is to say now."""
        if self._monitor is not None:
            return self._monitor.status()
        return StreamStatus(
            stage=self._stage,
            partitions=(),
            in_flight=0,
            lag=None,
            intake_closed_because=None,
            is_ready=False,
            reason="it is not running",
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then drain, commit what is done, and leave the group.

        Raises:
            Stuck: The consumer makes no progress.
            BrokerError: The brokers refuse. What they only cannot do now is tried again.
            Exception: What the handler raised, after everything else was closed cleanly.
        """
        failure: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        consumer = self._brokers.consumer(self._group, self._topics)
        reader = self._brokers.reader(self._group)
        error: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(consumer, reader, failure, tasks, stop)
        except BaseExceptionGroup as group:
            error = _first(group)
        finally:
            self._monitor = None
        if error is None and failure.done() and not failure.cancelled():
            # It came during the drain, when nothing waited for it any more.
            error = failure.exception()
        if error is not None:
            # Outside of the handler, so that it keeps its own cause.
            raise error

    async def _serve(
        self,
        consumer: Consumer,
        reader: OffsetReader,
        failure: asyncio.Future[NoReturn],
        tasks: asyncio.TaskGroup,
        stop: asyncio.Event,
    ) -> None:
        intake = Intake(
            self._stage, self._gate, self._dead_letters(), self._observer, self._throttle
        )
        tools = self._tools(consumer, reader, failure)

        def new_answers() -> Answers:
            return Answers(self._handle, tools.slots, completed=intake.completed, fail=tools.fail)

        assignment = Assignment(tools, new_answers, tasks, drain_budget=self._settings.drain_budget)
        poller = Poller(consumer, assignment, self._limits(), intake, tools.opened)
        self._monitor = monitor = Monitor(
            self._stage,
            self._topics,
            consumer=consumer,
            assignment=assignment,
            poller=poller,
            intake=intake,
            reader=reader,
            observer=self._observer,
            starts_at_end=self._brokers.starts_at_end,
            stuck_after=self._settings.stuck_after,
        )
        try:
            await reader.start()
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(_wait_for(failure)),
                    group.create_task(_poll(consumer, assignment, poller)),
                    group.create_task(monitor.run()),
                ]
                await stop.wait()
                for task in endless:
                    task.cancel()
        finally:
            # What is done is committed, however this ends. Where we are cancelled ourselves,
            # running calls get no time.
            task_itself = asyncio.current_task()
            is_cancelled = task_itself is not None and task_itself.cancelling() > 0
            await assignment.close(
                drain_budget=0.0 if is_cancelled else self._settings.drain_budget
            )
            await self._leave(consumer.close)
            await self._leave(reader.close)
            failure.cancel()

    async def _handle(self, record: Received) -> Outcome:
        if record.unread is not None and self._rescue is not None:
            outcome = self._rescue(record, None, record.unread.because)
            if outcome is not None:
                return outcome
        return await self._handler(record)

    async def _leave(self, close: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await close()
        except TimeoutError:
            _log.warning("%s: the brokers did not let go in time", self._stage)

    def _tools(
        self,
        consumer: Consumer,
        reader: OffsetReader,
        failure: asyncio.Future[NoReturn],
    ) -> WorkerContext:
        def fail(error: BaseException) -> None:
            if not failure.done():
                failure.set_exception(error)

        settings = self._settings
        return WorkerContext(
            stage=self._stage,
            ordering=self._ordering,
            max_unfinished=settings.max_unfinished,
            starts_at_end=self._brokers.starts_at_end,
            consumer=consumer,
            reader=reader,
            new_session=lambda partition: self._brokers.session(self._group, partition, consumer),
            slots=ConcurrencyLimiter(settings.max_in_flight, self._gate.at_once),
            pace=Pace(
                settings.commit_interval,
                self._commit_count,
                fenced=self._brokers.eviction_notice,
            ),
            pacer=CommitPacer(),
            observer=self._observer,
            rescue=self._rescue,
            fail=fail,
            opened=asyncio.Event(),
        )

    def _limits(self) -> FlowLimits:
        settings = self._settings
        return FlowLimits(
            unfinished=settings.max_unfinished,
            active=2 * settings.max_in_flight,
            held_bytes=settings.max_in_flight_bytes,
            running=settings.max_in_flight,
        )

    def _dead_letters(self) -> DeadLetterBreaker:
        clock, settings = asyncio.get_running_loop().time, self._settings
        window = DeadLetterWindow(WINDOW_KEYS, settings.dead_letter_ratio, clock=clock)
        return DeadLetterBreaker(window, clock=clock)


async def _poll(consumer: Consumer, assignment: Assignment, poller: Poller) -> None:
    await consumer.start(assignment)
    await poller.run()


async def _wait_for(failure: asyncio.Future[NoReturn]) -> None:
    # Shielded, because cancelling the waiter must not cancel what others may still set.
    await asyncio.shield(failure)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that came first: the others are what it led to."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
