import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.observe.catalogue import CATALOGUE
from tests.deploy.dashboards import FILES, dashboard, panels, queries, variables
from tests.deploy.documents import document
from tests.deploy.tools import DEPLOY, ROOT, run_python
from tests.deploy.vocabulary import objections

_SCHEMA = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
read = Dashboard.from_json(json.load(sys.stdin))
print(json.dumps(read, cls=JSONEncoder))
"""

every_dashboard = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def boxes(path: Path) -> Iterator[tuple[str, set[tuple[int, int]]]]:
    for panel in panels(path):
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        yield panel["title"], cells


def test_there_are_five() -> None:
    assert [path.stem for path in FILES] == ["backfill", "cost", "kafka", "overview", "stage"]


def test_every_metric_of_a_backfill_is_shown() -> None:
    shown = " ".join(expression for path in FILES for _, expression in queries(path))
    of_backfills = [each.name for each in CATALOGUE if each.name.startswith("pipeline_backfill_")]
    assert of_backfills
    assert [name for name in of_backfills if name not in shown] == []


def test_what_is_generated_is_not_stale() -> None:
    run_python("-m", "deploy.generate", "--check")


@every_dashboard
def test_a_dashboard_is_what_the_schema_of_grafana_knows(path: Path) -> None:
    kept = json.loads(run_python("-c", _SCHEMA, stdin=path.read_text("utf-8")))
    assert kept == dashboard(path)


@every_dashboard
def test_a_dashboard_asks_only_for_what_the_pipeline_tells(path: Path) -> None:
    found = {where: objections(expression) for where, expression in queries(path)}
    found |= {
        series: objections(f"max by ({label}) ({series})") for series, label in variables(path)
    }
    assert {where: said for where, said in found.items() if said} == {}


@every_dashboard
def test_panels_are_explained_and_have_a_place_of_their_own(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for title, cells in boxes(path):
        assert not taken & cells, f"{title} lies on another panel"
        assert max(x for x, _ in cells) < 24, f"{title} leaves the page"
        taken |= cells
    everything = panels(path)
    assert all(panel["description"].endswith(".") for panel in everything)
    titles = [panel["title"] for panel in everything]
    assert len(titles) == len(set(titles))
    numbers = [panel["id"] for panel in dashboard(path)["panels"]]
    assert len(numbers) == len(set(numbers))


@every_dashboard
def test_panels_use_the_data_source_that_was_chosen(path: Path) -> None:
    def sources(node: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        if isinstance(node, dict):
            if isinstance(node.get("datasource"), dict):
                yield node["datasource"]["uid"]
            for value in node.values():
                yield from sources(value)
        elif isinstance(node, list):
            for value in node:
                yield from sources(value)

    assert set(sources(dashboard(path))) == {"${datasource}"}


def test_addresses_of_dashboards_are_unique() -> None:
    addresses = [dashboard(path)["uid"] for path in FILES]
    assert len(addresses) == len(set(addresses))


def test_the_rate_interval_follows_the_scrape_interval() -> None:
    provisioned = document(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")
    prometheus = document(DEPLOY / "prometheus/prometheus.yml")
    interval = prometheus["global"]["scrape_interval"]
    assert provisioned["datasources"][0]["jsonData"]["timeInterval"] == interval


def test_provisioned_dashboards_are_where_compose_puts_them() -> None:
    provider = document(DEPLOY / "grafana/provisioning/dashboards/haiku-pipeline.yml")
    folder = provider["providers"][0]["options"]["path"]
    volumes = document(ROOT / "docker-compose.yml")["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in volumes
