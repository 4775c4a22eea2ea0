"""Reading records that aiokafka cannot: those with a header whose name is not UTF-8.

Kafka takes any bytes for a header's name, so any publisher can write such a record. aiokafka
raises at it, does not say where it is, and raises again at every attempt: one record would stop
its partition for good. So a poll that met one is made up for by a fetch of our own, parsed by
aiokafka's parser in Python with a buffer that decodes names leniently.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, LeaderNotAvailableError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.structs import ConsumerRecord

from pipeline.settings import KafkaSettings
from pipeline.stream.connection import client_options

_WAIT_MS = 100
_ONE_RECORD_BYTES = 1024
"""Brokers send one batch however large it is, and not many of them."""


class LenientReader:
    """Fetches over a connection of its own, which is made when it is needed first.

    Args:
        kafka: How brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._client: AIOKafkaClient | None = None

    async def read(
        self, partition: KafkaPartition, offset: int, limit: int
    ) -> Sequence[ConsumerRecord]:
        """At most `limit` of the records that a committed reader sees from an offset on.

        Raises:
            KafkaError: The brokers do not answer, or refuse.
        """
        size = self._kafka.partition_fetch_max_bytes
        return list(islice(await self._fetch(partition, offset, size), limit))

    async def first(
        self, partition: KafkaPartition, offset: int
    ) -> tuple[ConsumerRecord | None, int]:
        """The first record that a committed reader sees from an offset on, if it comes at once.

        Returns:
            The record, or None, and the offset up to which there is no other.

        Raises:
            KafkaError: The brokers do not answer, or refuse.
        """
        records = await self._fetch(partition, offset, _ONE_RECORD_BYTES)
        return next(records, None), records.next_fetch_offset

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            await self._client.close()

    async def _fetch(self, partition: KafkaPartition, offset: int, size: int) -> PartitionRecords:
        client = await self._connected(partition.topic)
        leader = client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError(partition)
        wanted = (partition.partition, offset, size)
        response = await client.send(
            leader,
            FetchRequest(
                _WAIT_MS,
                1,
                self._kafka.fetch_max_bytes,
                READ_COMMITTED,
                [(partition.topic, [wanted])],
            ),
        )
        [(_, [(_, code, _, *data)])] = response.topics
        if code:
            raise for_code(code)
        # Version 4 has no log start offset, version 11 a preferred replica before the records.
        aborted = data[2] if response.API_VERSION >= 11 else data[-2]  # noqa: PLR2004
        return PartitionRecords(
            partition,
            _LenientRecords(bytes(data[-1])),
            aborted,
            offset,
            key_deserializer=None,
            value_deserializer=None,
            check_crcs=False,
            isolation_level=READ_COMMITTED,
        )

    async def _connected(self, topic: str) -> AIOKafkaClient:
        if self._client is None:
            client = AIOKafkaClient(**client_options(self._kafka))
            try:
                await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
        await self._client.add_topic(topic)
        return self._client


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """Batches whose records are read in Python, from a buffer that is lenient."""

    def next_batch(self) -> Any:  # noqa: ANN401 - aiokafka has no types
        batch = _DefaultRecordBatchPy(self._next_slice)
        self._cache_next()
        if not batch.validate_crc():
            raise CorruptRecordException("a batch does not match its checksum")
        # There is no public way to the bytes.
        batch._maybe_uncompress()  # noqa: SLF001
        batch._buffer = _LenientBuffer(batch._buffer)  # noqa: SLF001
        return batch


class _LenientBuffer(bytearray):
    """Text in it is decoded with replacement characters for what is not UTF-8."""

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - a number or a slice
        found = super().__getitem__(index)
        return _LenientBuffer(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
