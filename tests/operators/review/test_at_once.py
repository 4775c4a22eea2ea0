"""People who resolve the same case at the same moment, on a real Kafka."""

import asyncio
import os
from collections import Counter

import orjson
import pytest

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.environment import kafka_variables
from tests.brokers import FreshName
from tests.e2e.programs import PIPELINE
from tests.operators.dead_letters.examples import write
from tests.operators.review.items import outgoing, review

pytestmark = pytest.mark.kafka


async def test_each_item_is_resolved_once_and_a_late_one_is_refused(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    prefix = fresh_name("review") + "."
    topics = TopicSettings(prefix=prefix, partitions=1, replication_factor=1)
    names = TopicNames(topics)
    async with admin_client(apache_kafka.settings) as admin:
        await Topics(admin, topics).create(names.of(["tickets"]))
    records = [outgoing(review(n), key=b"%d" % n, topic=names.review) for n in range(2)]
    await write(apache_kafka.settings, records)
    environment = {
        **os.environ,
        **kafka_variables(apache_kafka.settings),
        "PIPELINE_TOPICS__PREFIX": prefix,
    }

    async def resolve(offset: int, tier: str) -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            *PIPELINE, "review", "resolve", f"0:{offset}", "--accept", tier,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, err = await process.communicate()
        return process.returncode, err

    ends = await asyncio.gather(
        resolve(0, "haiku"), resolve(0, "sonnet"), resolve(0, "haiku"), resolve(1, "sonnet")
    )
    async with read_topics(apache_kafka.settings, [names.enriched("tickets")]) as found:
        published = Counter(
            [orjson.loads(record.value or b"")["event_id"] async for record in found]
        )
    assert published == {"T-0": 1, "T-1": 1}
    assert sorted(code or 0 for code, _ in ends[:3]) == [0, 1, 1], ends
    assert all(b"was resolved before" in err for code, err in ends[:3] if code)
    assert ends[3][0] == 0, ends[3]
