"""What an engine needs of the broker in memory."""

from collections.abc import Sequence

from pipeline.settings import Delivery
from pipeline.stream.brokers import (
    Consumer,
    OffsetReader,
    Session,
    TopicPartition,
)
from pipeline.stream.memory.broker import MemoryBroker
from pipeline.stream.memory.consumer import MemoryConsumer
from pipeline.stream.memory.link import Faults, Link, NoFaults
from pipeline.stream.memory.sessions import MemoryOffsets, MemoryPlain, MemoryTransactions


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

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> Session:
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
