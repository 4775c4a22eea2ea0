"""The whole of it at the embedded broker: what one process has announced, the next does not."""

import asyncio

from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.kafka.writer import Writer
from pipeline.local.broker import LocalBroker
from pipeline.notify.watcher import notifying
from pipeline.operators.inspection import create
from pipeline.stream.records import Outgoing
from pipeline.testing import WebhookReceiver
from tests.brokers import FreshName


async def test_the_next_process_goes_on_where_the_last_one_was(
    embedded_broker: LocalBroker, fresh_name: FreshName
) -> None:
    def failed() -> None:
        raise AssertionError("notifying ended")

    name = fresh_name("notified")
    kafka = embedded_broker.settings.model_copy(update={"group_prefix": f"{name}."})
    async with WebhookReceiver() as receiver, asyncio.timeout(60):
        settings = Settings.model_validate({
            "kafka": kafka,
            "topics": {"prefix": f"{name}.", "partitions": 2},
            "notifications": {"interval": 0.1, "webhooks": {"ops": {"url": receiver.url}}},
        })  # fmt: skip
        await create(settings, ["tickets", "escalations"])
        topic = TopicNames.under(settings).dead_letters

        async def die(reason: bytes) -> None:
            headers = (("dlq-stage", b"tickets"), ("dlq-reason", reason))
            async with Writer(settings.kafka, max_record_bytes=1 << 20) as writer:
                await writer.write(Outgoing(topic, b"k", b"{", headers))

        async with notifying(settings, ended=failed):
            await die(b"invalid_json")
            await receiver.taken(1)
            # That this is sent shows that the first is kept; whether this one is, nothing does.
            await die(b"too_large")
            await receiver.taken(2)
        async with notifying(settings, ended=failed):
            await die(b"bad_image")
            await receiver.about("Dead letters of tickets: bad_image")
    titles = [each["title"] for each in receiver.documents]
    assert titles[0] == "Dead letters of tickets: invalid_json"
    assert titles.count("Dead letters of tickets: invalid_json") == 1
    assert {each["state"] for each in receiver.documents} == {"begun"}
