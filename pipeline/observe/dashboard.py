"""What `/api/status` says: the shape of it, field by field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.observe.health import Finding
from pipeline.observe.history import RecentRecord, Series


@dataclass(frozen=True, slots=True)
class About:
    """What runs; fixed from the start.

    Args:
        version: Of the pipeline.
        delivery: The guarantee in force.
        stages: The consumers of this process, in the order to show them.
    """

    version: str
    delivery: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStatus:
    """One consumer. Rates and quantiles are of the last minute, counts since the start.

    Args:
        name: Of the stage.
        partitions: Assigned here.
        lag_events: After the committed offsets; None where not known yet.
        lag_seconds: Age of the oldest unprocessed event.
        in_flight: Events taken and not committed.
        intake_closed_because: None while events are taken.
        stuck_because: None while all is well.
        received_per_second: Events taken.
        completed_per_second: Events that came to an end.
        p50_seconds: Receipt to end, median.
        p95_seconds: The same, 95 % are faster.
        completed: Events by end.
        decided: Events of this kind by tier and end, whichever consumer decided.
        escalated_share: Of the events judged by Haiku.
        doubts: Reasons why answers were not accepted.
        dead_letters: By reason.
        cost_usd: Of the calls made.
        spent: US dollars by window (`hour`, `day`), as the budgets count them.
        budget: US dollars by window, where one is set.
        commits: Transactions, or publish-and-commit rounds, by outcome.
        rebalances: Of this process's consumer.
    """

    name: str
    partitions: int | None
    lag_events: int | None
    lag_seconds: float | None
    in_flight: int
    intake_closed_because: str | None
    stuck_because: str | None
    received_per_second: float
    completed_per_second: float
    p50_seconds: float | None
    p95_seconds: float | None
    completed: dict[str, int]
    decided: dict[str, dict[str, int]]
    escalated_share: float | None
    doubts: dict[str, int]
    dead_letters: dict[str, int]
    cost_usd: float
    spent: dict[str, float]
    budget: dict[str, float]
    commits: dict[str, int]
    rebalances: int


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model. Quantiles are of the last minute, counts since the start.

    Args:
        calls: By how they ended.
        recent_calls: The same, of the last minute.
        wait_p95_seconds: What questions waited for limits, breaker, budget or a slot.
        limits: A minute, by kind; empty until a response told of them.
        remaining: What is left of them.
    """

    name: str
    calls: dict[str, int]
    recent_calls: dict[str, int]
    wait_p95_seconds: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    tokens: dict[str, int]
    cost_usd: float
    unpriced_calls: int
    reused: int
    breaker: str | None
    blocked_because: str | None
    limits: dict[str, float]
    remaining: dict[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the charts, all stages together."""

    at: datetime
    lag_events: int
    completed_per_second: float


@dataclass(frozen=True, slots=True)
class StatusView:
    """The page's data.

    Args:
        now: When it was read.
        ready: Whether events can move.
        findings: What each readiness check said.
        simulated: Whether answers came from the simulated API; costs are simulated, too, then.
        spent: US dollars by window (`hour`, `day`), as the budgets count them.
        budget: US dollars by window, for all stages together, where one is set.
        cost_per_thousand_usd: Of all calls, for a thousand events of raw topics; None before any.
        p50_seconds: Of all stages: receipt to end, median of the last minute.
        p95_seconds: The same, 95 % are faster.
        history: The charts' data of all stages together.
        series: The charts' data by stage.
        recent: The last records, the newest first.
        recent_limit: How many of them are kept; 0 where that is switched off.
    """

    now: datetime
    started_at: datetime
    version: str
    delivery: str
    window_seconds: float
    ready: bool
    findings: tuple[Finding, ...]
    simulated: bool
    stages: tuple[StageStatus, ...]
    models: tuple[ModelStatus, ...]
    cost_usd: float
    cost_per_thousand_usd: float | None
    spent: dict[str, float]
    budget: dict[str, float]
    p50_seconds: float | None
    p95_seconds: float | None
    history: tuple[Point, ...]
    series: Series
    recent: Sequence[RecentRecord | Mapping[str, Any]]
    recent_limit: int
