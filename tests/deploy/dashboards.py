"""Reads the Grafana dashboards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy.tools import DEPLOY

_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")

FILES = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return read


def panels(path: Path) -> list[dict[str, Any]]:
    """Every panel that shows something."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard, with where it is."""
    for panel in panels(path):
        for target in panel["targets"]:
            yield f"{path.stem}: {panel['title']} {target['refId']}", target["expr"]


def variables(path: Path) -> Iterator[tuple[str, str]]:
    """Every variable that is looked up: the series, and the label whose values it takes."""
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"])
            assert found is not None, variable["query"]
            yield found["series"], found["label"]
