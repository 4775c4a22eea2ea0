"""A consumer of the broker in memory."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from pipeline.stream.protocols import (
    Committed,
    Fenced,
    PositionLost,
    RebalanceListener,
    TopicPartition,
    no_such_topics,
)
from pipeline.stream.records import Received
from pipeline.testing.broker import Entry, MemoryBroker
from pipeline.testing.faults import Link, Lost, Refused
from pipeline.testing.group import Beat, Generation, Group

_RETRY = 0.05
"""Seconds after which a consumer repeats a request that was lost."""


class MemoryConsumer:
    """A member of a group of the broker in memory.

    Args:
        broker: The broker.
        link: The way to it.
        group: The consumer group.
        topics: What is consumed.
        session_timeout: Seconds without a heartbeat after which it counts as dead.
        rebalance_timeout: Seconds that it gets to join again.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        link: Link,
        group: str,
        topics: Sequence[str],
        *,
        session_timeout: float,
        rebalance_timeout: float,
    ) -> None:
        self._broker = broker
        self._link = link
        self._group = group
        self._topics = topics
        self._session_timeout = session_timeout
        self._rebalance_timeout = rebalance_timeout
        self._generation = Generation(0, ())
        self._positions: dict[TopicPartition, int] = {}
        self._is_settled = asyncio.Event()
        self._must_rejoin = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        """The member's name: the process's."""
        return self._link.process

    @property
    def generation(self) -> int:
        """The generation it belongs to."""
        return self._generation.number

    async def start(self, listener: RebalanceListener) -> None:
        """Join; returns with the first assignment."""
        self._broker.watch(self._changed)
        self._tasks = [
            asyncio.create_task(self._coordinate(listener)),
            asyncio.create_task(self._beat()),
        ]
        await self._is_settled.wait()

    async def close(self) -> None:
        """Leave the group."""
        self._broker.unwatch(self._changed)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(Lost, Refused):
            await self._link.request("leave", lambda: self._members.leave(self.name))

    async def poll(
        self, partitions: Collection[TopicPartition], *, seconds: float, records: int
    ) -> Mapping[TopicPartition, Sequence[Received]]:
        """Take what has come."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            await self._is_settled.wait()
            self._changed.clear()
            polled = await self._fetch(partitions, records)
            left = deadline - loop.time()
            if polled or left <= 0:
                return polled
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is fetched ahead here."""

    def start_at(self, partition: TopicPartition, offset: int) -> None:
        """Continue at an offset."""
        if partition not in self._generation.partitions:
            raise Fenced(f"{partition} is not assigned any more.")
        self._positions[partition] = offset
        self._changed.set()

    async def position(self, partition: TopicPartition) -> int | None:
        """The offset that is read next."""
        return self._positions.get(partition)

    def end(self, partition: TopicPartition) -> int | None:
        """The end of what may be read."""
        return self._broker.bounds(partition).end

    def trouble(self) -> str | None:
        """A topic that does not exist."""
        missing = [topic for topic in self._topics if not self._broker.partitions_of(topic)]
        return no_such_topics(missing)

    async def commit(self, partition: TopicPartition, committed: Committed) -> None:
        """Commit an offset as a member of the group."""
        generation = self._generation.number
        if partition not in self._generation.partitions:
            raise Fenced(f"{partition} is not assigned any more.")

        def effect() -> None:
            if not self._members.may_commit(self.name, generation):
                raise Fenced(f"{partition} has another owner now.")
            self._members.committed[partition] = committed

        await self._link.request("commit_offset", effect)

    async def _fetch(
        self, partitions: Collection[TopicPartition], records: int
    ) -> dict[TopicPartition, Sequence[Received]]:
        wanted = {p: self._positions[p] for p in partitions if p in self._positions}
        if not wanted:
            return {}
        try:
            fetched = await self._link.request("fetch", lambda: self._read(wanted, records))
        except (Lost, Refused):
            await asyncio.sleep(_RETRY)
            return {}
        polled: dict[TopicPartition, Sequence[Received]] = {}
        for partition, (entries, position) in fetched.items():
            # It may have been revoked, or told to continue elsewhere, while this was on its way.
            if self._positions.get(partition) != wanted[partition]:
                continue
            self._positions[partition] = position
            if entries:
                polled[partition] = [received(partition, entry) for entry in entries]
        return polled

    def _read(
        self, wanted: Mapping[TopicPartition, int], records: int
    ) -> dict[TopicPartition, tuple[Sequence[Entry], int]]:
        fetched = {}
        for partition, position in wanted.items():
            log = self._broker.log(partition)
            if not log.bounds.begin <= position <= log.bounds.end:
                raise PositionLost(partition, position)
            entries, after = log.read(position, records)
            fetched[partition] = (entries, after)
            records -= len(entries)
            if records == 0:
                break
        return fetched

    async def _coordinate(self, listener: RebalanceListener) -> None:
        while True:
            self._is_settled.clear()
            await listener.on_revoked(self._generation.partitions)
            self._generation = await self._join()
            self._must_rejoin.clear()
            self._positions = {}
            self._is_settled.set()
            await listener.on_assigned(self._generation.partitions)
            await self._must_rejoin.wait()

    async def _join(self) -> Generation:
        while True:
            try:
                joining = await self._link.request(
                    "join",
                    lambda: self._members.join(
                        self.name,
                        self._topics,
                        session_timeout=self._session_timeout,
                        rebalance_timeout=self._rebalance_timeout,
                    ),
                )
                await asyncio.wait([joining])
                if not joining.cancelled():
                    return joining.result()
            except (Lost, Refused):
                pass
            await asyncio.sleep(_RETRY)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._session_timeout / 3)
            number = self._generation.number
            if number == 0:
                continue
            try:
                answer = await self._link.request(
                    "heartbeat", partial(self._members.heartbeat, self.name, number)
                )
            except (Lost, Refused):
                continue
            if answer is not Beat.STABLE:
                self._must_rejoin.set()

    @property
    def _members(self) -> Group:
        return self._broker.group(self._group)


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
