"""Settings of stages that change while a process runs."""

import asyncio
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from benchmarks.responder import ANSWER
from pipeline.app import App
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stream.protocols import TopicPartition
from pipeline.testing import MemoryBroker, MemoryBrokers
from pipeline.testing.fakes import FakeClient, message
from tests.stream.virtual import virtual_time
from tests.stream.workbench import until

STRICT = {"thresholds": {"stages": {"tickets": {"low_confidence": 0.001}}}}


def records_of(broker: MemoryBroker, topic: str) -> list[Any]:
    return [
        orjson.loads(entry.record.value)
        for entries in broker.committed_records(topic).values()
        for entry in entries
        if entry.record is not None and entry.record.value is not None
    ]


@virtual_time
async def test_what_begins_after_a_change_is_handled_by_it_and_each_record_says_by_which() -> None:
    settings, broker = Settings(), MemoryBroker()
    names, stop = TopicNames(settings.topics), asyncio.Event()
    raw = TopicPartition(names.raw("tickets"), 0)
    for topic in (raw.topic, names.enriched("tickets"), names.escalations):
        broker.create_topic(topic)
    client = FakeClient(lambda _: message(ANSWER), seconds=lambda: 0.3)
    metrics = Metrics(CollectorRegistry(), Conditions())
    clock = asyncio.get_running_loop().time
    async with Gateway(settings, client=client, clock=clock, observer=metrics) as gateway:
        app, brokers = App(settings, ["tickets"]), MemoryBrokers(broker)
        engine = app.engine("tickets", gateway, brokers, metrics, None, throttle=None)
        running = asyncio.create_task(engine.run(stop))
        committed = broker.group("pipeline.tickets").committed

        async def published(event_id: str) -> None:
            value = orjson.dumps({"id": event_id, "body": f"My card was charged twice, {event_id}"})
            broker.publish(raw.topic, value, key=b"k")

        async def until_committed(offset: int) -> None:
            await until(lambda: raw in committed and committed[raw].offset == offset)

        await published("a")
        await until_committed(1)
        await app.take_up(Settings.model_validate(STRICT))
        await published("b")
        await until_committed(2)
        await app.take_up(Settings())
        await published("c")
        await until_committed(3)
        stop.set()
        await running
    enriched = records_of(broker, names.enriched("tickets"))
    [escalated] = records_of(broker, names.escalations)
    assert [each["event_id"] for each in enriched] == ["a", "c"]
    assert escalated["event_id"] == "b"
    before, after = (each["provenance"]["settings"] for each in enriched)
    assert before == after != escalated["provenance"]["settings"]


async def test_a_change_of_what_is_built_into_the_process_is_refused_by_name() -> None:
    app = App(Settings(), ["tickets"])
    other = {"stages": {"tickets": {"input": {"topics": ["cases"]}}}, "kafka": {"client_id": "x"}}
    with pytest.raises(UsageError, match=r"kafka, stages\.tickets\.input changed"):
        await app.take_up(Settings.model_validate({**other, **STRICT}))


async def test_settings_that_are_none_are_refused_with_their_own_reason() -> None:
    with pytest.raises(UsageError, match="it says why"):
        await App(Settings(), ["tickets"]).take_up(UsageError("it says why"))
