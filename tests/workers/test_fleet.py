"""What several workers add up to, and the whole of it as processes."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child
from pipeline.local.environment import SimulatedApiProcess, kafka_variables
from pipeline.observe.metrics import Conditions
from pipeline.workers.fleet import Reports
from tests.brokers import FreshName


def stage(name: str = "tickets", **said: Any) -> dict[str, Any]:  # noqa: ANN401
    nothing = {"partitions": None, "intake_closed_because": None, "stuck_because": None}
    return {"name": name, **nothing, **said}


def model(breaker: str | None, blocked: str | None = None) -> dict[str, Any]:
    return {"name": "m", "breaker": breaker, "blocked_because": blocked}


def state(*stages: dict[str, Any], models: Any = (), reason: str | None = None) -> dict[str, Any]:  # noqa: ANN401
    findings = [{"name": "stream", "reason": reason}]
    return {"stages": stages, "models": models, "findings": findings, "simulated": False}


def added_up(*states: dict[str, Any]) -> Conditions:
    conditions = Conditions()
    reports = Reports(states={str(index): each for index, each in enumerate(states)})
    reports.add_up(conditions)
    return conditions


def test_partitions_are_summed_over_the_workers() -> None:
    found = added_up(state(stage(partitions=2)), state(stage(partitions=4)), state(stage()))
    assert found.assigned == {"tickets": 6}


def test_what_one_worker_suffers_from_is_shown_for_all() -> None:
    found = added_up(
        state(stage(), models=[model("open")]),
        state(stage(intake_closed_because="No budget."), models=[model("closed", "No key.")]),
    )
    assert found.intake_closed == {"tickets": "No budget."}
    assert found.breakers == {"m": "open"}
    assert found.blocked == {"m": "No key."}


def test_what_is_over_is_not_shown_any_more() -> None:
    conditions = Conditions(intake_closed={"tickets": "No budget."})
    Reports(states={"0": state(stage())}).add_up(conditions)
    assert conditions.intake_closed == {}


async def test_a_worker_counts_while_it_answers_and_not_with_an_error(tmp_path: Path) -> None:
    broken = False

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500 if broken else 200, text="{}")

    app = web.Application()
    app.router.add_get("/{view:.*}", answer)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    socket = tmp_path / "worker.sock"
    await web.UnixSite(runner, str(socket)).start()
    reports = Reports()
    await reports.read("0", socket)
    assert (reports.pages, reports.states) == ({"0": "{}"}, {"0": {}})
    broken = True
    await reports.read("0", socket)
    assert (reports.pages, reports.states) == ({}, {})
    await runner.cleanup()
    await reports.read("0", socket)
    assert not reports.pages


def test_a_worker_that_does_not_answer_is_not_ready() -> None:
    reports = Reports(states={"0": state(stage()), "1": state(stage(), reason="Not assigned.")})
    assert reports.why_not_ready("0") is None
    assert reports.why_not_ready("1") == "Not assigned."
    assert reports.why_not_ready("2") is not None


async def announced(child: Child) -> dict[str, Any]:
    while True:
        for line in child.output().splitlines():
            if line.startswith('{"dashboard":'):
                found: dict[str, Any] = json.loads(line)
                return found
        assert child.running, child.output()
        await asyncio.sleep(0.05)


# On the embedded broker two members that join at once may wait for each other for ever.
@pytest.mark.kafka
async def test_two_workers_are_seen_through_one_port_and_drained_by_one_signal(
    apache_kafka: ApacheKafka, fresh_name: FreshName, tmp_path: Path
) -> None:
    topics = TopicSettings(prefix=fresh_name("fleet") + ".", partitions=2)
    async with admin_client(apache_kafka.settings) as admin:
        names = TopicNames(topics).of(["tickets"])
        await Topics(admin, topics, configs=apache_kafka.topic_configs).create(names)
    async with SimulatedApiProcess() as api:
        environment = {
            **kafka_variables(apache_kafka.settings),
            "ANTHROPIC_BASE_URL": api.base_url,
            "ANTHROPIC_API_KEY": "simulated",
            "PIPELINE_HTTP__PORT": "0",
            "PIPELINE_KAFKA__GROUP_PREFIX": topics.prefix,
            "PIPELINE_TOPICS__PREFIX": topics.prefix,
        }
        command = [sys.executable, "-m", "pipeline.cli", "run", "tickets", "--workers", "2"]
        child = Child([*command, "--json"], log=tmp_path / "run.log", env=environment)
        try:
            async with asyncio.timeout(100):
                address = (await announced(child))["dashboard"]
                async with aiohttp.ClientSession(address) as session:
                    while (await session.get("/readyz")).status != 200:
                        assert child.running, child.output()
                        await asyncio.sleep(0.1)
                    async with session.get("/metrics") as answer:
                        page = await answer.text()
                    async with session.get("/api/status") as answer:
                        (tickets,) = (await answer.json())["stages"]
            assert 'worker="0"' in page
            assert 'worker="1"' in page
            assert tickets["partitions"] == 2
        finally:
            child.send(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await child.wait() == 0, child.output()


def test_the_last_records_are_the_newest_of_all_workers() -> None:
    records = {
        worker: [{"at": f"2026-11-22T10:00:0{second}Z", "event_id": f"T-{second}"} for second in at]
        for worker, at in (("0", (7, 3)), ("1", (5, 4)))
    }
    reports = Reports(states={worker: {"recent": found} for worker, found in records.items()})
    assert [record["event_id"] for record in reports.newest_first(3)] == ["T-7", "T-5", "T-4"]
