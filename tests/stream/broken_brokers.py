"""Deliberately broken brokers, each with one of the faults that a prototype of this once had."""

from collections.abc import Callable, Sequence

from pipeline.stream.protocols import (
    Aborted,
    Broken,
    Committed,
    Consumer,
    PartitionWriter,
    TopicPartition,
)
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryBrokers

Wrap = Callable[[PartitionWriter], PartitionWriter]


def break_sessions(brokers: MemoryBrokers, wrap: Wrap) -> MemoryBrokers:
    """Those of a process, with a fault in every session."""
    make = brokers.session

    def session(group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        return wrap(make(group, partition, consumer))

    brokers.session = session  # type: ignore[method-assign]
    return brokers


class _Wrapped:
    def __init__(self, session: PartitionWriter) -> None:
        self._session = session

    async def start(self) -> None:
        await self._session.start()

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        await self._session.commit(records, committed)

    async def close(self) -> None:
        await self._session.close()


class StartsLate(_Wrapped):
    """Starts its producer with the first commit, after the committed offset was read."""

    _is_started = False

    async def start(self) -> None:
        pass

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        if not self._is_started:
            await self._session.start()
            self._is_started = True
        await self._session.commit(records, committed)


class DropsTheLedger(_Wrapped):
    """Commits the offset without the ledger."""

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        bare = None if committed is None else Committed(committed.offset, "")
        await self._session.commit(records, bare)


class IgnoresAborts(_Wrapped):
    """Takes an aborted transaction for a committed one."""

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        try:
            await self._session.commit(records, committed)
        except Aborted:
            return


class RepeatsUnsure(_Wrapped):
    """Sends a batch again without looking whether its lost commit had happened."""

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        try:
            await self._session.commit(records, committed)
        except Broken as error:
            await self._session.start()
            raise Aborted(str(error)) from error


class CommitsOffsetFirst(_Wrapped):
    """Commits the offset first and the results in a transaction of their own."""

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        await self._session.commit((), committed)
        await self._session.commit(records, committed)
