"""The stream engine: from Kafka to a handler and back, each record exactly once."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import NoReturn

from pipeline.config import Ordering, StreamSettings
from pipeline.model.observer import Observer
from pipeline.stream.assignment import Assignment
from pipeline.stream.dead_letter_breaker import WINDOW_KEYS, DeadLetterBreaker
from pipeline.stream.handlers import ConcurrencyLimiter
from pipeline.stream.intake import Intake, IntakeGate, Poller, Throttle
from pipeline.stream.monitor import Monitor, StreamStatus
from pipeline.stream.partition_worker import (
    COMMIT_COUNT,
    CommitPacer,
    WorkerContext,
)
from pipeline.stream.protocols import Brokers, Consumer
from pipeline.stream.records import Handler, Rescue
from pipeline.stream.tenants import Tenants

_log = logging.getLogger(__name__)
_CLOSE_LIMIT = 15.0
"""Seconds that leaving the group, and letting go of the connections, may take."""


@dataclass(eq=False)
class Engine:
    """Consumes topics as one stage's group, has each record handled, publishes what comes of it.

    With a `pattern` it consumes those that match it, too, and new ones as they are made.
    What the handler raises ends the engine. The `gate` closes intake without leaving the group, the
    `throttle` holds it although nothing is wrong. `rescue` is what to publish instead of an outcome
    that the brokers will never take, and for a record that could not be read; without it the former
    stops its partition, and the latter is handled as it is. `asks` is a digest of what the handler
    asks the models: members of the group should have the same. `tenants` sees whose records
    are; by default those of the settings. With `handles_tombstones` the handler also gets records
    without a value, in the order of their key.
    """

    stage: str
    topics: Sequence[str]
    handler: Handler
    _: KW_ONLY
    brokers: Brokers
    group: str
    settings: StreamSettings
    ordering: Ordering = "key"
    gate: IntakeGate | None = None
    throttle: Throttle | None = None
    observer: Observer = field(default_factory=Observer)
    rescue: Rescue | None = None
    commit_count: int = COMMIT_COUNT
    asks: str = ""
    tenants: Tenants | None = None
    pattern: str | None = None
    handles_tombstones: bool = False
    _monitor: Monitor | None = field(default=None, init=False)
    _consumer: Consumer | None = field(default=None, init=False)

    def asks_now(self, digest: str) -> None:
        """Let the group know that the handler asks something else from here on."""
        if digest == self.asks:
            return
        self.asks = digest
        if self._consumer is not None:
            self._consumer.rejoin(asks=digest)

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
            self._monitor = self._consumer = None
        if error is None and failure.done() and not failure.cancelled():
            # It came during the drain, when nothing waited for it any more.
            error = failure.exception()
        if error is not None:
            # Outside of the handler, so that it keeps its own cause.
            raise error

    async def _serve(
        self, failure: asyncio.Future[NoReturn], tasks: asyncio.TaskGroup, stop: asyncio.Event
    ) -> None:
        settings = self.settings
        consumer = self.brokers.consumer(
            self.group, self.topics, pattern=self.pattern, asks=self.asks
        )
        reader = self.brokers.reader(self.group)
        clock = asyncio.get_running_loop().time
        breaker = DeadLetterBreaker(WINDOW_KEYS, settings.dead_letter_ratio, clock=clock)
        intake = Intake(self.stage, self.gate, breaker, self.observer, self.throttle)

        tenants = self.tenants or Tenants.by(settings.tenant_from)

        def fail(error: BaseException) -> None:
            if not failure.done():
                failure.set_exception(error)

        context = WorkerContext(
            stage=self.stage,
            group=self.group,
            ordering=self.ordering,
            settings=settings,
            commit_count=self.commit_count,
            brokers=self.brokers,
            consumer=consumer,
            reader=reader,
            handler=self.handler,
            slots=ConcurrencyLimiter(
                settings.max_in_flight, None if self.gate is None else self.gate.at_once
            ),
            # With tenants not all that is done has waited: some overtake a crowd.
            pacer=CommitPacer() if tenants is None else CommitPacer(in_backlog=0.0),
            observer=self.observer,
            rescue=self.rescue,
            completed=intake.completed,
            fail=fail,
            opened=asyncio.Event(),
            tenants=tenants,
            handles_tombstones=self.handles_tombstones,
        )
        assignment = Assignment(context, tasks)
        poller = Poller(context, assignment, intake)
        self._consumer = consumer
        self._monitor = monitor = Monitor(context, self.topics, assignment, poller, intake)
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
                    _log.warning("%s: the brokers did not let go in time", self.stage)
            failure.cancel()


async def _wait_for(failure: asyncio.Future[NoReturn]) -> None:
    # Shielded, because cancelling the waiter must not cancel what others may still set.
    await asyncio.shield(failure)
