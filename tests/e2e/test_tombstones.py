"""From a topic whose keys are deleted to results whose keys are deleted, as the settings say."""

import asyncio

import orjson
import pytest
from prometheus_client import CollectorRegistry

from benchmarks.responder import ANSWER
from benchmarks.tickets import charged_twice
from pipeline.app import App
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stream.protocols import TopicPartition
from pipeline.testing import MemoryBroker, MemoryBrokers
from pipeline.testing.fakes import FakeClient, message
from tests.stream.virtual import virtual_time
from tests.stream.workbench import until


@pytest.mark.parametrize("tombstones", [False, True])
def test_a_tombstone_follows_the_result_of_its_key_where_that_is_set(tombstones: bool) -> None:
    @virtual_time
    async def scenario() -> None:
        given = {"stages": {"tickets": {"output": {"tombstones": tombstones}}}}
        settings, broker = Settings.model_validate(given), MemoryBroker()
        names, stop = TopicNames(settings.topics), asyncio.Event()
        for topic in (names.raw("tickets"), names.enriched("tickets"), names.escalations):
            broker.create_topic(topic)
        client = FakeClient(lambda _: message(ANSWER), seconds=lambda: 0.3)
        metrics = Metrics(CollectorRegistry(), Conditions())
        clock = asyncio.get_running_loop().time
        async with Gateway(settings, client=client, clock=clock, observer=metrics) as gateway:
            app, brokers = App(settings, ["tickets"]), MemoryBrokers(broker)
            engine = app.engine("tickets", gateway, brokers, metrics, None, throttle=None)
            running = asyncio.create_task(engine.run(stop))
            event = charged_twice(1)
            value = orjson.dumps({"id": event.id, "body": event.body})
            broker.publish(names.raw("tickets"), value, key=b"k")
            broker.publish(names.raw("tickets"), None, key=b"k")
            raw = TopicPartition(names.raw("tickets"), 0)
            committed = broker.group("pipeline.tickets").committed
            await until(lambda: raw in committed and committed[raw].offset == 2)
            stop.set()
            await running
        records = [
            entry.record
            for topic in (names.enriched("tickets"), names.escalations)
            for entries in broker.committed_records(topic).values()
            for entry in entries
            if entry.record is not None
        ]
        assert [each.key for each in records] == [b"k"] * (1 + tombstones)
        assert [each.value is None for each in records] == [False, True][: 1 + tombstones]

    scenario()
