"""A publisher on the broker in memory: each action once, whatever happens on the way."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.config import Delivery
from pipeline.kafka.writer import ProducerFenced
from pipeline.model.records import FORGOTTEN
from pipeline.operators.handled import Action, IdempotentPublisher, NotDone
from pipeline.stream.protocols import BrokerError, TopicPartition
from pipeline.stream.records import Outgoing, Received
from pipeline.testing import Fault, Faults, MemoryBroker, MemoryBrokers, MemoryTopicReader, NoFaults
from tests.operators.audited import audited, command
from tests.stream.virtual import virtual_time

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class World:
    """A broker with records that wait, and the topics of what is done about them."""

    def __init__(self, waiting: int = 3, partitions: int = 1) -> None:
        self.broker = MemoryBroker(max_message_bytes=1000)
        for topic in ("waiting", "out"):
            self.broker.create_topic(topic, partitions)
        self.broker.create_topic("marks")
        self.broker.create_topic("audit")
        for number in range(waiting):
            self.broker.publish("waiting", b"%d" % number, key=b"%d" % number)

    def publisher(
        self,
        process: str = "one",
        faults: Faults | None = None,
        delivery: Delivery = "exactly_once",
    ) -> IdempotentPublisher:
        brokers = MemoryBrokers(self.broker, process=process, faults=faults, delivery=delivery)
        return self.publisher_over(brokers, process)

    def publisher_over(self, brokers: MemoryBrokers, name: str) -> IdempotentPublisher:
        return IdempotentPublisher(
            "waiting",
            "marks",
            command(),
            group="pipeline.desk",
            name=name,
            brokers=brokers,
            read=MemoryTopicReader(self.broker),
            clock=lambda: NOON,
        )

    async def waiting(self) -> list[Received]:
        async with MemoryTopicReader(self.broker)(["waiting"]) as records:
            return [record async for record in records]

    def out(self) -> Counter[bytes | None]:
        """How often each value came out, to a committed reader."""
        found: Counter[bytes | None] = Counter()
        for entries in self.broker.committed_records("out").values():
            found.update(entry.record.value for entry in entries if entry.record)
        return found

    def publishers(self) -> dict[bytes | None, bytes]:
        """Who published each value, to a committed reader."""
        return {
            entry.record.value: dict(entry.record.headers)["by"] or b""
            for entries in self.broker.committed_records("out").values()
            for entry in entries
            if entry.record
        }


def copies(records: Sequence[Received], *, again: bool = False, by: bytes = b"one") -> list[Action]:
    return [
        Action(record, Outgoing("out", record.key, record.value, (("by", by),)), again)
        for record in records
    ]


class Scripted(NoFaults):
    """One fault at one request, counted by its name."""

    def __init__(self, request: str, fault: Fault, *, at: int = 1) -> None:
        self._request, self._fault, self._left = request, fault, at
        self.happened = asyncio.Event()

    def next(self, process: str, request: str) -> Fault:
        if request == self._request:
            self._left -= 1
            if self._left == 0:
                self.happened.set()
                return self._fault
        return Fault()


@virtual_time
async def test_what_was_done_is_not_done_again() -> None:
    world = World()
    waiting = await world.waiting()
    async with world.publisher() as publisher:
        first = await publisher.publish(copies(waiting[:2]))
        assert [action.record for action in first.done] == waiting[:2]
    async with world.publisher() as publisher:
        second = await publisher.publish(copies(waiting))
    assert [action.record for action in second.done_before] == waiting[:2]
    assert [action.record for action in second.done] == waiting[2:]
    assert world.out() == {b"0": 1, b"1": 1, b"2": 1}


@virtual_time
async def test_it_can_be_done_again_on_purpose_and_is_counted() -> None:
    world = World(1)
    waiting = await world.waiting()
    async with world.publisher() as publisher:
        for _ in range(3):
            await publisher.publish(copies(waiting, again=True))
        entry = publisher.entry(waiting[0])
    assert entry is not None
    assert entry.times == 3
    assert world.out() == {b"0": 3}


@virtual_time
async def test_who_did_it_is_published_with_it() -> None:
    world = World()
    waiting = await world.waiting()
    async with world.publisher() as publisher:
        await publisher.publish(copies(waiting[:2]))
        await publisher.publish(copies(waiting))
        await publisher.publish(copies(waiting))
    records = audited(world.broker)
    assert [(each.person, each.did, each.topic, each.count) for each in records] == [
        ("ada", "replayed", "waiting", 2),
        ("ada", "replayed", "waiting", 1),
    ]


@virtual_time
async def test_what_is_forgotten_is_only_marked_and_is_never_published_again() -> None:
    world = World()
    waiting = await world.waiting()
    forget = [Action(waiting[0], None, again=True, reason=FORGOTTEN)]
    async with world.publisher() as publisher:
        assert len((await publisher.publish(forget)).done) == 1
        assert len((await publisher.publish(forget)).done_before) == 1
    async with world.publisher("two") as publisher:
        done = await publisher.publish(copies(waiting[:2], again=True))
        entry = publisher.entry(waiting[0])
    assert [action.record for action in done.done_before] == waiting[:1]
    assert entry is not None
    assert entry.is_forgotten
    assert world.out() == {b"1": 1}


@virtual_time
async def test_what_was_done_before_can_be_forgotten() -> None:
    world = World(1)
    waiting = await world.waiting()
    async with world.publisher() as publisher:
        await publisher.publish(copies(waiting))
        await publisher.publish([Action(waiting[0], None, again=True, reason=FORGOTTEN)])
        done = await publisher.publish(copies(waiting, again=True))
    assert (len(done.done), world.out()) == (0, {b"0": 1})


@pytest.mark.parametrize("request_name", ["init", "begin", "write", "end"])
@pytest.mark.parametrize("loss", ["request", "response"])
@pytest.mark.parametrize("again", [False, True])
def test_a_lost_request_or_answer_doubles_nothing(
    request_name: str, loss: str, again: bool
) -> None:
    @virtual_time
    async def scenario() -> None:
        world = World()
        waiting = await world.waiting()
        fault = Scripted(request_name, Fault(loss=loss))  # type: ignore[arg-type]
        if request_name == "init":
            with pytest.raises(BrokerError):
                async with world.publisher(faults=fault):
                    pass
        async with world.publisher(faults=fault) as publisher:
            done = await publisher.publish(copies(waiting, again=again))
        assert len(done.done) == 3
        assert world.out() == {b"0": 1, b"1": 1, b"2": 1}

    scenario()


@virtual_time
async def test_a_refusal_that_passes_is_tried_again() -> None:
    world = World()
    faults = Scripted("end", Fault(is_refused=True))
    async with world.publisher(faults=faults) as publisher:
        await publisher.publish(copies(await world.waiting()))
    assert sum(world.out().values()) == 3


@virtual_time
async def test_brokers_that_never_take_it_end_it_and_nothing_is_done() -> None:
    class Never(NoFaults):
        def next(self, process: str, request: str) -> Fault:
            return Fault(is_refused=request == "write")

    world = World()
    async with world.publisher(faults=Never()) as publisher:
        with pytest.raises(NotDone, match="run this again"):
            await publisher.publish(copies(await world.waiting()))
    assert not world.out()


@virtual_time
async def test_of_two_at_once_the_later_goes_on_and_the_earlier_is_fenced() -> None:
    world = World()
    waiting = await world.waiting()
    async with world.publisher("early") as early:
        await early.publish(copies(waiting[:1]))
        async with world.publisher("late") as late:
            done = await late.publish(copies(waiting))
            with pytest.raises(ProducerFenced, match="Another process"):
                await early.publish(copies(waiting[1:]))
    assert len(done.done) == 2
    assert world.out() == {b"0": 1, b"1": 1, b"2": 1}


@pytest.mark.parametrize("again", [False, True])
@virtual_time
async def test_what_another_process_did_while_an_answer_was_lost_is_not_taken_for_its_own(
    again: bool,
) -> None:
    world = World()
    waiting = await world.waiting()

    async def late() -> None:
        async with world.publisher("late") as publisher:
            await publisher.publish(copies(waiting[:1], by=b"late"))

    lost = Scripted("write", Fault(loss="request"))
    async with world.publisher("early", lost) as early, asyncio.TaskGroup() as tasks:
        doing = tasks.create_task(fenced(early, copies(waiting, again=again, by=b"early")))
        await lost.happened.wait()
        await late()
        assert await doing
    assert world.publishers() == {b"0": b"late"}


async def fenced(publisher: IdempotentPublisher, actions: Sequence[Action]) -> bool:
    with pytest.raises(ProducerFenced):
        await publisher.publish(actions)
    return True


@virtual_time
async def test_what_is_too_large_is_refused_and_the_rest_is_done() -> None:
    world = World()
    actions = copies(await world.waiting())
    large = replace(actions[1], outgoing=Outgoing("out", b"k", bytes(2000), ()))
    async with world.publisher() as publisher:
        done = await publisher.publish([actions[0], large, actions[2]])
        assert publisher.entry(large.record) is None
    assert [action for action, _ in done.refused] == [large]
    assert len(done.done) == 2
    assert world.out() == {b"0": 1, b"2": 1}


@virtual_time
async def test_where_what_goes_beside_it_is_too_large_it_is_refused_with_that() -> None:
    world = World()
    actions = copies(await world.waiting())
    large = replace(actions[1], beside=(Outgoing("out", b"k", bytes(2000), ()),))
    async with world.publisher() as publisher:
        done = await publisher.publish([actions[0], large, actions[2]])
        assert publisher.entry(large.record) is None
    assert [action for action, _ in done.refused] == [large]
    assert world.out() == {b"0": 1, b"2": 1}


@virtual_time
async def test_without_transactions_it_is_done_and_marked_too() -> None:
    world = World()
    waiting = await world.waiting()
    for expected in (3, 0):
        async with world.publisher(delivery="at_least_once") as publisher:
            assert len((await publisher.publish(copies(waiting))).done) == expected
    assert world.out() == {b"0": 1, b"1": 1, b"2": 1}


@virtual_time
async def test_marks_of_records_that_are_gone_are_removed() -> None:
    world = World()
    waiting = await world.waiting()
    async with world.publisher() as publisher:
        await publisher.publish(copies(waiting[:2]))
    world.broker.log(TopicPartition("waiting", 0)).trim(1)
    async with world.publisher() as publisher:
        await publisher.publish(copies(waiting[2:]))
    [entries] = world.broker.committed_records("marks").values()
    tombstones = [e.record.key for e in entries if e.record and e.record.value is None]
    assert tombstones == [b"waiting/0/0"]


class Erratic(NoFaults):
    """Delays and losses by a seed, and after a while an end to them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self, process: str, request: str) -> Fault:
        delay = self._random.choice([0.0, 0.0, 0.3, 2.0])
        if self._random.random() < 0.15:
            return Fault(before=delay, loss=self._random.choice(["request", "response"]))
        return Fault(before=delay, is_refused=self._random.random() < 0.05)


@pytest.mark.parametrize("seed", range(40))
def test_each_record_is_published_once_when_operators_work_at_once_and_crash(
    seed: int,
) -> None:
    @virtual_time
    async def history() -> None:
        world = World(waiting=24, partitions=3)
        waiting = await world.waiting()
        chance = random.Random(seed)
        reported: list[tuple[bytes, bytes | None]] = []

        async def operator(name: str) -> None:
            """Works through all of them, and comes back until there are none left."""
            for time in range(4):
                brokers = MemoryBrokers(
                    world.broker, process=name, faults=Erratic(seed + sum(name.encode()))
                )
                dies_after = chance.choice([None, 3.0, 8.0])
                if dies_after is not None:
                    asyncio.get_running_loop().call_later(dies_after, brokers.link.cut)
                by = f"{name}-{time}"
                reported.extend(
                    [
                        (by.encode(), value)
                        for value in await attempt(
                            world.publisher_over(brokers, by),
                            copies(waiting, by=by.encode()),
                            chance.randint(1, 7),
                        )
                    ]
                )
                await asyncio.sleep(chance.random())

        await asyncio.gather(*(operator(name) for name in ("ada", "bo", "cy")))
        async with world.publisher("last") as publisher:
            await publisher.publish(copies(waiting))
        assert world.out() == {b"%d" % number: 1 for number in range(24)}
        publishers = world.publishers()
        assert all(publishers[value] == by for by, value in reported)
        assert sum(record.count for record in audited(world.broker)) == 24

    history()


async def attempt(
    publisher: IdempotentPublisher, actions: Sequence[Action], size: int
) -> list[bytes | None]:
    """Carry out what there is, as far as the brokers let it; the values that it says were."""
    reported: list[bytes | None] = []
    try:
        async with publisher:
            for start in range(0, len(actions), size):
                done = await publisher.publish(actions[start : start + size])
                reported += [each.outgoing.value for each in done.done if each.outgoing]
    except (ProducerFenced, NotDone, BrokerError):
        pass
    return reported
