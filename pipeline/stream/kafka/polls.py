"""Polls of partitions that are assigned by hand."""

from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from pipeline.stream.kafka.lenient import LenientReader

POLL_MS = 500
_MAX_RECORDS = 500


class Polls:
    """Polls a consumer, and gets past headers whose names are not UTF-8.

    Args:
        consumer: Has its partitions assigned.
        lenient: Reads what the consumer fails on.
        starts: The offsets to begin at.

    Attributes:
        positions: The offsets that are read next.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        lenient: LenientReader,
        starts: Mapping[KafkaPartition, int],
    ) -> None:
        self._consumer = consumer
        self._lenient = lenient
        self.positions = dict(starts)
        for partition, offset in starts.items():
            consumer.seek(partition, offset)

    async def poll(
        self, partitions: Sequence[KafkaPartition], *, milliseconds: int = POLL_MS
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        """What comes next of some partitions, in order for each."""
        fetched: Mapping[KafkaPartition, Sequence[ConsumerRecord]]
        try:
            fetched = await self._consumer.getmany(
                *partitions, timeout_ms=milliseconds, max_records=_MAX_RECORDS
            )
        except UnicodeDecodeError:
            return await self._poll_leniently(partitions)
        for partition in partitions:
            # What was aborted brings the position on without a record.
            self.positions[partition] = await self._consumer.position(partition)
        return fetched

    async def _poll_leniently(
        self, partitions: Sequence[KafkaPartition]
    ) -> Mapping[KafkaPartition, Sequence[ConsumerRecord]]:
        """Read what aiokafka would fail on for ever, and what it dropped of other partitions."""
        fetched = {}
        for partition in partitions:
            if found := await self._lenient.read(
                partition, self.positions[partition], _MAX_RECORDS
            ):
                fetched[partition] = found
                self.positions[partition] = found[-1].offset + 1
            self._consumer.seek(partition, self.positions[partition])
        return fetched
