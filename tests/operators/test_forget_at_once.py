"""Forgetting a key by two people at the same moment, on a real Kafka."""

import asyncio
import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.environment import kafka_variables
from pipeline.model.records import Audit, Handled, read_record
from pipeline.stream.records import Outgoing
from tests.brokers import FreshName
from tests.e2e.programs import PIPELINE
from tests.operators.dead_letters.examples import buried, raw, write
from tests.operators.review.items import outgoing, review

pytestmark = pytest.mark.kafka

COUNT = 40
KEY = b"ada@example.com"


async def test_each_thing_is_settled_once_and_what_remains_is_listed(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    kafka, prefix = apache_kafka.settings, fresh_name("forget") + "."
    topics = TopicSettings(
        prefix=prefix, partitions=2, replication_factor=1, payload_retention=4 * 86_400
    )
    names = TopicNames(topics)
    enriched, raw_topic = names.enriched("tickets"), names.raw("tickets")
    async with admin_client(kafka) as admin:
        compacting = Topics(admin, topics, configs={"cleanup.policy": "compact"})
        await compacting.create([enriched])
        await Topics(admin, topics).create(names.of(["tickets"]))
    written = [
        each
        for number in range(COUNT)
        for each in (
            outgoing(review(number), key=KEY, topic=names.review),
            buried(raw(number, topic=raw_topic, key=KEY), into=names.dead_letters),
            Outgoing(enriched, KEY, b"{}", ()),
        )
    ]
    await write(kafka, written)
    environment = {
        **os.environ,
        **kafka_variables(kafka),
        "PIPELINE_TOPICS__PREFIX": prefix,
        "PIPELINE_CLAUDE__ANSWER_CACHE": "off",
    }

    async def forget(person: str) -> tuple[int | None, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *PIPELINE, "forget", KEY.decode(), "--execute", "--as", person, "--json",
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out, err

    ends = await asyncio.gather(forget("ada"), forget("bo"))
    assert all(code == 0 or b"Another process handles" in err for code, _, err in ends), ends
    code, out, err = await forget("cy")
    assert code == 0, err

    last = orjson.loads(out)
    assert (last["settled_before"], last["tombstones"]) == (2 * COUNT, [])
    remains = {each["topic"]: each for each in last["remains"]}
    assert remains[enriched]["removed_by"] == "compaction"
    until = datetime.fromisoformat(remains[names.review]["until"])
    # Four days, and a quarter of that for the segment.
    assert timedelta(0) < datetime.now(UTC) + timedelta(days=5) - until < timedelta(hours=1)
    assert remains[names.review]["records"] == COUNT
    async with read_topics(kafka, [names.resolved, names.replayed]) as records:
        marks = [read_record(Handled, record.value) async for record in records]
    assert {(mark.reason, mark.times) for mark in marks} == {("forgotten", 1)}
    assert len({(mark.topic, mark.partition, mark.offset) for mark in marks}) == 2 * COUNT
    assert len(marks) == 2 * COUNT
    async with read_topics(kafka, [names.audit]) as records:
        entries = [read_record(Audit, record.value) async for record in records]
    on_record: Counter[str] = Counter()
    for entry in entries:
        on_record[entry.did] += entry.count
    assert on_record["forgotten"] == 2 * COUNT
    assert on_record["tombstones"] >= 1
