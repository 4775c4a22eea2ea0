"""`pipeline backfill` as an operator starts it, and as one who kills it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from benchmarks.backfill import Plan, prove
from pipeline.backfill.attempt import CannotBackfill, Wish, backfill
from pipeline.backfill.progress import Watcher
from pipeline.config import load_settings
from pipeline.local.broker import LocalBroker
from pipeline.local.environment import SimulatedApiProcess
from tests.brokers import FreshName
from tests.cli.conftest import Run, nowhere, prefix, run

__all__ = ["nowhere", "prefix", "run"]


@pytest.fixture(name="api")
def simulated_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings that reach a simulated API whose batches end soon."""
    process = SimulatedApiProcess()
    asyncio.run(process.__aenter__())
    for name, value in {
        "ANTHROPIC_BASE_URL": process.base_url,
        "ANTHROPIC_API_KEY": "key-of-a-test",
        "PIPELINE_BACKFILL__BATCH_EVENTS": "4",
        "PIPELINE_BACKFILL__POLL_INTERVAL": "0.2",
        "PIPELINE_BACKFILL__SETTLE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    yield
    asyncio.run(process.__aexit__(None, None, None))


def written(path: Path, count: int, first: int = 0) -> str:
    lines = [
        json.dumps({"id": f"T-{n}", "body": f"I was charged twice for order {n}, please refund."})
        for n in range(first, first + count)
    ]
    path.write_text("\n".join([*lines, '{"id": "no ticket"}']))
    return str(path)


@pytest.mark.usefixtures("api", "prefix")
def test_a_backlog_and_a_file_are_enriched_at_half_the_price(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "tickets.jsonl", 10)
    assert run("topics", "create", "tickets").code == 0
    assert run("publish", "tickets", path, "--no-validate").code == 0

    ran = run("backfill", "tickets", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["done"]
    assert (said["published"], said["dead_letters"], said["under_way"]) == (11, 1, 0)
    assert said["normal_usd"] == "0"
    enriched = [json.loads(line) for line in run("tail", "tickets").out.splitlines()]
    assert len(enriched) == said["enriched"]
    assert all(record["usage"]["calls"] == 1 for record in enriched)

    again = run("backfill", "tickets", "--json")
    assert json.loads(again.out) == {**said, "resumed": 0, "found_again": 0}
    lag = run("lag", "tickets", "--json")
    assert json.loads(lag.out)[0]["lag"] == 0

    other = written(tmp_path / "archive.jsonl", 5, first=100)
    ran = run("backfill", "tickets", other)
    assert ran.code == 0, ran.err
    assert "6 of 6 events" in ran.out
    records = [json.loads(line) for line in run("tail", "tickets").out.splitlines()]
    sources = {record["source"]["topic"] for record in records}
    assert "file:archive.jsonl" in sources
    assert run("backfill", "tickets", other).out == ran.out
    assert len(run("tail", "tickets").out.splitlines()) == len(records)


def test_a_topic_that_is_being_consumed_is_left_alone(
    run: Run, prefix: str, embedded_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_KAFKA__GROUP_PREFIX", prefix)
    run("topics", "create", "tickets")

    async def consuming() -> None:
        async with AIOKafkaConsumer(
            f"{prefix}tickets.raw",
            bootstrap_servers=embedded_broker.bootstrap_servers,
            group_id=f"{prefix}tickets",
        ):
            with pytest.raises(CannotBackfill, match="`pipeline run tickets` is consuming"):
                await backfill(load_settings(), Wish("tickets"), Watcher(), asyncio.Event())

    asyncio.run(consuming())


@pytest.mark.usefixtures("prefix")
def test_what_cannot_be_done_is_said_in_a_sentence(run: Run, tmp_path: Path) -> None:
    ran = run("backfill", "nonsense")
    assert (ran.code, "no stage 'nonsense'" in ran.err) == (2, True)
    ran = run("backfill", "tickets")
    assert (ran.code, "pipeline topics create" in ran.err) == (1, True)
    run("topics", "create", "tickets")
    ran = run("backfill", "tickets", str(tmp_path / "missing.jsonl"))
    assert (ran.code, "missing.jsonl" in ran.err) == (2, True)
    ran = run("backfill", "tickets", "-")
    assert (ran.code, "name one, not `-`" in ran.err) == (2, True)


@pytest.mark.kafka
def test_kills_on_apache_kafka_lose_and_double_nothing(
    apache_kafka: LocalBroker, fresh_name: FreshName, tmp_path: Path
) -> None:
    plan = Plan(events=240, kills=2, partitions=2, prefix=fresh_name("backfill") + ".")
    finding = asyncio.run(prove(plan, apache_kafka, tmp_path))
    assert finding.holds(plan), finding
