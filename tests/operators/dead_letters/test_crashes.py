"""Replays that die, and replays that run against each other, on a real Kafka."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping

import pytest

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.environment import kafka_variables
from pipeline.model.records import Audit, read_record
from tests.brokers import FreshName
from tests.e2e.programs import PATIENCE, PIPELINE
from tests.operators.dead_letters.examples import buried, raw, write

pytestmark = pytest.mark.kafka

LETTERS = 400


class World:
    """Dead letters on Apache Kafka, and processes that replay them."""

    def __init__(self, kafka: ApacheKafka, prefix: str) -> None:
        self.kafka = kafka.settings
        self.settings = TopicSettings(prefix=prefix, partitions=3, replication_factor=1)
        self.names = TopicNames(self.settings)
        self.environment: Mapping[str, str] = {
            **os.environ,
            **kafka_variables(kafka.settings),
            "PIPELINE_TOPICS__PREFIX": prefix,
        }

    async def bury(self) -> None:
        async with admin_client(self.kafka) as admin:
            await Topics(admin, self.settings).create(self.names.of(["tickets"]))
        topic = self.names.raw("tickets")
        await write(
            self.kafka,
            [
                buried(raw(n, topic=topic, key=b"%d" % n), into=self.names.dead_letters)
                for n in range(LETTERS)
            ],
        )

    async def replay(self, *, rate: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PIPELINE, "dead-letters", "replay", "--all", f"--rate={rate}",
            env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def back(self) -> Counter[bytes | None]:
        """How often each key is back on its topic, to a committed reader."""
        async with read_topics(self.kafka, [self.names.raw("tickets")]) as records:
            return Counter([record.key async for record in records])

    async def on_record(self) -> int:
        """How many replays the audit topic accounts for, to a committed reader."""
        async with read_topics(self.kafka, [self.names.audit]) as records:
            return sum([read_record(Audit, record.value).count async for record in records])

    async def some_are_back(self, more_than: int) -> None:
        topic, seen = self.names.raw("tickets"), 0
        async with (
            asyncio.timeout(PATIENCE),
            read_topics(self.kafka, [topic], end="never") as records,
        ):
            async for _ in records:
                seen += 1
                if seen > more_than:
                    return


@pytest.fixture
async def world(apache_kafka: ApacheKafka, fresh_name: FreshName) -> World:
    made = World(apache_kafka, fresh_name("replay") + ".")
    await made.bury()
    return made


EACH_ONCE = Counter({b"%d" % number: 1 for number in range(LETTERS)})


async def test_a_replay_that_is_killed_again_and_again_doubles_and_loses_nothing(
    world: World,
) -> None:
    before = 0
    for _ in range(2):
        process = await world.replay(rate=20)
        await world.some_are_back(before)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        before = (await world.back()).total()
        assert 0 < before < LETTERS
    last = await world.replay(rate=10_000)
    out, err = await last.communicate()
    assert last.returncode == 0, err
    assert out.startswith(b"%d replayed" % (LETTERS - before))
    assert await world.back() == EACH_ONCE
    assert await world.on_record() == LETTERS


async def test_of_two_replays_at_once_one_is_fenced_and_none_doubles(world: World) -> None:
    early = await world.replay(rate=10)
    await world.some_are_back(0)
    late = await world.replay(rate=10_000)
    (_, reported), (out, err) = await asyncio.gather(early.communicate(), late.communicate())
    assert late.returncode == 0, err
    assert early.returncode == 1
    assert b"Another process handles" in reported
    assert b"replayed" in out
    assert await world.back() == EACH_ONCE
