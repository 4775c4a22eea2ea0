"""Every query of rules and dashboards, asked of a real Prometheus."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from pipeline.observe.conditions import Conditions
from pipeline.observe.health import Health
from pipeline.observe.http import Views, serve
from pipeline.observe.status import Status
from pipeline.observe.view import About
from pipeline.settings import HttpSettings
from tests.deploy import dashboards
from tests.deploy.documents import alerts, rules
from tests.deploy.prometheus import INTERVAL, filled_in, free_port, prometheus
from tests.deploy.tools import ROOT, tool
from tests.deploy.trouble import Trouble

_SCRAPES = 8
_BROKEN = re.compile(r"\{\{|<no value>|<error|NaN|\+Inf")

# True only where the pipeline tells nothing, so it is asked about a time before it did.
_ONLY_BEFORE = {"PipelineNoData"}
_ONLY_IN_KUBERNETES = {"namespace"}


@contextlib.asynccontextmanager
async def pipeline_in_trouble() -> AsyncIterator[str]:
    """The port's own /metrics; yields its address."""
    registry = CollectorRegistry()
    trouble, health = Trouble(registry), Health()
    status = Status(About("1.2.3", "exactly_once", ("tickets",)), registry, Conditions(), health)
    async with (
        serve(HttpSettings(port=0), Views(registry, health, status)) as address,
        asyncio.TaskGroup() as group,
    ):
        happening = group.create_task(keep(trouble))
        yield address.removeprefix("http://")
        happening.cancel()


async def keep(trouble: Trouble) -> None:
    while True:
        trouble.happen()
        await asyncio.sleep(INTERVAL / 2)


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
