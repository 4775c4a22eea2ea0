"""Real brokers, for the engine."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer

from pipeline.config import Delivery, KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.connection import client_options
from pipeline.kafka.consumer import KafkaConsumer
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.kafka.transactions import AtLeastOnceWriter, TransactionalWriter
from pipeline.stream.protocols import Consumer, OffsetReader, PartitionWriter, TopicPartition

_ONE_RECORD = 1
"""Bytes of a batch that hold no second record; the first one is always let in."""


class KafkaBrokers:
    """Makes the engine's clients; connects only when they are started.

    Args:
        kafka: How brokers are reached.
        stream: Times and limits.
        topics: For the size of the largest record.
        delivery: Exactly once needs brokers with transactions.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        stream: StreamSettings,
        topics: TopicSettings,
        delivery: Delivery,
    ) -> None:
        self._kafka = kafka
        self._stream = stream
        self._max_bytes = topics.max_message_bytes
        self._delivery = delivery
        self._refused_together: set[TopicPartition] = set()

    @property
    def starts_at_end(self) -> bool:
        """By the group's reset policy."""
        return self._kafka.auto_offset_reset == "latest"

    @property
    def eviction_notice(self) -> float:
        """The next heartbeat tells; half an interval is for its way."""
        return 1.5 * self._kafka.heartbeat_interval

    def consumer(self, group: str, topics: Sequence[str]) -> KafkaConsumer:
        """A consumer that has not started."""
        return KafkaConsumer(
            self._kafka,
            self._stream,
            group,
            topics,
            max_record_bytes=self._max_bytes,
            idle_pause=self._kafka.idle_fetch_pause,
        )

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        """A session of the configured delivery that has not started."""
        limit = self._stream.transaction_timeout
        options = self._producer_options()
        if partition in self._refused_together:
            self._refused_together.discard(partition)
            options["max_batch_size"] = _ONE_RECORD
            refused_together = None
        else:
            refused_together = partial(self._refused_together.add, partition)
        if self._delivery == "exactly_once":
            producer = AIOKafkaProducer(
                **options,
                transactional_id=f"{group}-{partition.topic}-{partition.partition}",
                transaction_timeout_ms=round(limit * 1000),
            )
            return TransactionalWriter(
                producer, group, partition, limit=limit, refused_together=refused_together
            )
        if not isinstance(consumer, KafkaConsumer):
            raise TypeError("the consumer is of other brokers")
        # Not idempotent: brokers without transactions need not know idempotent producers either,
        # and each partition has one request in flight, so the order holds.
        producer = AIOKafkaProducer(**options, acks="all")
        return AtLeastOnceWriter(
            producer, consumer, partition, limit=limit, refused_together=refused_together
        )

    def reader(self, group: str) -> OffsetReader:
        """A reader that has not started."""
        return KafkaOffsets(self._kafka, group)

    def _producer_options(self) -> dict[str, Any]:
        compression = self._kafka.compression
        return client_options(self._kafka) | {
            "compression_type": None if compression == "none" else compression,
            "max_request_size": self._max_bytes,
        }
