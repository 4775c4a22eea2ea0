"""Hostile records on real brokers: each costs one dead letter, and nothing that is beside it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from pipeline.cascade.publishing import UnpublishableHandler, dead_letter
from pipeline.config import KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.kafka.connection import admin_client, client_options
from pipeline.kafka.reader import read_topics
from pipeline.local.broker import LocalBroker, NoidaBroker
from pipeline.model.errors import InvalidEvent
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterReason
from pipeline.stream.engine import Engine
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from tests.brokers import FreshName
from tests.kafka.odd_headers import send_unreadable
from tests.kafka.raw_batches import CODECS, batch, compressed, record

MIB = 1 << 20
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Site:
    """A topic with hostile records, one for results, one for dead letters; an engine on them."""

    def __init__(self, broker: LocalBroker, fresh_name: FreshName) -> None:
        self.broker = broker
        self.settings: KafkaSettings = broker.settings
        self.input, self.output = fresh_name("in"), fresh_name("out")
        self.dead, self.group = fresh_name("dead"), fresh_name("group")

    async def create(self, *, partitions: int = 1, dead_bytes: int = 16 * MIB) -> None:
        configs = dict(self.broker.topic_configs) | {"max.message.bytes": str(16 * MIB)}
        dead = {"max.message.bytes": str(dead_bytes)}
        async with admin_client(self.settings) as admin:
            await admin.create_topics(
                [
                    NewTopic(self.input, partitions, 1, topic_configs=configs),
                    NewTopic(self.output, 1, 1, topic_configs=configs),
                    NewTopic(self.dead, 1, 1, topic_configs=configs | dead),
                ]
            )

    @asynccontextmanager
    async def producer(self, codec: str = "lz4") -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            **client_options(self.settings),
            compression_type=None if codec == "none" else codec,
            max_request_size=1 << 30,
            max_batch_size=1 << 20,
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        """One that takes what begins with `ok`, and puts aside what does not."""

        async def handle(received: Received) -> Outcome:
            if (received.value or b"").startswith(b"ok"):
                outgoing = Outgoing(self.output, received.key, received.value, received.headers)
                return Outcome(Disposition.ENRICHED, (outgoing,))
            invalid = InvalidEvent(DeadLetterReason.INVALID_JSON, "It is not ok.")
            return dead_letter(received, self.dead, invalid, stage="stage", now=NOW)

        made = Engine(
            "stage",
            [self.input],
            handle,
            brokers=KafkaBrokers(self.settings, StreamSettings(), TopicSettings(), "exactly_once"),
            group=self.group,
            settings=StreamSettings(dead_letter_ratio=1),
            rescue=UnpublishableHandler("stage", self.dead, clock=lambda: NOW, observer=Observer()),
        )
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        try:
            yield made
        finally:
            stop.set()
            await task

    async def until(self, topic: str, count: int, within: float = 60) -> list[Received]:
        """What a committed reader finds from the beginning on, once there is so much.

        Not by following: the embedded broker names transactions as aborted that ended before.
        """
        async with asyncio.timeout(within):
            while True:
                async with read_topics(self.settings, [topic]) as records:
                    found = [each async for each in records]
                if len(found) >= count:
                    assert len(found) == count
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture
async def site(any_broker: LocalBroker, fresh_name: FreshName) -> Site:
    return Site(any_broker, fresh_name)


def texts(record: Received) -> dict[str, str]:
    ours = [(name, text) for name, text in record.headers if name.startswith("dlq-")]
    return {name: text.decode() for name, text in ours if text is not None}


@pytest.mark.parametrize("codec", ["lz4", "zstd", "gzip", "snappy"])
async def test_a_ticket_of_17_mib_that_came_compressed_becomes_a_small_dead_letter(
    site: Site, codec: str
) -> None:
    """`make.py big 17`: larger than the topic of dead letters takes."""
    big = b'{"id":"big","body":"' + b"a" * (17 * MIB) + b'"}'
    await site.create()
    async with site.producer(codec) as producer:
        await producer.send_and_wait(site.input, b"ok 1", key=b"k")
        await producer.send_and_wait(site.input, big, key=b"big", headers=[("a", None)])
        await producer.send_and_wait(site.input, b"ok 2", key=b"k")
    async with site.engine() as engine:
        assert [each.value for each in await site.until(site.output, 2)] == [b"ok 1", b"ok 2"]
        [dead_letter] = await site.until(site.dead, 1)
        status = engine.status()
    assert (dead_letter.key, dead_letter.value) == (b"big", b"")
    assert dead_letter.headers[0] == ("a", None)
    said = texts(dead_letter)
    assert (said["dlq-reason"], said["dlq-original"]) == ("too_large", "not_carried")
    assert said["dlq-original-value-bytes"] == str(len(big))
    assert said["dlq-original-sha256"] == sha256(big).hexdigest()
    place = (said["dlq-topic"], said["dlq-partition"], said["dlq-offset"])
    assert place == (site.input, "0", "1")
    assert status.reason is None


async def test_what_fits_the_input_and_not_the_topic_of_dead_letters_becomes_a_small_one(
    site: Site,
) -> None:
    """The brokers say so, not the client, and only of one of several in a batch."""
    await site.create(dead_bytes=8000)
    noise = random.Random(7).randbytes(20_000)
    async with site.producer() as producer:
        for value in (b"bad 1", noise, b"bad 2", b"ok", noise * 2):
            await producer.send_and_wait(site.input, value, key=value[:4])
    async with site.engine():
        await site.until(site.output, 1)
        dead_letters = await site.until(site.dead, 4)
    by_offset = {int(texts(each)["dlq-offset"]): each for each in dead_letters}
    assert [by_offset[0].value, by_offset[2].value] == [b"bad 1", b"bad 2"]
    for offset, original in ((1, noise), (4, noise * 2)):
        assert by_offset[offset].value == b""
        said = texts(by_offset[offset])
        assert said["dlq-original-sha256"] == sha256(original).hexdigest()
        # Why it became a dead letter is not forgotten over why it is a small one.
        assert said["dlq-reason"] == "invalid_json"
        assert said["dlq-detail"].startswith("It is not ok.")


async def test_dead_letters_that_are_too_large_only_together_are_carried_whole(
    site: Site,
) -> None:
    await site.create(dead_bytes=6000)
    noise = [random.Random(n).randbytes(4000) for n in range(4)]
    async with site.producer() as producer:
        sent = [await producer.send(site.input, value, key=value[:4]) for value in noise]
        await asyncio.gather(*sent)
    async with site.engine():
        dead_letters = await site.until(site.dead, 4)
    assert sorted(each.value or b"" for each in dead_letters) == sorted(noise)


ODD: dict[str, dict[str, object]] = {
    "an empty value": {"value": b""},
    "neither key nor content": {"value": b"", "key": b""},
    "a key that is no text": {"value": b"x", "key": b"\xff\xfe\x00"},
    "a key of a megabyte": {"value": b"x", "key": b"k" * MIB},
    "a header of a megabyte": {"value": b"x", "headers": [("h", b"x" * MIB)]},
    "a million bytes of header's name": {"value": b"x", "headers": [("h" * MIB, None)]},
    "very many headers": {"value": b"x", "headers": [("", None)] * 300_000},
    "headers of one name": {"value": b"x", "headers": [("a", b"1"), ("a", None), ("a", b"")]},
    "headers like ours": {"value": b"x", "headers": [("dlq-reason", None), ("traceparent", None)]},
    "no time": {"value": b"x", "timestamp_ms": -1},
    "a time in the year 9999": {"value": b"x", "timestamp_ms": 253_402_300_799_999},
    "a time that no calendar knows": {"value": b"x", "timestamp_ms": 1 << 62},
}


async def test_odd_records_cost_a_dead_letter_each_and_delay_no_others(site: Site) -> None:
    await site.create()
    sent = 0
    async with site.producer() as producer:
        for odd in ODD.values():
            await producer.send_and_wait(site.input, b"ok", key=b"k")
            try:
                await producer.send_and_wait(site.input, **odd)
            except Exception:  # noqa: BLE001 - what the broker refuses never arrives
                continue
            sent += 1
        await producer.send_and_wait(site.input, None, key=b"k")
        await send_unreadable(producer, site.input)
        await producer.send_and_wait(site.input, b"ok", key=b"k")
    assert sent >= len(ODD) - 3
    async with site.engine() as engine:
        await site.until(site.output, len(ODD) + 1)
        dead_letters = await site.until(site.dead, sent + 2)
        assert engine.status().reason is None
    assert len({texts(each)["dlq-offset"] for each in dead_letters}) == sent + 2


async def test_broken_batches_are_named_and_given_up_and_the_partition_goes_on(
    embedded_broker: NoidaBroker, fresh_name: FreshName
) -> None:
    """Apache Kafka refuses most of them; this broker looks at nothing."""
    site = Site(embedded_broker, fresh_name)
    await site.create(partitions=2)
    lz4 = CODECS["lz4"]
    broken = [
        batch(b"\x00" * 50, 2, attributes=lz4),
        batch(record(0, b"v"), 1, attributes=6),
        batch(b"\xff" * 40, 2),
        batch(compressed(record(0, b"ok") + record(1, b"ok")[:-2], "lz4"), 2, attributes=lz4),
    ]
    async with site.producer() as producer:
        for data in broken:
            await producer.send_and_wait(site.input, b"ok", partition=0)
            made = producer.create_batch()
            made.append(key=None, value=b"x", timestamp=None)
            made.close()
            made._buffer = bytearray(data)
            await (await producer.send_batch(made, site.input, partition=0))
        await producer.send_and_wait(site.input, b"ok", partition=0)
        await producer.send_and_wait(site.input, b"ok", partition=1)
    async with site.engine() as engine:
        await site.until(site.output, len(broken) + 3)
        dead_letters = await site.until(site.dead, 6)
        assert engine.status().reason is None
    assert {texts(each)["dlq-original"] for each in dead_letters} == {"unreadable"}
