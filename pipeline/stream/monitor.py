"""Watches one stream: reports its lag, says whether it is ready, ends it when it is stuck."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.stream.assignment import Assignment
from pipeline.stream.brokers import OffsetReader, TopicPartition, Unavailable
from pipeline.stream.intake import Intake
from pipeline.stream.liveness import Signs, Stuck, why_not_polling, why_stuck
from pipeline.stream.observer import StreamObserver
from pipeline.stream.poller import Poller
from pipeline.stream.status import PartitionStatus, StreamStatus
from pipeline.stream.worker import PartitionWorker

_INTERVAL = 1.0
"""Seconds between two looks."""


class Monitor:
    """Looks at the parts of a stream; changes nothing.

    Args:
        stage: Of which stream.
        topics: What it consumes.
        assignment: Its partitions.
        poller: Its loop.
        intake: Whether it takes anything.
        reader: Asks the brokers, independently of the consumer.
        observer: Told of the lag, and of being stuck.
        stuck_after: Seconds without progress after which it ends.
    """

    def __init__(
        self,
        stage: str,
        topics: Sequence[str],
        *,
        assignment: Assignment,
        poller: Poller,
        intake: Intake,
        reader: OffsetReader,
        observer: StreamObserver,
        stuck_after: float,
    ) -> None:
        self._stage = stage
        self._topics = topics
        self._assignment = assignment
        self._poller = poller
        self._intake = intake
        self._reader = reader
        self._observer = observer
        self._stuck_after = stuck_after
        self._now = asyncio.get_running_loop().time
        self._stuck_because: str | None = None

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Stuck: There is no progress, although the brokers answer.
        """
        while True:
            await asyncio.sleep(_INTERVAL)
            for worker in self._assignment:
                self._report_lag(worker)
            await self._check_progress()

    def status(self) -> StreamStatus:
        """What there is to say now."""
        partitions = tuple(_describe(worker) for worker in self._assignment)
        reason = self._why_not_ready(partitions)
        lags = [partition.lag for partition in partitions if partition.lag is not None]
        is_known = self._assignment.standing_since is None and len(lags) == len(partitions)
        return StreamStatus(
            stage=self._stage,
            partitions=partitions,
            last_poll_seconds=self._now() - self._poller.last_poll,
            in_flight=sum(partition.in_flight for partition in partitions),
            lag=sum(lags) if is_known else None,
            intake_closed_because=self._intake.closed_because,
            is_ready=reason is None,
            reason=reason,
        )

    def _report_lag(self, worker: PartitionWorker) -> None:
        status = _describe(worker)
        if status.lag is not None:
            self._observer.lag(
                self._stage,
                status.topic,
                status.partition,
                records=status.lag,
                oldest_seconds=status.oldest_seconds,
            )

    async def _check_progress(self) -> None:
        signs = self._signs()
        was_stuck = self._stuck_because is not None
        # It is said at half the time, and acted upon at the whole.
        self._stuck_because = why_stuck(signs, self._stuck_after / 2)
        if (self._stuck_because is not None) != was_stuck:
            self._observer.stuck(self._stage, is_stuck=not was_stuck)
        because = why_stuck(signs, self._stuck_after)
        if because is not None and await self._do_brokers_answer():
            raise Stuck(
                f"The consumer of {', '.join(self._topics)} is stuck: {because}. "
                "The process ends so that its supervisor starts a new one."
            )

    async def _do_brokers_answer(self) -> bool:
        """While they do not, nothing can make progress here, nor in a new process."""
        some = next((worker.partition for worker in self._assignment), None)
        try:
            await self._reader.bounds(some or TopicPartition(self._topics[0], 0))
        except Unavailable:
            return False
        return True

    def _signs(self) -> Signs:
        now = self._now()
        workers = list(self._assignment)
        since = self._assignment.standing_since
        is_idle = not any(worker.in_flight for worker in workers)
        may_take = is_idle and self._intake.closed_because is None
        return Signs(
            rebalancing=None if since is None else now - since,
            since_poll=now - self._poller.last_poll,
            since_progress=now - max((worker.last_progress for worker in workers), default=now),
            unread=sum(worker.lag or 0 for worker in workers) if may_take else 0,
            uncommitted=sum(worker.uncommitted for worker in workers),
        )

    def _why_not_ready(self, partitions: Sequence[PartitionStatus]) -> str | None:
        if self._stuck_because is not None:
            return f"it is stuck: {self._stuck_because}"
        for partition in partitions:
            if partition.problem is not None:
                return partition.problem
        if self._intake.closed_because is not None:
            return f"intake is closed: {self._intake.closed_because}"
        if not self._assignment.has_joined:
            return "it has not joined its group yet"
        return why_not_polling(self._signs())


def _describe(worker: PartitionWorker) -> PartitionStatus:
    oldest = worker.oldest
    age = 0.0
    if oldest is not None:
        age = max(0.0, (datetime.now(UTC) - oldest.timestamp).total_seconds())
    return PartitionStatus(
        topic=worker.partition.topic,
        partition=worker.partition.partition,
        state=worker.state,
        in_flight=worker.in_flight,
        lag=worker.lag,
        oldest_seconds=age,
        problem=worker.problem,
    )
