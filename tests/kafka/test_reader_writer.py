import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import admin_client, producer_client
from pipeline.kafka.reader import Start, read_topics
from pipeline.kafka.topics import TopicMissing, Topics
from pipeline.kafka.writer import WriteFailed, Writer
from pipeline.local.broker import LocalBroker, NoidaBroker
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Outgoing, Received
from tests.brokers import FreshName
from tests.kafka.odd_headers import send_unreadable

LIMIT = 1_500_000


@pytest.fixture
async def topic(any_broker: LocalBroker, fresh_name: FreshName) -> AsyncIterator[str]:
    name = fresh_name("records")
    settings = TopicSettings(partitions=3, replication_factor=1, max_message_bytes=LIMIT)
    async with admin_client(any_broker.settings) as admin:
        await Topics(admin, settings, configs=any_broker.topic_configs).create([name])
        yield name


def numbered(topic: str, count: int) -> list[Outgoing]:
    return [
        Outgoing(topic, key=b"%d" % (n % 7), value=b"%d" % n, headers=(("n", b"%d" % n),))
        for n in range(count)
    ]


async def publish(
    kafka: KafkaSettings, records: Sequence[Outgoing], *, max_record_bytes: int = LIMIT
) -> None:
    async with Writer(kafka, max_record_bytes=max_record_bytes) as writer:
        for record in records:
            await writer.write(record)


async def read(kafka: KafkaSettings, topic: str, start: Start = "beginning") -> list[Received]:
    async with read_topics(kafka, [topic], start=start) as records:
        return [record async for record in records]


async def test_a_topic_that_is_missing_is_reported_and_not_made(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    name = fresh_name("missing")
    kafka = any_broker.settings
    with pytest.raises(TopicMissing, match="pipeline topics create"):
        await publish(kafka, numbered(name, 1))
    with pytest.raises(TopicMissing, match=name):
        await read(kafka, name)
    async with admin_client(kafka) as admin:
        assert not await Topics(admin).describe([name])


async def test_a_record_above_the_limit_is_reported_with_its_size(
    any_broker: LocalBroker, topic: str
) -> None:
    large = Outgoing(topic, key=b"k", value=bytes(LIMIT + 1), headers=())
    with pytest.raises(WriteFailed, match=f"{LIMIT + 1} bytes is too large for {topic}"):
        await publish(any_broker.settings, [large])


async def test_a_record_that_the_topic_refuses_fails_the_writer(
    any_broker: LocalBroker, topic: str
) -> None:
    # Incompressible, so that it stays above what the topic takes.
    large = Outgoing(topic, key=b"k", value=bytes(range(256)) * 10_000, headers=())
    kafka = any_broker.settings.model_copy(update={"compression": "none"})
    with pytest.raises(WriteFailed, match="too large"):
        await publish(kafka, [large, *numbered(topic, 3)], max_record_bytes=10 * LIMIT)


async def test_a_record_without_key_and_value_is_refused(
    any_broker: LocalBroker, topic: str
) -> None:
    with pytest.raises(WriteFailed, match="neither a key nor a value"):
        await publish(any_broker.settings, [Outgoing(topic, None, None, ())])


async def test_what_was_written_is_read_in_order_with_keys_and_headers(
    any_broker: LocalBroker, topic: str
) -> None:
    written = numbered(topic, 500)
    confirmed: list[Outgoing] = []
    async with Writer(
        any_broker.settings, max_record_bytes=LIMIT, on_published=confirmed.append
    ) as writer:
        for record in written:
            await writer.write(record)
    assert writer.published == len(written)
    assert sorted(confirmed, key=written.index) == written

    got = await read(any_broker.settings, topic)
    for key in {record.key for record in written}:
        assert [(r.value, r.headers) for r in got if r.key == key] == [
            (r.value, r.headers) for r in written if r.key == key
        ]
    assert len(got) == len(written)


async def test_no_more_is_in_flight_than_allowed(any_broker: LocalBroker, topic: str) -> None:
    async with Writer(
        any_broker.settings, max_record_bytes=LIMIT, max_in_flight=10, max_in_flight_bytes=8
    ) as writer:
        for record in numbered(topic, 50):
            await writer.write(record)
            assert writer._in_flight <= 8
    assert writer.published == 50


async def test_tombstones_and_records_without_a_key_are_read_as_such(
    any_broker: LocalBroker, topic: str
) -> None:
    await publish(
        any_broker.settings,
        [Outgoing(topic, b"k", None, ()), Outgoing(topic, None, b"v", ())],
    )
    got = await read(any_broker.settings, topic)
    assert {(record.key, record.value) for record in got} == {(b"k", None), (None, b"v")}


async def test_an_empty_topic_ends_at_once(any_broker: LocalBroker, topic: str) -> None:
    assert await read(any_broker.settings, topic) == []


async def test_reading_ends_where_the_topic_ended_when_it_began(
    any_broker: LocalBroker, topic: str
) -> None:
    await publish(any_broker.settings, numbered(topic, 20))
    async with read_topics(any_broker.settings, [topic]) as records:
        await publish(any_broker.settings, numbered(topic, 20))
        assert len([record async for record in records]) == 20


async def test_reading_from_the_end_brings_what_comes_afterwards(
    any_broker: LocalBroker, topic: str
) -> None:
    await publish(any_broker.settings, numbered(topic, 5))
    assert await read(any_broker.settings, topic, "end") == []
    async with read_topics(any_broker.settings, [topic], start="end", end="never") as records:
        await publish(any_broker.settings, [Outgoing(topic, b"k", b"new", ())])
        assert (await anext(records)).value == b"new"


async def test_reading_from_a_time_skips_what_is_older(any_broker: LocalBroker, topic: str) -> None:
    await publish(any_broker.settings, [Outgoing(topic, b"k", b"old", ())])
    [old] = await read(any_broker.settings, topic)
    later = old.timestamp + timedelta(milliseconds=1)
    while True:
        await publish(any_broker.settings, [Outgoing(topic, b"k", b"new", ())])
        got = await read(any_broker.settings, topic, later)
        if got:
            break
    assert {record.value for record in got} == {b"new"}
    assert await read(any_broker.settings, topic, later + timedelta(days=1)) == []


async def test_only_what_was_committed_is_read_and_markers_do_not_keep_it_waiting(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    kafka = any_broker.settings
    async with producer_client(kafka, transactional_id=fresh_name("txn")) as producer:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        await producer.send_and_wait(topic, b"aborted", partition=1)
        await producer.abort_transaction()
    async with asyncio.timeout(10):
        got = await read(kafka, topic)
    assert [record.value for record in got] == [b"committed"]


async def test_an_open_transaction_does_not_keep_a_reader_waiting(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    kafka = any_broker.settings
    await publish(kafka, [Outgoing(topic, b"k", b"before", ())])
    async with producer_client(kafka, transactional_id=fresh_name("txn")) as producer:
        await producer.begin_transaction()
        for partition in range(3):
            await producer.send_and_wait(topic, b"open", partition=partition)
        async with asyncio.timeout(10):
            got = await read(kafka, topic)
        await producer.abort_transaction()
    assert [record.value for record in got] == [b"before"]


async def publish_around_an_unreadable_header(kafka: KafkaSettings, topic: str) -> None:
    async with producer_client(kafka) as producer:
        for partition in range(3):
            await producer.send_and_wait(topic, b"before", partition=partition)
        await send_unreadable(producer, topic)
        await producer.send_and_wait(topic, b"last", partition=0)


ALL_OF_FIRST = [b"before", b"odd", b"after", b"last"]


async def test_a_header_whose_name_is_not_utf8_is_read_with_all_around_it(
    any_broker: LocalBroker, topic: str
) -> None:
    kafka = any_broker.settings
    await publish_around_an_unreadable_header(kafka, topic)
    got = await read(kafka, topic)
    assert [record.value for record in got if record.partition == 0] == ALL_OF_FIRST
    assert {record.headers for record in got if record.value == b"odd"} == {
        (("\ufffd\ufffd", b"value"),)
    }
    assert sorted(record.partition for record in got if record.partition) == [1, 2]

    async with read_topics(kafka, [topic], end="never") as records:
        followed = [await anext(records) for _ in got]
        await publish(kafka, [Outgoing(topic, b"k", b"new", ())])
        assert (await anext(records)).value == b"new"
    assert {(r.partition, r.offset) for r in followed} == {(r.partition, r.offset) for r in got}


async def test_a_stretch_with_a_header_whose_name_is_not_utf8_is_read_whole(
    any_broker: LocalBroker, topic: str
) -> None:
    kafka = any_broker.settings
    await publish_around_an_unreadable_header(kafka, topic)
    first = TopicPartition(topic, 0)
    end = len(ALL_OF_FIRST)
    async with read_topics(kafka, [topic], start={first: 0}, end={first: end}) as records:
        got = [record.value async for record in records]
    assert got == ALL_OF_FIRST
    async with read_topics(kafka, [topic], start={first: 0}, end={first: end - 1}) as records:
        got = [record.value async for record in records]
    assert got == ALL_OF_FIRST[:-1]


async def test_reading_what_was_written_waits_for_the_transaction_that_was_open(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    kafka = any_broker.settings
    async with producer_client(kafka, transactional_id=fresh_name("txn")) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"late", partition=0)
        async with read_topics(kafka, [topic]) as records:
            assert [record.value async for record in records] == []
        async with read_topics(kafka, [topic], end="written", patience=10) as records:
            late = asyncio.ensure_future(anext(records))
            await producer.commit_transaction()
            assert (await late).value == b"late"


async def test_a_writer_gives_up_when_the_broker_stays_away(fresh_name: FreshName) -> None:
    name = fresh_name("away")
    async with NoidaBroker() as broker:
        async with admin_client(broker.settings) as admin:
            await Topics(admin, TopicSettings(partitions=1)).create([name])

        async def publish_to_the_end() -> None:
            kafka = broker.settings.model_copy(update={"request_timeout": 0.3})
            async with Writer(kafka, max_record_bytes=LIMIT, max_in_flight=5) as writer:
                for record in numbered(name, 10):
                    await writer.write(record)
                    if writer.published == 0:
                        await writer.flush()
                        await broker.nodes[0].kill()

        with pytest.raises(WriteFailed, match="5 records are in doubt"):
            await publish_to_the_end()
