"""Polls of partitions that are assigned by hand."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from pipeline.stream.kafka.asides import Asides
from pipeline.stream.kafka.batches import ReadRecord

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
            wait = 0 if self._asides.partitions else milliseconds
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
