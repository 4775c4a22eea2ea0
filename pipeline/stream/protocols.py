"""What the stream needs of brokers: small protocols, and the errors that come through them.

`pipeline.kafka` talks to real brokers; `pipeline.testing` has one in memory.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from pipeline.model.errors import PipelineError
from pipeline.stream.records import Outgoing, Received


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class BrokerError(PipelineError):
    """Something went wrong between here and the brokers."""


class BrokersUnavailable(BrokerError):
    """The brokers do not answer, or not yet: the same may work later."""


class Aborted(BrokerError):
    """Nothing was committed, and the session is as good as before: the same may be tried again."""


class Fenced(BrokerError):
    """Another process owns the partition now, or this session took too long: it is over."""


class Broken(BrokerError):
    """The session is over, and what became of the last commit is not known."""


class PositionLost(BrokerError):
    """The log of a partition does not reach to where it is read: it was cut off, at either end."""

    def __init__(self, partition: "TopicPartition", offset: int) -> None:
        super().__init__(f"{partition} has no offset {offset} any more")
        self.partition = partition


class Unpublishable(BrokerError):
    """The brokers will never take the records of these indices. Nothing was committed."""

    def __init__(self, detail: str, indices: Sequence[int], *, is_session_lost: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.indices = tuple(indices)
        self.is_session_lost = is_session_lost


@dataclass(frozen=True, slots=True)
class Committed:
    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class LogBounds:
    """The first offset of a partition's log, and the one after the last that may be read."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class NextRecord:
    """The first record from some offset on; no timestamp where none is below `offset`."""

    timestamp: datetime | None
    offset: int


def no_such_topics(names: Sequence[str]) -> str | None:
    """What to say of topics that do not exist; None for no topics."""
    if not names:
        return None
    return (
        f"there is no topic {', '.join(names)} (any more): make it with `pipeline topics create`; "
        "it is taken up by itself"
    )


class RebalanceListener(Protocol):
    """Serves what is assigned, on through a rebalance."""

    def owned(self) -> Collection[TopicPartition]:
        """What is served now."""
        ...

    def releasing(self) -> Collection[TopicPartition]:
        """What of that is given up as soon as it is finished."""
        ...

    async def on_rebalance(self) -> None:
        """The group is being assigned again. What is assigned until then stays."""
        ...

    def on_lost(self) -> None:
        """The group took this member for dead, so what it served may be another's by now."""
        ...

    async def on_assigned(
        self, partitions: Collection[TopicPartition], releasing: Collection[TopicPartition]
    ) -> None:
        """These are ours from now on, and no others.

        Those to be released are for another member. They are to be finished and closed, and then
        the group is to be joined again. No heartbeat is sent before this returns.
        """
        ...


class Consumer(Protocol):
    """A member of a consumer group."""

    async def start(self, listener: RebalanceListener) -> None:
        """Join the group, or raise `BrokerError`."""
        ...

    async def close(self) -> None:
        """Leave the group, so that the others need not wait for the session to time out."""
        ...

    def rejoin(self, *, asks: str | None = None) -> None:
        """Have the group assigned again: something was released, or this member asks otherwise."""
        ...

    async def confirmed(self, since: float | None = None) -> None:
        """Return once the group has confirmed that this member is in it.

        That is after `since` (loop time), or without it within the session's time-out.
        """
        ...

    async def poll(
        self,
        partitions: Collection[TopicPartition],
        *,
        seconds: float,
        records: int,
        each: int | None = None,
    ) -> Mapping[TopicPartition, Sequence[Received]]:
        """Take what has come for these partitions, waiting a while for the first record.

        That is `records` in all at most, and `each` of one partition. Partitions take turns: one
        that brought something comes after those that wait, in the next poll. What those that were
        not named have brought stays where it is. Without any partition it returns at once and still
        counts as a sign of life. A rebalance does not hold it up, but for the first, and one in
        which the consumer takes up a topic that its pattern matches.

        Raises:
            PositionLost: A partition has no records at its position any more.
            BrokerError: The group or a partition cannot be read, now or later.
        """
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch nothing for these, as far as they are assigned."""
        ...

    def start_at(self, partition: TopicPartition, offset: int) -> None:
        """Fetch a partition from an offset on. Raises `Fenced` if it is not assigned.

        A new assignment forgets the place, also of partitions that were assigned before.
        """
        ...

    async def position(self, partition: TopicPartition) -> int | None:
        """The offset that is read next: all below it was polled, or is no record; or None."""
        ...

    def end(self, partition: TopicPartition) -> int | None:
        """Where the records that may be read end, as of the last fetch."""
        ...

    def members_differ(self) -> bool:
        """Whether members of the group ask the models different things, by the last assignment."""
        ...

    def trouble(self) -> str | None:
        """Why a topic is not read at all, in a sentence; None where each is."""
        ...


class PartitionWriter(Protocol):
    """Publishes what comes of one input partition, and commits its offset. Has one user."""

    async def start(self) -> None:
        """From here on no earlier session of the partition can publish or commit any more.

        Raises:
            BrokerError: `BrokersUnavailable` if they do not answer; they refuse.
        """
        ...

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """Publish the records and commit the offset; without one, publish all of them or none.

        Raises:
            Aborted: To be tried again.
            Unpublishable: To be tried again without some of the records.
            Fenced, Broken: The session is over.
        """
        ...

    async def close(self) -> None:
        """Let go of the connections, within seconds, whatever the state."""
        ...


class OffsetReader(Protocol):
    """Reads what a group committed, and where logs begin and end.

    What it raises is a `BrokersUnavailable` where the brokers do not answer within seconds, and
    another `BrokerError` where they refuse.
    """

    @property
    def cluster(self) -> str:
        """The cluster's own id, once started; empty where brokers do not say it."""
        ...

    async def start(self) -> None: ...

    async def committed(self, partition: TopicPartition) -> Committed | None:
        """The committed offset, after every transaction that may still change it has ended.

        Raises:
            BrokersUnavailable: Such a transaction is still open, too.
        """
        ...

    async def bounds(self, partition: TopicPartition) -> LogBounds: ...

    async def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Where logs end, with few requests."""
        ...

    async def next_record(self, partition: TopicPartition, offset: int) -> NextRecord:
        """The first record that a committed reader sees from an offset on."""
        ...

    async def close(self) -> None: ...


class Brokers(Protocol):
    """Makes what an engine needs, none of it started; `KafkaBrokers` is the real one."""

    @property
    def starts_at_end(self) -> bool:
        """Whether a group that committed nothing skips what is there already."""
        ...

    def consumer(
        self, group: str, topics: Sequence[str], *, pattern: str | None = None, asks: str = ""
    ) -> Consumer:
        """A member that asks the models what that digest stands for."""
        ...

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        """Of a partition that is assigned to `consumer`."""
        ...

    def reader(self, group: str) -> OffsetReader: ...
