"""The stream engine: from Kafka to a handler and back, each record exactly once."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn

from pipeline.config import Ordering, StreamSettings
from pipeline.model.observer import Observer
from pipeline.stream.dead_letter_breaker import WINDOW_KEYS, DeadLetterBreaker, DeadLetterWindow
from pipeline.stream.handlers import ConcurrencyLimiter
from pipeline.stream.intake import Intake, IntakeGate, Poller, Throttle
from pipeline.stream.monitor import Monitor, StreamStatus
from pipeline.stream.partition_worker import (
    COMMIT_COUNT,
    Assignment,
    CommitPacer,
    WorkerContext,
)
from pipeline.stream.protocols import Brokers
from pipeline.stream.records import Handler, Rescue

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
        self._gate = gate
        self._throttle = throttle
        self._observer = observer or Observer()
        self._rescue = rescue
        self._commit_count = commit_count
        self._monitor: Monitor | None = None

    def status(self) -> StreamStatus:
        if self._monitor is not None:
            return self._monitor.status()
        return StreamStatus(partitions=(), reason="it is not running")

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then drain, commit what is done, and leave the group.

        Raises:
            Stuck: The consumer makes no progress.
            BrokerError: The brokers refuse. What they only cannot do now is tried again.
            Exception: What the handler raised, after everything else was closed cleanly.
        """
        failure: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        error: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._serve(failure, tasks, stop)
        except BaseExceptionGroup as group:
            error = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]  # it came first: the others are what it led to
        finally:
            self._monitor = None
        if error is None and failure.done() and not failure.cancelled():
            # It came during the drain, when nothing waited for it any more.
            error = failure.exception()
        if error is not None:
            # Outside of the handler, so that it keeps its own cause.
            raise error

    async def _serve(
        self, failure: asyncio.Future[NoReturn], tasks: asyncio.TaskGroup, stop: asyncio.Event
    ) -> None:
        settings = self._settings
        consumer = self._brokers.consumer(self._group, self._topics)
        reader = self._brokers.reader(self._group)
        clock = asyncio.get_running_loop().time
        window = DeadLetterWindow(WINDOW_KEYS, settings.dead_letter_ratio, clock=clock)
        breaker = DeadLetterBreaker(window, clock=clock)
        intake = Intake(self._stage, self._gate, breaker, self._observer, self._throttle)

        def fail(error: BaseException) -> None:
            if not failure.done():
                failure.set_exception(error)

        context = WorkerContext(
            stage=self._stage,
            group=self._group,
            ordering=self._ordering,
            settings=settings,
            commit_count=self._commit_count,
            brokers=self._brokers,
            consumer=consumer,
            reader=reader,
            handler=self._handler,
            slots=ConcurrencyLimiter(
                settings.max_in_flight, None if self._gate is None else self._gate.at_once
            ),
            pacer=CommitPacer(),
            observer=self._observer,
            rescue=self._rescue,
            completed=intake.completed,
            fail=fail,
            opened=asyncio.Event(),
        )
        assignment = Assignment(context, tasks)
        poller = Poller(context, assignment, intake)
        self._monitor = monitor = Monitor(context, self._topics, assignment, poller, intake)
        try:
            await reader.start()
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(_wait_for(failure)),
                    group.create_task(poller.run()),
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
            await assignment.close(drain_budget=0.0 if is_cancelled else settings.drain_budget)
            for close in (consumer.close, reader.close):
                try:
                    async with asyncio.timeout(_CLOSE_LIMIT):
                        await close()
                except TimeoutError:
                    _log.warning("%s: the brokers did not let go in time", self._stage)
            failure.cancel()


async def _wait_for(failure: asyncio.Future[NoReturn]) -> None:
    # Shielded, because cancelling the waiter must not cancel what others may still set.
    await asyncio.shield(failure)
