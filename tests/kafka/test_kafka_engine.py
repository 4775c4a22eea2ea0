"""The engine on real brokers: both deliveries, rebalances, and processes that are killed."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata

from pipeline.config import Delivery, KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.kafka.connection import admin_client, client_options, consumer_client, producer_client
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import LocalBroker, NoidaBroker
from pipeline.model.observer import Observer
from pipeline.stream.engine import Engine
from pipeline.stream.protocols import (
    BrokersUnavailable,
    LogBounds,
    OffsetReader,
    TopicPartition,
)
from pipeline.stream.records import Disposition, Handler, Outcome, Outgoing, Received
from pipeline.stream.tenants import Tenants
from tests.brokers import FreshName, needs_kafka
from tests.stream.parking import Broke
from tests.stream.workbench import until

PARTITIONS = 4


class Topics:
    """Input and output of one test, and what an independent reader finds there."""

    def __init__(self, broker: LocalBroker, fresh_name: FreshName) -> None:
        self.broker = broker
        self.settings = broker.settings
        self.input = fresh_name("in")
        self.output = fresh_name("out")
        self.group = fresh_name("group")

    async def create(self) -> None:
        async with admin_client(self.settings) as admin:
            configs = dict(self.broker.topic_configs)
            await admin.create_topics(
                [
                    NewTopic(name, PARTITIONS, 1, topic_configs=configs)
                    for name in (self.input, self.output)
                ]
            )

    async def publish(self, *values: bytes, keys: int = 50) -> None:
        async with producer_client(self.settings) as producer:
            sent = [
                await producer.send(self.input, value, key=b"k%d" % (number % keys))
                for number, value in enumerate(values)
            ]
            await asyncio.gather(*sent)

    async def output_values(self) -> list[bytes]:
        """What a committed reader sees, in order within each key."""
        found: list[bytes] = []
        async with consumer_client(self.settings, isolation_level="read_committed") as consumer:
            partitions = [KafkaPartition(self.output, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            while True:
                fetched = await consumer.getmany(timeout_ms=500)
                if not fetched:
                    return found
                for records in fetched.values():
                    found += [record.value for record in records]

    async def wait_until_committed(self, within: float = 60) -> None:
        """Until the group has committed everything."""
        brokers = KafkaBrokers(self.settings, StreamSettings(), TopicSettings(), "exactly_once")
        reader = brokers.reader(self.group)
        await reader.start()
        try:
            async with asyncio.timeout(within):
                for number in range(PARTITIONS):
                    partition = TopicPartition(self.input, number)
                    end = (await patiently(reader, partition)).end
                    while True:
                        committed = await reader.committed(partition)
                        if committed is not None and committed.offset >= end:
                            break
                        await asyncio.sleep(0.1)
        finally:
            await reader.close()


async def patiently(reader: OffsetReader, partition: TopicPartition) -> LogBounds:
    """Where the log ends, by a broker that may just have come back."""
    while True:
        with suppress(BrokersUnavailable):
            return await reader.bounds(partition)
        await asyncio.sleep(0.2)


@pytest.fixture
async def topics(any_broker: LocalBroker, fresh_name: FreshName) -> Topics:
    made = Topics(any_broker, fresh_name)
    await made.create()
    return made


@pytest.fixture
async def kafka_topics(apache_kafka: ApacheKafka, fresh_name: FreshName) -> Topics:
    made = Topics(apache_kafka, fresh_name)
    await made.create()
    return made


def copier(topics: Topics, calls: Counter[bytes], seconds: float = 0.1) -> Handler:
    async def handle(record: Received) -> Outcome:
        calls[record.value or b""] += 1
        await asyncio.sleep(seconds)
        return Outcome(
            Disposition.ENRICHED, (Outgoing(topics.output, record.key, record.value, ()),)
        )

    return handle


@asynccontextmanager
async def engine(
    topics: Topics,
    handle: Handler,
    delivery: Delivery = "exactly_once",
    *,
    observer: Observer | None = None,
    instance: str | None = None,
    session_timeout: float = 20,
    tenants: Tenants | None = None,
) -> AsyncIterator[Engine]:
    settings = topics.settings.model_copy(
        update={"session_timeout": session_timeout, "group_instance_id": instance}
    )
    stream = StreamSettings(drain_budget=3)
    made = Engine(
        "stage",
        [topics.input],
        handle,
        brokers=KafkaBrokers(settings, stream, TopicSettings(), delivery),
        group=topics.group,
        settings=stream,
        observer=observer or Observer(),
        tenants=tenants,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(made.run(stop))
    await until(lambda: made.status().is_ready or task.done())
    yield made
    stop.set()
    await task


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_every_record_comes_out_once_and_in_the_order_of_its_key(
    topics: Topics, delivery: Delivery
) -> None:
    calls: Counter[bytes] = Counter()
    values = numbered(300)
    async with engine(topics, copier(topics, calls), delivery) as running:
        await topics.publish(*values)
        await topics.wait_until_committed()
        assert running.status().is_ready
    found = await topics.output_values()
    assert sorted(found, key=int) == values
    for key in range(50):
        of_key = [int(value) for value in found if int(value) % 50 == key]
        assert of_key == sorted(of_key)
    assert set(calls.values()) == {1}


async def test_a_tenant_that_waits_is_left_in_kafka_and_read_again_by_another_process(
    topics: Topics,
) -> None:
    calls: Counter[bytes] = Counter()
    values, broke = numbered(3000), [Broke({"odd"})]

    def tenant_of(record: Received) -> str:
        return "odd" if int(record.value or b"0") % 2 else "even"

    def tenants() -> Tenants:
        return Tenants("parity", tenant_of, lambda: broke[0])

    handle = copier(topics, calls, 0.0)
    await topics.publish(*values)
    async with engine(topics, handle, tenants=tenants()) as running:
        await until(lambda: running.status().lag == 1500)
        assert running.status().in_flight == 0
    assert sorted(await topics.output_values(), key=int) == values[::2]
    async with engine(topics, handle, tenants=tenants()) as running:
        await until(lambda: running.status().lag == 1500)
        broke[0] = Broke()
        await topics.wait_until_committed()
    found = await topics.output_values()
    assert sorted(found, key=int) == values
    for key in range(50):
        of_key = [int(value) for value in found if int(value) % 50 == key]
        assert of_key == sorted(of_key)
    assert set(calls.values()) == {1}


async def test_markers_of_transactions_are_not_lag(topics: Topics, fresh_name: FreshName) -> None:
    options = client_options(topics.settings)
    producer = AIOKafkaProducer(**options, transactional_id=fresh_name("publisher"))
    await producer.start()
    for value in (b"a", b"b"):
        async with producer.transaction():
            await producer.send_and_wait(topics.input, value, key=b"k")
    await producer.stop()
    async with engine(topics, copier(topics, Counter())) as running:
        await topics.wait_until_committed()
        await until(lambda: running.status().lag == 0)
    assert await topics.output_values() == [b"a", b"b"]


async def come_and_go(topics: Topics, delivery: Delivery) -> None:
    calls: Counter[bytes] = Counter()
    values = numbered(400)
    handle = copier(topics, calls, 0.5)
    async with engine(topics, handle, delivery, session_timeout=6):
        await topics.publish(*values[:200])
        async with engine(topics, handle, delivery, session_timeout=6) as other:
            await until(lambda: 0 < len(other.status().partitions) < PARTITIONS)
            await topics.publish(*values[200:])
            await asyncio.sleep(1)
        await topics.wait_until_committed()
    assert sorted(await topics.output_values(), key=int) == values
    assert set(calls.values()) == {1}


async def test_members_that_come_and_go_repeat_nothing_that_was_drained(topics: Topics) -> None:
    await come_and_go(topics, "exactly_once")


@pytest.mark.kafka
async def test_members_that_come_and_go_repeat_nothing_with_at_least_once_while_nothing_fails(
    kafka_topics: Topics,
) -> None:
    """Only on Apache Kafka: the embedded broker loses its group to a commit during a join."""
    await come_and_go(kafka_topics, "at_least_once")


@pytest.mark.kafka
async def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    kafka_topics: Topics,
) -> None:
    topics = kafka_topics
    calls: Counter[bytes] = Counter()
    rebalances: list[int] = []
    values = numbered(200)
    handle = copier(topics, calls)

    class Rebalances(Observer):
        def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
            rebalances.append(partitions)

    watcher = Rebalances()
    async with engine(topics, handle, observer=watcher, instance="a", session_timeout=6):
        async with engine(topics, handle, instance="b", session_timeout=6) as other:
            # At the start, with what it has to release, and without that.
            await until(lambda: len(rebalances) == 3)
            before = {partition.partition for partition in other.status().partitions}
            await topics.publish(*values[:100])
            await topics.wait_until_committed()
        await topics.publish(*values[100:])
        async with engine(topics, handle, instance="b", session_timeout=6) as other:
            after = {partition.partition for partition in other.status().partitions}
            await topics.wait_until_committed()
            assert rebalances == [4, 4, 2]
    assert after == before
    assert sorted(await topics.output_values(), key=int) == values
    assert set(calls.values()) == {1}


@pytest.mark.kafka
@pytest.mark.parametrize(
    "session",
    [
        6.0,
        pytest.param(KafkaSettings().session_timeout, marks=pytest.mark.drill),
        pytest.param(18.75, marks=pytest.mark.drill),
    ],
)
async def test_an_event_loop_that_is_blocked_for_most_of_a_session_keeps_it(
    kafka_topics: Topics, session: float
) -> None:
    """Heartbeats are a twentieth of the time-out apart; the drills block for 8 s and for 15 s."""
    rebalances: list[int] = []

    async def handle(record: Received) -> Outcome:
        time.sleep(0.8 * session)  # noqa: ASYNC251 - that is what is tested
        return Outcome(Disposition.ENRICHED, ())

    class Rebalances(Observer):
        def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
            rebalances.append(partitions)

    watcher = Rebalances()
    async with engine(kafka_topics, handle, observer=watcher, session_timeout=session):
        await kafka_topics.publish(b"hog")
        await kafka_topics.wait_until_committed()
        # For the heartbeat that would say that it had been taken for dead.
        await asyncio.sleep(0.2 * session)
    assert rebalances == [PARTITIONS]


@pytest.mark.kafka
async def test_what_is_committed_is_final_as_soon_as_a_session_has_started(
    kafka_topics: Topics,
) -> None:
    """The markers of the transaction that it settled may still be on their way."""
    topics = kafka_topics
    partition = TopicPartition(topics.input, 0)
    brokers = KafkaBrokers(topics.settings, StreamSettings(), TopicSettings(), "exactly_once")
    reader = brokers.reader(topics.group)
    await reader.start()
    options = client_options(topics.settings) | {"transactional_id": topics.group}
    earlier = AIOKafkaProducer(**options)
    await earlier.start()
    for offset in range(1, 16):
        await earlier.begin_transaction()
        for number in range(20):
            await earlier.send(topics.output, b"x", key=b"%d" % number)
        await earlier.send_offsets_to_transaction(
            {KafkaPartition(*partition): OffsetAndMetadata(offset, "")}, topics.group
        )
        later = AIOKafkaProducer(**options)
        await later.client.bootstrap()
        ending = asyncio.create_task(earlier.commit_transaction())
        await asyncio.sleep(0.001 * (offset % 4))
        await later.start()
        at_once = await reader.committed(partition)
        await asyncio.sleep(0.2)
        assert await reader.committed(partition) == at_once
        ending.cancel()
        await asyncio.wait([ending])
        await earlier.stop()
        earlier = later
    await earlier.stop()
    await reader.close()


@asynccontextmanager
async def own_kafka() -> AsyncIterator[ApacheKafka]:
    """One that may be killed."""
    kafka = ApacheKafka()
    with needs_kafka():
        await kafka.start()
    try:
        yield kafka
    finally:
        await kafka.stop()


@pytest.mark.kafka
async def test_brokers_that_go_away_and_come_back_cost_nothing(fresh_name: FreshName) -> None:
    async with own_kafka() as kafka:
        topics = Topics(kafka, fresh_name)
        await topics.create()
        calls: Counter[bytes] = Counter()
        values = numbered(1000)
        async with engine(topics, copier(topics, calls, 1.0)) as running:
            await topics.publish(*values, keys=1000)
            await until(lambda: len(calls) > 200)
            await kafka.nodes[0].kill()
            await asyncio.sleep(1)
            await kafka.nodes[0].start()
            await topics.wait_until_committed(within=90)
            await until(lambda: running.status().is_ready)
        assert Counter(await topics.output_values()) == Counter(values)
        assert set(calls.values()) == {1}


class EngineProcess:
    """A process that runs an engine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.calls: Counter[str] = Counter()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, topics: Topics, directory: Path, seconds: float) -> "EngineProcess":
        options = {
            "bootstrap": topics.settings.bootstrap_servers,
            "group": topics.group,
            "input": topics.input,
            "output": topics.output,
            "seconds": str(seconds),
        }
        root = Path(__file__).parents[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.stream.process", json.dumps(options),
            stdout=asyncio.subprocess.PIPE, cwd=directory,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        return cls(process)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.calls[line.decode().strip()] += 1

    async def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        await self.process.wait()
        await self._reading


@pytest.mark.kafka
async def test_a_killed_process_loses_nothing_and_repeats_only_what_was_unfinished(
    kafka_topics: Topics, tmp_path: Path
) -> None:
    topics = kafka_topics
    slow = [b"slow-%d" % number for number in range(4)]
    values = [b"%d" % number for number in range(2000)]
    first = await EngineProcess.start(topics, tmp_path, 0.2)
    # The slow ones have keys of their own; the others go past them.
    async with producer_client(topics.settings) as producer:
        for value in slow:
            await producer.send_and_wait(topics.input, value, key=value)
    await topics.publish(*values)
    async with asyncio.timeout(60):
        found: list[bytes] = []
        while len(found) < len(values):
            found = await topics.output_values()
    await first.end(signal.SIGKILL)

    (tmp_path / "fast").touch()
    second = await EngineProcess.start(topics, tmp_path, 0.2)
    await topics.wait_until_committed()
    await second.end(signal.SIGTERM)

    assert second.process.returncode == 0
    assert Counter(await topics.output_values()) == Counter([*slow, *values])
    repeated = first.calls & second.calls
    assert sorted(call.split()[2] for call in repeated) == [value.decode() for value in slow]
    assert first.calls.total() + second.calls.total() == len(values) + 2 * len(slow)


def bare_engine(settings: KafkaSettings, topic: str, group: str) -> Engine:
    """One that publishes nothing."""

    async def handle(record: Received) -> Outcome:
        return Outcome(Disposition.ENRICHED, ())

    stream = StreamSettings()
    brokers = KafkaBrokers(settings, stream, TopicSettings(), "exactly_once")
    return Engine("stage", [topic], handle, brokers=brokers, group=group, settings=stream)


async def test_stopping_while_it_joins_leaves_nothing_behind(
    embedded_broker: NoidaBroker, fresh_name: FreshName
) -> None:
    topics = Topics(embedded_broker, fresh_name)
    await topics.create()
    before = asyncio.all_tasks()
    for seconds in (0.0, 0.01, 0.05):
        made = bare_engine(topics.settings, topics.input, topics.group)
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop))
        await asyncio.sleep(seconds)
        stop.set()
        async with asyncio.timeout(20):
            await task
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == before


async def test_without_brokers_it_says_so_and_ends() -> None:
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokersUnavailable, match="cannot be reached"):
        await bare_engine(settings, "in", "group").run(asyncio.Event())
