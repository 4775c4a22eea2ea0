"""How far consumer groups are behind and how far they have come, seen from outside.

What is in flight inside a worker cannot be seen from here; what a worker finished out of order
can, because the ledger travels with the committed offset.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, patiently
from pipeline.kafka.errors import explain
from pipeline.kafka.offsets import KafkaOffsets
from pipeline.kafka.topics import Topics
from pipeline.stream.ledger import CommitPoint, LedgerUnreadable, decode
from pipeline.stream.protocols import BrokerError, BrokersUnavailable, TopicPartition


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


class LagReader:
    """Looks at groups over connections that it keeps; entered with `async with`.

    Args:
        kafka: How the brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._resources = AsyncExitStack()
        self._admin: AIOKafkaAdminClient | None = None
        self._readers: dict[str, KafkaOffsets] = {}

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

    async def sample(self, group: str, topics: Sequence[str]) -> GroupLag:
        """How far `group` is behind in `topics`.

        Raises:
            TopicMissing: A topic does not exist.
            PipelineError: The brokers do not answer, or refuse.
        """
        with self._explained():
            partitions = await self._partitions(topics)
            reader = await self._reader(group)
            begins = await reader.begins(partitions)
            # Committed offsets before ends, or what is processed in between would make a
            # negative lag.
            committed = await reader.committed_now(partitions)
            ends = await reader.ends(partitions)
            lags = []
            for partition in partitions:
                found = committed[partition]
                lag = partition_lag(
                    partition,
                    begin=begins[partition],
                    end=ends[partition],
                    committed=None if found is None else found.offset,
                    metadata="" if found is None else found.metadata,
                )
                lags.append(await _with_oldest(reader, lag))
            members = await self._members(group)
        return GroupLag(group, datetime.now(UTC), members, tuple(lags))

    async def committed(self, group: str, topics: Sequence[str]) -> Offsets:
        """How far `group` has come in `topics`.

        Raises:
            TopicMissing: A topic does not exist.
            PipelineError: The brokers do not answer, or refuse.
        """
        with self._explained():
            reader = await self._reader(group)
            found = await reader.committed_now(await self._partitions(topics))
        return {partition: each.offset for partition, each in found.items() if each is not None}

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            TopicMissing: It does not exist.
            PipelineError: The brokers do not answer, or refuse.
        """
        with self._explained():
            return len(await self._partitions([topic]))

    async def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        found = await Topics(self._entered()).partitions(topics)
        return [TopicPartition(*partition) for partition in found]

    async def _members(self, group: str) -> int:
        admin = self._entered()
        [response] = await patiently(lambda: admin.describe_consumer_groups([group]))
        [described] = response.to_object()["groups"]
        return len(described["members"])

    async def _reader(self, group: str) -> KafkaOffsets:
        if group not in self._readers:
            reader = KafkaOffsets(self._kafka, group)
            self._resources.push_async_callback(reader.close)
            await reader.start()
            self._readers[group] = reader
        return self._readers[group]

    def _entered(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise RuntimeError("a lag reader is entered before it is used")
        return self._admin

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise explain(error, self._kafka) from error
        except BrokerError as error:
            if isinstance(error.__cause__, KafkaError):
                raise explain(error.__cause__, self._kafka) from error
            raise


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
