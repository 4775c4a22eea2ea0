"""The queue: what waits, whatever the order in which records and marks are read."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.desk.queue import QueueReader, ReviewQueue, Wanted, waiting_of, worth_of
from pipeline.model.errors import PipelineError
from pipeline.operators.handled import HandledIndex
from pipeline.operators.selection import Place
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received
from pipeline.testing import MemoryBroker, MemoryTopicReader
from tests.operators.review.items import NAMES, NOON, case, outgoing, review
from tests.stream.virtual import virtual_time


def record(number: int, **changes: object) -> Received:
    return replace(case(number, **changes).record, timestamp=NOON + timedelta(seconds=number))


def mark(of: Received, number: int = 0) -> Received:
    """What says that a record was handled."""
    index = HandledIndex(NAMES.review, NAMES.resolved)
    made = index.outgoing(index.next(of, to="tickets.enriched", at=NOON, by="one"))
    return Received(NAMES.resolved, 0, number, made.key, made.value, (), NOON, NOON)


@given(st.sets(st.integers(0, 9)), st.randoms(use_true_random=False))
def test_what_is_handled_never_waits_in_whatever_order_it_is_read(
    handled: set[int], chance: random.Random
) -> None:
    records = [record(number) for number in range(10)]
    everything = [*records, *(mark(records[number]) for number in handled)]
    chance.shuffle(everything)
    queue = ReviewQueue(NAMES)
    for each in everything:
        if each.topic == NAMES.resolved:
            queue.mark(each)
        elif not queue.is_handled(each):
            queue.add(waiting_of(each))
    found = queue.select(Wanted(), start=0, limit=100)
    assert [each.place.offset for each in found.entries] == sorted(set(range(10)) - handled)


def test_a_mark_of_another_record_at_the_same_place_settles_nothing() -> None:
    queue, old = ReviewQueue(NAMES), record(3)
    queue.mark(mark(replace(old, timestamp=NOON - timedelta(days=9))))
    assert not queue.is_handled(old)


def test_it_can_be_asked_by_stage_and_doubt_and_in_every_order() -> None:
    queue = ReviewQueue(NAMES)
    two = [{"code": "a", "detail": ""}, {"code": "b", "detail": ""}]
    queue.add(waiting_of(record(1)))
    queue.add(waiting_of(record(2, stage="invoices", sonnet_result={"due": "7.5"}, doubts=two)))
    queue.add(waiting_of(record(3, stage="invoices", sonnet_result={"gross": "80", "due": None})))

    def asked(**wanted: object) -> list[int]:
        found = queue.select(Wanted(**wanted), start=0, limit=9)  # type: ignore[arg-type]
        return [each.place.offset for each in found.entries]

    assert asked() == [1, 2, 3]
    assert asked(order="newest") == [3, 2, 1]
    assert asked(order="value") == [3, 2, 1]
    assert asked(order="doubts") == [2, 1, 3]
    assert asked(stages=["invoices"]) == [2, 3]
    assert asked(doubts=["b"]) == [2]
    found = queue.select(Wanted(), start=1, limit=1, without=[Place(3, 3)])
    assert (found.matching, [each.place.offset for each in found.entries]) == (2, [2])
    assert found.stages == {"tickets": 1, "invoices": 1}


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1" * 500, "many", "", None, 5, ["5"]])
def test_an_amount_that_is_none_is_no_value(amount: object) -> None:
    made = review(0, haiku_result=None, sonnet_result={"due": amount})
    assert worth_of(made) == (None, "")


def test_memory_is_bounded_and_what_was_left_out_is_counted() -> None:
    queue = ReviewQueue(NAMES, most=4)
    for number in range(6):
        queue.add(waiting_of(record(number)))
    queue.add(waiting_of(replace(record(0), value=b"no review item")))
    assert (len(queue), queue.left_out, queue.unreadable) == (4, 2, 1)
    for number in range(2):
        assert not queue.is_short()
        queue.remove(Place(3, number))
    assert queue.is_short()


class World:
    """A queue that reads from the broker in memory."""

    def __init__(self, most: int = 100) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic(NAMES.review, 2)
        self.broker.create_topic(NAMES.resolved)
        self.fails = 0
        self.reader = QueueReader(
            ReviewQueue(NAMES, most), MemoryTopicReader(self.broker), self.partitions
        )

    async def partitions(self, topics: Sequence[str]) -> Sequence[TopicPartition]:
        if self.fails:
            self.fails -= 1
            raise PipelineError("The brokers are away.")
        return [each for topic in topics for each in self.broker.partitions_of(topic)]

    def publish(self, number: int) -> None:
        made = outgoing(review(number), key=b"%d" % number)
        self.broker.publish(made.topic, made.value, key=made.key)

    async def until(self, count: int) -> None:
        while len(self.reader.queue) != count:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.01)


@virtual_time
async def test_it_is_loaded_once_and_then_follows_the_topics() -> None:
    world = World()
    for number in range(5):
        world.publish(number)
    running = asyncio.create_task(world.reader.run())
    await world.reader.loaded.wait()
    assert len(world.reader.queue) == 5
    world.publish(5)
    await world.until(6)
    [first, *_] = world.reader.queue.select(Wanted(), start=0, limit=1).entries
    async with MemoryTopicReader(world.broker)([NAMES.review]) as records:
        of = next(r for r in [r async for r in records] if r.offset == first.place.offset
                  and r.partition == first.place.partition)  # fmt: skip
    made = mark(of)
    world.broker.publish(NAMES.resolved, made.value, key=made.key)
    await world.until(5)
    running.cancel()


@virtual_time
async def test_while_brokers_are_away_it_says_so_and_goes_on_afterwards() -> None:
    world = World()
    world.publish(0)
    world.fails = 2
    running = asyncio.create_task(world.reader.run())
    while world.reader.problem is None:  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0.01)
    assert world.reader.problem == "The brokers are away."
    await world.reader.loaded.wait()
    assert not world.reader.problem
    assert len(world.reader.queue) == 1
    running.cancel()


@virtual_time
async def test_what_was_left_out_comes_once_half_of_the_others_is_settled() -> None:
    world = World(most=4)
    for number in range(6):
        world.publish(number)
    running = asyncio.create_task(world.reader.run())
    await world.reader.loaded.wait()
    queue = world.reader.queue
    assert (len(queue), queue.left_out) == (4, 2)
    async with MemoryTopicReader(world.broker)([NAMES.review]) as records:
        held = [
            record async for record in records if queue.at(Place(record.partition, record.offset))
        ]
    for each in held[:3]:
        made = mark(each)
        world.broker.publish(NAMES.resolved, made.value, key=made.key)
    await world.until(3)
    assert queue.left_out == 0
    running.cancel()
