"""`pipeline local` and `pipeline run` as services, with other programs as clients."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord
from jsonschema import Draft202012Validator

from tests.e2e.programs import exported, program

ROOT = Path(__file__).parents[2]
STAGES = ("tickets", "invoices", "images", "escalations")

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Services:
    """Both programs, and clients of the broker between them."""

    def __init__(self, pid: int, address: str, log: Path, kafka: str) -> None:
        self.pid = pid
        self.address = address
        self.log = log
        self.kafka = kafka
        self._consumed: list[ConsumerRecord] = []

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Put one record on a topic."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.kafka, max_request_size=16 << 20
        ) as producer:
            wire = [(name, text.encode()) for name, text in (headers or {}).items()]
            await producer.send_and_wait(topic, value, key=key, headers=wire)

    async def first(self, topics: list[str], key: bytes) -> ConsumerRecord:
        """The first committed record with that key on any of the topics."""
        async with asyncio.timeout(30):
            async with AIOKafkaConsumer(
                *topics,
                bootstrap_servers=self.kafka,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
            ) as consumer:
                async for record in consumer:
                    if record.key == key:
                        return record
        raise AssertionError("unreachable: the loop above has no end")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="services")
async def running_services(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Services]:
    """`pipeline local`, and `pipeline run` pointed at it by what it printed.

    The first two calls about an address find the API overloaded.
    """
    async with program(["local", "--fault", "overloaded,next=2,match=change the address"]) as local:
        await local.says("ready")
        variables = exported(local.lines)
        variables |= {"PIPELINE_LOG__FORMAT": "json", "PIPELINE_LOG__LEVEL": "info"}
        log = tmp_path_factory.mktemp("services") / "run.log"
        with log.open("wb") as errors:
            async with program(["run", "--json", *STAGES], variables, stderr=errors) as run:
                address = orjson.loads(await run.says("http://"))["dashboard"]
                async with asyncio.timeout(30):
                    await _ready(address)
                kafka = variables["PIPELINE_KAFKA__BOOTSTRAP_SERVERS"]
                yield Services(run.process.pid, address, log, kafka)


async def _ready(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{address}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.05)


def valid(record: ConsumerRecord, schema: str) -> dict[str, object]:
    """The record's value, which must be what the published schema says."""
    contract = orjson.loads((ROOT / "schemas" / f"{schema}.schema.json").read_bytes())
    value: dict[str, object] = orjson.loads(record.value)
    Draft202012Validator(contract).validate(value)
    return value


async def test_any_client_gets_its_ticket_back_enriched_under_its_key(services: Services) -> None:
    ticket = {"id": "x-1", "body": "My card was charged twice, please refund"}

    await services.publish("tickets.raw", orjson.dumps(ticket), key=b"customer-1")
    record = await services.first(["tickets.enriched"], b"customer-1")

    value = valid(record, "tickets.enriched")
    assert value["event_id"] == "x-1"
    assert value["result"]["intent"] == "billing"  # type: ignore[index]
    assert str(value["model"]).startswith("simulated-")


async def test_a_bare_file_works_as_well_as_json(services: Services) -> None:
    picture = ROOT / "samples" / "images" / "D-4001.png"

    await services.publish(
        "images.raw",
        picture.read_bytes(),
        key=b"scanner-1",
        headers={"content-type": "image/png", "event-id": "scan-1"},
    )
    record = await services.first(["images.enriched", "review"], b"scanner-1")

    value = orjson.loads(record.value)
    assert (value["event_id"], value["stage"]) == ("scan-1", "images")
    schema = "images.enriched" if record.topic == "images.enriched" else "review"
    valid(record, schema)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_a_process_that_speaks_to_the_world_has_no_library_that_parses_files(
    services: Services,
) -> None:
    loaded = await asyncio.to_thread(Path(f"/proc/{services.pid}/maps").read_text)
    assert "/pydantic_core/" in loaded
    assert re.findall(r"/(?:PIL|pikepdf|tesserocr)\b", loaded) == []


async def test_bad_input_is_one_dead_letter_with_its_bytes_and_the_next_event_goes_on(
    services: Services,
) -> None:
    await services.publish("tickets.raw", b"\x00\xff{", key=b"broken-1")
    dead = await services.first(["dead-letters"], b"broken-1")

    assert dead.value == b"\x00\xff{"
    headers = dict(dead.headers)
    assert headers["dlq-reason"] == b"invalid_json"
    assert headers["dlq-topic"] == b"tickets.raw"
    ticket = {"id": "x-2", "body": "The app crashes when I log in since the last update"}
    await services.publish("tickets.raw", orjson.dumps(ticket), key=b"broken-1")
    await services.first(["tickets.enriched", "review"], b"broken-1")


async def test_the_port_shows_health_metrics_and_status(services: Services) -> None:
    async with aiohttp.ClientSession(services.address) as session:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/api/status"):
            async with session.get(path) as response:
                assert response.status == 200, path
        async with session.get("/metrics") as response:
            page = await response.text()
        async with session.get("/api/status") as response:
            status = await response.json()
    assert 'pipeline_events_received_total{stage="tickets"}' in page
    assert "process_resident_memory_bytes" in page
    # What is well is stated, too: a missing series looks like a lost one.
    assert 'pipeline_intake_open{stage="images"} 1.0' in page
    assert 'pipeline_breaker_state{model="claude-sonnet-5-5",state="closed"} 1.0' in page
    assert status["delivery"] == "exactly_once"
    assert {stage["name"] for stage in status["stages"]} == set(STAGES)


async def test_calls_that_failed_were_made_again_and_are_reported(services: Services) -> None:
    ticket = {"id": "x-3", "body": "How do I change the address on my invoices?"}
    await services.publish("tickets.raw", orjson.dumps(ticket), key=b"customer-3")
    await services.first(["tickets.enriched", "review"], b"customer-3")
    async with (
        aiohttp.ClientSession(services.address) as session,
        session.get("/metrics") as response,
    ):
        page = await response.text()
    calls = re.findall(r'pipeline_model_calls_total\{end="overloaded",.*\} (\S+)', page)
    assert sum(map(float, calls)) == 2
    assert 'pipeline_prompt_cache_hit_ratio{model="claude-haiku-5-5",stage="tickets"}' in page


async def test_the_log_says_at_the_start_whether_prompts_will_be_cached(services: Services) -> None:
    lines = [orjson.loads(line) for line in services.log.read_bytes().splitlines()]
    logged = {
        (line["stage"], line["model"]): line["static_part"]
        for line in lines
        if line["event"] == "prompt_cache"
    }
    models = ("claude-haiku-5-5", "claude-sonnet-5-5")
    assert set(logged) == {(stage, model) for stage in STAGES[:3] for model in models}
    assert set(logged.values()) == {"long enough to be cached"}
