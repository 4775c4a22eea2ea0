"""Topics that change while they are consumed, and what a group that is new says of their past."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import NewPartitions, NewTopic

from pipeline.config import KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.kafka.connection import admin_client, producer_client
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import LocalBroker
from pipeline.stream.engine import Engine
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.testing.memory_clients import MemoryBrokers
from tests.brokers import FreshName
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, running, until

TAKEN_UP_WITHIN = 30.0


class Grown:
    """A topic that is changed, and an engine that notes what it reads of it."""

    def __init__(self, broker: LocalBroker, name: str, group: str) -> None:
        self.broker = broker
        self.settings: KafkaSettings = broker.settings
        self.topic = name
        self.group = group
        self.seen: list[bytes | None] = []

    async def create(self, partitions: int) -> None:
        async with admin_client(self.settings) as admin:
            configs = dict(self.broker.topic_configs)
            await admin.create_topics([NewTopic(self.topic, partitions, 1, topic_configs=configs)])

    async def publish(self, value: bytes, partition: int) -> None:
        async with producer_client(self.settings) as producer:
            await producer.send_and_wait(self.topic, value, partition=partition)

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        async def handle(record: Received) -> Outcome:
            self.seen.append(record.value)
            return Outcome(Disposition.ENRICHED, ())

        settings = StreamSettings()
        made = Engine(
            "stage",
            [self.topic],
            handle,
            brokers=KafkaBrokers(self.settings, settings, TopicSettings(), "exactly_once"),
            group=self.group,
            settings=settings,
        )
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        try:
            yield made
        finally:
            stop.set()
            await task


@pytest.fixture
async def grown(any_broker: LocalBroker, fresh_name: FreshName) -> Grown:
    return Grown(any_broker, fresh_name("in"), fresh_name("group"))


async def test_partitions_that_are_added_are_taken_up_by_themselves(grown: Grown) -> None:
    await grown.create(1)
    await grown.publish(b"first", 0)
    async with grown.engine() as engine:
        await until(lambda: grown.seen == [b"first"])
        async with admin_client(grown.settings) as admin:
            await admin.create_partitions({grown.topic: NewPartitions(total_count=3)})
        await grown.publish(b"second", 2)
        await until(lambda: grown.seen == [b"first", b"second"], within=TAKEN_UP_WITHIN)
        assert {each.partition for each in engine.status().partitions} == {0, 1, 2}


@pytest.mark.kafka
async def test_a_topic_that_is_deleted_is_not_served_and_taken_up_when_it_is_there_again(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    """The embedded broker makes a topic as soon as anybody asks for it."""
    grown = Grown(apache_kafka, fresh_name("in"), fresh_name("group"))
    await grown.create(1)
    await grown.publish(b"first", 0)
    async with grown.engine() as engine:
        await until(lambda: grown.seen == [b"first"])
        # A commit that races with the deletion may outlive it: docs/DELIVERY.md.
        await until(lambda: all(each.in_flight == 0 for each in engine.status().partitions))
        async with admin_client(grown.settings) as admin:
            await admin.delete_topics([grown.topic])
        await until(
            lambda: f"no topic {grown.topic}" in str(engine.status().reason),
            within=TAKEN_UP_WITHIN,
        )
        await grown.create(2)
        await grown.publish(b"second", 0)
        await grown.publish(b"third", 1)
        await until(
            lambda: sorted(grown.seen, key=str) == [b"first", b"second", b"third"],
            within=TAKEN_UP_WITHIN,
        )
        await until(lambda: engine.status().reason is None, within=TAKEN_UP_WITHIN)


@virtual_time
async def test_a_topic_that_does_not_exist_means_not_ready() -> None:
    bench = Bench()
    brokers = MemoryBrokers(bench.broker, process="one")
    engine = Engine(
        "stage", ["nowhere"], bench.handler, brokers=brokers, group="g", settings=StreamSettings()
    )
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    await until(lambda: "no topic nowhere" in str(engine.status().reason))
    assert not engine.status().is_ready
    stop.set()
    await task


@virtual_time
async def test_a_new_group_warns_once_that_it_will_read_and_pay_for_what_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    bench = Bench(partitions=2)
    bench.publish(*(b"%d" % number for number in range(1200)))
    async with running(bench):
        await until(lambda: len(bench.output()) == 1200)
        await asyncio.sleep(10)
    [line] = [line for line in caplog.messages if "committed nothing yet" in line]
    assert "2 partitions of in" in line
    assert "1,200 records" in line
    assert "pipeline cost" in line
    assert '"latest"' in line
    caplog.clear()
    async with running(bench, process="two"):
        await asyncio.sleep(10)
    assert not [line for line in caplog.messages if "committed nothing yet" in line]


@virtual_time
async def test_a_new_group_on_an_empty_topic_has_nothing_to_say(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    async with running(bench):
        await asyncio.sleep(5)
        bench.publish(b"a")
        await until(lambda: len(bench.output()) == 1)
        await asyncio.sleep(5)
    assert "committed nothing yet" not in caplog.text
