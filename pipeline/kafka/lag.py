"""How far a consumer group is behind, seen from outside: what `pipeline lag` shows.

What is in flight inside a worker cannot be seen from here; what a worker finished out of order
can, because the ledger travels with the committed offset.

How far consumer groups have come, seen from outside: what all their members got done.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CoordinatorNotAvailableError, KafkaError, NoError
from aiokafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, consumer_client, patiently
from pipeline.kafka.errors import explain
from pipeline.kafka.topics import Topics
from pipeline.stream.ledger import CommitPoint
from pipeline.stream.ledger_codec import LedgerUnreadable, decode
from pipeline.stream.records import moment

_NOTHING_COMMITTED = -1
_OLDEST_WITHIN = 5.0
"""Seconds for reading the oldest records, which a busy broker may not bring at once."""
_FETCH_BYTES = 1024
"""Brokers send one record or batch however large it is, and not many of them."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is behind in one partition.

    Args:
        begin: The first offset there is.
        end: The one after the last that is committed; markers of transactions take offsets too.
        committed: The offset from which something is not processed; None if the group never
            committed one.
        done_above: Records above `committed` that are processed already.
        lag: Records that are not processed.
        oldest: Timestamp of the oldest of these; None where there is none, or it was not brought.
        fault: Why what is done above the committed offset cannot be told; it counts as not done.
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
    """How far a group is behind at one moment.

    Args:
        members: Consumers in the group; with none nothing will be processed.
    """

    group: str
    at: datetime
    members: int
    partitions: tuple[PartitionLag, ...]

    @property
    def lag(self) -> int:
        """Records that are not processed."""
        return sum(partition.lag for partition in self.partitions)

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest record that is not processed; None where none is known."""
        oldest = [each.oldest for each in self.partitions if each.oldest is not None]
        return max(0.0, (self.at - min(oldest)).total_seconds()) if oldest else None


def partition_lag(
    partition: TopicPartition, *, begin: int, end: int, committed: int | None, metadata: str
) -> PartitionLag:
    """Work out the lag from offsets and the metadata of the committed one. Pure.

    A group that committed nothing starts at the beginning, as the pipeline's own do.
    """
    offset = begin if committed is None else committed
    point, fault = CommitPoint(offset, offset), None
    if committed is not None:
        try:
            point = decode(committed, metadata)
        except LedgerUnreadable as error:
            fault = str(error)
    topic, number = partition
    return PartitionLag(
        *(topic, number, begin, end, committed),
        done_above=point.done_above,
        lag=point.lag(end, begin=begin),
        fault=fault,
    )


def drain_seconds(earlier: GroupLag, later: GroupLag) -> float | None:
    """How long until nothing waits, if it goes on as between two samples. Pure.

    None where the lag does not shrink.
    """
    if later.lag == 0:
        return 0.0
    seconds = (later.at - earlier.at).total_seconds()
    drained = earlier.lag - later.lag
    return later.lag * seconds / drained if drained > 0 and seconds > 0 else None


class LagReader:
    """Samples the lag of groups, over connections that it keeps; entered with `async with`.

    Args:
        kafka: How the brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._resources = AsyncExitStack()
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionFailed: No broker let us in.
        """
        async with AsyncExitStack() as entered:
            self._admin = await entered.enter_async_context(admin_client(self._kafka))
            self._consumer = await entered.enter_async_context(
                consumer_client(
                    self._kafka,
                    group_id=None,
                    enable_auto_commit=False,
                    isolation_level="read_committed",
                    max_partition_fetch_bytes=_FETCH_BYTES,
                )
            )
            self._resources = entered.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._resources.aclose()

    async def sample(self, group: str, topics: Sequence[str]) -> GroupLag:
        """How far `group` is behind in `topics`.

        Raises:
            TopicMissing: A topic does not exist.
            ConnectionFailed, NotPermitted, RequestFailed: The brokers do not answer, or refuse.
        """
        if self._admin is None or self._consumer is None:
            raise RuntimeError("a lag reader is entered before it is used")
        try:
            # The first group of a cluster has to wait until its offsets topic is made.
            return await patiently(partial(_sample, self._admin, self._consumer, group, topics))
        except KafkaError as error:
            raise explain(error, self._kafka) from error


async def _sample(
    admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str, topics: Sequence[str]
) -> GroupLag:
    partitions = await Topics(admin).partitions(topics)
    begins = await consumer.beginning_offsets(partitions)
    # Committed offsets before ends, or what is processed in between would make a negative lag.
    committed = await group_offsets(admin, group, partitions)
    ends = await consumer.end_offsets(partitions)
    lags = [
        partition_lag(
            partition,
            begin=begins[partition],
            end=ends[partition],
            committed=None if found.offset == _NOTHING_COMMITTED else found.offset,
            metadata=found.metadata or "",
        )
        for partition, found in committed.items()
    ]
    return GroupLag(
        group=group,
        at=datetime.now(UTC),
        members=await _members(admin, group),
        partitions=tuple(await _with_oldest(consumer, lags)),
    )


async def group_offsets(
    admin: AIOKafkaAdminClient, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """What a group committed in each of the partitions; offset -1 where it did not.

    Raises:
        KafkaError: The brokers do not answer, or refuse.
    """
    found: dict[TopicPartition, OffsetAndMetadata] = {}
    # aiokafka raises `NoError` for an error that concerns a partition, and drops one that
    # concerns the whole request: then there is nothing.
    with suppress(NoError):
        found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
    if len(found) < len(partitions):
        raise CoordinatorNotAvailableError(group)
    return {partition: found[partition] for partition in partitions}


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    [response] = await admin.describe_consumer_groups([group])
    [described] = response.to_object()["groups"]
    return len(described["members"])


async def _with_oldest(
    consumer: AIOKafkaConsumer, lags: Iterable[PartitionLag]
) -> list[PartitionLag]:
    """Read the first record of what waits, for its timestamp; or find that only markers wait."""
    result = {TopicPartition(lag.topic, lag.partition): lag for lag in lags}
    waiting = {partition for partition, lag in result.items() if lag.lag > 0}
    if not waiting:
        return list(result.values())
    consumer.assign(list(waiting))
    for partition in waiting:
        consumer.seek(partition, result[partition].base)
    give_up = asyncio.get_running_loop().time() + _OLDEST_WITHIN
    while waiting and asyncio.get_running_loop().time() < give_up:
        fetched = await consumer.getmany(*waiting, timeout_ms=200)
        for partition, records in fetched.items():
            first = moment(records[0].timestamp, datetime.now(UTC))
            result[partition] = replace(result[partition], oldest=first)
        for partition in waiting - fetched.keys():
            if await consumer.position(partition) >= result[partition].end:
                result[partition] = replace(result[partition], lag=0)
        waiting = {
            partition
            for partition in waiting
            if result[partition].lag > 0 and result[partition].oldest is None
        }
    # Or it would go on to fetch what nobody reads.
    consumer.pause(*consumer.assignment())
    return list(result.values())


Offsets = Mapping[TopicPartition, int]
"""The committed offset of each partition that has one."""


def events_between(earlier: Offsets, later: Offsets) -> int:
    """Events that were done between two looks. Pure.

    A partition that is new is not counted until the next look, and one that was set back is not
    counted as less than nothing.
    """
    return sum(
        max(0, offset - earlier[partition])
        for partition, offset in later.items()
        if partition in earlier
    )


class ProgressReader:
    """Looks at committed offsets, over a connection that it keeps; entered with `async with`.

    Args:
        kafka: How the brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._resources = AsyncExitStack()
        self._admin: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionFailed: No broker let us in.
        """
        self._admin = await self._resources.enter_async_context(admin_client(self._kafka))
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._resources.aclose()

    async def committed(self, group: str, topics: Sequence[str]) -> Offsets:
        """How far `group` has come in `topics`.

        Raises:
            TopicMissing: A topic does not exist.
            ConnectionFailed, NotPermitted, RequestFailed: The brokers do not answer, or refuse.
        """
        if self._admin is None:
            raise RuntimeError("a progress reader is entered before it is used")
        admin = self._admin
        try:
            partitions = await Topics(admin).partitions(topics)
            found = await patiently(partial(group_offsets, admin, group, partitions))
        except KafkaError as error:
            raise explain(error, self._kafka) from error
        return {partition: each.offset for partition, each in found.items() if each.offset >= 0}

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            TopicMissing: It does not exist.
            ConnectionFailed, NotPermitted, RequestFailed: The brokers do not answer, or refuse.
        """
        if self._admin is None:
            raise RuntimeError("a progress reader is entered before it is used")
        try:
            return len(await Topics(self._admin).partitions([topic]))
        except KafkaError as error:
            raise explain(error, self._kafka) from error
