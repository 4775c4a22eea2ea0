"""The broker in memory, behind the same protocols as the real ones."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from functools import partial

from pipeline.config import Delivery
from pipeline.kafka.reader import End, Start
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
        """The answer to a member's next heartbeat says so."""
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


class MemoryTopicReader:
    """What `pipeline.kafka.reader.read_topics` does, on the broker in memory.

    Unlike a real reader it does not wait for a transaction that is open before the end.

    Args:
        broker: The broker.
        link: The way to it; one without faults if not given.
    """

    def __init__(self, broker: MemoryBroker, link: Link | None = None) -> None:
        self._broker = broker
        self._link = link or Link("reader", NoFaults())

    @asynccontextmanager
    async def __call__(
        self, topics: Sequence[str], *, start: Start = "beginning", end: End = "committed"
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """The committed records from `start` to `end`."""
        partitions = [each for topic in topics for each in self._broker.partitions_of(topic)]
        if isinstance(start, Mapping):
            partitions = [each for each in partitions if each in start]
        if isinstance(end, Mapping):
            ends = end
        else:
            ends = await self._link.request("ends", partial(self._ends, partitions, end))
        async with aclosing(self._records(partitions, start, ends)) as records:
            yield records

    def _ends(self, partitions: Sequence[TopicPartition], end: End) -> Mapping[TopicPartition, int]:
        if end == "written":
            return {partition: self._broker.log(partition).end for partition in partitions}
        return {partition: self._broker.bounds(partition).end for partition in partitions}

    async def _records(
        self,
        partitions: Sequence[TopicPartition],
        start: Start,
        ends: Mapping[TopicPartition, int],
    ) -> AsyncGenerator[Received, None]:
        for partition in partitions:
            end = ends[partition]
            position = _first(partition, start, end)
            while position < end:
                at = position
                read = partial(self._broker.log(partition).read, at, _RECORDS)
                entries, position = await self._link.request("fetch", read)
                if position == at:
                    raise BrokersUnavailable(f"{partition} brings nothing from offset {at} on.")
                for entry in entries:
                    record = received(partition, entry)
                    is_early = isinstance(start, datetime) and record.timestamp < start
                    if entry.offset < end and not is_early:
                        yield record


def _first(partition: TopicPartition, start: Start, end: int) -> int:
    if isinstance(start, Mapping):
        return start[partition]
    return end if start == "end" else 0
