"""Publishing, committing and reading commits on the broker in memory."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from pipeline.stream.protocols import (
    Aborted,
    Broken,
    Committed,
    LogBounds,
    NextRecord,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outgoing
from pipeline.testing.broker import MemoryBroker, TransactionState
from pipeline.testing.consumer import MemoryConsumer
from pipeline.testing.faults import Link, Lost, Refused


class MemoryTransactions:
    """Exactly once on the broker in memory.

    Args:
        broker: The broker.
        link: The way to it.
        group: Whose offset is committed.
        partition: The input partition.
        timeout: Seconds after which the broker voids a transaction.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        link: Link,
        group: str,
        partition: TopicPartition,
        *,
        timeout: float,
    ) -> None:
        self._broker = broker
        self._link = link
        self._group = group
        self._partition = partition
        self._id = f"{group}-{partition}"
        self._timeout = timeout
        self._epoch = 0

    async def start(self) -> None:
        """Fence whoever had the partition before."""
        self._epoch = await self._link.request("init", lambda: self._broker.init_producer(self._id))

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """One transaction; each step can fail on its own."""
        broker, me = self._broker, (self._id, self._epoch)
        steps: list[tuple[str, Callable[[], None]]] = [
            ("begin", lambda: broker.begin(*me, timeout=self._timeout)),
            ("write", lambda: broker.write_in_transaction(*me, records)),
        ]
        if committed is not None:
            offset = partial(broker.add_offset, *me, self._group, self._partition, committed)
            steps.append(("add_offset", offset))
        steps.append(("end", lambda: broker.end(*me, TransactionState.COMMITTED)))
        try:
            for name, effect in steps:
                await self._link.request(name, effect)
        except Lost as error:
            raise Broken(str(error)) from error
        except Refused as error:
            await self._abort()
            raise Aborted(str(error)) from error
        except Unpublishable:
            await self._abort()
            raise

    async def close(self) -> None:
        """An open transaction stays open."""

    async def _abort(self) -> None:
        try:
            await self._link.request(
                "end", lambda: self._broker.end(self._id, self._epoch, TransactionState.ABORTED)
            )
        except (Lost, Refused) as error:
            raise Broken(str(error)) from error


class MemoryPlain:
    """At least once on the broker in memory.

    Args:
        broker: The broker.
        link: The way to it.
        partition: The input partition.
        consumer: Whose group the offset belongs to.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        link: Link,
        partition: TopicPartition,
        consumer: MemoryConsumer,
    ) -> None:
        self._broker = broker
        self._link = link
        self._partition = partition
        self._consumer = consumer

    async def start(self) -> None:
        """Nothing to do."""

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """Publish, then commit."""
        try:
            await self._link.request("write", lambda: self._broker.write(records))
            if committed is not None:
                await self._consumer.commit(self._partition, committed)
        except Lost as error:
            raise Broken(str(error)) from error
        except Refused as error:
            raise Aborted(str(error)) from error

    async def close(self) -> None:
        """Nothing to do."""


class MemoryOffsets:
    """Reads offsets of the broker in memory.

    Args:
        broker: The broker.
        link: The way to it.
        group: Whose committed offsets.
    """

    def __init__(self, broker: MemoryBroker, link: Link, group: str) -> None:
        self._broker = broker
        self._link = link
        self._group = group

    async def start(self) -> None:
        """Nothing to do."""

    async def committed(self, partition: TopicPartition) -> Committed | None:
        """The committed offset."""
        return await self._link.request(
            "fetch_offset", lambda: self._broker.fetch_offset(self._group, partition)
        )

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        """Where the log begins and ends."""
        return await self._link.request("bounds", lambda: self._broker.bounds(partition))

    async def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where logs end."""
        return await self._link.request(
            "ends",
            lambda: {partition: self._broker.bounds(partition).end for partition in partitions},
        )

    async def next_record(self, partition: TopicPartition, offset: int) -> NextRecord:
        """The first record from an offset on."""

        def first() -> NextRecord:
            entries, after = self._broker.log(partition).read(offset, 1)
            if not entries:
                return NextRecord(None, after)
            return NextRecord(datetime.fromtimestamp(entries[0].written_at, UTC), entries[0].offset)

        return await self._link.request("first_record", first)

    async def close(self) -> None:
        """Nothing to do."""
