"""The running pipeline, a real Prometheus with the project's rules, and an API that fails."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.deploy import dashboards
from tests.deploy.documents import alerts, rules
from tests.deploy.prometheus import Prometheus, prometheus
from tests.deploy.tools import ROOT, tool
from tests.e2e.programs import exported, program

SAMPLES = ROOT / "samples" / "tickets.jsonl"

# What a pipeline has nothing to tell of while all is well, the API has no limits, no budget is
# set, and nothing was asked twice, refused, or rebalanced since it was first looked at.
_EMPTY_WHILE_WELL = {
    "cost: Answers not paid again A",
    "cost: Budgets A",
    "cost: By model B",
    "cost: Fullest budget A",
    "cost: Not paid again A",
    "kafka: Standstill of a rebalance A",
    "kafka: Stuck A",
    "model_kind:pipeline_rate_limit_used:ratio5m",
    "overview: Breakers that are not closed A",
    "overview: Dead letters A",
    "overview: Firing now A",
    "overview: Intake A",
    "overview: Limits left A",
    "overview: Refused until a person acts A",
    "stage: Dead letters A",
    "stage:pipeline_reviews:ratio30m",
    "stage_window:pipeline_budget_used:ratio",
}

# A counter that is there with its last number at the first look never rises, and a share of two
# such is no number: what has no data yet gets more events to count, so many times.
_ROUNDS = 8

# Keeps the delay that it has in the rules; all others wait for nothing.
_PATIENT = "PipelineBreakerOpen"
_DELAY = 60.0
_LATE = 15.0


@dataclass
class Drill:
    """What the drill is made with."""

    api: str
    environment: dict[str, str]
    server: Prometheus
    folder: Path

    async def publish(self, words: str) -> None:
        """Put the sample tickets on their topic, with words that make them new questions."""
        path = self.folder / "tickets.jsonl"
        path.write_text("".join(f"{json.dumps(each)}\n" for each in tickets(words)))
        async with program(["publish", "tickets", str(path)], self.environment) as publishing:
            await publishing.says("published")

    async def fails(self, fault: str | None) -> None:
        """Let the API fail from now on, or answer again."""
        async with aiohttp.ClientSession() as session:
            if fault is None:
                await session.delete(f"{self.api}/admin/faults")
            else:
                await session.post(f"{self.api}/admin/faults", json={"fault": fault})


def tickets(words: str) -> list[dict[str, Any]]:
    lines = SAMPLES.read_text("utf-8").splitlines()
    return [read | {"body": f"{read['body']} {words}"} for read in map(json.loads, lines)]


@contextlib.asynccontextmanager
async def drill(folder: Path) -> AsyncIterator[Drill]:
    async with program(["local"]) as local:
        await local.says("ready")
        environment = exported(local.lines) | {"PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0.5"}
        async with program(["run", "--json"], environment) as run:
            address = json.loads(await run.says("dashboard"))["dashboard"]
            target = address.removeprefix("http://")
            async with prometheus(folder, [target], patient=[_PATIENT]) as server:
                yield Drill(environment["ANTHROPIC_BASE_URL"], environment, server, folder)


def committed(times: int) -> str:
    count = times * len(SAMPLES.read_text("utf-8").splitlines())
    return f'sum(pipeline_events_committed_total{{stage="tickets"}}) >= {count}'


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_alerts_fire_when_the_api_fails_and_clear_when_it_is_back(tmp_path: Path) -> None:
    tool("prometheus")  # before anything is started in vain
    asked = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    for path in dashboards.FILES:
        if path.stem != "backfill":  # of another program, which does not run here
            asked |= dict(dashboards.queries(path))
    assert asked.keys() >= _EMPTY_WHILE_WELL
    assert [each["for"] for each in alerts() if each["alert"] == _PATIENT] == [
        f"{_DELAY / 60:.0f}m"
    ]
    async with drill(tmp_path) as the:
        server = the.server
        rounds, lacking = 0, {*asked}
        while lacking and rounds < _ROUNDS:
            rounds += 1
            await the.publish(f"Thank you, {rounds} times.")
            await server.comes_true(committed(rounds))
            lacking = await server.without_data(asked) - _EMPTY_WHILE_WELL
        assert sorted(lacking) == []
        assert not await server.query('ALERTS{severity="critical"}')

        await the.fails("overloaded")
        await the.publish("Best wishes.")
        await server.comes_true('ALERTS{alertname="PipelineIntakeClosed", alertstate="firing"}')
        await server.comes_true(f'ALERTS{{alertname="{_PATIENT}", alertstate="pending"}}')
        began = time.monotonic()
        await server.comes_true(
            f'ALERTS{{alertname="{_PATIENT}", alertstate="firing"}}', within=_DELAY + _LATE
        )
        assert time.monotonic() - began > _DELAY - _LATE

        await the.fails(None)
        await server.comes_true(committed(rounds + 1))
        await server.comes_true(
            'absent(ALERTS{alertname=~"PipelineBreakerOpen|PipelineIntakeClosed"})'
        )
