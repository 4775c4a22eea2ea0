"""What `/api/status` and `/readyz` say: the metrics of the last minutes, and reasons.

It reads the same registry that `/metrics` publishes, so that page and Prometheus cannot disagree.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

import pipeline
from pipeline.config import Settings
from pipeline.model.records import DOCUMENT, Tier
from pipeline.observe import catalogue
from pipeline.observe.metrics import Conditions, Metrics, Recent, RecentRecord
from pipeline.observe.readings import Reading, quantile_between, rate

WINDOW_SECONDS = 60.0
HISTORY_SECONDS = 600.0
STEP_SECONDS = 2.0
_PACE_READINGS = 5
"""Rates are of the last few readings: from one to the next they jump."""
_HOUR = 3600.0
_HAPPENS = (catalogue.RECEIVED.name, catalogue.COMPLETED.name, catalogue.CALLS.name)
"""Without more of these no histogram that is looked at has changed."""
_FIRST = (Tier.HAIKU, DOCUMENT)
"""Who judges an event first: each is judged by one of them."""
_SHOWN_PARTITIONS = 10
"""Of a stage: those that are most behind."""
_KEPT = (*_HAPPENS, catalogue.LAG.name, catalogue.LAG_SECONDS.name, catalogue.COST.name)
"""What a point of the charts needs, beside histograms."""
View = dict[str, Any]
"""JSON for the page. Quantiles and rates are of the last minute, other counts since the start."""
Check = Callable[[], str | None]
"""Returns None where all is well, else one sentence that says why not. Quick, without I/O."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` is None where the check passed."""

    name: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Report:
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.reason is None for finding in self.findings)


class Health:
    """The readiness checks: all that must hold for events to move.

    A failed check is expected now and then: what it looks at recovers, or a person fixes it. There
    are no checks of liveness: a consumer that is stuck ends its process by itself.
    """

    def __init__(self) -> None:
        self._checks: list[tuple[str, Check]] = []

    def add_readiness(self, name: str, check: Check) -> None:
        """Let the process count as not ready while `check` gives a reason."""
        self._checks.append((name, check))

    def ready(self) -> Report:
        return Report(tuple(Finding(name, check()) for name, check in self._checks))


_Row = tuple[float | None, ...]
_COLUMNS = (
    "lag_events", "lag_seconds", "completed_per_second", "p50_seconds", "p95_seconds",
    "cost_usd_per_hour",
)  # fmt: skip


class History:
    def __init__(self, stages: Sequence[str], *, most: int, epoch: Callable[[], float]) -> None:
        self._epoch = epoch
        self._at: deque[float] = deque(maxlen=most)
        self._rows: dict[str, deque[_Row]] = {name: deque(maxlen=most) for name in stages}

    def add(self, readings: Sequence[Reading] | deque[Reading]) -> None:
        """Add a point; `readings` are of the last minute, the newest last."""
        oldest, newest = readings[0], readings[-1]
        recent = next(islice(reversed(readings), min(_PACE_READINGS, len(readings) - 1), None))
        self._at.append(round(self._epoch(), 1))
        for name, rows in self._rows.items():
            events = catalogue.EVENT_SECONDS
            rows.append(
                (
                    _short(newest.known_total(catalogue.LAG, stage=name)),
                    _short(newest.largest(catalogue.LAG_SECONDS, stage=name)),
                    _short(rate(recent, newest, catalogue.COMPLETED, stage=name)),
                    _short(quantile_between(oldest, newest, 0.5, events, stage=name)),
                    _short(quantile_between(oldest, newest, 0.95, events, stage=name)),
                    _short(rate(oldest, newest, catalogue.COST, stage=name) * _HOUR),
                )
            )

    def series(self) -> View:
        """The charts' data: by stage columns of equal length, for the Unix times `at`."""
        nothing: list[tuple[float | None, ...]] = [()] * len(_COLUMNS)
        stages = {
            name: dict(zip(_COLUMNS, list(zip(*rows, strict=True)) or nothing, strict=True))
            for name, rows in self._rows.items()
        }
        return {"at": list(self._at), "stages": stages}


def _short(value: float | None) -> float | None:
    """No more digits than a chart can show: there are thousands of them in an answer."""
    return None if value is None else float(f"{value:.4g}")


@dataclass(frozen=True, slots=True)
class About:
    """What runs, fixed from the start: the guarantee in force, the consumers in their order.

    `desk` is the address of the desk, for links to events; None where it is not set.
    """

    version: str
    delivery: str
    stages: tuple[str, ...]
    desk: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What runs, once it does: `address` is of the dashboard, or of the socket that was asked for.

    `delivery` is the guarantee in force, which may be less than the one that is set; `why` says so.
    """

    address: str
    delivery: str
    why: str


Otherwise = Callable[
    [Mapping[str, Mapping[str, float]]], tuple[Decimal | float | None, Decimal | float | None]
]
"""Prices tokens, by model and kind: Sonnet alone and a plain loop over Haiku; None: not known."""


@dataclass(eq=False)
class Status:
    """Keeps the readings of the last minutes and makes a view of them."""

    about: About
    registry: Collector
    conditions: Conditions
    health: Health
    _: KW_ONLY
    recent: Callable[[], Sequence[RecentRecord | Mapping[str, Any]]] = tuple
    recent_limit: int = 0
    otherwise: Otherwise = lambda _: (None, None)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        clock = self.clock
        self._started_at = clock()
        self._readings: deque[Reading] = deque([self._read()])
        most = int(HISTORY_SECONDS / STEP_SECONDS)
        self._points: deque[View] = deque(maxlen=most)
        stages = self.about.stages
        self._history = History(stages, most=most, epoch=lambda: clock().timestamp())

    def tick(self) -> None:
        """Take a reading; to be called every `STEP_SECONDS`."""
        last = self._readings[-1]
        reading = self._read_on(last)
        lag = int(reading.total(catalogue.LAG))
        pace = round(rate(last, reading, catalogue.COMPLETED), 2)
        self._points.append({"at": self.clock(), "lag_events": lag, "completed_per_second": pace})
        self._readings.append(reading)
        while self._readings[1].at <= reading.at - WINDOW_SECONDS:
            self._readings.popleft()
        self._history.add(self._readings)

    def view(self) -> View:
        """The page's data, of all stages together where it does not say otherwise.

        Costs are simulated where answers came from the simulated API; `cost_per_thousand_usd` is of
        all calls, for a thousand events of raw topics. `spent` and `budget` are US dollars by
        window (`hour`, `day`), as the budgets count them. `recent` are the newest records, the
        newest first.
        """
        older, newer = self._readings[0], self._read()
        report = self.health.ready()
        models = {
            model
            for metric in (catalogue.CALLS, catalogue.BREAKER, catalogue.IN_USE)
            for model in newer.by(metric, "model")
        }
        cost = newer.total(catalogue.COST)
        decided_first = sum(newer.total(catalogue.DECISIONS, tier=each) for each in _FIRST)
        return {
            "now": self.clock(),
            "started_at": self._started_at,
            "version": self.about.version,
            "delivery": self.about.delivery,
            "desk": self.about.desk,
            "window_seconds": round(newer.at - older.at, 1),
            "ready": report.ok,
            "findings": report.findings,
            "simulated": self.conditions.simulated,
            "stages": tuple(self._stage(name, older, newer) for name in self.about.stages),
            "models": tuple(self._model(name, older, newer) for name in sorted(models)),
            "cost_usd": cost,
            "cost_per_thousand_usd": cost / decided_first * 1000 if decided_first else None,
            "otherwise": self._otherwise(newer),
            "spent": self._spent(newer),
            "budget": newer.largest_by(catalogue.BUDGET, "window", stage="all"),
            "p50_seconds": quantile_between(older, newer, 0.5, catalogue.EVENT_SECONDS),
            "p95_seconds": quantile_between(older, newer, 0.95, catalogue.EVENT_SECONDS),
            "history": tuple(self._points),
            "series": self._history.series(),
            "recent": self.recent(),
            "recent_limit": self.recent_limit,
        }

    def _otherwise(self, reading: Reading, **labels: str) -> View:
        """What the first answers since the start would have cost in other ways, for `cost_usd`."""
        models = reading.by(catalogue.TOKENS, "model", **labels)
        sonnet, loop = self.otherwise(
            {name: reading.by(catalogue.TOKENS, "kind", model=name, **labels) for name in models}
        )
        return {
            "sonnet_alone_usd": None if sonnet is None else float(sonnet),
            "plain_loop_usd": None if loop is None else float(loop),
        }

    def _spent(self, reading: Reading, stage: str | None = None) -> dict[str, float]:
        """By window. Where there is a budget, all workers count what all of them have spent."""
        if stage is None:
            each = [self._spent(reading, name) for name in reading.by(catalogue.SPENT, "stage")]
            windows = {window for spent in each for window in spent}
            return {window: sum(spent.get(window, 0.0) for spent in each) for window in windows}
        if reading.largest(catalogue.BUDGET) is None:
            return reading.by(catalogue.SPENT, "window", stage=stage)
        return reading.largest_by(catalogue.SPENT, "window", stage=stage)

    def _read(self) -> Reading:
        return Reading.of(self.monotonic(), self.registry.collect())

    def _read_on(self, last: Reading) -> Reading:
        """The same; where nothing happened since the last one, histograms are not read again."""
        if not isinstance(self.registry, CollectorRegistry):
            return self._read()
        families = self.registry.restricted_registry(_KEPT).collect()
        reading = Reading.of(self.monotonic(), families)
        if any(reading.series.get(name) != last.series.get(name) for name in _HAPPENS):
            return self._read()
        return Reading(reading.at, {**last.series, **reading.series})

    def _stage(self, name: str, older: Reading, newer: Reading) -> View:
        """One consumer; `decided` are events of this kind by tier and end, whoever consumed them.

        In the place of a tier is `document` for what events say themselves. Lag counts from the
        committed offset, and is None where not known yet; `p50_seconds` are from receipt to end.
        """
        lag = newer.known_total(catalogue.LAG, stage=name)
        decided = {
            str(tier): _counts(newer.by(catalogue.DECISIONS, "end", stage=name, tier=tier))
            for tier in (*Tier, DOCUMENT)
        }
        decisions = sum(sum(decided[each].values()) for each in _FIRST)
        escalated = sum(decided[each].get("escalated", 0) for each in _FIRST)
        return {
            "name": name,
            "partitions": self.conditions.assigned.get(name),
            "lag_events": None if lag is None else int(lag),
            "lag_seconds": newer.largest(catalogue.LAG_SECONDS, stage=name),
            "behind": [
                {"topic": topic, "partition": int(partition), "lag_events": int(events)}
                for (topic, partition), events in newer.most(
                    catalogue.LAG, ("topic", "partition"), _SHOWN_PARTITIONS, stage=name
                )
            ],
            "in_flight": int(newer.total(catalogue.IN_FLIGHT, stage=name)),
            "intake_closed_because": self.conditions.intake_closed.get(name)
            or self.conditions.held.get(name),
            "stuck_because": self.conditions.stuck.get(name),
            "received_per_second": rate(older, newer, catalogue.RECEIVED, stage=name),
            "completed_per_second": rate(older, newer, catalogue.COMPLETED, stage=name),
            "p50_seconds": quantile_between(older, newer, 0.5, catalogue.EVENT_SECONDS, stage=name),
            "p95_seconds": quantile_between(
                older, newer, 0.95, catalogue.EVENT_SECONDS, stage=name
            ),
            "completed": _counts(newer.by(catalogue.COMPLETED, "end", stage=name)),
            "passed_over": int(newer.total(catalogue.PASSED_OVER, stage=name)),
            "decided": decided,
            "escalated_share": escalated / decisions if decisions else None,
            "doubts": _counts(newer.by(catalogue.DOUBTS, "code", stage=name)),
            "dead_letters": _counts(newer.by(catalogue.DEAD_LETTERS, "reason", stage=name)),
            "cost_usd": newer.total(catalogue.COST, stage=name),
            "otherwise": self._otherwise(newer, stage=name),
            "spent": self._spent(newer, name),
            "budget": newer.largest_by(catalogue.BUDGET, "window", stage=name),
            "certificate": self._certificate(name, newer),
            "commits": _counts(newer.by(catalogue.COMMITS, "outcome", stage=name)),
            "rebalances": newer.count(catalogue.REBALANCE_SECONDS, stage=name),
        }

    def _certificate(self, name: str, reading: Reading) -> View | None:
        """Whether the stage is certified, and what labels say; None without a certificate file.

        `errors_below` are upper bounds by scope, `level` is how far the nearest alarm is.
        """
        states = reading.largest_by(catalogue.CERTIFICATE, "state", stage=name)
        if not any(states.values()):
            return None
        return {
            "state": next(state for state in ("stale", "none", "certified") if states.get(state)),
            "stale_because": self.conditions.stale.get(name),
            "alarm": self.conditions.alarms.get(name),
            "errors_below": reading.largest_by(
                catalogue.ERROR_BOUND, "scope", stage=name, chosen="all"
            ),
            "labels": reading.largest_by(catalogue.LABELS, "scope", stage=name, chosen="all"),
            "level": reading.largest(catalogue.ALARM_LEVEL, stage=name),
            "distant": [
                compared
                for compared, distance in sorted(
                    reading.largest_by(catalogue.DISTANCE, "compared", stage=name).items()
                )
                if distance > 1
            ],
        }

    def _model(self, name: str, older: Reading, newer: Reading) -> View:
        """One model; `limits` are per minute and by kind, empty until a response states them.

        `places` say by tier whether it is asked here, where this is its `first` endpoint or its
        `fallback`.
        """
        calls = newer.by(catalogue.CALLS, "end", model=name)
        before = older.by(catalogue.CALLS, "end", model=name)
        waits = catalogue.WAIT_SECONDS
        return {
            "name": name,
            "calls": _counts(calls),
            "recent_calls": {
                end: int(count - before.get(end, 0))
                for end, count in calls.items()
                if count > before.get(end, 0)
            },
            "wait_p95_seconds": quantile_between(older, newer, 0.95, waits, model=name),
            "p50_seconds": quantile_between(older, newer, 0.5, catalogue.CALL_SECONDS, model=name),
            "p95_seconds": quantile_between(older, newer, 0.95, catalogue.CALL_SECONDS, model=name),
            "tokens": _counts(newer.by(catalogue.TOKENS, "kind", model=name)),
            "cost_usd": newer.total(catalogue.COST, model=name),
            "unpriced_calls": int(newer.total(catalogue.UNPRICED, model=name)),
            "reused": int(newer.total(catalogue.REUSED, model=name)),
            "breaker": self.conditions.breakers.get(name),
            "blocked_because": self.conditions.blocked.get(name),
            "places": {
                place: {
                    tier: bool(any_of_them)
                    for tier, any_of_them in newer.largest_by(
                        catalogue.IN_USE, "tier", model=name, place=place
                    ).items()
                }
                for place in catalogue.IN_USE.values["place"]
            },
            # One organisation's limit, as the responses to each worker stated it last.
            "limits": newer.largest_by(catalogue.RATE_LIMIT, "kind", model=name),
            "remaining": newer.smallest_by(catalogue.RATE_LIMIT_REMAINING, "kind", model=name),
        }


def _counts(sums: dict[str, float]) -> dict[str, int]:
    """Without the series that are there at 0 for alerts."""
    return {name: int(value) for name, value in sums.items() if value}


@dataclass(frozen=True, slots=True)
class Views:
    registry: Collector
    health: Health
    status: Status


@dataclass(frozen=True, slots=True)
class Instruments:
    metrics: Metrics
    conditions: Conditions
    health: Health
    views: Views


def instruments(
    settings: Settings,
    stages: Sequence[str],
    *,
    delivery: str,
    otherwise: Otherwise = lambda _: (None, None),
) -> Instruments:
    """Make those of this process, whose consumers are shown in the order of `stages`."""
    registry, conditions, health = CollectorRegistry(), Conditions(), Health()
    ProcessCollector(registry=registry)
    recent = Recent(settings.http.recent_records)
    metrics = Metrics(registry, conditions, recent=recent)
    metrics.started(version=pipeline.__version__, delivery=delivery, budgets=budgets(settings))
    status = Status(
        About(pipeline.__version__, delivery, tuple(stages), desk_address(settings)),
        registry,
        conditions,
        health,
        recent=recent.newest_first,
        recent_limit=recent.most,
        otherwise=otherwise,
    )
    return Instruments(metrics, conditions, health, Views(registry, health, status))


def desk_address(settings: Settings) -> str | None:
    """Where people reach the desk, without a slash at the end; None where no setting says so."""
    address = settings.notifications.desk_url or settings.desk.access.url
    return None if address is None else address.rstrip("/")


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
