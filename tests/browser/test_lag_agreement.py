"""The whole pipeline on Apache Kafka, in two processes, and what everything says of its lag."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from prometheus_client.parser import text_string_to_metric_families

from pipeline.config import KafkaSettings, Settings, TopicSettings
from pipeline.kafka.connection import producer_client
from pipeline.kafka.topics import TopicNames
from pipeline.local.apache import ApacheKafka
from pipeline.local.simulated import SimulatedApi
from pipeline.local.simulated.injected_faults import Fault
from pipeline.operators import inspection
from tests.brokers import FreshName
from tests.browser.chromium import Chromium, Page
from tests.browser.test_page import HOSTILE, SHOTS
from tests.e2e.programs import Program, program

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

EVENTS = 1_000
STAGES = ("tickets", "escalations")


class Installation:
    """A running pipeline of two workers, and the ways to ask about it."""

    def __init__(self, settings: Settings, api: SimulatedApi, run: Program, address: str) -> None:
        self.settings = settings
        self.api = api
        self.run = run
        self.address = address
        self.topic = TopicNames.under(settings).raw("tickets")

    async def publish(self) -> None:
        """Put the events on the topic, with bodies that no browser may obey."""
        async with producer_client(self.settings.kafka) as producer:
            for number in range(EVENTS):
                # By another element than mail has: markup of mail would be left out.
                body = f"{HOSTILE.replace('<img', '<audio')} Where is my parcel number {number}?"
                ticket = orjson.dumps({"id": f"T-{number}", "body": body})
                await producer.send(self.topic, ticket, key=b"customer-%d" % number)

    async def of_status(self) -> Mapping[str, Any]:
        """What `/api/status` says of the stage."""
        view = orjson.loads(await self._get("/api/status"))
        found: Mapping[str, Any] = view["stages"][0]
        return found

    async def of_metrics(self) -> tuple[float, float]:
        """The lag in `/metrics`: records, and the age of the oldest in seconds."""
        page = (await self._get("/metrics")).decode()
        samples = [
            sample
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.labels.get("stage") == "tickets"
        ]
        records = [each.value for each in samples if each.name == "pipeline_lag_events"]
        seconds = [each.value for each in samples if each.name == "pipeline_lag_seconds"]
        return sum(records), max(seconds)

    async def _get(self, path: str) -> bytes:
        async with aiohttp.ClientSession(self.address) as session, session.get(path) as answer:
            return await answer.read()

    async def of_command(self) -> tuple[int, float]:
        """What `pipeline lag` says: records, and the age of the oldest in seconds."""
        async with program(["lag", "tickets", "--json"], environment(self.settings)) as lag:
            printed, _ = await lag.process.communicate()
        [stage] = orjson.loads(printed)
        return stage["lag"], stage["oldest_seconds"]

    def of_kafka(self) -> int:
        """Kafka's description of the group: ends less committed offsets, by a foreign client."""
        client = AdminClient({"bootstrap.servers": self.settings.kafka.bootstrap_servers})
        group = self.settings.kafka.group_prefix + "tickets"
        asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        committed = asked[group].result(20).topic_partitions
        latest = {
            TopicPartition(each.topic, each.partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
            for each in committed
        }
        ends = client.list_offsets(latest)
        by_partition = {
            (each.topic, each.partition): future.result(20).offset for each, future in ends.items()
        }
        return sum(by_partition[each.topic, each.partition] - each.offset for each in committed)


def environment(settings: Settings, api: SimulatedApi | None = None) -> dict[str, str]:
    """The variables that a program needs."""
    variables = {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "PIPELINE_KAFKA__GROUP_PREFIX": settings.kafka.group_prefix,
        "PIPELINE_TOPICS__PREFIX": settings.topics.prefix,
    }
    if api is not None:
        variables |= {"ANTHROPIC_BASE_URL": api.base_url, "ANTHROPIC_API_KEY": "simulated"}
    return variables


@pytest_asyncio.fixture(loop_scope="module")
async def installation(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> AsyncIterator[Installation]:
    """Two workers; their API is overloaded from the start."""
    prefix = fresh_name("agreement") + "."
    kafka = KafkaSettings(bootstrap_servers=apache_kafka.bootstrap_servers, group_prefix=prefix)
    settings = Settings(kafka=kafka, topics=TopicSettings(prefix=prefix, partitions=4))
    await inspection.create(settings, STAGES)
    async with SimulatedApi() as api:
        api.control.faults.add(Fault.parse("overloaded"), api.control.clock())
        command = ["run", "--json", "--workers", "2", *STAGES]
        async with program(command, environment(settings, api)) as run:
            address = orjson.loads(await run.says("http://"))["dashboard"]
            yield Installation(settings, api, run, address)


async def lag_on_page(page: Page, shown: str) -> None:
    await page.until(
        "[...document.querySelectorAll('.tile')].some((tile) => "
        f"tile.innerText.startsWith({json.dumps(shown)}))"
    )


async def test_all_agree_on_what_waits_through_an_outage_and_after(
    browser: Chromium, installation: Installation
) -> None:
    page = await browser.open(installation.address)
    await page.until("document.querySelector('#state').textContent === 'Ready'", within=90)
    await lag_on_page(page, "Lag\n0 events")

    await installation.publish()
    await lag_on_page(page, f"Lag\n{EVENTS:,} events")
    await page.until("document.querySelector('#state').textContent === 'Not ready'")
    assert (await installation.of_status())["lag_events"] == EVENTS
    records, seconds = await installation.of_metrics()
    assert records == EVENTS
    lag, oldest = await installation.of_command()
    assert lag == EVENTS
    assert await asyncio.to_thread(installation.of_kafka) == EVENTS
    # They did not look at the same moment.
    assert oldest - 20 < seconds <= oldest + 1
    assert "No answer" in await page.text("#troubles")
    await page.screenshot(SHOTS / "outage.png")

    installation.api.control.faults.clear()
    await page.until("document.querySelector('#records').innerText.includes('onerror')", within=90)
    await page.until("document.querySelector('#state').textContent === 'Ready'")
    await lag_on_page(page, "Lag\n0 events")
    assert await page.evaluate("document.querySelectorAll('main audio, main script').length") == 0
    assert page.complaints == []

    assert await installation.run.stop() == 0
    await page.until("document.querySelector('#state').textContent === 'No connection'")
