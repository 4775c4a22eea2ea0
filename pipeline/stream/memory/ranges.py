"""Stretches of partitions of the broker in memory."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from pipeline.stream.brokers import TopicPartition, Unavailable
from pipeline.stream.memory.broker import MemoryBroker
from pipeline.stream.memory.consumer import received
from pipeline.stream.memory.link import Link
from pipeline.stream.records import Received

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
                raise Unavailable(f"{partition} brings nothing from offset {position} on.")
            if found := [received(partition, each) for each in entries if each.offset < end]:
                yield found
