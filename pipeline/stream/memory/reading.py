"""Reading topics of the broker in memory from outside any group."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from pipeline.stream.brokers import TopicPartition
from pipeline.stream.memory.broker import MemoryBroker
from pipeline.stream.memory.consumer import received
from pipeline.stream.reader import Start
from pipeline.stream.records import Received

_ALL = 1 << 62


class MemoryReading:
    """What `pipeline.stream.reader.reading` does, on the broker in memory.

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
