"""Watches one stream: reports what waits, says whether it is ready, ends it when it is stuck."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain

from pipeline.model.errors import PipelineError
from pipeline.stream.assignment import Assignment
from pipeline.stream.intake import Intake, Poller
from pipeline.stream.ledger import CommitPoint, LedgerUnreadable, decode
from pipeline.stream.partition_worker import PartitionWorker, State, WorkerContext
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    NextRecord,
    OffsetReader,
    TopicPartition,
)

_log = logging.getLogger(__name__)
POLL_EXPECTED = 30.0
"""Seconds without a poll, or of one rebalance, after which a stream is not ready. A rebalance
takes as long as the slowest member's next heartbeat, or the session's time-out if one is dead."""


class Stuck(PipelineError):
    """The consumer lives but makes no progress. Only a new process helps; a supervisor starts it.

    Consumers are known to stay assigned and fetch nothing after a rebalance went wrong.
    """


def why_stuck(
    assignment: Assignment,
    ends: Mapping[TopicPartition, int],
    *,
    last_poll: float,
    now: float,
    after: float,
) -> str | None:
    """Why a stream must be called stuck after so many seconds; None if it need not.

    Calls that take long are no reason: a model may be slow or away for hours, and a restart
    would only pay for them again. What counts is the stream's own work. `ends` is where logs end
    by the brokers' own account.
    """
    since = assignment.rebalancing_since
    if since is not None and now - since > after:
        return f"the group has been rebalancing for {now - since:.0f} s"
    if now - last_poll > after:
        return f"no poll came back for {now - last_poll:.0f} s"
    for worker in assignment.workers.values():
        waited = now - worker.last_progress
        if worker.state is not State.RUNNING or waited <= after:
            continue
        workload = worker.workload
        if workload.results and not worker.problem:
            return f"{len(workload.results)} results were not committed for {waited:.0f} s"
        unread = ends.get(worker.partition, 0) - workload.ledger.position
        if unread > 0 and not workload.held and now - worker.last_asked < after:
            return f"{unread} records did not come in for {waited:.0f} s"
    return None


_READ = (
    "all of them are read, and paid for (`pipeline cost` says how much). To skip them, stop now, "
    'set kafka.auto_offset_reset to "latest", and take another kafka.group_prefix, or reset the '
    "group"
)
_SKIPPED = (
    "they are skipped, and only what comes from now on is read. To read them, stop now, set "
    'kafka.auto_offset_reset to "earliest", and take another kafka.group_prefix, or reset the group'
)
_DIFFERENT = (
    "members of its group ask the models different things (version, labels, thresholds, models): "
    "finish the rollout, or give one of two deployments another kafka.group_prefix"
)
_INTERVAL = 1.0
"""Seconds between two looks."""
_LOOK_INTERVAL = 2.0
"""Seconds between two questions to the brokers about what waits."""
_BRIEFLY = 1.0
"""Seconds for a committed offset: a transaction that is still open may keep it for longer."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition.

    `lag` are the records that are not committed, `oldest_seconds` the age of the oldest, 0 without
    one; None while that is not known. `in_flight` ones are taken and not committed.
    """

    topic: str
    partition: int
    state: str
    in_flight: int
    lag: int | None
    oldest_seconds: float | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stage's stream, of the partitions that are assigned to this process.

    `reason` says why it is not ready; `lag` is None while it is not known, as in a rebalance.
    """

    partitions: tuple[PartitionStatus, ...]
    reason: str | None
    lag: int | None = None
    intake_closed_because: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.reason is None

    @property
    def in_flight(self) -> int:
        return sum(partition.in_flight for partition in self.partitions)


@dataclass(eq=False)
class Backlog:
    """What waits in the partitions, by the brokers' own account.

    What a partition holds is known here. What it has not polled is not: while nothing is taken
    in, records come to an end of the log that no fetch sees, and it is not known when the first
    of them was published. So the brokers are asked.
    `ends` is where the records that may be read end, by the last look.
    """

    reader: OffsetReader
    _: KW_ONLY
    now: Callable[[], datetime]

    def __post_init__(self) -> None:
        self.ends: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, CommitPoint] = {}
        self._first: dict[TopicPartition, tuple[int, NextRecord]] = {}

    async def look(self, workers: Collection[PartitionWorker]) -> None:
        """Ask where logs end and, where nothing is held of what waits, how old the first is.

        Raises:
            BrokerError: The brokers do not answer, or refuse.
        """
        self.ends = dict(await self.reader.ends([worker.partition for worker in workers]))
        idle = {each.partition: each for each in workers if each.workload.oldest is None}
        self._committed = {p: point for p, point in self._committed.items() if p in idle}
        self._first = {p: first for p, first in self._first.items() if p in idle}
        for partition, worker in idle.items():
            if worker.base is None:
                self._committed[partition] = await self._commit_point(partition)
            base = self._base(worker)
            if base is None or not self._records(worker):
                self._first.pop(partition, None)
                continue
            known = self._first.get(partition)
            if known is None or known[0] != base or known[1].timestamp is None:
                # A record that is known only grows older.
                self._first[partition] = (base, await self.reader.next_record(partition, base))

    def waiting(self, worker: PartitionWorker) -> tuple[int | None, float | None]:
        """Records that are not committed, and seconds of age of the oldest: 0 where none waits.

        Either is None while that is not known.
        """
        records = self._records(worker)
        if (held := worker.workload.oldest) is not None:
            return records, self._age(held.record.timestamp)
        base, first = self._first.get(worker.partition, (None, None))
        if first is not None and base == self._base(worker):
            if first.timestamp is not None:
                return records, self._age(first.timestamp)
            if first.offset >= self.ends.get(worker.partition, 0):
                # Nothing but the markers of transactions lies ahead.
                return 0, 0.0
        return records, 0.0 if records == 0 else None

    def _records(self, worker: PartitionWorker) -> int | None:
        end = self.ends.get(worker.partition)
        known = worker.lag(end)
        if known is not None:
            return known
        point = self._committed.get(worker.partition)
        return None if point is None or end is None else point.lag(end)

    def _base(self, worker: PartitionWorker) -> int | None:
        """Where the oldest record that is not committed is, or above."""
        if worker.base is not None:
            return worker.base
        point = self._committed.get(worker.partition)
        return None if point is None else point.base

    def _age(self, timestamp: datetime) -> float:
        return max(0.0, (self.now() - timestamp).total_seconds())

    async def _commit_point(self, partition: TopicPartition) -> CommitPoint:
        """From where a partition would be served that is not, for whatever reason."""
        try:
            async with asyncio.timeout(_BRIEFLY):
                committed = await self.reader.committed(partition)
                if committed is None:
                    begin = (await self.reader.bounds(partition)).begin
                    return CommitPoint(begin, begin)
        except TimeoutError:
            raise BrokersUnavailable(
                f"The committed offset of {partition} is not known yet."
            ) from None
        try:
            return decode(committed.offset, committed.metadata, self.reader.cluster)
        except LedgerUnreadable:
            return CommitPoint(committed.offset, committed.offset)


@dataclass(eq=False)
class Monitor:
    """Looks at the parts of a stream, and leaves them to themselves."""

    context: WorkerContext
    topics: Sequence[str]
    assignment: Assignment
    poller: Poller
    intake: Intake

    def __post_init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._backlog = Backlog(self.context.reader, now=lambda: datetime.now(UTC))
        self._last_look = self._now()
        self._stuck_because: str | None = None
        self._outage: str | None = None
        self._is_past_said = False
        self._differing_since: float | None = None

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Stuck: There is no progress, although the brokers answer.
        """
        while True:
            await asyncio.sleep(_INTERVAL)
            for worker in self._workers():
                workload, end = worker.workload, self._backlog.ends.get(worker.partition)
                reads = worker.reads
                if reads % 2 or (workload.position == end and not workload.has_news):
                    continue
                position = await self.context.consumer.position(worker.partition)
                # Where the consumer was ahead of the workload, records would be taken for gaps.
                if position is not None and worker.reads == reads:
                    worker.advance(position)
            if self._now() - self._last_look >= _LOOK_INTERVAL:
                self._last_look = self._now()
                try:
                    await self._backlog.look(self._workers())
                    self._outage = None
                except BrokerError as error:
                    self._outage = str(error)
                self.context.observer.reachable(
                    self.context.stage, are_brokers=self._outage is None
                )
            for status in map(self._describe, self._workers()):
                where = (self.context.stage, status.topic, status.partition)
                self.context.observer.in_flight(*where, count=status.in_flight)
                if status.lag is not None:
                    self.context.observer.lag(
                        *where, records=status.lag, oldest_seconds=status.oldest_seconds
                    )
            self._report_new_group()
            failing = sum(worker.problem is not None for worker in self._workers())
            self.context.observer.failing(self.context.stage, partitions=failing)
            self._look_at_members()
            if self.context.tenants is not None:
                used_up = set[str]().union(*(each.workload.used_up for each in self._workers()))
                self.context.observer.tenants_waiting(self.context.stage, count=len(used_up))
            await self._check_progress()

    def status(self) -> StreamStatus:
        partitions = tuple(map(self._describe, self._workers()))
        lags = [partition.lag for partition in partitions if partition.lag is not None]
        is_known = self.assignment.has_joined and len(lags) == len(partitions)
        return StreamStatus(
            partitions,
            self._why_not_ready(partitions),
            sum(lags) if is_known else None,
            self.intake.paused_reason,
        )

    def _workers(self) -> list[PartitionWorker]:
        """As of now: a rebalance may change them while something is awaited."""
        return list(self.assignment.workers.values())

    def _what(self) -> str:
        """The topics that are read; those that a pattern matches as far as they are served here."""
        served = {worker.partition.topic for worker in self._workers()}
        return ", ".join(sorted({*self.topics, *served})) or self.context.group

    def _report_new_group(self) -> None:
        """Log once, when all partitions are served, what it means to have committed nothing."""
        workers = self._workers()
        if self._is_past_said or any(worker.base is None for worker in workers):
            return
        self._is_past_said = self.assignment.has_joined
        past = [worker.past for worker in workers if worker.past]
        if past:
            meaning = _SKIPPED if self.context.brokers.starts_at_end else _READ
            _log.warning(
                f"%s: its group has committed nothing yet on %d partitions of %s, which hold up "
                f"to %s records already: {meaning}",
                *(self.context.stage, len(past), self._what(), f"{sum(past):,}"),
            )

    def _look_at_members(self) -> None:
        differ = self.context.consumer.members_differ()
        if differ != (self._differing_since is not None):
            self._differing_since = self._now() if differ else None
            self.context.observer.members_differ(self.context.stage, differ=differ)
            if differ:
                _log.warning("%s: %s", self.context.stage, _DIFFERENT)

    async def _check_progress(self) -> None:
        stuck = partial(
            why_stuck,
            self.assignment,
            self._backlog.ends,
            last_poll=self.poller.last_poll,
            now=self._now(),
        )
        was_stuck = self._stuck_because is not None
        # It is reported at half the time, and acted upon at the whole.
        self._stuck_because = stuck(after=self.context.settings.stuck_after / 2)
        if (self._stuck_because is not None) != was_stuck:
            self.context.observer.stuck(self.context.stage, is_stuck=not was_stuck)
        because = stuck(after=self.context.settings.stuck_after)
        if because is None:
            return
        named = (TopicPartition(topic, 0) for topic in self.topics)
        some = next(chain(self.assignment.workers, named), None)
        try:
            if some is not None:
                await self.context.reader.bounds(some)
        except BrokerError as error:
            # While they do not answer nothing can make progress here, nor in a new process.
            self._outage = str(error)
            return
        raise Stuck(
            f"The consumer of {self._what()} is stuck: {because}. "
            "The process ends so that its supervisor starts a new one."
        )

    def _why_not_ready(self, partitions: Sequence[PartitionStatus]) -> str | None:
        if self._stuck_because is not None:
            return f"it is stuck: {self._stuck_because}"
        for partition in partitions:
            if partition.problem is not None:
                return partition.problem
        if self.intake.paused_reason is not None:
            return f"intake is closed: {self.intake.paused_reason}"
        if not self.assignment.has_joined:
            return "it has not joined its group yet"
        now, since = self._now(), self.assignment.rebalancing_since
        for worker in self._workers():
            waited = now - worker.last_progress
            if worker.base is None and waited > POLL_EXPECTED:
                return f"{worker.partition} is assigned and has not been served for {waited:.0f} s"
        reason = self.context.consumer.trouble() or self._outage or self._why_different(now)
        if reason is None and since is not None and now - since > POLL_EXPECTED:
            reason = f"the group has been rebalancing for {now - since:.0f} s"
        if reason is None and now - self.poller.last_poll > POLL_EXPECTED:
            reason = f"the last poll was {now - self.poller.last_poll:.0f} s ago"
        return reason

    def _why_different(self, now: float) -> str | None:
        waited = 0.0 if self._differing_since is None else now - self._differing_since
        is_rollout = waited <= self.context.settings.rollout_within
        return None if is_rollout else f"for {waited:.0f} s {_DIFFERENT}"

    def _describe(self, worker: PartitionWorker) -> PartitionStatus:
        records, oldest_seconds = self._backlog.waiting(worker)
        return PartitionStatus(
            topic=worker.partition.topic,
            partition=worker.partition.partition,
            state=worker.state,
            in_flight=len(worker.workload.held),
            lag=records,
            oldest_seconds=oldest_seconds,
            problem=worker.problem,
        )
