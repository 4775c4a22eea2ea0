"""Several topics for one stage, several stages for one topic, and topics that appear later."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pipeline.config import StreamSettings
from pipeline.stream.engine import Engine
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Disposition, Handler, Outcome, Outgoing, Received
from pipeline.testing import MemoryBroker, MemoryBrokers
from pipeline.testing.memory_clients import transactional_id
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Notes, until

SHOPS = r"(?!(?:shop\.out)\Z)(?:shop\..*)\Z"


class Seen:
    """A handler that notes what it gets, and copies it to a topic of its own."""

    def __init__(self, output: str) -> None:
        self.output = output
        self.records: list[Received] = []

    async def __call__(self, record: Received) -> Outcome:
        self.records.append(record)
        await asyncio.sleep(0)
        copy = Outgoing(self.output, record.key, record.value, ())
        return Outcome(Disposition.ENRICHED, (copy,))

    def values(self, topic: str) -> list[bytes | None]:
        return [record.value for record in self.records if record.topic == topic]


@asynccontextmanager
async def serving(
    broker: MemoryBroker,
    handler: Handler,
    topics: Sequence[str] = (),
    *,
    pattern: str | None = None,
    stage: str = "stage",
    process: str = "one",
    observer: Notes | None = None,
) -> AsyncIterator[Engine]:
    engine = Engine(
        stage,
        topics,
        handler,
        brokers=MemoryBrokers(broker, process=process),
        group=f"pipeline.{stage}",
        settings=StreamSettings(),
        observer=observer or Notes(),
        pattern=pattern,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    await until(lambda: engine.status().is_ready)
    yield engine
    stop.set()
    await task


def broker_with(*topics: str, partitions: int = 2) -> MemoryBroker:
    broker = MemoryBroker()
    for topic in topics:
        broker.create_topic(topic, partitions)
    return broker


def published(broker: MemoryBroker, topic: str) -> list[bytes | None]:
    return [
        entry.record.value
        for entries in broker.committed_records(topic).values()
        for entry in entries
        if entry.record is not None
    ]


@virtual_time
async def test_a_stage_reads_several_topics_each_key_of_a_partition_in_order() -> None:
    broker, seen = broker_with("a", "b", "out"), Seen("out")
    for number in range(60):
        for topic in ("a", "b"):
            broker.publish(topic, b"%s-%d" % (topic.encode(), number), key=b"k%d" % (number % 5))

    async with serving(broker, seen, ["a", "b"]):
        await until(lambda: len(published(broker, "out")) == 120)

    in_order: defaultdict[tuple[str, int, bytes | None], list[int]] = defaultdict(list)
    for record in seen.records:
        in_order[record.topic, record.partition, record.key].append(record.offset)
    assert len(in_order) == 10
    assert all(offsets == sorted(offsets) for offsets in in_order.values())
    committed = broker.group("pipeline.stage").committed
    assert {partition.topic for partition in committed} == {"a", "b"}
    assert all(committed[each].offset == broker.bounds(each).end for each in committed)


@virtual_time
async def test_stages_that_read_one_topic_each_see_all_of_it_and_commit_for_themselves() -> None:
    broker = broker_with("in", "one", "two")
    one, two = Seen("one"), Seen("two")
    values = [b"%d" % number for number in range(20)]
    async with serving(broker, one, ["in"], stage="one"):
        for value in values[:10]:
            broker.publish("in", value, key=value)
        await until(lambda: len(published(broker, "one")) == 10)
    async with (
        serving(broker, one, ["in"], stage="one"),
        serving(broker, two, ["in"], stage="two", process="two"),
    ):
        for value in values[10:]:
            broker.publish("in", value, key=value)
        await until(lambda: len(published(broker, "one") + published(broker, "two")) == 40)

    assert sorted(one.values("in"), key=str) == sorted(two.values("in"), key=str)
    assert len(one.values("in")) == len(set(one.values("in"))) == 20
    partition = TopicPartition("in", 0)
    assert transactional_id("pipeline.one", partition) != transactional_id(
        "pipeline.two", partition
    )
    assert broker.group("pipeline.one").committed == broker.group("pipeline.two").committed


@virtual_time
async def test_topics_that_match_are_taken_up_as_they_are_made_without_a_restart() -> None:
    broker, seen, notes = broker_with("shop.a", "shop.out", "else"), Seen("shop.out"), Notes()
    async with serving(broker, seen, pattern=SHOPS, observer=notes) as engine:
        broker.publish("shop.a", b"first", key=b"1")
        await until(lambda: len(published(broker, "shop.out")) == 1)
        broker.create_topic("shop.b", 3)
        for value in (b"second", b"third"):
            broker.publish("shop.b", value, key=value)
        broker.publish("else", b"not ours", key=b"1")
        await until(lambda: len(published(broker, "shop.out")) == 3)
        topics = {each.topic for each in engine.status().partitions}

    assert topics == {"shop.a", "shop.b"}
    assert sorted(seen.values("shop.b"), key=str) == [b"second", b"third"]
    assert len(seen.records) == 3


@virtual_time
async def test_what_is_under_way_goes_on_while_a_topic_is_taken_up() -> None:
    broker, held = broker_with("shop.a", "shop.out", partitions=1), asyncio.Event()
    seen = Seen("shop.out")

    async def handle(record: Received) -> Outcome:
        outcome = await seen(record)
        if record.topic == "shop.a":
            await held.wait()
        return outcome

    async with serving(broker, handle, pattern=SHOPS):
        broker.publish("shop.a", b"long", key=b"1")
        await until(lambda: len(seen.records) == 1)
        broker.create_topic("shop.b")
        broker.publish("shop.b", b"short", key=b"1")
        await until(lambda: published(broker, "shop.out") == [b"short"])
        held.set()
        await until(lambda: len(published(broker, "shop.out")) == 2)

    assert [record.value for record in seen.records] == [b"long", b"short"]


@virtual_time
async def test_a_pattern_that_matches_nothing_yet_waits_and_is_ready() -> None:
    broker, seen = broker_with("shop.out"), Seen("shop.out")
    async with serving(broker, seen, pattern=SHOPS) as engine:
        await asyncio.sleep(600)
        assert engine.status().reason is None
        assert engine.status().lag == 0
        broker.create_topic("shop.first")
        broker.publish("shop.first", b"at last", key=b"1")
        await until(lambda: published(broker, "shop.out") == [b"at last"])


@virtual_time
async def test_a_topic_that_is_named_and_missing_is_said_and_the_others_are_read() -> None:
    broker, seen = broker_with("a", "out"), Seen("out")
    engine = Engine(
        "stage", ["a", "late"], seen, brokers=MemoryBrokers(broker), group="pipeline.stage",
        settings=StreamSettings(),
    )  # fmt: skip
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    broker.publish("a", b"meanwhile", key=b"1")
    await until(lambda: published(broker, "out") == [b"meanwhile"])
    assert "no topic late" in (engine.status().reason or "")

    stop.set()
    await task


@virtual_time
async def test_two_members_share_what_a_pattern_matches() -> None:
    broker, one, two = broker_with("shop.a", "shop.out"), Seen("shop.out"), Seen("shop.out")
    async with (
        serving(broker, one, pattern=SHOPS, process="one") as first,
        serving(broker, two, pattern=SHOPS, process="two") as second,
    ):
        broker.create_topic("shop.b", 2)
        for number in range(40):
            broker.publish("shop.a", b"a%d" % number, key=b"%d" % number)
            broker.publish("shop.b", b"b%d" % number, key=b"%d" % number)
        await until(lambda: len(published(broker, "shop.out")) == 80)
        await until(lambda: {len(each.status().partitions) for each in (first, second)} == {2})

    assert len(set(published(broker, "shop.out"))) == 80
