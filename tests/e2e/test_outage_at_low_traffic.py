"""An hour without the API in which hardly anything comes: the process waits, and does not end."""

import asyncio
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from benchmarks.responder import ANSWER
from benchmarks.tickets import charged_twice
from pipeline.app import App
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.testing import MemoryBroker, MemoryBrokers
from pipeline.testing.fakes import FakeClient, message
from tests.stream.virtual import virtual_time
from tests.stream.workbench import until

PARTITIONS = 4
EVERY = 300.0
EVENTS = 12


@virtual_time
async def test_an_outage_of_an_hour_at_low_traffic_ends_no_process_and_loses_nothing() -> None:
    settings, loop, broker = Settings(), asyncio.get_running_loop(), MemoryBroker()
    names, is_away = TopicNames.under(settings), [True]
    broker.create_topic(names.raw("tickets"), PARTITIONS)
    for topic in (names.enriched("tickets"), names.escalations, names.dead_letters):
        broker.create_topic(topic)

    def answer(_: dict[str, Any]) -> HttpReply | NoReply:
        if is_away[0]:
            return NoReply("disconnected", "connection refused", sent=False)
        return message(ANSWER)

    client, stop = FakeClient(answer, seconds=lambda: 0.3), asyncio.Event()
    metrics = Metrics(CollectorRegistry(), Conditions())
    async with Gateway(settings, client=client, clock=loop.time, observer=metrics) as gateway:
        app, brokers = App(settings, ["tickets"]), MemoryBrokers(broker)
        engine = app.engine("tickets", gateway, brokers, metrics, None, throttle=None)
        running = asyncio.create_task(engine.run(stop))
        for number in range(EVENTS):
            event = charged_twice(number)
            body = orjson.dumps({"id": event.id, "body": event.body})
            broker.publish(names.raw("tickets"), body, key=b"%d" % number)
            await asyncio.sleep(EVERY)
            assert not running.done()
        is_away[0] = False
        done = names.enriched("tickets"), names.escalations
        await until(lambda: sum(_count(broker, topic) for topic in done) == EVENTS, within=300)
        stop.set()
        await running
    assert not _count(broker, names.dead_letters)


def _count(broker: MemoryBroker, topic: str) -> int:
    entries = broker.committed_records(topic).values()
    return sum(entry.record is not None for each in entries for entry in each)
