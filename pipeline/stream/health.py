"""Watches one stream: reports its lag, says whether it is ready, ends it when it is stuck.

Telling a consumer that has nothing to do from one that is alive and stuck. Pure.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.model.errors import PipelineError
from pipeline.model.observer import Observer
from pipeline.stream.assignment import Assignment
from pipeline.stream.backlog import Backlog, look_if_possible
from pipeline.stream.intake import Intake
from pipeline.stream.partition_worker import PartitionWorker, State
from pipeline.stream.poller import Poller
from pipeline.stream.protocols import BrokerError, Consumer, OffsetReader, TopicPartition
from pipeline.stream.status import PartitionStatus, StreamStatus

POLL_EXPECTED = 30.0
"""Seconds without a poll, or of one rebalance, after which a stream is not ready. A rebalance
takes a drain budget and a few seconds; polls wait for it."""


class Stuck(PipelineError):
    """The consumer lives but makes no progress. Only a new process helps; a supervisor starts it.

    Consumers are known to stay assigned and fetch nothing after a rebalance went wrong.
    """


@dataclass(frozen=True, slots=True)
class PartitionSigns:
    """What is to be seen of a partition that takes records; times in seconds.

    Args:
        since_progress: Since a record came in, was answered or was committed.
        since_asked: Since it was polled, whether or not something came.
        unread: Records that the brokers have, by their own account, and that did not come in.
        in_flight: Records that are taken and not committed.
        uncommitted: Results that are ready, and whose commit has not failed.
    """

    since_progress: float
    since_asked: float
    unread: int
    in_flight: int
    uncommitted: int


@dataclass(frozen=True, slots=True)
class Signs:
    """What is to be seen of a stream; times in seconds.

    Args:
        rebalancing: How long it has been without an assignment; None with one.
        since_poll: Since a poll came back.
        partitions: The assigned ones that take records.
    """

    rebalancing: float | None
    since_poll: float
    partitions: Sequence[PartitionSigns] = ()


def why_stuck(signs: Signs, after: float) -> str | None:
    """Why a stream must be called stuck; None if it need not.

    Calls that take long are no reason: a model may be slow or away for hours, and a restart
    would only pay for them again. What counts is the stream's own work.

    Args:
        signs: What is to be seen.
        after: Seconds that anything may last.
    """
    if signs.rebalancing is not None:
        if signs.rebalancing > after:
            return f"no partitions were assigned for {signs.rebalancing:.0f} s"
        return None
    if signs.since_poll > after:
        return f"no poll came back for {signs.since_poll:.0f} s"
    for partition in signs.partitions:
        waited = partition.since_progress
        if waited <= after:
            continue
        if partition.uncommitted:
            return f"{partition.uncommitted} results were not committed for {waited:.0f} s"
        if partition.unread and not partition.in_flight and partition.since_asked < after:
            return f"{partition.unread} records did not come in for {waited:.0f} s"
    return None


def why_not_polling(signs: Signs) -> str | None:
    """Why a stream is not ready, long before it counts as stuck; None if it is."""
    if signs.rebalancing is not None and signs.rebalancing > POLL_EXPECTED:
        return f"no partitions have been assigned for {signs.rebalancing:.0f} s"
    if signs.rebalancing is None and signs.since_poll > POLL_EXPECTED:
        return f"the last poll was {signs.since_poll:.0f} s ago"
    return None


_log = logging.getLogger(__name__)
_READ = (
    "all of them are read, and paid for (`pipeline cost` says how much). To skip them, stop now, "
    'set kafka.auto_offset_reset to "latest", and take another kafka.group_prefix, or reset the '
    "group"
)
_SKIPPED = (
    "they are skipped, and only what comes from now on is read. To read them, stop now, set "
    'kafka.auto_offset_reset to "earliest", and take another kafka.group_prefix, or reset the group'
)
_INTERVAL = 1.0
"""Seconds between two looks."""
_LOOK_INTERVAL = 2.0
"""Seconds between two questions to the brokers about what waits."""


class Monitor:
    """Looks at the parts of a stream, and leaves them to themselves.

    Args:
        stage: Of which stream.
        topics: What it consumes.
        consumer: Its consumer.
        assignment: Its partitions.
        poller: Its loop.
        intake: Whether it takes anything.
        reader: Asks the brokers, independently of the consumer.
        observer: Receives the lag, the partitions that cannot commit, and whether it is stuck.
        starts_at_end: Whether a group that committed nothing skips what is there already.
        stuck_after: Seconds without progress after which it ends.
    """

    def __init__(
        self,
        stage: str,
        topics: Sequence[str],
        *,
        consumer: Consumer,
        assignment: Assignment,
        poller: Poller,
        intake: Intake,
        reader: OffsetReader,
        observer: Observer,
        starts_at_end: bool,
        stuck_after: float,
    ) -> None:
        self._stage = stage
        self._topics = topics
        self._consumer = consumer
        self._assignment = assignment
        self._poller = poller
        self._intake = intake
        self._reader = reader
        self._observer = observer
        self._starts_at_end = starts_at_end
        self._stuck_after = stuck_after
        self._now = asyncio.get_running_loop().time
        self._backlog = Backlog(reader, now=lambda: datetime.now(UTC))
        self._last_look = self._now()
        self._stuck_because: str | None = None
        self._outage: str | None = None
        self._is_past_said = False

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Stuck: There is no progress, although the brokers answer.
        """
        while True:
            await asyncio.sleep(_INTERVAL)
            for worker in list(self._assignment):
                position = await self._consumer.position(worker.partition)
                if position is not None:
                    worker.advance(position)
            if self._now() - self._last_look >= _LOOK_INTERVAL:
                self._last_look = self._now()
                self._outage = await look_if_possible(self._backlog, self._assignment)
            for worker in self._assignment:
                self._report(worker)
            self._report_new_group()
            failing = sum(worker.problem is not None for worker in self._assignment)
            self._observer.failing(self._stage, partitions=failing)
            await self._check_progress()

    def status(self) -> StreamStatus:
        """What there is to say now."""
        partitions = tuple(self._describe(worker) for worker in self._assignment)
        reason = self._why_not_ready(partitions)
        lags = [partition.lag for partition in partitions if partition.lag is not None]
        is_known = self._assignment.standing_since is None and len(lags) == len(partitions)
        return StreamStatus(
            stage=self._stage,
            partitions=partitions,
            in_flight=sum(partition.in_flight for partition in partitions),
            lag=sum(lags) if is_known else None,
            intake_closed_because=self._intake.paused_reason,
            is_ready=reason is None,
            reason=reason,
        )

    def _report(self, worker: PartitionWorker) -> None:
        status = self._describe(worker)
        where = (self._stage, status.topic, status.partition)
        self._observer.in_flight(*where, count=status.in_flight)
        if status.lag is not None:
            self._observer.lag(*where, records=status.lag, oldest_seconds=status.oldest_seconds)

    def _report_new_group(self) -> None:
        """Say once, when all partitions are served, what it means to have committed nothing."""
        if self._is_past_said or not all(worker.base is not None for worker in self._assignment):
            return
        self._is_past_said = self._assignment.has_joined
        past = [worker.past for worker in self._assignment if worker.past]
        if past:
            meaning = _SKIPPED if self._starts_at_end else _READ
            _log.warning(
                f"%s: its group has committed nothing yet on %d partitions of %s, which hold up "
                f"to %s records already: {meaning}",
                *(self._stage, len(past), ", ".join(self._topics), f"{sum(past):,}"),
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
        except BrokerError as error:
            self._outage = str(error)
            return False
        return True

    def _signs(self) -> Signs:
        now = self._now()
        since = self._assignment.standing_since
        return Signs(
            rebalancing=None if since is None else now - since,
            since_poll=now - self._poller.last_poll,
            partitions=[
                PartitionSigns(
                    since_progress=now - worker.last_progress,
                    since_asked=now - worker.last_asked,
                    unread=max(0, (self._backlog.end(worker.partition) or 0) - worker.position),
                    in_flight=worker.in_flight,
                    uncommitted=0 if worker.problem else worker.uncommitted,
                )
                for worker in self._assignment
                if worker.state is State.RUNNING
            ],
        )

    def _why_not_ready(self, partitions: Sequence[PartitionStatus]) -> str | None:
        if self._stuck_because is not None:
            return f"it is stuck: {self._stuck_because}"
        for partition in partitions:
            if partition.problem is not None:
                return partition.problem
        if self._intake.paused_reason is not None:
            return f"intake is closed: {self._intake.paused_reason}"
        if not self._assignment.has_joined:
            return "it has not joined its group yet"
        return self._why_not_served() or self._outage or why_not_polling(self._signs())

    def _why_not_served(self) -> str | None:
        for worker in self._assignment:
            waited = self._now() - worker.last_progress
            if worker.base is None and waited > POLL_EXPECTED:
                return f"{worker.partition} is assigned and has not been served for {waited:.0f} s"
        return self._consumer.trouble()

    def _describe(self, worker: PartitionWorker) -> PartitionStatus:
        waiting = self._backlog.waiting(worker)
        return PartitionStatus(
            topic=worker.partition.topic,
            partition=worker.partition.partition,
            state=worker.state,
            in_flight=worker.in_flight,
            lag=waiting.records,
            oldest_seconds=waiting.oldest_seconds,
            problem=worker.problem,
        )
