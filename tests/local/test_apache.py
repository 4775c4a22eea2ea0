"""A real Apache Kafka, started, harmed and ended by the project itself."""

import asyncio
import os
from pathlib import Path

import pytest

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import BrokerUnreachable, admin_client, check_connection
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import Topics
from pipeline.kafka.writer import Writer
from pipeline.local.apache import ApacheKafka
from pipeline.local.broker import BrokerFailed, BrokerMissing, LocalBroker
from pipeline.stream.records import Outgoing
from tests.brokers import needs_kafka


async def test_without_java_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BrokerMissing, match="needs Java 17"):
        await ApacheKafka().start()


async def publish(kafka: KafkaSettings, value: bytes) -> None:
    async with Writer(kafka, max_record_bytes=1_000_000) as writer:
        await writer.write(Outgoing("kept", b"key", value, ()))


async def values(kafka: KafkaSettings) -> list[bytes | None]:
    async with read_topics(kafka, ["kept"]) as records:
        return [record.value async for record in records]


async def in_sync(kafka: KafkaSettings) -> None:
    """Wait until every replica is in sync, or the next loss may leave too few to confirm."""
    async with asyncio.timeout(120), admin_client(kafka) as admin:
        while True:
            [topic] = await admin.describe_topics(["kept"])
            if all(len(partition["isr"]) == 3 for partition in topic["partitions"]):
                return
            await asyncio.sleep(0.1)


@pytest.mark.kafka
async def test_jars_that_are_no_kafka_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kafka_2.13-0.jar").touch()
    monkeypatch.setenv("PIPELINE_LOCAL_KAFKA_LIBS", str(tmp_path))
    with needs_kafka(), pytest.raises(BrokerFailed, match=r"be prepared: .*StorageTool"):
        await ApacheKafka(nodes=3).start()


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_a_port_that_is_taken_is_reported_and_nothing_is_left_running(
    apache_kafka: ApacheKafka,
) -> None:
    kafka = ApacheKafka(port=apache_kafka.nodes[0].port)
    with pytest.raises(BrokerFailed, match="Address already in use"):
        async with kafka:
            pass
    assert kafka.nodes == ()


@pytest.mark.kafka
@pytest.mark.timeout(600)
@pytest.mark.drill
async def test_three_nodes_keep_what_was_confirmed_while_each_fails_in_its_own_way() -> None:
    broker: LocalBroker = ApacheKafka(nodes=3)
    with needs_kafka():
        await broker.start()
    try:
        # A frozen node is given up after that long.
        kafka = broker.settings.model_copy(update={"request_timeout": 10})
        async with admin_client(kafka) as admin:
            await Topics(admin, TopicSettings(partitions=3)).create(["kept"])
        first, second, _ = broker.nodes

        await first.kill()
        assert first.pid is None
        await publish(kafka, b"while one was killed")
        await first.start()
        await in_sync(kafka)

        second.pause()
        await publish(kafka, b"while one was frozen")
        second.resume()

        assert sorted(filter(None, await values(kafka))) == [
            b"while one was frozen",
            b"while one was killed",
        ]
        pids = [node.pid for node in broker.nodes]
    finally:
        await broker.stop()
    for pid in filter(None, pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(BrokerUnreachable):
        await check_connection(kafka)
