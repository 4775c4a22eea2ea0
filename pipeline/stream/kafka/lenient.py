"""Reading the first record from an offset on, for the age of what waits."""

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import LeaderNotAvailableError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import ConsumerRecord

from pipeline.settings import KafkaSettings
from pipeline.stream.connection import client_options
from pipeline.stream.kafka.fetching import Aside, CarefulRecords, ReadLimit, Slices

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

    async def first(
        self, partition: KafkaPartition, offset: int
    ) -> tuple[ConsumerRecord | Aside | None, int]:
        """The first record that a committed reader sees from an offset on, if it comes at once.

        Returns:
            The record, or the batch that it is in where that is read with care, or None; and the
            offset up to which there is no other.

        Raises:
            KafkaError: The brokers do not answer, or refuse.
        """
        records = await self._fetch(partition, offset, _ONE_RECORD_BYTES)
        return next(records, None), records.next_fetch_offset

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            await self._client.close()

    async def _fetch(self, partition: KafkaPartition, offset: int, size: int) -> CarefulRecords:
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
        return CarefulRecords(
            partition,
            Slices(bytes(data[-1])),
            aborted,
            offset,
            key_deserializer=None,
            value_deserializer=ReadLimit(),
            check_crcs=True,
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
