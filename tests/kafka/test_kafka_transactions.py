"""Sessions on real brokers: what is visible when, who is fenced, what is left behind."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import ProducerFenced

from pipeline.config import Delivery, KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers, TransactionalWriter
from pipeline.kafka.connection import admin_client, consumer_client
from pipeline.local.broker import LocalBroker, NoidaBroker
from pipeline.stream.protocols import (
    Broken,
    BrokerError,
    BrokersUnavailable,
    Committed,
    Consumer,
    Fenced,
    LogBounds,
    NextRecord,
    OffsetReader,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryBroker, MemoryBrokers
from tests.brokers import FreshName


def brokers_of(
    settings: KafkaSettings, delivery: Delivery = "exactly_once", *, max_bytes: int = 1 << 20
) -> KafkaBrokers:
    topics = TopicSettings(max_message_bytes=max_bytes)
    return KafkaBrokers(settings, StreamSettings(transaction_timeout=20), topics, delivery)


async def create_topic(broker: LocalBroker, name: str, **configs: str) -> str:
    async with admin_client(broker.settings) as admin:
        topic = NewTopic(name, 1, 1, topic_configs={**broker.topic_configs, **configs})
        await admin.create_topics([topic])
    return name


@asynccontextmanager
async def started(session: PartitionWriter) -> AsyncIterator[PartitionWriter]:
    try:
        await session.start()
        yield session
    finally:
        await session.close()


@asynccontextmanager
async def reading(settings: KafkaSettings, group: str) -> AsyncIterator[OffsetReader]:
    reader = brokers_of(settings).reader(group)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.close()


async def values_of(settings: KafkaSettings, topic: str) -> list[bytes]:
    """What a committed reader finds."""
    found: list[bytes] = []
    async with consumer_client(settings, isolation_level="read_committed") as consumer:
        partition = KafkaPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        while True:
            fetched = await consumer.getmany(timeout_ms=300)
            if not fetched:
                return found
            found += [record.value for record in fetched[partition]]


def record(topic: str, value: bytes, key: bytes | None = b"k") -> Outgoing:
    return Outgoing(topic, key, value, (("name", b"header"),))


def unused() -> Consumer:
    """Transactions need no consumer."""
    return MemoryBrokers(MemoryBroker()).consumer("group", ["in"])


class Stage:
    """One input partition and where its results go."""

    def __init__(self, broker: LocalBroker, fresh_name: FreshName) -> None:
        self.settings = broker.settings
        self.group = fresh_name("group")
        self.input = TopicPartition(fresh_name("in"), 0)
        self.output = fresh_name("out")

    def session(self, *, max_bytes: int = 1 << 20) -> PartitionWriter:
        return brokers_of(self.settings, max_bytes=max_bytes).session(
            self.group, self.input, unused()
        )

    async def committed(self) -> Committed | None:
        async with reading(self.settings, self.group) as reader:
            return await reader.committed(self.input)


@pytest.fixture
async def stage(any_broker: LocalBroker, fresh_name: FreshName) -> Stage:
    made = Stage(any_broker, fresh_name)
    await create_topic(any_broker, made.input.topic)
    await create_topic(any_broker, made.output)
    return made


async def test_nothing_was_committed_at_first(stage: Stage) -> None:
    assert await stage.committed() is None


async def test_results_and_offset_are_visible_together(stage: Stage) -> None:
    async with started(stage.session()) as session:
        await session.commit([record(stage.output, b"a")], Committed(3, "hp1.ledger"))
        assert await stage.committed() == Committed(3, "hp1.ledger")
        assert await values_of(stage.settings, stage.output) == [b"a"]
        await session.commit([record(stage.output, b"b")], Committed(4, ""))
        assert await stage.committed() == Committed(4, "")
    assert await values_of(stage.settings, stage.output) == [b"a", b"b"]


async def test_an_offset_alone_can_be_committed(stage: Stage) -> None:
    async with started(stage.session()) as session:
        await session.commit([], Committed(7, ""))
    assert await stage.committed() == Committed(7, "")


async def test_records_alone_can_be_published(stage: Stage) -> None:
    async with started(stage.session()) as session:
        await session.commit([record(stage.output, b"a"), record(stage.output, b"b")], None)
    assert await values_of(stage.settings, stage.output) == [b"a", b"b"]
    assert await stage.committed() is None


async def test_a_tombstone_without_a_key_can_be_published(stage: Stage) -> None:
    async with started(stage.session()) as session:
        await session.commit([Outgoing(stage.output, None, None, ())], Committed(1, ""))
    assert await values_of(stage.settings, stage.output) == [b""]


async def test_a_later_session_fences_an_earlier_one(stage: Stage) -> None:
    async with started(stage.session()) as early, started(stage.session()) as late:
        with pytest.raises(Fenced):
            await early.commit([record(stage.output, b"early")], Committed(1, ""))
        await late.commit([record(stage.output, b"late")], Committed(2, ""))
    assert await values_of(stage.settings, stage.output) == [b"late"]
    assert await stage.committed() == Committed(2, "")


async def test_what_an_earlier_session_left_open_is_void_once_a_later_one_has_started(
    stage: Stage,
) -> None:
    early = stage.session()
    await early.start()
    producer = early.producer  # type: ignore[attr-defined]
    await producer.begin_transaction()
    await producer.send_and_wait(stage.output, b"open", key=b"k")
    await early.close()
    async with started(stage.session()) as late:
        assert await stage.committed() is None
        await late.commit([record(stage.output, b"late")], Committed(1, ""))
    assert await values_of(stage.settings, stage.output) == [b"late"]


async def test_what_the_client_may_not_send_is_named_and_the_rest_can_go(stage: Stage) -> None:
    async with started(stage.session(max_bytes=10_000)) as session:
        records = [record(stage.output, b"a"), record(stage.output, b"x" * 20_000)]
        with pytest.raises(Unpublishable) as refused:
            await session.commit(records, Committed(2, ""))
        assert refused.value.indices == (1,)
        assert not refused.value.is_session_lost
        await session.commit(records[:1], Committed(2, ""))
    assert await values_of(stage.settings, stage.output) == [b"a"]


async def test_what_the_brokers_refuse_is_named_and_costs_the_session(
    any_broker: LocalBroker, stage: Stage, fresh_name: FreshName
) -> None:
    small = await create_topic(any_broker, fresh_name("small"), **{"max.message.bytes": "5000"})
    async with started(stage.session()) as session:
        records = [record(stage.output, b"a"), record(small, _noise(9000))]
        with pytest.raises(Unpublishable) as refused:
            await session.commit(records, Committed(2, ""))
        assert refused.value.indices == (1,)
        assert refused.value.is_session_lost
    async with started(stage.session()) as session:
        await session.commit(records[:1], Committed(2, ""))
    assert await values_of(stage.settings, stage.output) == [b"a"]


@pytest.mark.parametrize("fault", [RuntimeError("gone"), KeyError(7), OSError(9), TypeError("x")])
async def test_a_fault_of_the_client_costs_the_session_and_nothing_else(fault: Exception) -> None:
    class Faulty:
        async def begin_transaction(self) -> None:
            raise fault

    partition = TopicPartition("in", 0)
    session = TransactionalWriter(producer=Faulty(), group="group", partition=partition, limit=5)
    with pytest.raises(Broken, match=type(fault).__name__):
        await session.commit([record("out", b"a")], Committed(1, ""))


async def test_metadata_that_no_broker_takes_is_a_mistake_of_ours(stage: Stage) -> None:
    async with started(stage.session()) as session:
        with pytest.raises(ValueError, match="4097 characters"):
            await session.commit([], Committed(1, "x" * 4097))
        await session.commit([], Committed(1, "x" * 4096))
    assert await stage.committed() == Committed(1, "x" * 4096)


async def settled(reader: OffsetReader, partition: TopicPartition) -> LogBounds:
    """The bounds once the markers are in the log, which is a moment after the commit."""
    async with asyncio.timeout(10):
        while True:
            bounds = await reader.bounds(partition)
            if bounds.end > 0:
                return bounds
            await asyncio.sleep(0.01)


async def test_bounds_are_those_of_the_log(stage: Stage) -> None:
    output = TopicPartition(stage.output, 0)
    async with started(stage.session()) as session, reading(stage.settings, stage.group) as reader:
        assert (await reader.bounds(output)).end == 0
        await session.commit([record(stage.output, b"a")], Committed(1, ""))
        bounds = await settled(reader, output)
    assert bounds.begin == 0
    # The record and the marker of its transaction.
    assert bounds.end == 2


async def test_the_oldest_record_from_an_offset_on_is_dated_and_markers_do_not_count(
    stage: Stage,
) -> None:
    output = TopicPartition(stage.output, 0)
    source = stage.input
    before = datetime.now(UTC)
    async with started(stage.session()) as session, reading(stage.settings, stage.group) as reader:
        await session.commit([record(stage.output, b"a")], Committed(1, ""))
        await settled(reader, output)
        assert await reader.ends([output, source]) == {output: 2, source: 0}
        first = await reader.next_record(output, 0)
        assert first.offset == 0
        assert first.timestamp is not None
        assert timedelta(seconds=-1) < first.timestamp - before < timedelta(seconds=30)
        # From there on is nothing but the marker.
        assert await reader.next_record(output, 1) == NextRecord(None, 2)
        assert await reader.next_record(output, 99) == NextRecord(None, 99)


async def test_reading_what_does_not_exist_is_an_error_of_the_brokers(stage: Stage) -> None:
    async with reading(stage.settings, stage.group) as reader:
        with pytest.raises(BrokerError):
            await reader.bounds(TopicPartition("no-such-topic-anywhere", 99))


def test_without_brokers_a_session_is_unavailable_and_leaves_nothing_behind() -> None:
    async def scenario() -> Sequence[asyncio.Task[object]]:
        before = asyncio.all_tasks()
        settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        brokers = brokers_of(settings)
        session = brokers.session("group", TopicPartition("in", 0), unused())
        with pytest.raises(BrokersUnavailable):
            await session.start()
        await session.close()
        reader = brokers.reader("group")
        with pytest.raises(BrokersUnavailable):
            await reader.start()
        await reader.close()
        return [task for task in asyncio.all_tasks() - before if not task.done()]

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_a_session_whose_brokers_are_gone_closes_in_time_and_leaves_nothing_behind(
    delivery: Delivery, fresh_name: FreshName
) -> None:
    before = asyncio.all_tasks()
    async with NoidaBroker() as broker:
        output = await create_topic(broker, fresh_name("out"))
        made = brokers_of(broker.settings, delivery)
        consumer = made.consumer("group", [output])
        session = made.session("group", TopicPartition(output, 0), consumer)
        await session.start()
        if delivery == "exactly_once":
            await session.commit([record(output, b"a")], Committed(1, ""))
        await broker.nodes[0].kill()
        with pytest.raises((TimeoutError, Broken)):
            async with asyncio.timeout(1):
                await session.commit([record(output, b"b")], Committed(2, ""))
        started_at = asyncio.get_running_loop().time()
        await session.close()
        assert asyncio.get_running_loop().time() - started_at < 10
        await consumer.close()
    await asyncio.sleep(0.5)
    assert [task for task in asyncio.all_tasks() - before if not task.done()] == []


async def test_a_session_that_is_fenced_between_two_steps_of_a_transaction_is_broken(
    embedded_broker: NoidaBroker, fresh_name: FreshName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its background task finds out, and what comes next is illegal to the producer."""
    output = await create_topic(embedded_broker, fresh_name("out"))
    made = brokers_of(embedded_broker.settings)
    consumer = made.consumer("group", [output])
    session = made.session("group", TopicPartition(output, 0), consumer)
    begin_well = AIOKafkaProducer.begin_transaction

    async def begin(producer: AIOKafkaProducer) -> None:
        await begin_well(producer)
        producer._txn_manager.fatal_error(ProducerFenced())

    monkeypatch.setattr(AIOKafkaProducer, "begin_transaction", begin)
    async with started(session):
        with pytest.raises(Broken):
            await session.commit([record(output, b"a")], Committed(1, ""))
    await consumer.close()


@pytest.mark.parametrize("stumbled", [KeyError("batch"), AssertionError("Invalid state")])
async def test_a_session_closes_whatever_error_its_producer_stumbled_over(
    stumbled: Exception, embedded_broker: NoidaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fencing the producer's background task was seen to fail with either."""
    before = asyncio.all_tasks()
    made = brokers_of(embedded_broker.settings)
    consumer = made.consumer("group", ["in"])
    session = made.session("group", TopicPartition("in", 0), consumer)
    assert isinstance(session, TransactionalWriter)
    await session.start()

    stop_well = AIOKafkaProducer.stop

    async def stop(producer: AIOKafkaProducer) -> None:
        await stop_well(producer)
        raise stumbled

    monkeypatch.setattr(AIOKafkaProducer, "stop", stop)
    await session.close()
    await consumer.close()
    assert [task for task in asyncio.all_tasks() - before if not task.done()] == []


def _noise(size: int) -> bytes:
    """Bytes that no compression makes smaller."""
    blocks = (hashlib.sha512(b"%d" % number).digest() for number in range(size // 64 + 1))
    return b"".join(blocks)[:size]
