"""Stretches of partitions of real brokers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from aiokafka import TopicPartition as KafkaPartition

from pipeline.settings import KafkaSettings
from pipeline.stream.brokers import TopicPartition, Unavailable
from pipeline.stream.connection import admin_client, consumer_client
from pipeline.stream.kafka.consumer import received
from pipeline.stream.kafka.fetching import ReadLimit
from pipeline.stream.kafka.polls import Polls
from pipeline.stream.records import Received
from pipeline.stream.topics import Topics


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
                    raise Unavailable(
                        f"{partition} brings nothing from offset {position} on: look at the "
                        "brokers, and for a transaction that somebody left open."
                    )
                moment = datetime.now(UTC)
                if found := [received(each, moment) for each in records if each.offset < end]:
                    yield found
