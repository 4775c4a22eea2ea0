"""The one reader of committed offsets with their metadata, and of where logs begin and end.

Requests of newer versions than aiokafka has, with the older ones for brokers that lack them.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest_v3
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import client_options
from pipeline.kafka.reader import LenientReader
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    Committed,
    LogBounds,
    NextRecord,
    TopicPartition,
)
from pipeline.stream.records import moment


class _StableOffsetsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch v7, the first version that can wait for transactions."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString("utf-8")),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class StableOffsetsRequestV7(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch v7."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _StableOffsetsResponse
    SCHEMA = Schema(
        ("group", CompactString("utf-8")),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffsetsRequest(Request[OffsetFetchRequest_v3 | StableOffsetsRequestV7]):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch, with `require_stable` if that is wanted and the broker knows it.

    A transaction's markers may reach the offsets topic a moment after the producer that settles
    it has started; until then the broker answers UNSTABLE_OFFSET_COMMIT instead of an offset
    that is about to change. aiokafka's own request ends at v3, which cannot ask for that.
    """

    API_KEY: ClassVar[int] = 9

    def __init__(self, group: str, partitions: Sequence[TopicPartition], *, is_final: bool) -> None:
        self._group = group
        self._is_final = is_final
        self._topics: dict[str, list[int]] = defaultdict(list)
        for topic, number in partitions:
            self._topics[topic].append(number)

    def build(self, version: type[Any]) -> RequestStruct:
        """The request in the version that the broker and aiokafka agreed on."""
        if version is StableOffsetsRequestV7:
            topics: list[tuple[str, list[int], dict[int, bytes]]] = [
                (topic, numbers, {}) for topic, numbers in self._topics.items()
            ]
            return version(self._group, topics, self._is_final, {})
        return version(self._group, list(self._topics.items()))


class _TopicsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """Metadata v8, the first version that says what we may do with a topic."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class TopicsRequestV8(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    """Metadata v8."""

    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _TopicsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class TopicsRequest(Request[MetadataRequest_v4 | MetadataRequest_v5 | TopicsRequestV8]):  # type: ignore[misc] # aiokafka has no types
    """Metadata of some topics or, with None, of all; none is made by asking."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, topics: Sequence[str] | None) -> None:
        self._topics = None if topics is None else list(topics)

    def build(self, version: type[Any]) -> RequestStruct:
        """The request in the version that the broker and aiokafka agreed on."""
        if version is TopicsRequestV8:
            return version(self._topics, False, False, True)
        return version(self._topics, False)


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
            raise BrokersUnavailable(f"The brokers cannot be reached ({error}).") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        await self._records.close()

    async def committed(self, partition: TopicPartition) -> Committed | None:
        """What the group committed, once it is final."""
        what = f"The committed offset of {partition}"
        return (await self._committed([partition], what, is_final=True))[partition]

    async def committed_now(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed | None]:
        """What the group committed, even where an open transaction is about to change it.

        Raises:
            BrokersUnavailable: The brokers do not answer.
            BrokerError: They refuse.
        """
        what = f"What {self._group} committed"
        return await self._committed(partitions, what, is_final=False)

    async def _committed(
        self, partitions: Sequence[TopicPartition], what: str, *, is_final: bool
    ) -> Mapping[TopicPartition, Committed | None]:
        request = StableOffsetsRequest(self._group, partitions, is_final=is_final)
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
            raise BrokersUnavailable(f"{what} cannot be read ({problem}).") from None

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
        async with self._briefly("The ends of the logs cannot be looked up"):
            return await self._look_up(partitions, _LATEST)

    async def begins(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where logs begin: one request for each broker.

        Raises:
            BrokersUnavailable: The brokers do not answer within seconds, or refuse.
        """
        async with self._briefly("The beginnings of the logs cannot be looked up"):
            return await self._look_up(partitions, _EARLIEST)

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
        """For what is asked again soon: whatever goes wrong is `BrokersUnavailable`."""
        try:
            async with asyncio.timeout(_BRIEFLY):
                yield
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            raise BrokersUnavailable(f"{failure} ({error!r}).") from error

    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None:
        """The first offset whose timestamp is then or later, in seconds since the epoch, if any."""
        try:
            async with asyncio.timeout(_PATIENCE):
                offset = await self._ask_leader(partition, round(moment * 1000))
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            raise _kind(error)(f"The log of {partition} cannot be searched ({error!r}).") from error
        return None if offset == _NO_OFFSET else offset

    async def _ask_coordinator(
        self, request: StableOffsetsRequest
    ) -> dict[TopicPartition, Committed | None]:
        if self._coordinator is None:
            self._coordinator = await self._client.coordinator_lookup(
                CoordinationType.GROUP, self._group
            )
        response = await self._client.send(
            self._coordinator, request, group=ConnectionGroup.COORDINATION
        )
        _check(response.error_code)
        committed: dict[TopicPartition, Committed | None] = {}
        for topic, found, *_ in response.topics:
            for each in found:
                if response.API_VERSION == StableOffsetsRequestV7.API_VERSION:
                    number, offset, _, metadata, code, _ = each
                else:
                    number, offset, metadata, code = each
                _check(code)
                known = None if offset == _NO_OFFSET else Committed(offset, metadata or "")
                committed[TopicPartition(topic, number)] = known
        return committed

    async def _look_up(
        self, partitions: Sequence[TopicPartition], moment: int
    ) -> dict[TopicPartition, int]:
        by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
        for partition in partitions:
            by_leader[await self._leader(partition)].append(partition)
        offsets: dict[TopicPartition, int] = {}
        for leader, led in by_leader.items():
            offsets |= await self._list_offsets(leader, led, moment)
        return offsets

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
    return BrokersUnavailable if passes else BrokerError


def _check(code: int) -> None:
    if code == _UNSTABLE_OFFSET_COMMIT:
        raise _Unstable
    if code:
        raise for_code(code)
