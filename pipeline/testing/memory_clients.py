"""The broker in memory behind the protocols of the stream, and what can happen on the way to it."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Protocol, TypeVar

from pipeline.config import Delivery
from pipeline.kafka.consumer import CommitGate
from pipeline.kafka.membership import Membership
from pipeline.kafka.reader import End, Start
from pipeline.kafka.topics import Subscription
from pipeline.stream.balance import NEVER, Claim
from pipeline.stream.protocols import (
    Aborted,
    Broken,
    BrokerError,
    BrokersUnavailable,
    Committed,
    Consumer,
    Fenced,
    LogBounds,
    NextRecord,
    OffsetReader,
    PartitionWriter,
    PositionLost,
    RebalanceListener,
    TopicPartition,
    Unpublishable,
    no_such_topics,
)
from pipeline.stream.records import Outgoing, Received
from pipeline.testing.memory_broker import (
    Entry,
    Generation,
    Group,
    MemoryBroker,
    TransactionState,
    UnknownMember,
)

ResultT = TypeVar("ResultT")
Loss = Literal["request", "response"]
"""What was lost: a request, so that nothing happened, or a response, which may mean anything."""
_RETRY = 0.05
"""Seconds after which a consumer repeats a request that was lost."""
_RECORDS = 100


class Lost(BrokersUnavailable):
    """No answer came: it is not known whether the broker has done it."""


class Refused(BrokersUnavailable):
    """The broker would not, for a reason of its own that will pass."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request: seconds `before` it takes effect and `after` until the response.

    `loss` is what gets lost on the way; if it `is_refused` the broker aborts the transaction.
    """

    before: float = 0.0
    after: float = 0.0
    loss: Loss | None = None
    is_refused: bool = False


class Faults(Protocol):
    """Decides what happens to requests."""

    def next(self, process: str, request: str) -> Fault:
        """What happens to this request of a process.

        Requests are `join`, `heartbeat`, `leave`, `fetch`, `commit_offset`, `init`, `begin`,
        `write`, `add_offset`, `end`, `fetch_offset`, `bounds`, `ends`, `first_record`.
        """
        ...


class NoFaults:
    """Everything works, at once."""

    def next(self, process: str, request: str) -> Fault:  # noqa: ARG002 - the protocol's
        return Fault()


@dataclass(eq=False)
class Link:
    """One process's connection; each request is one step that can fail on its own."""

    process: str
    faults: Faults
    is_cut: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._thawed = asyncio.Event()
        self._thawed.set()

    def cut(self) -> None:
        """The process dies here and now: nothing it does has any effect any more."""
        self.is_cut = True
        self._thawed.set()

    def freeze(self) -> None:
        """The process stands still; what it was about to do, it does after `thaw`."""
        self._thawed.clear()

    def thaw(self) -> None:
        """It goes on, not knowing how long it stood."""
        self._thawed.set()

    async def request(self, name: str, effect: Callable[[], ResultT]) -> ResultT:
        """Have the broker do something.

        Raises:
            Lost: The request or its response was, or the process is dead.
            Refused: The broker would not.
        """
        fault = self.faults.next(self.process, name)
        await self._travel(fault.before)
        if fault.loss == "request":
            raise Lost(f"{name} did not arrive")
        if fault.is_refused:
            raise Refused(f"the broker refused {name}")
        result = effect()
        await self._travel(fault.after)
        if fault.loss == "response":
            raise Lost(f"the answer to {name} did not arrive")
        return result

    async def _travel(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._thawed.wait()
        if self.is_cut:
            raise Lost("the process is dead")


@dataclass(eq=False)
class MemoryConsumer:
    """A member of a group of the broker in memory; time-outs in seconds."""

    broker: MemoryBroker
    link: Link
    group: str
    topics: Sequence[str]
    session_timeout: float
    rebalance_timeout: float
    asks: str = ""
    pattern: str | None = None

    def __post_init__(self) -> None:
        self._subscribed = self._topics_now()
        self._generation = Generation(0, ())
        self._positions: dict[TopicPartition, int] = {}
        self._commits = CommitGate()
        self._membership = Membership(self.session_timeout)
        self.confirmed = self._membership.confirmed
        self._is_settled = asyncio.Event()
        self._must_rejoin = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, listener: RebalanceListener) -> None:
        """Join; returns with the first assignment."""
        self.broker.watch(self._changed)
        self._tasks = [
            asyncio.create_task(self._coordinate(listener)),
            asyncio.create_task(self._beat()),
        ]
        await self._is_settled.wait()

    async def close(self) -> None:
        self.broker.unwatch(self._changed)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(Lost, Refused):
            await self.link.request("leave", lambda: self._members.leave(self.link.process))

    def rejoin(self, *, asks: str | None = None) -> None:
        if asks is not None:
            self.asks = asks
        self._must_rejoin.set()

    async def poll(
        self,
        partitions: Collection[TopicPartition],
        *,
        seconds: float,
        records: int,
        each: int | None = None,
    ) -> Mapping[TopicPartition, Sequence[Received]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            await self._is_settled.wait()
            self._changed.clear()
            polled = await self._fetch(partitions, records, each or records)
            left = deadline - loop.time()
            if polled or left <= 0:
                return polled
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is fetched ahead here."""

    def start_at(self, partition: TopicPartition, offset: int) -> None:
        if partition not in self._generation.partitions:
            raise Fenced(f"{partition} is not assigned any more.")
        self._positions[partition] = offset
        self._changed.set()

    async def position(self, partition: TopicPartition) -> int | None:
        return self._positions.get(partition)

    def end(self, partition: TopicPartition) -> int | None:
        return self.broker.bounds(partition).end

    def members_differ(self) -> bool:
        return len(self._generation.asked) > 1

    def trouble(self) -> str | None:
        missing = [topic for topic in self.topics if not self.broker.partitions_of(topic)]
        return no_such_topics(missing)

    async def commit(self, partition: TopicPartition, committed: Committed) -> None:
        """Commit an offset as a member of the group."""
        async with self._commits.under_way():
            await self._commit(partition, committed, self._generation)

    async def _commit(
        self, partition: TopicPartition, committed: Committed, generation: Generation
    ) -> None:
        if partition not in generation.partitions:
            raise Fenced(f"{partition} is not assigned any more.")

        def effect() -> None:
            if not self._members.may_commit(self.link.process, generation.number):
                raise Fenced(f"{partition} has another owner now.")
            self._members.committed[partition] = committed

        await self.link.request("commit_offset", effect)

    async def _fetch(
        self, partitions: Collection[TopicPartition], records: int, each: int
    ) -> dict[TopicPartition, Sequence[Received]]:
        wanted = {p: at for p, at in self._positions.items() if p in partitions}
        if not wanted:
            return {}
        try:
            fetched = await self.link.request("fetch", lambda: self._read(wanted, records, each))
        except (Lost, Refused):
            await asyncio.sleep(_RETRY)
            return {}
        polled: dict[TopicPartition, Sequence[Received]] = {}
        for partition, (entries, position) in fetched.items():
            # It may have been revoked, or moved elsewhere, while this was on its way.
            if self._positions.get(partition) != wanted[partition]:
                continue
            self._positions[partition] = position
            if entries:
                # It comes last in the next poll.
                self._positions[partition] = self._positions.pop(partition)
                polled[partition] = [received(partition, entry) for entry in entries]
        return polled

    def _read(
        self, wanted: Mapping[TopicPartition, int], records: int, each: int
    ) -> dict[TopicPartition, tuple[Sequence[Entry], int]]:
        fetched = {}
        for partition, position in wanted.items():
            log = self.broker.log(partition)
            if not log.bounds.begin <= position <= log.bounds.end:
                raise PositionLost(partition, position)
            entries, after = log.read(position, min(records, each))
            fetched[partition] = (entries, after)
            records -= len(entries)
            if records == 0:
                break
        return fetched

    async def _coordinate(self, listener: RebalanceListener) -> None:
        while True:
            await listener.on_rebalance()
            await self._commits.close()
            self._generation = await self._join(listener)
            self._must_rejoin.clear()
            self._positions = {}
            self._is_settled.set()
            self._commits.open()
            await listener.on_assigned(self._generation.partitions, self._generation.releasing)
            await self._must_rejoin.wait()

    async def _join(self, listener: RebalanceListener) -> Generation:
        epoch = self._generation.number or NEVER
        while True:
            self._subscribed = self._topics_now()
            claim = Claim(
                self._subscribed,
                owned=frozenset(listener.owned()),
                releasing=frozenset(listener.releasing()),
                epoch=epoch,
            )
            join = partial(
                self._members.join,
                self.link.process,
                claim,
                session_timeout=self.session_timeout,
                rebalance_timeout=self.rebalance_timeout,
                asks=self.asks,
            )
            try:
                joining = await self.link.request("join", join)
                await asyncio.wait([joining])
                if not joining.cancelled():
                    self._membership.confirm(asyncio.get_running_loop().time())
                    return joining.result()
            except UnknownMember:
                listener.on_lost()
                epoch = NEVER
                continue
            except (Lost, Refused):
                pass
            await asyncio.sleep(_RETRY)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.session_timeout / 3)
            number = self._generation.number
            if number == 0:
                continue
            if self._subscribed != self._topics_now():
                self._must_rejoin.set()
            beat = partial(self._members.heartbeat, self.link.process, number)
            sent = asyncio.get_running_loop().time()
            with suppress(Lost, Refused):
                if await self.link.request("heartbeat", beat):
                    self._membership.confirm(sent)
                else:
                    self._must_rejoin.set()

    def _topics_now(self) -> frozenset[str]:
        matched = () if self.pattern is None else self.broker.topics_like(self.pattern)
        return frozenset((*self.topics, *matched))

    @property
    def _members(self) -> Group:
        return self.broker.group(self.group)


def transactional_id(group: str, partition: TopicPartition) -> str:
    return f"{group}-{partition}"


@dataclass(eq=False)
class MemoryTransactions:
    """Exactly once: one transaction, of which each step can fail on its own."""

    broker: MemoryBroker
    link: Link
    group: str
    partition: TopicPartition
    timeout: float

    def __post_init__(self) -> None:
        self._id = transactional_id(self.group, self.partition)
        self._epoch = 0

    async def start(self) -> None:
        init = partial(self.broker.init_producer, self._id)
        self._epoch = await self.link.request("init", init)

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        broker, me = self.broker, (self._id, self._epoch)
        steps: list[tuple[str, Callable[[], None]]] = [
            ("begin", lambda: broker.begin(*me, timeout=self.timeout)),
            ("write", lambda: broker.write_in_transaction(*me, records)),
        ]
        if committed is not None:
            offset = partial(broker.add_offset, *me, self.group, self.partition, committed)
            steps.append(("add_offset", offset))
        steps.append(("end", lambda: broker.end(*me, TransactionState.COMMITTED)))
        try:
            for name, effect in steps:
                await self.link.request(name, effect)
        except Lost as error:
            raise Broken(str(error)) from error
        except Refused as error:
            await self._abort()
            raise Aborted(str(error)) from error
        except Unpublishable:
            await self._abort()
            raise

    async def close(self) -> None:
        """An open transaction stays open."""

    async def _abort(self) -> None:
        abort = partial(self.broker.end, self._id, self._epoch, TransactionState.ABORTED)
        try:
            await self.link.request("end", abort)
        except (Lost, Refused) as error:
            raise Broken(str(error)) from error


@dataclass(eq=False)
class MemoryPlain:
    """At least once: publish, then commit as a member of the group."""

    broker: MemoryBroker
    link: Link
    partition: TopicPartition
    consumer: MemoryConsumer

    async def start(self) -> None:
        pass

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        try:
            await self.link.request("write", lambda: self.broker.write(records))
            if committed is not None:
                await self.consumer.commit(self.partition, committed)
        except Lost as error:
            raise Broken(str(error)) from error
        except Refused as error:
            raise Aborted(str(error)) from error

    async def close(self) -> None:
        pass


@dataclass(eq=False)
class MemoryOffsets:
    """Reads what a group committed, and where logs begin and end."""

    broker: MemoryBroker
    link: Link
    group: str

    @property
    def cluster(self) -> str:
        return self.broker.cluster

    async def start(self) -> None:
        pass

    async def committed(self, partition: TopicPartition) -> Committed | None:
        return await self.link.request(
            "fetch_offset", lambda: self.broker.fetch_offset(self.group, partition)
        )

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        return await self.link.request("bounds", lambda: self.broker.bounds(partition))

    async def ends(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return await self.link.request(
            "ends",
            lambda: {partition: self.broker.bounds(partition).end for partition in partitions},
        )

    async def next_record(self, partition: TopicPartition, offset: int) -> NextRecord:
        def first() -> NextRecord:
            entries, after = self.broker.log(partition).read(offset, 1)
            if not entries:
                return NextRecord(None, after)
            return NextRecord(datetime.fromtimestamp(entries[0].written_at, UTC), entries[0].offset)

        return await self.link.request("first_record", first)

    async def close(self) -> None:
        pass


@dataclass(eq=False)
class MemoryGroup:
    """What `pipeline.kafka.groups.KafkaGroup` is, on the broker in memory."""

    broker: MemoryBroker
    name: str

    @property
    def cluster(self) -> str:
        return self.broker.cluster

    async def members(self) -> int:
        return len(self._group.members)

    async def partitions(self, read: Subscription) -> Sequence[TopicPartition]:
        topics = read.among(self.broker.topics_like(read.pattern or r"\Z"))
        return [partition for topic in topics for partition in self.broker.partitions_of(topic)]

    async def committed(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, Committed | None]:
        return {partition: self._group.committed.get(partition) for partition in partitions}

    async def bounds(self, partition: TopicPartition) -> LogBounds:
        return self.broker.bounds(partition)

    async def offset_since(self, partition: TopicPartition, moment: float) -> int | None:
        entries, _ = self.broker.log(partition).read(0, 1 << 62)
        return next((each.offset for each in entries if each.written_at >= moment), None)

    async def fence(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self.broker.init_producer(transactional_id(self.name, partition))

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        if self._group.members:
            raise BrokerError(f"The offsets of {self.name} cannot be committed: it has members.")
        self._group.committed.update(offsets)

    @property
    def _group(self) -> Group:
        return self.broker.group(self.name)


@dataclass(eq=False)
class MemoryBrokers:
    """One process's view of the broker in memory, which several share, for an engine.

    It counts as dead after `session_timeout` seconds without a heartbeat, gets `rebalance_timeout`
    to join again, and its transactions are void after `transaction_timeout`.
    """

    broker: MemoryBroker
    _: KW_ONLY
    process: str = "process"
    delivery: Delivery = "exactly_once"
    faults: Faults | None = None
    session_timeout: float = 10.0
    rebalance_timeout: float = 20.0
    transaction_timeout: float = 60.0
    starts_at_end: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.link = Link(self.process, self.faults or NoFaults())

    def consumer(
        self, group: str, topics: Sequence[str], *, pattern: str | None = None, asks: str = ""
    ) -> MemoryConsumer:
        times = self.session_timeout, self.rebalance_timeout
        return MemoryConsumer(self.broker, self.link, group, topics, *times, asks, pattern)

    def session(self, group: str, partition: TopicPartition, consumer: Consumer) -> PartitionWriter:
        if self.delivery == "exactly_once":
            return MemoryTransactions(
                self.broker, self.link, group, partition, timeout=self.transaction_timeout
            )
        if not isinstance(consumer, MemoryConsumer):
            raise TypeError("the consumer is of other brokers")
        return MemoryPlain(self.broker, self.link, partition, consumer)

    def reader(self, group: str) -> OffsetReader:
        return MemoryOffsets(self.broker, self.link, group)


@dataclass(eq=False)
class MemoryTopicReader:
    """What `pipeline.kafka.reader.read_topics` does, on the broker in memory.

    Unlike a real reader it does not wait for a transaction that is open before the end.
    """

    broker: MemoryBroker
    link: Link = field(default_factory=lambda: Link("reader", NoFaults()))

    @asynccontextmanager
    async def __call__(
        self,
        topics: Sequence[str],
        *,
        start: Start = "beginning",
        end: End | Literal["never"] = "committed",
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """The committed records from `start` to `end`."""
        broker = self.broker
        partitions = [each for topic in topics for each in broker.partitions_of(topic)]
        if isinstance(start, Mapping):
            partitions = [each for each in partitions if each in start]

        def now() -> Mapping[TopicPartition, int]:
            if end == "written":
                return {partition: broker.log(partition).end for partition in partitions}
            return {partition: broker.bounds(partition).end for partition in partitions}

        ends = end if isinstance(end, Mapping) else await self.link.request("ends", now)
        found = self._records(partitions, start, ends)
        if end == "never":
            found = self._followed(partitions, start, ends, now)
        async with aclosing(found) as records:
            yield records

    async def _followed(
        self,
        partitions: Sequence[TopicPartition],
        start: Start,
        ends: Mapping[TopicPartition, int],
        now: Callable[[], Mapping[TopicPartition, int]],
    ) -> AsyncGenerator[Received, None]:
        changed = asyncio.Event()
        self.broker.watch(changed)
        try:
            while True:
                changed.clear()
                async with aclosing(self._records(partitions, start, ends)) as records:
                    async for record in records:
                        yield record
                start, ends = ends, await self.link.request("ends", now)
                if ends == start:
                    await changed.wait()
        finally:
            self.broker.unwatch(changed)

    async def _records(
        self,
        partitions: Sequence[TopicPartition],
        start: Start,
        ends: Mapping[TopicPartition, int],
    ) -> AsyncGenerator[Received, None]:
        for partition in partitions:
            end = ends[partition]
            position = end if start == "end" else 0
            if isinstance(start, Mapping):
                position = start[partition]
            while position < end:
                at = position
                read = partial(self.broker.log(partition).read, at, _RECORDS)
                entries, position = await self.link.request("fetch", read)
                if position == at:
                    raise BrokersUnavailable(f"{partition} brings nothing from offset {at} on.")
                for entry in entries:
                    record = received(partition, entry)
                    is_early = isinstance(start, datetime) and record.timestamp < start
                    if entry.offset < end and not is_early:
                        yield record


def received(partition: TopicPartition, entry: Entry) -> Received:
    """An entry with a record, as a consumer gets it."""
    assert entry.record is not None  # noqa: S101 - `PartitionLog.read` gives no markers
    written = datetime.fromtimestamp(entry.written_at, UTC)
    return Received(
        topic=partition.topic,
        partition=partition.partition,
        offset=entry.offset,
        key=entry.record.key,
        value=entry.record.value,
        headers=entry.record.headers,
        timestamp=written,
        received_at=written,
    )
