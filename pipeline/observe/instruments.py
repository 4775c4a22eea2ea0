"""The instruments of one process: its metrics, the reasons behind them, and what shows both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client import CollectorRegistry, ProcessCollector

import pipeline
from pipeline.config import Settings
from pipeline.observe.dashboard import About
from pipeline.observe.health import Conditions, Health
from pipeline.observe.history import Recent
from pipeline.observe.http import Views
from pipeline.observe.metrics import Metrics
from pipeline.observe.status import Status


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a process is observed with.

    Args:
        metrics: Receives what happens.
        conditions: Hold the reasons why something does not happen.
        health: Says whether events can move; whoever runs something adds a check.
        views: What the HTTP port shows of these.
    """

    metrics: Metrics
    conditions: Conditions
    health: Health
    views: Views


def instruments(settings: Settings, stages: Sequence[str], *, delivery: str) -> Instruments:
    """Make those of this process.

    Args:
        settings: The whole tree.
        stages: The consumers of this process, in the order to show them.
        delivery: The guarantee in force.
    """
    registry, conditions, health = CollectorRegistry(), Conditions(), Health()
    ProcessCollector(registry=registry)
    recent = Recent(settings.http.recent_records)
    metrics = Metrics(registry, conditions, recent=recent)
    metrics.started(version=pipeline.__version__, delivery=delivery, budgets=budgets(settings))
    status = Status(
        About(pipeline.__version__, delivery, tuple(stages)),
        registry,
        conditions,
        health,
        recent=recent.newest_first,
        recent_limit=recent.most,
    )
    return Instruments(metrics, conditions, health, Views(registry, health, status))


def budgets(settings: Settings) -> Mapping[tuple[str, str], Decimal]:
    """Every budget that is set: US dollars by stage (`all` for the sum) and window."""
    found = {
        ("all", "hour"): settings.claude.budget_usd_per_hour,
        ("all", "day"): settings.claude.budget_usd_per_day,
    }
    for name, stage in settings.stages.by_name().items():
        found[name, "hour"] = stage.budget_usd_per_hour
        found[name, "day"] = stage.budget_usd_per_day
    return {key: usd for key, usd in found.items() if usd is not None}
