"""Offsets that were moved, translated or lost, on real brokers, by the engine and the commands."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata

from pipeline.config import KafkaSettings, Settings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.kafka.connection import admin_client, consumer_client, producer_client
from pipeline.kafka.groups import KafkaGroup, open_group
from pipeline.kafka.offsets import lag_reader
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import Subscription
from pipeline.local.broker import LocalBroker
from pipeline.model.errors import PipelineError
from pipeline.operators.offsets import GroupOffsets, Plan, import_from, reset, show
from pipeline.stream.engine import Engine
from pipeline.stream.ledger import CommitPoint, encode
from pipeline.stream.protocols import BrokerError, Committed, Fenced, TopicPartition
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from tests.brokers import FreshName
from tests.stream.workbench import until


class Site:
    """The topic that the stage `escalations` reads, its groups under two prefixes, an output."""

    def __init__(self, broker: LocalBroker, fresh_name: FreshName) -> None:
        self.broker = broker
        self.kafka: KafkaSettings = broker.settings
        self.topic, self.output = fresh_name("in"), fresh_name("out")
        self.old, self.new = fresh_name("old") + ".", fresh_name("new") + "."
        self.calls: Counter[bytes] = Counter()
        self.held: dict[bytes, asyncio.Event] = {}

    @property
    def partition(self) -> TopicPartition:
        return TopicPartition(self.topic, 0)

    def settings(self, prefix: str) -> Settings:
        kafka = self.kafka.model_copy(update={"group_prefix": prefix})
        return Settings(kafka=kafka, topics=TopicSettings(escalations=self.topic))

    async def create(self, *topics: str) -> None:
        configs = dict(self.broker.topic_configs)
        async with admin_client(self.kafka) as admin:
            await admin.create_topics(
                [NewTopic(name, 1, 1, topic_configs=configs) for name in topics]
            )

    async def publish(self, values: Sequence[bytes], at: datetime | None = None) -> None:
        stamp = None if at is None else round(at.timestamp() * 1000)
        async with producer_client(self.kafka) as producer:
            for value in values:
                await producer.send_and_wait(self.topic, value, key=value, timestamp_ms=stamp)

    async def results(self) -> list[bytes]:
        async with read_topics(self.kafka, [self.output]) as records:
            return sorted([record.value or b"" async for record in records])

    async def handle(self, record: Received) -> Outcome:
        value = record.value or b""
        self.calls[value] += 1
        if value in self.held:
            await self.held[value].wait()
        return Outcome(Disposition.ENRICHED, (Outgoing(self.output, record.key, value, ()),))

    @asynccontextmanager
    async def engine(self, prefix: str) -> AsyncIterator[Engine]:
        """From its assignment to a drain that waits for nothing that is held."""
        stream = StreamSettings(drain_budget=0.5)
        kafka = self.kafka.model_copy(update={"session_timeout": 6})
        made = Engine(
            "escalations",
            [self.topic],
            self.handle,
            brokers=KafkaBrokers(kafka, stream, TopicSettings(), "exactly_once"),
            group=f"{prefix}escalations",
            settings=stream,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        await until(lambda: made.status().is_ready or task.done())
        try:
            yield made
        finally:
            stop.set()
            await task

    async def committed(self, prefix: str) -> Committed | None:
        async with open_group(self.settings(prefix), f"{prefix}escalations") as group:
            return (await group.committed([self.partition]))[self.partition]

    async def commit(self, prefix: str, committed: Committed) -> None:
        async with open_group(self.settings(prefix), f"{prefix}escalations") as group:
            await group.commit({self.partition: committed})

    async def wait_for(self, prefix: str, offset: int) -> None:
        async def is_there() -> bool:
            found = await self.committed(prefix)
            return found is not None and found.offset >= offset

        await eventually(is_there)

    async def stopped_with_some_done_above(self) -> None:
        """Ten records of which 2 is not done and the committed offset is there."""
        await self.publish(values(0, 10))
        self.held[b"02"] = asyncio.Event()
        async with self.engine(self.old):
            await until(lambda: len(self.calls) == 10)

            async def are_published() -> bool:
                return len(await self.results()) == 9

            await eventually(are_published)
        self.held.clear()
        self.calls.clear()
        [first] = (await self.shown(self.old)).partitions
        assert (first.committed, first.done_above, first.unfinished) == (2, 7, 1)

    async def shown(self, prefix: str) -> GroupOffsets:
        settings = self.settings(prefix)
        [found] = [
            each
            async for each in show(
                settings, ["escalations"], lambda name: open_group(settings, name)
            )
        ]
        return found

    async def reset(self, to: str, *, keep_done: bool = False, execute: bool = True) -> Plan:
        settings = self.settings(self.old)
        return await reset(
            *(settings, "escalations", to, lambda name: open_group(settings, name)),
            now=datetime.now(UTC),
            keep_done=keep_done,
            execute=execute,
        )

    async def take_over(self) -> Plan:
        settings = self.settings(self.new)
        return await import_from(
            *(settings, "escalations", f"{self.old}escalations"),
            lambda name: open_group(settings, name),
            execute=True,
        )


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await is_so():  # noqa: ASYNC110 - the brokers are asked
            await asyncio.sleep(0.1)


def values(first: int, last: int) -> list[bytes]:
    return [b"%02d" % number for number in range(first, last)]


@pytest.fixture
async def site(any_broker: LocalBroker, fresh_name: FreshName) -> Site:
    made = Site(any_broker, fresh_name)
    await made.create(made.topic, made.output)
    return made


async def test_a_reset_backwards_does_again_what_it_said(site: Site) -> None:
    await site.stopped_with_some_done_above()
    plan = await site.reset("1", keep_done=True)
    assert (plan.again, plan.skipped, plan.executed) == (1, 0, True)
    async with site.engine(site.old):
        await site.wait_for(site.old, 10)
    assert site.calls == dict.fromkeys([b"01", b"02"], 1)
    plan = await site.reset("earliest")
    assert plan.again == 10
    async with site.engine(site.old):
        await site.wait_for(site.old, 10)
    assert site.calls == Counter(values(0, 10)) + Counter([b"01", b"02"])


async def test_a_reset_forwards_skips_what_it_said(site: Site) -> None:
    await site.stopped_with_some_done_above()
    assert (await site.reset("5", execute=False)).skipped == 1
    plan = await site.reset("5", keep_done=True)
    assert (plan.again, plan.skipped) == (0, 1)
    await site.publish([b"10"])
    async with site.engine(site.old):
        await site.wait_for(site.old, 11)
    assert site.calls == {b"10": 1}


async def test_a_reset_to_a_time_begins_with_the_first_record_from_then_on(site: Site) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    await site.publish(values(0, 3), at=hour_ago)
    await site.publish(values(3, 5))
    plan = await site.reset("30m")
    assert [move.becomes for move in plan.moves] == [3]


async def test_nothing_is_moved_while_the_group_has_members(site: Site) -> None:
    async with site.engine(site.old):
        assert (await site.shown(site.old)).members == 1
        with pytest.raises(PipelineError, match="1 members"):
            await site.reset("latest")
        with pytest.raises(BrokerError, match="has members"):
            await site.commit(site.old, Committed(0, ""))


async def test_a_renamed_group_that_takes_over_does_nothing_twice(site: Site) -> None:
    await site.stopped_with_some_done_above()
    plan = await site.take_over()
    assert (plan.again, plan.skipped, plan.executed) == (0, 0, True)
    async with site.engine(site.new):
        await site.wait_for(site.new, 10)
    assert site.calls == {b"02": 1}
    assert await site.results() == values(0, 10)


@pytest.mark.parametrize("to", ["earliest", "latest"])
async def test_offsets_that_another_tool_reset_lose_their_ledger_and_nothing_else(
    site: Site, to: str
) -> None:
    """As `kafka-consumer-groups --reset-offsets` does it: an offset, and no metadata."""
    await site.stopped_with_some_done_above()
    offset = 0 if to == "earliest" else 10
    async with consumer_client(
        site.kafka, group_id=f"{site.old}escalations", enable_auto_commit=False
    ) as tool:
        partition = KafkaPartition(*site.partition)
        tool.assign([partition])
        await tool.commit({partition: OffsetAndMetadata(offset, "")})
    await site.publish([b"10"])
    async with site.engine(site.old):
        await site.wait_for(site.old, 11)
    assert site.calls == Counter(values(offset, 11))


async def test_offsets_that_mirrormaker_translated_repeat_what_was_done_above_and_lose_nothing(
    site: Site, any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    await site.stopped_with_some_done_above()
    source = await site.committed(site.old)
    assert source is not None
    target = Site(any_broker, fresh_name)
    target.output = site.output
    await target.create(target.topic)
    # The copy lacks the first record, which had expired: each offset is one less.
    await target.publish(values(1, 10))
    await target.commit(target.old, Committed(source.offset - 1, source.metadata))
    first = (await target.shown(target.old)).partitions[0]
    assert "another offset" in str(first.fault)
    async with target.engine(target.old) as engine:
        await target.wait_for(target.old, 9)
        assert engine.status().is_ready
    assert target.calls == Counter(values(2, 10))
    assert {*await site.results()} == {*values(0, 10)}


async def test_a_log_that_ends_before_the_committed_offset_is_done_from_its_begin(
    site: Site,
) -> None:
    """Restored from an older copy, or created again."""
    await site.publish(values(0, 5))
    await site.commit(site.old, Committed(3, encode(CommitPoint(3, 90, (3,)))))
    async with site.engine(site.old):
        await site.wait_for(site.old, 5)
    assert site.calls == Counter(values(0, 5))


async def test_timestamps_a_day_off_cost_no_event_and_make_no_age_below_0(site: Site) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    async with lag_reader(site.kafka) as reader:
        # Brokers refuse what is an hour ahead or more, unless a topic permits it.
        await site.publish([b"0"], at=now + timedelta(minutes=59))
        ahead = await reader.sample(f"{site.old}escalations", [site.topic])
        assert (ahead.lag, ahead.oldest_seconds) == (1, 0)
        await site.publish([b"1"], at=now - day)
        async with site.engine(site.old):
            await site.wait_for(site.old, 2)
        done = await reader.sample(f"{site.old}escalations", [site.topic])
    assert (done.lag, done.oldest_seconds) == (0, None)
    assert site.calls == Counter([b"0", b"1"])


async def test_a_process_that_was_frozen_cannot_commit_over_a_move(site: Site) -> None:
    await site.publish(values(0, 5))
    settings = site.settings(site.old)
    brokers = KafkaBrokers(settings.kafka, settings.stream, settings.topics, "exactly_once")
    name = f"{site.old}escalations"
    frozen = brokers.transactional_session(name, site.partition)
    await frozen.start()
    try:
        await frozen.commit([], Committed(4, ""))
        await site.reset("1")
        with pytest.raises((Fenced, BrokerError)):
            await frozen.commit([], Committed(5, ""))
    finally:
        await frozen.close()
    assert await site.committed(site.old) == Committed(1, "")


async def test_a_topic_that_is_missing_is_reported(site: Site) -> None:
    settings = Settings(kafka=site.kafka, topics=TopicSettings(escalations=f"{site.topic}-none"))
    async with open_group(settings, "g") as group:
        assert isinstance(group, KafkaGroup)
        with pytest.raises(PipelineError, match="-none"):
            await group.partitions(Subscription((f"{site.topic}-none",)))
