"""What waits in the partitions of a stream, by the brokers' own account.

What a partition holds tells of itself. What it has not polled does not: while nothing is taken
in, records come to an end of the log that no fetch sees, and nobody has read when the first of
them was published. So the brokers are asked.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from pipeline.stream import ledger_codec
from pipeline.stream.ledger import CommitPoint
from pipeline.stream.ledger_codec import LedgerUnreadable
from pipeline.stream.partition_worker import PartitionWorker
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    NextRecord,
    OffsetReader,
    TopicPartition,
)

_BRIEFLY = 1.0
"""Seconds for a committed offset: a transaction that is still open may keep it for longer."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one partition.

    Args:
        records: Those that are not committed; None while that is not known.
        oldest_seconds: Age of the oldest of them; 0 where none waits, None while it is not known.
    """

    records: int | None
    oldest_seconds: float | None


class Backlog:
    """Asks the brokers, and keeps what they said.

    Args:
        reader: Asks them, independently of the consumer.
        now: The time, aware.
    """

    def __init__(self, reader: OffsetReader, *, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._now = now
        self._ends: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, CommitPoint] = {}
        self._first: dict[TopicPartition, tuple[int, NextRecord]] = {}

    async def look(self, workers: Iterable[PartitionWorker]) -> None:
        """Ask where logs end and, where nothing is held of what waits, how old the first is.

        Raises:
            BrokerError: The brokers do not answer, or refuse.
        """
        workers = list(workers)
        self._ends = dict(await self._reader.ends([worker.partition for worker in workers]))
        idle = {worker.partition: worker for worker in workers if worker.oldest is None}
        self._committed = {p: point for p, point in self._committed.items() if p in idle}
        self._first = {p: first for p, first in self._first.items() if p in idle}
        for worker in idle.values():
            if worker.base is None:
                await self._look_up_committed(worker.partition)
            await self._look_up_first(worker)

    def end(self, partition: TopicPartition) -> int | None:
        """Where the records that may be read end, by the last look."""
        return self._ends.get(partition)

    def waiting(self, worker: PartitionWorker) -> Waiting:
        """What waits in a partition now."""
        if worker.oldest is not None:
            return Waiting(self._records(worker), self._age(worker.oldest.timestamp))
        base, first = self._base(worker), self._first.get(worker.partition)
        if first is not None and first[0] == base:
            next_record = first[1]
            if next_record.timestamp is not None:
                return Waiting(self._records(worker), self._age(next_record.timestamp))
            if next_record.offset >= self._ends.get(worker.partition, 0):
                # Nothing but the markers of transactions lies ahead.
                return Waiting(0, 0.0)
        records = self._records(worker)
        return Waiting(records, 0.0 if records == 0 else None)

    def _records(self, worker: PartitionWorker) -> int | None:
        end = self._ends.get(worker.partition)
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
        return max(0.0, (self._now() - timestamp).total_seconds())

    async def _look_up_committed(self, partition: TopicPartition) -> None:
        """From where a partition would be served that is not, for whatever reason."""
        try:
            async with asyncio.timeout(_BRIEFLY):
                committed = await self._reader.committed(partition)
                if committed is None:
                    begin = (await self._reader.bounds(partition)).begin
                    self._committed[partition] = CommitPoint(begin, begin)
                    return
        except TimeoutError:
            raise BrokersUnavailable(
                f"The committed offset of {partition} is not known yet."
            ) from None
        try:
            point = ledger_codec.decode(committed.offset, committed.metadata)
        except LedgerUnreadable:
            point = CommitPoint(committed.offset, committed.offset)
        self._committed[partition] = point

    async def _look_up_first(self, worker: PartitionWorker) -> None:
        partition, base = worker.partition, self._base(worker)
        if base is None or not self._records(worker):
            self._first.pop(partition, None)
            return
        known = self._first.get(partition)
        if known is not None and known[0] == base and known[1].timestamp is not None:
            return  # it only grows older
        self._first[partition] = (base, await self._reader.next_record(partition, base))


async def look_if_possible(backlog: Backlog, workers: Iterable[PartitionWorker]) -> str | None:
    """Look; returns why the brokers do not answer, or None."""
    try:
        await backlog.look(workers)
    except BrokerError as error:
        return str(error)
    return None
