"""The consumer on a real broker: what it hands on, and what it gets past."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import NoOffsetForPartitionError

from pipeline.config import KafkaSettings, StreamSettings
from pipeline.kafka.connection import admin_client, producer_client
from pipeline.kafka.consumer import KafkaConsumer
from pipeline.local.broker import NoidaBroker
from pipeline.stream.protocols import BrokersUnavailable, Fenced, PositionLost, TopicPartition
from pipeline.stream.records import Received
from tests.brokers import FreshName
from tests.kafka.odd_headers import send_unreadable

LIMIT = 16 << 20


class Listener:
    """Starts every partition where the log begins, as the engine would."""

    def __init__(self) -> None:
        self.consumer: KafkaConsumer | None = None
        self.assigned: list[TopicPartition] = []

    def owned(self) -> Collection[TopicPartition]:
        return self.assigned

    def releasing(self) -> Collection[TopicPartition]:
        return ()

    async def on_rebalance(self) -> None:
        pass

    def on_lost(self) -> None:
        pass

    async def on_assigned(
        self, partitions: Collection[TopicPartition], releasing: Collection[TopicPartition]
    ) -> None:
        assert self.consumer is not None
        self.consumer.pause(partitions)
        for partition in partitions:
            self.consumer.start_at(partition, 0)
        self.assigned += partitions


class Source:
    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self.settings = settings
        self.topic = topic
        self.group = group
        self.partitions = [TopicPartition(topic, 0), TopicPartition(topic, 1)]

    @asynccontextmanager
    async def consumer(self, idle_pause: float = 0.0) -> AsyncIterator[KafkaConsumer]:
        made = KafkaConsumer(
            self.settings.model_copy(update={"idle_fetch_pause": idle_pause}),
            StreamSettings(),
            self.group,
            [self.topic],
            max_record_bytes=LIMIT,
        )
        listener = Listener()
        listener.consumer = made
        try:
            await made.start(listener)
            yield made
        finally:
            await made.close()

    async def poll(
        self,
        consumer: KafkaConsumer,
        count: int,
        partitions: Collection[TopicPartition] | None = None,
        limit: int = 10,
    ) -> list[Received]:
        """Poll until that many have come."""
        found: list[Received] = []
        asked = self.partitions if partitions is None else partitions
        async with asyncio.timeout(20):
            while len(found) < count:
                polled = await consumer.poll(asked, seconds=0.1, records=limit)
                for records in polled.values():
                    found += records
        return found


@pytest.fixture
async def source(embedded_broker: NoidaBroker, fresh_name: FreshName) -> Source:
    topic = fresh_name("in")
    async with admin_client(embedded_broker.settings) as admin:
        configs = dict(embedded_broker.topic_configs)
        await admin.create_topics([NewTopic(topic, 2, 1, topic_configs=configs)])
    return Source(embedded_broker.settings, topic, fresh_name("group"))


async def test_records_come_with_all_they_have(source: Source) -> None:
    # Not long ago: what is older than the topic's retention may be gone before it is read.
    stamped = datetime.now(UTC).replace(microsecond=123_000) - timedelta(minutes=1)
    stamp = round(stamped.timestamp() * 1000)
    async with producer_client(source.settings) as producer:
        await producer.send_and_wait(
            source.topic, b"v", key=b"k", partition=1, timestamp_ms=stamp,
            headers=[("a", b"1"), ("none", None)],
        )  # fmt: skip
    async with source.consumer() as consumer:
        [record] = await source.poll(consumer, 1)
    assert (record.topic, record.partition, record.offset) == (source.topic, 1, 0)
    assert (record.key, record.value) == (b"k", b"v")
    assert record.headers == (("a", b"1"), ("none", None))
    assert record.timestamp == stamped
    assert record.received_at.tzinfo is not None


async def test_a_timestamp_that_no_calendar_has_does_no_harm(source: Source) -> None:
    async with producer_client(source.settings) as producer:
        await producer.send_and_wait(source.topic, b"v", partition=0, timestamp_ms=1 << 60)
    async with source.consumer() as consumer:
        [record] = await source.poll(consumer, 1)
    assert record.timestamp == record.received_at


async def test_what_is_not_asked_for_stays_where_it_is(source: Source) -> None:
    async with producer_client(source.settings) as producer:
        for number in range(10):
            await producer.send_and_wait(source.topic, b"%d" % number, partition=number % 2)
    async with source.consumer() as consumer:
        first, second = source.partitions
        of_first = await source.poll(consumer, 5, [first])
        assert await consumer.poll([], seconds=0, records=10) == {}
        of_second = await source.poll(consumer, 5, [second])
        assert await consumer.position(first) == 5
        assert consumer.end(first) == 5
    assert [int(record.value or 0) for record in of_first] == [0, 2, 4, 6, 8]
    assert [int(record.value or 0) for record in of_second] == [1, 3, 5, 7, 9]


async def test_a_partition_can_be_started_again_elsewhere(source: Source) -> None:
    async with producer_client(source.settings) as producer:
        for number in range(5):
            await producer.send_and_wait(source.topic, b"%d" % number, partition=0)
    async with source.consumer(idle_pause=0.02) as consumer:
        await source.poll(consumer, 5)
        consumer.start_at(source.partitions[0], 3)
        again = await source.poll(consumer, 2)
    assert [record.offset for record in again] == [3, 4]


async def test_a_place_that_the_log_does_not_have_is_lost_and_never_exchanged_for_another(
    source: Source,
) -> None:
    async with producer_client(source.settings) as producer:
        await producer.send_and_wait(source.topic, b"v", partition=0)
    async with source.consumer() as consumer:
        consumer.start_at(source.partitions[0], 100)
        with pytest.raises(PositionLost, match="no offset 100"):
            await source.poll(consumer, 1)
        consumer.start_at(source.partitions[0], 0)
        assert [record.value for record in await source.poll(consumer, 1)] == [b"v"]


async def test_that_a_group_has_no_offset_ends_nothing_once_its_partition_has_started(
    source: Source,
) -> None:
    async with producer_client(source.settings) as producer:
        await producer.send_and_wait(source.topic, b"v", partition=0)
    async with source.consumer() as consumer:
        [first, _] = source.partitions
        await source.poll(consumer, 1, [first])
        # As aiokafka's background task does, which asks for an offset as soon as it is assigned.
        fetcher = consumer._client._fetcher
        fetcher._set_error(KafkaPartition(*first), NoOffsetForPartitionError(first))
        assert await consumer.poll([first], seconds=0, records=10) == {}
        consumer.start_at(first, 0)
        assert len(await source.poll(consumer, 1, [first])) == 1


async def test_what_is_not_assigned_cannot_be_started(source: Source) -> None:
    not_assigned = TopicPartition("elsewhere", 0)
    async with source.consumer() as consumer:
        with pytest.raises(Fenced):
            consumer.start_at(not_assigned, 0)
        consumer.pause([not_assigned])
        assert consumer.end(not_assigned) is None
        assert await consumer.position(not_assigned) is None


@pytest.mark.parametrize("limit", [1, 10])
async def test_a_header_whose_name_is_not_utf8_delays_no_other_record(
    source: Source, limit: int
) -> None:
    async with producer_client(source.settings) as producer:
        await producer.send_and_wait(source.topic, b"before", partition=0)
        await send_unreadable(producer, source.topic)
        await producer.send_and_wait(source.topic, b"last", partition=0)
        await producer.send_and_wait(source.topic, b"other", partition=1)
    async with source.consumer() as consumer:
        # Which partition comes first is up to chance, and what that had brought must not be lost.
        for _ in range(5):
            found = await source.poll(consumer, 5, limit=limit)
            of_first = [(record.offset, record.value) for record in found if record.partition == 0]
            assert of_first == [(0, b"before"), (1, b"odd"), (2, b"after"), (3, b"last")]
            [odd] = [record for record in found if record.value == b"odd"]
            assert odd.headers == (("\ufffd\ufffd", b"value"),)
            for partition in source.partitions:
                consumer.start_at(partition, 0)


async def test_without_brokers_it_is_unavailable() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    consumer = KafkaConsumer(settings, StreamSettings(), "group", ["in"], max_record_bytes=LIMIT)
    with pytest.raises(BrokersUnavailable):
        await consumer.start(Listener())
    await consumer.close()
