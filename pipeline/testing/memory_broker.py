"""A broker in memory: topics, transactions, producers, groups. No I/O, nothing awaited."""

import asyncio
import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import NamedTuple

from pipeline.stream.balance import NEVER, Claim, Share, balance
from pipeline.stream.protocols import (
    BrokersUnavailable,
    Committed,
    Fenced,
    LogBounds,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Headers, Outgoing


class Generation(NamedTuple):
    """What a member gets when a rebalance is over."""

    number: int
    partitions: Sequence[TopicPartition]
    releasing: Collection[TopicPartition] = ()
    asked: Collection[str] = ()


@dataclass(eq=False, slots=True)
class _Member:
    name: str
    claim: Claim
    asks: str
    session_timeout: float
    rebalance_timeout: float
    share: Share = field(default_factory=Share)
    joining: "asyncio.Future[Generation] | None" = None
    expiry: asyncio.TimerHandle | None = None


class UnknownMember(Exception):
    """The group took this member for dead: it has to join as a new one."""


class Group:
    """Members, their partitions, and what was committed for the group.

    `committed` is what a reader gets now; `generations` is who got what in each rebalance so far.
    """

    def __init__(self, partitions_of: Callable[[str], Sequence[TopicPartition]]) -> None:
        self._partitions_of = partitions_of
        self._members: dict[str, _Member] = {}
        self.generation = 0
        self._deadline: asyncio.TimerHandle | None = None
        self.committed: dict[TopicPartition, Committed] = {}
        self.generations: list[Mapping[TopicPartition, str]] = []

    @property
    def members(self) -> Collection[str]:
        return self._members.keys()

    @property
    def owners(self) -> Mapping[TopicPartition, str]:
        return {
            partition: member.name
            for member in self._members.values()
            for partition in member.share.partitions
        }

    def join(
        self,
        name: str,
        claim: Claim,
        *,
        session_timeout: float,
        rebalance_timeout: float,
        asks: str = "",
    ) -> "asyncio.Future[Generation]":
        """Join, or join again after a rebalance began; done when all have, or time is up."""
        member = self._members.get(name)
        if member is None and claim.epoch > NEVER:
            raise UnknownMember(name)
        if member is None:
            member = _Member(name, claim, asks, session_timeout, rebalance_timeout)
            self._members[name] = member
        member.claim = claim
        if member.expiry is not None:
            # Who waits for the others sends no heartbeats.
            member.expiry.cancel()
        joining: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        member.joining = joining
        self._rebalance()
        self._finish_if_complete()
        return joining

    def heartbeat(self, name: str, generation: int) -> bool:
        """Whether the member need not join again."""
        member = self._members.get(name)
        if member is not None and member.joining is None:
            self._keep_alive(member)
        is_current = self._deadline is None and generation == self.generation
        return member is not None and is_current

    def leave(self, name: str) -> None:
        """The member goes, of its own will or because it was taken for dead."""
        member = self._members.pop(name, None)
        if member is None:
            return
        if member.expiry is not None:
            member.expiry.cancel()
        if member.joining is not None and not member.joining.done():
            member.joining.cancel()
        if self._members:
            self._rebalance()
            self._finish_if_complete()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def may_commit(self, name: str, generation: int) -> bool:
        """Whether a plain commit comes from a member of this generation."""
        return name in self._members and generation == self.generation

    def _keep_alive(self, member: _Member) -> None:
        if member.expiry is not None:
            member.expiry.cancel()
        loop = asyncio.get_running_loop()
        member.expiry = loop.call_later(member.session_timeout, self.leave, member.name)

    def _rebalance(self) -> None:
        if self._deadline is None:
            patience = max(member.rebalance_timeout for member in self._members.values())
            self._deadline = asyncio.get_running_loop().call_later(patience, self._finish)

    def _finish_if_complete(self) -> None:
        if all(member.joining is not None for member in self._members.values()):
            self._finish()

    def _finish(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for late in [member for member in self._members.values() if member.joining is None]:
            del self._members[late.name]
            if late.expiry is not None:
                late.expiry.cancel()
        self.generation += 1
        self._assign()
        self.generations.append(self.owners)
        for member in self._members.values():
            joining, member.joining = member.joining, None
            self._keep_alive(member)
            if joining is not None and not joining.done():
                share, asked = member.share, {each.asks for each in self._members.values()}
                joining.set_result(
                    Generation(self.generation, share.partitions, share.releasing, asked)
                )

    def _assign(self) -> None:
        claims = {name: member.claim for name, member in self._members.items()}
        topics = {topic for claim in claims.values() for topic in claim.topics}
        partitions = [each for topic in sorted(topics) for each in self._partitions_of(topic)]
        for name, share in balance(partitions, claims).items():
            self._members[name].share = share


class TransactionState(Enum):
    """What readers see of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False, slots=True)
class Transaction:
    """Records and offsets that become visible together, or never."""

    state: TransactionState = TransactionState.OPEN
    logs: "dict[PartitionLog, None]" = field(default_factory=dict)
    offsets: dict[tuple[str, TopicPartition], Committed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One offset of a log: a record, or without one the marker that ends a transaction."""

    offset: int
    written_at: float
    record: Outgoing | None
    transaction: Transaction | None


class PartitionLog:
    """Appended to at the end, trimmed at the beginning, thinned out by compaction."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._begin = 0
        self._end = 0
        self._open: dict[Transaction, int] = {}

    @property
    def bounds(self) -> LogBounds:
        """The first offset, and the one after the last that committed readers may see."""
        return LogBounds(self._begin, self.stable_end)

    @property
    def end(self) -> int:
        return self._end

    @property
    def stable_end(self) -> int:
        """Where the first open transaction begins: committed readers see nothing from there."""
        return min(self._open.values(), default=self._end)

    def append(self, record: Outgoing, now: float, transaction: Transaction | None = None) -> int:
        if transaction is not None:
            transaction.logs[self] = None
            self._open.setdefault(transaction, self._end)
        return self._write(record, now, transaction)

    def end_transaction(self, transaction: Transaction, now: float) -> None:
        """Write the marker: what belongs to it is visible, or void, from now on."""
        del self._open[transaction]
        self._write(None, now, transaction)

    def read(self, position: int, limit: int) -> tuple[Sequence[Entry], int]:
        """What a committed reader sees: at most `limit` records, and the position after them."""
        end = self.stable_end
        found: list[Entry] = []
        start = bisect_left(self._entries, position, key=lambda entry: entry.offset)
        for entry in self._entries[start:]:
            if entry.offset >= end:
                break
            if len(found) == limit:
                return found, entry.offset
            transaction = entry.transaction
            is_void = transaction is not None and transaction.state is TransactionState.ABORTED
            if entry.record is not None and not is_void:
                found.append(entry)
        return found, max(position, end)

    def trim(self, begin: int) -> None:
        """Retention: nothing below `begin` is left."""
        self._begin = max(self._begin, begin)
        self._entries = [entry for entry in self._entries if entry.offset >= begin]

    def remove(self, offset: int) -> None:
        """Compaction: the record is gone, its offset stays unused."""
        self._entries = [entry for entry in self._entries if entry.offset != offset]

    def _write(self, record: Outgoing | None, now: float, transaction: Transaction | None) -> int:
        offset = self._end
        self._entries.append(Entry(offset, now, record, transaction))
        self._end += 1
        return offset


@dataclass(slots=True)
class _Producer:
    epoch: int = 0
    transaction: Transaction | None = None
    expiry: asyncio.TimerHandle | None = None


class MemoryBroker:
    """A cluster of one. All of its methods take effect at once; the way to it is a `Link`."""

    def __init__(self, *, max_message_bytes: int = 1 << 20, cluster: str = "memory") -> None:
        self.max_message_bytes = max_message_bytes
        self.cluster = cluster
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._producers: dict[str, _Producer] = {}
        self._groups: dict[str, Group] = {}
        self._watchers: dict[asyncio.Event, None] = {}
        self._unkeyed = count()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        for number in range(partitions):
            self._logs[TopicPartition(name, number)] = PartitionLog()

    def partitions_of(self, topic: str) -> Sequence[TopicPartition]:
        return [partition for partition in self._logs if partition.topic == topic]

    def topics_like(self, pattern: str) -> Collection[str]:
        """The topics that a regular expression matches from the beginning of their names."""
        names = {partition.topic for partition in self._logs}
        return {name for name in names if re.match(pattern, name)}

    def log(self, partition: TopicPartition) -> PartitionLog:
        return self._logs[partition]

    def group(self, name: str) -> Group:
        """A consumer group; made when it is asked for first."""
        if name not in self._groups:
            self._groups[name] = Group(self.partitions_of)
        return self._groups[name]

    def publish(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> tuple[TopicPartition, int]:
        """Write one record as a publisher outside any transaction."""
        record = Outgoing(topic, key, value, headers)
        partition = self._partition_for(record)
        offset = self._logs[partition].append(record, _now())
        self._changed()
        return partition, offset

    def committed_records(self, topic: str) -> Mapping[TopicPartition, Sequence[Entry]]:
        """All that a committed reader sees of a topic."""
        return {
            partition: self._logs[partition].read(0, 1 << 62)[0]
            for partition in self.partitions_of(topic)
        }

    def bounds(self, partition: TopicPartition) -> LogBounds:
        return self._logs[partition].bounds

    def watch(self, changed: asyncio.Event) -> None:
        """Set this event whenever there may be more to read."""
        self._watchers[changed] = None

    def unwatch(self, changed: asyncio.Event) -> None:
        self._watchers.pop(changed, None)

    def write(self, records: Sequence[Outgoing]) -> None:
        self._check_sizes(records)
        for record in records:
            self._logs[self._partition_for(record)].append(record, _now())
        self._changed()

    def init_producer(self, transactional_id: str) -> int:
        """Fence earlier producers of the id, void what they had open; returns the new epoch."""
        producer = self._producers.setdefault(transactional_id, _Producer())
        self._end(producer, TransactionState.ABORTED)
        producer.epoch += 1
        return producer.epoch

    def begin(self, transactional_id: str, epoch: int, *, timeout: float) -> None:
        """Open a transaction; brokers void it after the time-out."""
        producer = self._current(transactional_id, epoch)
        producer.transaction = Transaction()
        loop = asyncio.get_running_loop()
        producer.expiry = loop.call_later(timeout, self._expire, producer)

    def write_in_transaction(
        self, transactional_id: str, epoch: int, records: Sequence[Outgoing]
    ) -> None:
        producer = self._current(transactional_id, epoch)
        self._check_sizes(records)
        for record in records:
            log = self._logs[self._partition_for(record)]
            log.append(record, _now(), producer.transaction)

    def add_offset(
        self,
        transactional_id: str,
        epoch: int,
        group: str,
        partition: TopicPartition,
        committed: Committed,
    ) -> None:
        producer = self._current(transactional_id, epoch)
        if producer.transaction is not None:
            producer.transaction.offsets[group, partition] = committed

    def end(self, transactional_id: str, epoch: int, state: TransactionState) -> None:
        self._end(self._current(transactional_id, epoch), state)

    def fetch_offset(self, group: str, partition: TopicPartition) -> Committed | None:
        """The committed offset, unless a transaction is about to change it."""
        for producer in self._producers.values():
            transaction = producer.transaction
            if transaction is not None and (group, partition) in transaction.offsets:
                raise BrokersUnavailable(f"The committed offset of {partition} is not final yet.")
        return self.group(group).committed.get(partition)

    def _current(self, transactional_id: str, epoch: int) -> _Producer:
        producer = self._producers[transactional_id]
        if producer.epoch != epoch:
            raise Fenced(f"{transactional_id} has another owner now.")
        return producer

    def _expire(self, producer: _Producer) -> None:
        self._end(producer, TransactionState.ABORTED)
        producer.epoch += 1

    def _end(self, producer: _Producer, state: TransactionState) -> None:
        transaction, producer.transaction = producer.transaction, None
        if producer.expiry is not None:
            producer.expiry.cancel()
            producer.expiry = None
        if transaction is None:
            return
        transaction.state = state
        for log in transaction.logs:
            log.end_transaction(transaction, _now())
        if state is TransactionState.COMMITTED:
            for (group, partition), committed in transaction.offsets.items():
                self.group(group).committed[partition] = committed
        self._changed()

    def _partition_for(self, record: Outgoing) -> TopicPartition:
        partitions = self.partitions_of(record.topic)
        number = next(self._unkeyed) if record.key is None else zlib.crc32(record.key)
        return partitions[number % len(partitions)]

    def _check_sizes(self, records: Sequence[Outgoing]) -> None:
        indices = [
            index for index, record in enumerate(records) if _size(record) > self.max_message_bytes
        ]
        if indices:
            raise Unpublishable(
                f"{len(indices)} records are larger than {self.max_message_bytes} bytes.",
                indices,
                is_session_lost=True,
            )

    def _changed(self) -> None:
        for event in self._watchers:
            event.set()


def _size(record: Outgoing) -> int:
    headers = sum(len(name.encode()) + len(content or b"") for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _now() -> float:
    """Loop time in Kafka's precision, milliseconds."""
    return round(asyncio.get_running_loop().time(), 3)
