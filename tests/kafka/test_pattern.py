"""Topics by a pattern on real brokers: those that appear later are taken up without a restart."""

import asyncio
import re
from collections import Counter

import pytest
from aiokafka.admin import NewTopic

from pipeline.config import StreamSettings, TopicSettings, load_settings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.kafka.connection import admin_client, consumer_client, producer_client
from pipeline.kafka.offsets import lag_reader
from pipeline.kafka.topics import TopicNames
from pipeline.local.broker import LocalBroker
from pipeline.stream.engine import Engine
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from tests.brokers import FreshName
from tests.stream.workbench import until

PARTITIONS = 2


async def create(broker: LocalBroker, *names: str) -> None:
    configs = dict(broker.topic_configs)
    async with admin_client(broker.settings) as admin:
        await admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=configs) for name in names]
        )


async def publish(broker: LocalBroker, topic: str, count: int) -> None:
    async with producer_client(broker.settings) as producer:
        for number in range(count):
            value = f"{topic}/{number}".encode()
            await producer.send_and_wait(topic, value, key=b"%d" % (number % 3))


async def read(broker: LocalBroker, topic: str, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with consumer_client(
        broker.settings, isolation_level="read_committed", auto_offset_reset="earliest"
    ) as consumer:
        consumer.subscribe([topic])
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record.value for record in records]
    return found


async def test_a_topic_that_appears_later_is_read_and_what_is_written_never_is(
    any_broker: LocalBroker, fresh_name: FreshName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.consumer._METADATA_AGE", 0.3)
    base = fresh_name("shop")
    first, later, result, other = f"{base}.a", f"{base}.b", f"{base}.out", f"x.{base}.a"
    stage = {
        "kind": "texts",
        "input": {"pattern": rf"{re.escape(base)}\..*"},
        "output": {"topic": result},
    }
    names = TopicNames.under(load_settings(stages={"shops": stage}))
    subscription = names.read_by("shops")
    await create(any_broker, first, result, other)
    calls: Counter[bytes | None] = Counter()
    slow = asyncio.Event()

    async def handle(record: Received) -> Outcome:
        calls[record.value] += 1
        if record.value == f"{first}/0".encode():
            await slow.wait()
        copy = Outgoing(names.enriched("shops"), record.key, record.value, ())
        return Outcome(Disposition.ENRICHED, (copy,))

    engine = Engine(
        "shops",
        subscription.topics,
        handle,
        brokers=KafkaBrokers(
            any_broker.settings, StreamSettings(), TopicSettings(), "exactly_once"
        ),
        group=fresh_name("group"),
        settings=StreamSettings(drain_budget=3),
        pattern=subscription.pattern,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    await until(lambda: engine.status().is_ready or task.done())
    await publish(any_broker, first, 20)
    await until(lambda: len(calls) > 10 or task.done())
    # While a record is under way, whose partition must be kept through it.
    await create(any_broker, later)
    await publish(any_broker, later, 20)
    await publish(any_broker, other, 5)
    await until(lambda: any(b".b/" in (value or b"") for value in calls) or task.done())
    slow.set()
    await until(lambda: len(calls) == 40 or task.done())
    status = engine.status()
    found = await read(any_broker, result, 40)
    async with lag_reader(any_broker.settings) as reader:
        sample = await reader.sample(engine.group, subscription)
    stop.set()
    await task

    assert Counter(found) == Counter(
        f"{topic}/{n}".encode() for topic in (first, later) for n in range(20)
    )
    assert set(calls.values()) == {1}
    assert {partition.topic for partition in status.partitions} == {first, later}
    assert {lag.topic for lag in sample.partitions} == {first, later}
