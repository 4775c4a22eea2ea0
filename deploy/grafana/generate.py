"""Gives the dashboards as files."""

import json
from collections.abc import Callable

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.backfill import backfill
from deploy.grafana.cost import cost
from deploy.grafana.kafka import kafka
from deploy.grafana.overview import overview
from deploy.grafana.stage import stage

_DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview": overview,
    "stage": stage,
    "cost": cost,
    "kafka": kafka,
    "backfill": backfill,
}


def files() -> dict[str, str]:
    """The text of each dashboard by the name of its file."""
    return {f"{name}.json": _text(build().build()) for name, build in _DASHBOARDS.items()}


def _text(dashboard: models.Dashboard) -> str:
    for number, panel in enumerate(dashboard.panels or (), start=1):
        panel.id_val = number
    return json.dumps(dashboard, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
