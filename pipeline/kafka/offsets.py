"""Committed offsets with their metadata, where logs begin and end, and the lag between them.

What is in flight inside a worker cannot be seen from outside; what a worker finished out of order
can, because the ledger travels with the committed offset.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest_v3
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, client_options, explain, patiently
from pipeline.kafka.fetching import CarefulRecords, ReadLimit, Slices
from pipeline.kafka.topics import Subscription, Topics
from pipeline.stream.ledger import CommitPoint, LedgerUnreadable, decode
from pipeline.stream.protocols import (
    BrokerError,
    BrokersUnavailable,
    Committed,
    LogBounds,
    NextRecord,
    TopicPartition,
)
from pipeline.stream.records import moment

T = TypeVar("T")
_EARLIEST = -2
_LATEST = -1
_CONSUMER = -1
_NO_OFFSET = -1
_UNSTABLE_OFFSET_COMMIT = 88
_RETRY = 0.05
"""Seconds before what may pass is asked again: a transaction that is about to end, a coordinator
that is about to be chosen."""
_PATIENCE = 10.0
"""Seconds after which a question counts as not answered."""
_FETCH_MS = 100
_ONE_RECORD_BYTES = 1024
"""Brokers send one batch however large it is, and not many of them."""
_BRIEFLY = 3.0
"""The same for what is asked again and again."""
_HAS_MEMBERS = (IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)
"""How a coordinator says that only members of the group may commit."""


_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)
_OFFSET = (
    *(("partition", Int32), ("offset", Int64), ("leader_epoch", Int32)),
    *(("metadata", _TEXT), ("error_code", Int16), _TAGS),
)


class _StableOffsetsResponse(Response):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch v7, the first version that can wait for transactions."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(*_OFFSET)), _TAGS)),
        ("error_code", Int16),
        _TAGS,
    )


class StableOffsetsRequestV7(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _StableOffsetsResponse
    SCHEMA = Schema(
        ("group", _TEXT),
        ("topics", CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), _TAGS)),
        ("require_stable", Boolean),
        _TAGS,
    )


class StableOffsetsRequest(Request[OffsetFetchRequest_v3 | StableOffsetsRequestV7]):  # type: ignore[misc] # aiokafka has no types
    """OffsetFetch, with `require_stable` where the broker knows it; aiokafka's own ends at v3.

    A transaction's markers may reach the offsets topic a moment after the producer that settles
    it has started; until then the broker answers UNSTABLE_OFFSET_COMMIT.
    """

    API_KEY: ClassVar[int] = 9

    def __init__(self, group: str, partitions: Sequence[TopicPartition], *, is_final: bool) -> None:
        self._group = group
        self._is_final = is_final
        self._topics: dict[str, list[int]] = defaultdict(list)
        for topic, number in partitions:
            self._topics[topic].append(number)

    def build(self, version: type[Any]) -> RequestStruct:
        if version is StableOffsetsRequestV7:
            topics: list[tuple[str, list[int], dict[int, bytes]]] = [
                (topic, numbers, {}) for topic, numbers in self._topics.items()
            ]
            return version(self._group, topics, self._is_final, {})
        return version(self._group, list(self._topics.items()))


class KafkaOffsets:
    """Asks the coordinator of `group` and the partitions' leaders, over connections of its own."""

    def __init__(self, kafka: KafkaSettings, group: str) -> None:
        self._client = AIOKafkaClient(**client_options(kafka))
        self._group = group
        self._coordinator: int | None = None
        self._kafka = kafka
        self._fetching: AIOKafkaClient | None = None
        self.cluster = ""

    async def start(self) -> None:
        try:
            await self._client.bootstrap()
            self.cluster = await patiently(self._ask_cluster)
        except KafkaError as error:
            raise BrokersUnavailable(f"The brokers cannot be reached ({error}).") from error

    async def _ask_cluster(self) -> str:
        response = await self._client.send(self._client.get_random_node(), MetadataRequest([]))
        return response.to_object().get("cluster_id") or ""

    async def close(self) -> None:
        await self._client.close()
        if self._fetching is not None:
            await self._fetching.close()

    async def committed(self, partition: TopicPartition) -> Committed | None:
        what = f"The committed offset of {partition}"
        return (await self._committed([partition], what, is_final=True))[partition]

    async def committed_now(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed | None]:
        """As `committed`, even where an open transaction is about to change it."""
        what = f"What {self._group} committed"
        return await self._committed(partitions, what, is_final=False)

    async def _committed(
        self, partitions: Sequence[TopicPartition], what: str, *, is_final: bool
    ) -> Mapping[TopicPartition, Committed | None]:
        request = StableOffsetsRequest(self._group, partitions, is_final=is_final)
        return await self._until_answered(lambda: self._fetch_offsets(request), what, "read")

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit for the group from outside of it, which it permits while it has no members.

        Raises:
            BrokersUnavailable: They do not answer; some of it may be committed.
            BrokerError: The group has members, or the brokers refuse.
        """
        topics: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (topic, number), committed in offsets.items():
            topics[topic].append((number, committed.offset, committed.metadata))
        request = OffsetCommitRequest(
            self._group,
            OffsetCommitRequest.DEFAULT_GENERATION_ID,
            "",
            OffsetCommitRequest.DEFAULT_RETENTION_TIME,
            list(topics.items()),
        )

        async def commit() -> None:
            response = await self._ask_coordinator(request)
            for _, committed in response.topics:
                for _, code in committed:
                    _check(code)

        await self._until_answered(commit, f"The offsets of {self._group}", "committed")

    async def _until_answered(self, ask: Callable[[], Awaitable[T]], what: str, done: str) -> T:
        problem = "no answer in time"
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    try:
                        return await ask()
                    except _HAS_MEMBERS:
                        raise BrokerError(
                            f"{what} cannot be {done}: the group has members. Stop them; one that "
                            "crashed counts until its session is over (kafka.session_timeout)."
                        ) from None
                    except KafkaError as error:
                        if not error.retriable:
                            raise BrokerError(f"{what} cannot be {done}: {error!r}.") from error
                        problem = repr(error)
                    self._coordinator = None
                    await asyncio.sleep(_RETRY)
        except TimeoutError:
            raise BrokersUnavailable(f"{what} cannot be {done} ({problem}).") from None

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        async with self._asking(f"The log of {partition} cannot be looked up"):
            begin = await self._look_up([partition], _EARLIEST)
            end = await self._look_up([partition], _LATEST)
        return LogBounds(begin[partition], end[partition])

    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None:
        """The first offset whose timestamp is then or later, in seconds since the epoch, if any."""
        async with self._asking(f"The log of {partition} cannot be searched"):
            found = await self._look_up([partition], round(moment * 1000))
        return None if found[partition] == _NO_OFFSET else found[partition]

    async def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where open transactions or the ends of the logs begin: one request for each broker."""
        async with self._asking("The ends of the logs cannot be looked up", briefly=True):
            return await self._look_up(partitions, _LATEST)

    async def begins(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        async with self._asking("The beginnings of the logs cannot be looked up", briefly=True):
            return await self._look_up(partitions, _EARLIEST)

    async def next_record(self, partition: TopicPartition, offset: int) -> NextRecord:
        async with self._asking(f"The oldest record of {partition} cannot be read", briefly=True):
            try:
                records = await self._fetch(KafkaPartition(*partition), offset)
                # The record, or the batch that it is in where that is read with care.
                record = next(records, None)
            except OffsetOutOfRangeError:
                return NextRecord(None, offset)
        if record is None:
            return NextRecord(None, records.next_fetch_offset)
        return NextRecord(moment(record.timestamp, datetime.now(UTC)), record.offset)

    async def _fetch(self, partition: KafkaPartition, offset: int) -> CarefulRecords:
        """Fetch what comes at once, over a connection that is made when it is needed first."""
        if self._fetching is None:
            client = AIOKafkaClient(**client_options(self._kafka))
            try:
                await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._fetching = client
        await self._fetching.add_topic(partition.topic)
        leader = self._fetching.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError(partition)
        wanted = [(partition.topic, [(partition.partition, offset, _ONE_RECORD_BYTES)])]
        largest = self._kafka.fetch_max_bytes
        response = await self._fetching.send(
            leader, FetchRequest(_FETCH_MS, 1, largest, READ_COMMITTED, wanted)
        )
        [(_, [(_, code, _, *data)])] = response.topics
        _check(code)
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

    @asynccontextmanager
    async def _asking(self, failure: str, *, briefly: bool = False) -> AsyncIterator[None]:
        """What may work later is `BrokersUnavailable`, as is all that is asked `briefly`."""
        try:
            async with asyncio.timeout(_BRIEFLY if briefly else _PATIENCE):
                yield
        except (KafkaError, TimeoutError) as error:
            self._client.force_metadata_update()
            if self._fetching is not None:
                self._fetching.force_metadata_update()
            passes = briefly or not isinstance(error, KafkaError) or error.retriable
            kind = BrokersUnavailable if passes else BrokerError
            raise kind(f"{failure} ({error!r}).") from error

    async def _ask_coordinator(self, request: StableOffsetsRequest | OffsetCommitRequest) -> Any:  # noqa: ANN401 - aiokafka's is untyped
        if self._coordinator is None:
            self._coordinator = await self._client.coordinator_lookup(
                CoordinationType.GROUP, self._group
            )
        return await self._client.send(
            self._coordinator, request, group=ConnectionGroup.COORDINATION
        )

    async def _fetch_offsets(
        self, request: StableOffsetsRequest
    ) -> dict[TopicPartition, Committed | None]:
        response = await self._ask_coordinator(request)
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
            asked: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for topic, number in led:
                asked[topic].append((number, moment))
            response = await self._client.send(
                leader, OffsetRequest(_CONSUMER, READ_COMMITTED, list(asked.items()))
            )
            for topic, answers in response.topics:
                for number, code, *found in answers:
                    _check(code)
                    # Version 0 answers with a list of offsets, later ones with a time and an
                    # offset.
                    offset = found[-1] if isinstance(found[-1], int) else found[-1][0]
                    offsets[TopicPartition(topic, number)] = offset
        return offsets

    async def _leader(self, partition: TopicPartition) -> int:
        leader: int | None = self._client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            await self._client.add_topic(partition.topic)
            await self._client.force_metadata_update()
            leader = self._client.cluster.leader_for_partition(partition)
            if leader is None or leader < 0:
                raise LeaderNotAvailableError(partition)
        return leader


class _Unstable(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A transaction is about to change the offset."""

    retriable = True


def _check(code: int) -> None:
    if code == _UNSTABLE_OFFSET_COMMIT:
        raise _Unstable
    if code:
        raise for_code(code)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is behind in one partition.

    Args:
        end: After the last committed record; markers of transactions take offsets too.
        committed: None if the group never committed one.
        done_above: Records above `committed` that are processed already.
        oldest: Timestamp of the oldest that is not processed, where it is known.
        fault: Why what is done above the committed offset is not known; it counts as not done.
    """

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None
    done_above: int
    lag: int
    oldest: datetime | None = None
    fault: str | None = None

    @property
    def base(self) -> int:
        """Where reading goes on: the oldest record that is not processed is here or above."""
        return self.begin if self.committed is None else max(self.begin, self.committed)


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far a group is behind at one moment; without members nothing will be processed."""

    group: str
    at: datetime
    members: int
    partitions: tuple[PartitionLag, ...]

    @property
    def lag(self) -> int:
        return sum(partition.lag for partition in self.partitions)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest record that is not processed; None where none is known."""
        oldest = [each.oldest for each in self.partitions if each.oldest is not None]
        return max(0.0, (self.at - min(oldest)).total_seconds()) if oldest else None


def partition_lag(
    partition: TopicPartition, begin: int, end: int, committed: Committed | None, cluster: str = ""
) -> PartitionLag:
    """The lag; a group that committed nothing starts at the beginning. Pure."""
    offset = None if committed is None else committed.offset
    start = begin if offset is None else offset
    point, fault = CommitPoint(start, start), None
    if committed is not None:
        try:
            point = decode(committed.offset, committed.metadata, cluster)
        except LedgerUnreadable as error:
            fault = str(error)
    return PartitionLag(
        *(*partition, begin, end, offset),
        done_above=point.done_above,
        lag=point.lag(end, begin=begin),
        fault=fault,
    )


def drain_seconds(earlier: GroupLag, later: GroupLag) -> float | None:
    """Until nothing waits, at the pace of two samples; None where the lag does not shrink."""
    if later.lag == 0:
        return 0.0
    seconds = (later.at - earlier.at).total_seconds()
    drained = earlier.lag - later.lag
    return later.lag * seconds / drained if drained > 0 and seconds > 0 else None


Offsets = Mapping[TopicPartition, int]
"""The committed offset of each partition that has one."""


def events_between(earlier: Offsets, later: Offsets) -> int:
    """Events that were done between two looks; a new partition counts from the next look on."""
    return sum(
        max(0, offset - earlier[partition])
        for partition, offset in later.items()
        if partition in earlier
    )


@asynccontextmanager
async def lag_reader(kafka: KafkaSettings) -> AsyncIterator["LagReader"]:
    """Looks at groups over connections that it keeps; raises as `admin_client`."""
    async with admin_client(kafka) as admin, AsyncExitStack() as resources:
        try:
            yield LagReader(kafka, admin, resources)
        except BrokerError as error:
            if isinstance(error.__cause__, KafkaError):
                raise explain(error.__cause__, kafka) from error
            raise


@dataclass(eq=False)
class LagReader:
    """How far groups are behind, and have come; made by `lag_reader`."""

    kafka: KafkaSettings
    admin: AIOKafkaAdminClient
    resources: AsyncExitStack
    _readers: dict[str, KafkaOffsets] = field(default_factory=dict, init=False)

    async def sample(self, group: str, topics: Sequence[str] | Subscription) -> GroupLag:
        """How far `group` is behind in `topics`; `TopicMissing` if there is no such topic."""
        partitions = await self._partitions(topics)
        reader = await self._reader(group)
        begins = await reader.begins(partitions)
        # Committed offsets before ends, or what is processed in between would make a negative lag.
        committed = await reader.committed_now(partitions)
        ends = await reader.ends(partitions)
        lags = []
        for each in partitions:
            lag = partition_lag(each, begins[each], ends[each], committed[each], reader.cluster)
            lags.append(await _with_oldest(reader, lag))
        [response] = await patiently(lambda: self.admin.describe_consumer_groups([group]))
        [described] = response.to_object()["groups"]
        return GroupLag(group, datetime.now(UTC), len(described["members"]), tuple(lags))

    async def committed(self, group: str, topics: Sequence[str] | Subscription) -> Offsets:
        reader = await self._reader(group)
        found = await reader.committed_now(await self._partitions(topics))
        return {partition: each.offset for partition, each in found.items() if each is not None}

    async def partitions(self, topic: str) -> int:
        return len(await self._partitions([topic]))

    async def _partitions(self, topics: Sequence[str] | Subscription) -> list[TopicPartition]:
        return [TopicPartition(*each) for each in await Topics(self.admin).partitions(topics)]

    async def _reader(self, group: str) -> KafkaOffsets:
        if group not in self._readers:
            reader = KafkaOffsets(self.kafka, group)
            self.resources.push_async_callback(reader.close)
            await reader.start()
            self._readers[group] = reader
        return self._readers[group]


async def _with_oldest(reader: KafkaOffsets, lag: PartitionLag) -> PartitionLag:
    """Read the first record of what waits, for its timestamp; or find that only markers wait."""
    if lag.lag == 0:
        return lag
    try:
        first = await reader.next_record(TopicPartition(lag.topic, lag.partition), lag.base)
    except BrokersUnavailable:
        return lag  # a busy broker may not bring it at once
    if first.timestamp is not None:
        return replace(lag, oldest=first.timestamp)
    return replace(lag, lag=0) if first.offset >= lag.end else lag
