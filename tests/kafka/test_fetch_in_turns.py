"""Partitions are polled in turns, however much one fetch has brought of some of them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer.fetcher import Fetcher
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.fetching import BoundedFetch, fetch_in_turns


@dataclass
class Record:
    offset: int
    key: bytes = b""
    value: bytes = b""
    headers: tuple[()] = ()


@dataclass
class Records:
    """What a fetch brought of a partition."""

    count: int
    next_fetch_offset: int = 0

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        if self.next_fetch_offset == self.count:
            raise StopIteration
        self.next_fetch_offset += 1
        return Record(self.next_fetch_offset - 1)


@dataclass
class Place:
    position: int = 0
    paused: bool = False

    def consumed_to(self, offset: int) -> None:
        self.position = offset


@dataclass
class Assignment:
    active: bool = True
    places: dict[KafkaPartition, Place] = field(default_factory=dict)

    def state_value(self, partition: KafkaPartition) -> Place:
        return self.places.setdefault(partition, Place())


class Subscriptions:
    reassignment_in_progress = False

    def is_assigned(self, partition: KafkaPartition) -> bool:
        return True


class Client:
    """aiokafka's own fetcher, with what it has fetched and no brokers."""

    def __init__(self, counts: Sequence[int]) -> None:
        assignment = Assignment()
        self.partitions = [KafkaPartition("in", number) for number in range(len(counts))]
        self._fetcher = Fetcher.__new__(Fetcher)
        self._fetcher._subscriptions = Subscriptions()
        self._fetcher._wait_consume_future = None
        self._fetcher._records = {
            partition: BoundedFetch(
                partition, assignment=assignment, partition_records=Records(count), backoff=0
            )
            for partition, count in zip(self.partitions, counts, strict=True)
        }

    async def getmany(
        self, *partitions: KafkaPartition, timeout_ms: int, max_records: int
    ) -> Mapping[KafkaPartition, Sequence[Any]]:
        assert timeout_ms == 0
        found: Mapping[KafkaPartition, Sequence[Any]]
        found = await self._fetcher.fetched_records(partitions, 0, max_records)
        return found

    async def poll(
        self, *, most: int, each: int, asked: Sequence[KafkaPartition] | None = None
    ) -> dict[KafkaPartition, list[int]]:
        """Offsets by partition."""
        found = await fetch_in_turns(
            cast("AIOKafkaConsumer", self),
            self.partitions if asked is None else asked,
            timeout_ms=0,
            most=most,
            each=each,
        )
        return {each: [record.offset for record in records] for each, records in found.items()}


async def test_one_with_a_large_fetch_does_not_keep_the_others_waiting() -> None:
    client = Client([1000, 1000, 5])
    polls = [await client.poll(most=100, each=100) for _ in range(4)]
    assert [[each.partition for each in polled] for polled in polls] == [[0], [1], [2, 0], [1]]


async def test_one_poll_brings_a_share_of_each() -> None:
    client = Client([1000] * 5)
    polls = [await client.poll(most=10, each=4) for _ in range(2)]
    assert [{each.partition: len(came) for each, came in polled.items()} for polled in polls] == [
        {0: 4, 1: 4, 2: 2},
        {3: 4, 4: 4, 0: 2},
    ]


async def test_what_was_not_asked_for_stays_and_keeps_its_turn() -> None:
    client = Client([1000, 1000])
    first, second = client.partitions
    assert await client.poll(most=2, each=2, asked=[second]) == {second: [0, 1]}
    assert await client.poll(most=2, each=2) == {first: [0, 1]}


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=12),
    st.integers(1, 100),
    st.integers(1, 100),
)
def test_nobody_waits_for_more_polls_than_there_are_partitions(
    counts: list[int], most: int, each: int
) -> None:
    async def run() -> None:
        client = Client(counts)
        came: dict[KafkaPartition, list[int]] = {one: [] for one in client.partitions}
        waited = dict.fromkeys(client.partitions, 0)
        while any(len(came[one]) < counts[one.partition] for one in came):
            polled = await client.poll(most=most, each=each)
            assert sum(map(len, polled.values())) <= most
            assert all(len(offsets) <= each for offsets in polled.values())
            for one in client.partitions:
                is_over = len(came[one]) == counts[one.partition]
                waited[one] = 0 if one in polled or is_over else waited[one] + 1
                came[one] += polled.get(one, [])
            assert max(waited.values()) < len(counts)
        assert all(came[one] == list(range(counts[one.partition])) for one in came)

    asyncio.run(run())
