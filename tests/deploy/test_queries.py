"""Every query of rules and dashboards, asked of a real Prometheus."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from pipeline.config import HttpSettings
from pipeline.model.records import Tier, Usage
from pipeline.observe.dashboard import About, Health, Status, Views
from pipeline.observe.metrics import Asked, Conditions, Metrics
from pipeline.observe.web import serve
from pipeline.stream.records import Disposition
from tests.deploy import dashboards
from tests.deploy.documents import alerts, rules
from tests.deploy.prometheus import INTERVAL, filled_in, free_port, prometheus
from tests.deploy.tools import ROOT, tool
from tests.deploy.trouble import HAIKU, SONNET, Trouble

_SCRAPES = 8
_BROKEN = re.compile(r"\{\{|<no value>|<error|NaN|\+Inf")

# True only where the pipeline tells nothing, so it is asked about a time before it did.
_ONLY_BEFORE = {"PipelineNoData"}
_ONLY_IN_KUBERNETES = {"namespace"}
# Those that count what happens.
_COUNTING = {
    "PipelineCommitsFailing",
    "PipelineDeadLetterRatio",
    "PipelineEscalationShare",
    "PipelineModelErrors",
    "PipelineModelSlow",
    "PipelinePriceUnknown",
    "PipelineRebalancing",
    "PipelineReviewShare",
}


@contextlib.asynccontextmanager
async def page(registry: CollectorRegistry) -> AsyncIterator[str]:
    """The port's own /metrics; yields its address."""
    health = Health()
    status = Status(About("1.2.3", "exactly_once", ("tickets",)), registry, Conditions(), health)
    async with serve(HttpSettings(port=0), Views(registry, health, status)) as address:
        yield address.removeprefix("http://")


@contextlib.asynccontextmanager
async def pipeline_in_trouble() -> AsyncIterator[str]:
    """Everything goes wrong again and again; yields the address of its metrics."""
    registry = CollectorRegistry()
    trouble = Trouble(registry)
    async with page(registry) as address, asyncio.TaskGroup() as group:
        happening = group.create_task(keep(trouble))
        yield address
        happening.cancel()


async def keep(trouble: Trouble) -> None:
    while True:
        trouble.happen()
        await asyncio.sleep(INTERVAL / 2)


def burst(metrics: Metrics) -> None:
    """All that alerts count, at once and once."""
    unpriced = Usage(calls=1, input_tokens=400, output_tokens=60, cost_usd=None)
    for _ in range(60):
        metrics.call("tickets", HAIKU, "answered", seconds=25.0, usage=unpriced)
        metrics.call("tickets", HAIKU, "overloaded", seconds=25.0, usage=None)
        metrics.decided("tickets", Tier.HAIKU, "escalated", model=HAIKU)
        metrics.decided("tickets", Tier.SONNET, "review", model=SONNET)
        metrics.completed("tickets", Disposition.DEAD_LETTER, seconds=0.6)
        metrics.commit_failed("tickets", outcome="aborted")
        metrics.rebalanced("tickets", partitions=6, seconds=0.4)


def of_the_runbook() -> list[str]:
    """The queries that it has people ask, one a line."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
    blocks = re.findall(r"^```promql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = "".join(blocks).splitlines()
    assert found
    return found


async def test_every_query_has_data_and_every_alert_fires_while_all_is_in_trouble(
    tmp_path: Path,
) -> None:
    tool("prometheus")  # before anything is started in vain
    before = time.time() - 3600
    async with (
        pipeline_in_trouble() as target,
        prometheus(tmp_path, [target, f"127.0.0.1:{free_port()}"]) as server,
    ):
        await server.comes_true(f"count_over_time(pipeline_build_info[1m]) >= {_SCRAPES}")

        asked = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}
        for path in dashboards.FILES:
            asked |= dict(dashboards.queries(path))
        asked |= {line: line for line in of_the_runbook()}
        assert await server.without_data(asked) == _ONLY_BEFORE
        assert (
            await server.without_data({name: asked[name] for name in _ONLY_BEFORE}, time=before)
            == set()
        )

        for path in dashboards.FILES:
            for series, label in dashboards.variables(path):
                values = await server.get(f"label/{label}/values", **{"match[]": filled_in(series)})
                assert values or label in _ONLY_IN_KUBERNETES

        groups = (await server.get("rules"))["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

        firing = (await server.get("alerts"))["alerts"]
        assert {each["labels"]["alertname"] for each in firing} == {
            alert["alert"] for alert in alerts()
        } - _ONLY_BEFORE
        said = [text for each in firing for text in each["annotations"].values()]
        assert [text for text in said if _BROKEN.search(text)] == []


async def test_what_begins_with_a_burst_and_ends_with_it_raises_its_alert(tmp_path: Path) -> None:
    tool("prometheus")
    registry = CollectorRegistry()
    metrics = Metrics(registry, Conditions())
    metrics.started(version="1.2.3", delivery="exactly_once", budgets={})
    asked = [Asked("tickets", Tier.HAIKU, HAIKU), Asked("tickets", Tier.SONNET, SONNET)]
    metrics.begin_well(("tickets",), (HAIKU, SONNET), asked)
    async with page(registry) as target, prometheus(tmp_path, [target]) as server:
        await server.comes_true("count_over_time(pipeline_build_info[1m]) >= 3")
        assert not await server.query("ALERTS")
        burst(metrics)
        firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
        await server.comes_true(f"count({firing}) >= {len(_COUNTING)}", within=20)
        assert {each["metric"]["alertname"] for each in await server.query(firing)} == _COUNTING
