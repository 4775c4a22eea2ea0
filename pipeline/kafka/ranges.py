"""Reading stretches of partitions, from one offset to another, again and again if need be.

Stretches of partitions of real brokers.

Polls of partitions that are assigned by hand.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from pipeline.config import KafkaSettings
from pipeline.kafka.batches import ReadRecord
from pipeline.kafka.connection import admin_client, consumer_client
from pipeline.kafka.consumer import received
from pipeline.kafka.fetching import Asides, ReadLimit
from pipeline.kafka.topics import Topics
from pipeline.stream.protocols import BrokersUnavailable, TopicPartition
from pipeline.stream.records import Received


class RangeReader(Protocol):
    """Reads committed records outside of any group; `KafkaRanges` is the real one."""

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Where the logs of a topic end, what is not committed yet included.

        Raises:
            TopicMissing: It does not exist.
            PipelineError: The brokers do not answer.
        """
        ...

    def read(
        self, partition: TopicPartition, begin: int, end: int
    ) -> AsyncGenerator[Sequence[Received], None]:
        """The committed records of a stretch, in order, some at a time.

        It waits for transactions that are open in it. What retention has removed does not come.

        Args:
            partition: Of which log.
            begin: The first offset.
            end: The one after the last.

        Raises:
            Unavailable: The brokers bring nothing for long.
        """
        ...


POLL_MS = 500
_MAX_RECORDS = 500


class Polls:
    """Polls a consumer, and reads aside what has to be.

    Args:
        consumer: Has its partitions assigned, and was made with a `ReadLimit`.
        starts: The offsets to begin at.

    Attributes:
        positions: The offsets that are read next.
    """

    def __init__(self, consumer: AIOKafkaConsumer, starts: Mapping[KafkaPartition, int]) -> None:
        self._consumer = consumer
        self._asides = Asides(consumer)
        self.positions = dict(starts)
        for partition, offset in starts.items():
            consumer.seek(partition, offset)

    async def poll(
        self, partitions: Sequence[KafkaPartition], *, milliseconds: int = POLL_MS
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord | ReadRecord]]:
        """What comes next of some partitions, in order for each."""
        found = await self._asides.read(partitions, _MAX_RECORDS)
        if not found:
            # Of one that is not asked for nothing comes however often one looks, and a client that
            # is never waited for brings nothing of the others either.
            wait = milliseconds if self._asides.partitions.isdisjoint(partitions) else 0
            found = self._asides.split(
                await self._consumer.getmany(*partitions, timeout_ms=wait, max_records=_MAX_RECORDS)
            )
        for partition in partitions:
            if partition in self._asides.partitions:
                if records := found.get(partition):
                    self.positions[partition] = records[-1].offset + 1
            else:
                # What was aborted brings the position on without a record.
                self.positions[partition] = await self._consumer.position(partition)
        return found


class KafkaRanges:
    """Reads over a connection of its own for each stretch.

    Args:
        kafka: How brokers are reached.
        patience: Seconds without progress after which the brokers count as gone; more than a
            transaction may take.
    """

    def __init__(self, kafka: KafkaSettings, *, patience: float) -> None:
        self._kafka = kafka
        self._patience = patience

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """The high-water marks."""
        async with admin_client(self._kafka) as admin:
            partitions = await Topics(admin).partitions([topic])
        async with consumer_client(
            self._kafka, group_id=None, enable_auto_commit=False, isolation_level="read_uncommitted"
        ) as consumer:
            found = await consumer.end_offsets(partitions)
        return {TopicPartition(*partition): end for partition, end in found.items()}

    async def read(
        self, partition: TopicPartition, begin: int, end: int
    ) -> AsyncGenerator[Sequence[Received], None]:
        """The committed records of a stretch."""
        itself = KafkaPartition(*partition)
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(
                consumer_client(
                    self._kafka,
                    group_id=None,
                    enable_auto_commit=False,
                    isolation_level="read_committed",
                    auto_offset_reset="none",
                    fetch_max_bytes=self._kafka.fetch_max_bytes,
                    max_partition_fetch_bytes=self._kafka.partition_fetch_max_bytes,
                    value_deserializer=ReadLimit(),
                )
            )
            consumer.assign([itself])
            first = (await consumer.beginning_offsets([itself]))[itself]
            polls = Polls(consumer, {itself: max(begin, first)})
            now = asyncio.get_running_loop().time
            give_up = now() + self._patience
            while (position := polls.positions[itself]) < end:
                records = (await polls.poll([itself])).get(itself, ())
                if polls.positions[itself] > position:
                    give_up = now() + self._patience
                elif now() > give_up:
                    raise BrokersUnavailable(
                        f"{partition} brings nothing from offset {position} on: look at the "
                        "brokers, and for a transaction that somebody left open."
                    )
                moment = datetime.now(UTC)
                if found := [received(each, moment) for each in records if each.offset < end]:
                    yield found
