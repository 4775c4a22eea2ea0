"""What an engine needs of the broker in memory.

A broker in memory, behind the same protocols as the real ones, for tests.

Stretches of partitions of the broker in memory.

Reading topics of the broker in memory from outside any group.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from pipeline.config import Delivery
from pipeline.kafka.reader import Start
from pipeline.stream.protocols import (
    BrokersUnavailable,
    Consumer,
    OffsetReader,
    PartitionWriter,
    TopicPartition,
)
from pipeline.stream.records import Received
from pipeline.testing.broker import MemoryBroker
from pipeline.testing.consumer import MemoryConsumer, received
from pipeline.testing.faults import Faults, Link, NoFaults
from pipeline.testing.transactions import MemoryOffsets, MemoryPlain, MemoryTransactions


class MemoryBrokers:
    """One process's view of the broker in memory, for an engine.

    Args:
        broker: The broker; several processes share it.
        process: The name of this one.
        delivery: What its sessions promise.
        faults: What happens to its requests.
        session_timeout: Seconds without a heartbeat after which it counts as dead.
        rebalance_timeout: Seconds that it gets to join again.
        transaction_timeout: Seconds after which the broker voids a transaction.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        process: str = "process",
        delivery: Delivery = "exactly_once",
        faults: Faults | None = None,
        session_timeout: float = 10.0,
        rebalance_timeout: float = 20.0,
        transaction_timeout: float = 60.0,
    ) -> None:
        self.broker = broker
        self.link = Link(process, faults or NoFaults())
        self._delivery = delivery
        self._session_timeout = session_timeout
        self._rebalance_timeout = rebalance_timeout
        self._transaction_timeout = transaction_timeout

    @property
    def starts_at_end(self) -> bool:
        """It starts at the beginning."""
        return False

    @property
    def eviction_notice(self) -> float:
        """A member hears of it with its next heartbeat."""
        return self._session_timeout / 2

    def consumer(self, group: str, topics: Sequence[str]) -> MemoryConsumer:
        """A consumer that has not started."""
        return MemoryConsumer(
            self.broker,
            self.link,
            group,
            topics,
            session_timeout=self._session_timeout,
            rebalance_timeout=self._rebalance_timeout,
        )

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        """A session of the delivery that has not started."""
        if self._delivery == "exactly_once":
            return MemoryTransactions(
                self.broker, self.link, group, partition, timeout=self._transaction_timeout
            )
        if not isinstance(consumer, MemoryConsumer):
            raise TypeError("the consumer is of other brokers")
        return MemoryPlain(self.broker, self.link, partition, consumer)

    def reader(self, group: str) -> OffsetReader:
        """A reader that has not started."""
        return MemoryOffsets(self.broker, self.link, group)


_RECORDS = 100


class MemoryRanges:
    """Reads the broker in memory.

    Args:
        broker: The broker.
        link: The way to it.
    """

    def __init__(self, broker: MemoryBroker, link: Link) -> None:
        self._broker = broker
        self._link = link

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Where the logs end."""
        return await self._link.request(
            "ends",
            lambda: {
                partition: self._broker.log(partition).end
                for partition in self._broker.partitions_of(topic)
            },
        )

    async def read(
        self, partition: TopicPartition, begin: int, end: int
    ) -> AsyncGenerator[Sequence[Received], None]:
        """The committed records of a stretch; no transaction may be open in it."""
        position = begin
        while position < end:
            at = position
            read = partial(self._broker.log(partition).read, at, _RECORDS)
            entries, position = await self._link.request("fetch", read)
            if position == at:
                raise BrokersUnavailable(f"{partition} brings nothing from offset {position} on.")
            if found := [received(partition, each) for each in entries if each.offset < end]:
                yield found


_ALL = 1 << 62


class MemoryReading:
    """What `pipeline.kafka.reader.reading` does, on the broker in memory.

    Args:
        broker: The broker.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    @asynccontextmanager
    async def __call__(
        self, topics: Sequence[str], *, start: Start = "beginning"
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """The committed records that are there now."""
        yield self._all([each for name in topics for each in self._found(name, start)])

    def _found(self, topic: str, start: Start) -> list[Received]:
        found = []
        for partition in self._broker.partitions_of(topic):
            entries, _ = self._broker.log(partition).read(_first(partition, start), _ALL)
            found += [received(partition, entry) for entry in entries]
        if isinstance(start, datetime):
            return [record for record in found if record.timestamp >= start]
        return found

    async def _all(self, records: Sequence[Received]) -> AsyncIterator[Received]:
        for record in records:
            yield record


def _first(partition: TopicPartition, start: Start) -> int:
    if isinstance(start, Mapping):
        return start.get(partition, _ALL)
    return _ALL if start == "end" else 0
