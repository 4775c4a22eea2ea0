"""Reading committed offsets with their metadata, and where logs begin and end."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    for_code,
)
from aiokafka.protocol.offset import OffsetRequest

from pipeline.settings import KafkaSettings
from pipeline.stream.brokers import (
    BrokerError,
    Committed,
    LogBounds,
    NextRecord,
    TopicPartition,
    Unavailable,
)
from pipeline.stream.connection import client_options
from pipeline.stream.kafka.lenient import LenientReader
from pipeline.stream.kafka.requests import StableOffsetsRequest, StableOffsetsRequestV7
from pipeline.stream.records import moment

_EARLIEST = -2
_LATEST = -1
_READ_COMMITTED = 1
_CONSUMER = -1
_NO_OFFSET = -1
_UNSTABLE_OFFSET_COMMIT = 88
_RETRY = 0.05
"""Seconds before what may pass is asked again: a transaction that is about to end, a coordinator
that is about to be chosen."""
_PATIENCE = 10.0
"""Seconds after which a question counts as not answered."""
_BRIEFLY = 3.0
"""The same for what is asked again and again."""


class KafkaOffsets:
    """Asks the group's coordinator and the partitions' leaders, over a connection of its own.

    Args:
        kafka: How brokers are reached.
        group: Whose committed offsets.
    """

    def __init__(self, kafka: KafkaSettings, group: str) -> None:
        options = client_options(kafka)
        self._client = AIOKafkaClient(**options)
        self._group = group
        self._coordinator: int | None = None
        self._records = LenientReader(kafka)

    async def start(self) -> None:
        """Connect."""
        try:
            await self._client.bootstrap()
        except KafkaError as error:
            raise Unavailable(f"The brokers cannot be reached ({error}).") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._records.close()

    async def committed(self, partition: TopicPartition) -> Committed | None:
        """What the group committed, once it is final."""
        request = StableOffsetsRequest(self._group, partition)
        what = f"The committed offset of {partition}"
        problem = "no answer in time"
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    try:
                        return await self._ask_coordinator(request)
                    except KafkaError as error:
                        if not error.retriable:
                            raise BrokerError(f"{what} cannot be read: {error!r}.") from error
                        problem = repr(error)
                    self._coordinator = None
                    await asyncio.sleep(_RETRY)
        except TimeoutError:
            raise Unavailable(f"{what} cannot be read ({problem}).") from None

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        """Where the log begins, and where open transactions or its end begin."""
        try:
            async with asyncio.timeout(_PATIENCE):
                begin = await self._ask_leader(partition, _EARLIEST)
                end = await self._ask_leader(partition, _LATEST)
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            raise _kind(error)(
                f"The log of {partition} cannot be looked up ({error!r})."
            ) from error
        return LogBounds(begin, end)

    async def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where open transactions or the ends of the logs begin: one request for each broker."""
        ends: dict[TopicPartition, int] = {}
        async with self._briefly("The ends of the logs cannot be looked up"):
            by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
            for partition in partitions:
                by_leader[await self._leader(partition)].append(partition)
            for leader, led in by_leader.items():
                ends |= await self._list_offsets(leader, led, _LATEST)
        return ends

    async def next_record(self, partition: TopicPartition, offset: int) -> NextRecord:
        """The first committed record from an offset on."""
        async with self._briefly(f"The oldest record of {partition} cannot be read"):
            try:
                record, reached = await self._records.first(KafkaPartition(*partition), offset)
            except OffsetOutOfRangeError:
                return NextRecord(None, offset)
        if record is None:
            return NextRecord(None, reached)
        return NextRecord(moment(record.timestamp, datetime.now(UTC)), record.offset)

    @asynccontextmanager
    async def _briefly(self, failure: str) -> AsyncIterator[None]:
        """For what is asked again soon: whatever goes wrong is `Unavailable`."""
        try:
            async with asyncio.timeout(_BRIEFLY):
                yield
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            raise Unavailable(f"{failure} ({error!r}).") from error

    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None:
        """The first offset whose timestamp is then or later, in seconds since the epoch, if any."""
        try:
            async with asyncio.timeout(_PATIENCE):
                offset = await self._ask_leader(partition, round(moment * 1000))
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            raise _kind(error)(f"The log of {partition} cannot be searched ({error!r}).") from error
        return None if offset == _NO_OFFSET else offset

    async def _ask_coordinator(self, request: StableOffsetsRequest) -> Committed | None:
        if self._coordinator is None:
            self._coordinator = await self._client.coordinator_lookup(
                CoordinationType.GROUP, self._group
            )
        response = await self._client.send(
            self._coordinator, request, group=ConnectionGroup.COORDINATION
        )
        _check(response.error_code)
        [(_, [found], *_)] = response.topics
        if response.API_VERSION == StableOffsetsRequestV7.API_VERSION:
            _, offset, _, metadata, code, _ = found
        else:
            _, offset, metadata, code = found
        _check(code)
        return None if offset == _NO_OFFSET else Committed(offset, metadata or "")

    async def _ask_leader(self, partition: TopicPartition, moment: int) -> int:
        leader = await self._leader(partition)
        return (await self._list_offsets(leader, [partition], moment))[partition]

    async def _leader(self, partition: TopicPartition) -> int:
        leader: int | None = self._client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            await self._client.add_topic(partition.topic)
            await self._client.force_metadata_update()
            leader = self._client.cluster.leader_for_partition(partition)
            if leader is None or leader < 0:
                raise LeaderNotAvailableError(partition)
        return leader

    async def _list_offsets(
        self, leader: int, partitions: Sequence[TopicPartition], moment: int
    ) -> dict[TopicPartition, int]:
        asked: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for topic, number in partitions:
            asked[topic].append((number, moment))
        response = await self._client.send(
            leader, OffsetRequest(_CONSUMER, _READ_COMMITTED, list(asked.items()))
        )
        offsets = {}
        for topic, answers in response.topics:
            for number, code, *found in answers:
                _check(code)
                # Version 0 answers with a list of offsets, later ones with a time and an offset.
                offset = found[-1] if isinstance(found[-1], int) else found[-1][0]
                offsets[TopicPartition(topic, number)] = offset
        return offsets


class _Unstable(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A transaction is about to change the offset."""

    retriable = True


def _kind(error: Exception) -> type[BrokerError]:
    """Whether the same may work later."""
    passes = not isinstance(error, KafkaError) or error.retriable
    return Unavailable if passes else BrokerError


def _check(code: int) -> None:
    if code == _UNSTABLE_OFFSET_COMMIT:
        raise _Unstable
    if code:
        raise for_code(code)
