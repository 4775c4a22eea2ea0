"""What the dashboard shows, as JSON: the metrics of the last minutes and the reasons behind them.

It reads the same registry that `/metrics` publishes, so that page and Prometheus cannot disagree.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client.registry import Collector

from pipeline.model.records import Tier
from pipeline.observe import catalogue
from pipeline.observe.dashboard import About, ModelStatus, Point, StageStatus, StatusView
from pipeline.observe.health import Conditions, Health
from pipeline.observe.history import History, RecentRecord
from pipeline.observe.reading import Reading, quantile_between, rate

WINDOW_SECONDS = 60.0
HISTORY_SECONDS = 600.0
STEP_SECONDS = 2.0


class Status:
    """Keeps the readings of the last minutes and makes a view of them.

    Args:
        about: What runs.
        registry: Gives the metrics; a `CollectorRegistry` is one.
        conditions: Hold the reasons.
        health: Says whether events can move.
        recent: Gives the last records, the newest first; None where they are not shown.
        recent_limit: How many these are at most.
        clock: The time, aware.
        monotonic: Seconds that never jump.
    """

    def __init__(
        self,
        about: About,
        registry: Collector,
        conditions: Conditions,
        health: Health,
        *,
        recent: Callable[[], Sequence[RecentRecord | Mapping[str, Any]]] | None = None,
        recent_limit: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._about = about
        self._registry = registry
        self._conditions = conditions
        self._health = health
        self._recent = recent
        self._recent_limit = recent_limit
        self._clock = clock
        self._monotonic = monotonic
        self._started_at = clock()
        self._readings: deque[Reading] = deque([self._read()])
        most = int(HISTORY_SECONDS / STEP_SECONDS)
        self._points: deque[Point] = deque(maxlen=most)
        self._history = History(about.stages, most=most, epoch=lambda: clock().timestamp())

    def tick(self) -> None:
        """Take a reading; to be called every `STEP_SECONDS`."""
        reading = self._read()
        last = self._readings[-1]
        lag = int(reading.total(catalogue.LAG))
        pace = round(rate(last, reading, catalogue.COMPLETED), 2)
        self._points.append(Point(self._clock(), lag, pace))
        self._readings.append(reading)
        while self._readings[1].at <= reading.at - WINDOW_SECONDS:
            self._readings.popleft()
        self._history.add(self._readings)

    def view(self) -> StatusView:
        """The present state."""
        older, newer = self._readings[0], self._read()
        report = self._health.ready()
        models = {*newer.by(catalogue.CALLS, "model"), *newer.by(catalogue.BREAKER, "model")}
        cost = newer.total(catalogue.COST)
        judged = newer.total(catalogue.DECISIONS, tier=Tier.HAIKU)
        return StatusView(
            now=self._clock(),
            started_at=self._started_at,
            version=self._about.version,
            delivery=self._about.delivery,
            window_seconds=round(newer.at - older.at, 1),
            ready=report.ok,
            findings=report.findings,
            simulated=self._conditions.simulated,
            stages=tuple(self._stage(name, older, newer) for name in self._about.stages),
            models=tuple(self._model(name, older, newer) for name in sorted(models)),
            cost_usd=cost,
            cost_per_thousand_usd=cost / judged * 1000 if judged else None,
            spent=self._spent(newer),
            budget=newer.largest_by(catalogue.BUDGET, "window", stage="all"),
            p50_seconds=quantile_between(older, newer, 0.5, catalogue.EVENT_SECONDS),
            p95_seconds=quantile_between(older, newer, 0.95, catalogue.EVENT_SECONDS),
            history=tuple(self._points),
            series=self._history.series(),
            recent=() if self._recent is None else self._recent(),
            recent_limit=self._recent_limit,
        )

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
        return Reading.of(self._monotonic(), self._registry.collect())

    def _stage(self, name: str, older: Reading, newer: Reading) -> StageStatus:
        lag = newer.largest(catalogue.LAG, stage=name)
        decided = {
            tier.value: _counts(newer.by(catalogue.DECISIONS, "end", stage=name, tier=tier))
            for tier in Tier
        }
        first_tier = decided[Tier.HAIKU]
        return StageStatus(
            name=name,
            partitions=self._conditions.assigned.get(name),
            lag_events=None if lag is None else int(newer.total(catalogue.LAG, stage=name)),
            lag_seconds=newer.largest(catalogue.LAG_SECONDS, stage=name),
            in_flight=int(newer.total(catalogue.IN_FLIGHT, stage=name)),
            intake_closed_because=self._conditions.intake_closed.get(name)
            or self._conditions.held.get(name),
            stuck_because=self._conditions.stuck.get(name),
            received_per_second=rate(older, newer, catalogue.RECEIVED, stage=name),
            completed_per_second=rate(older, newer, catalogue.COMPLETED, stage=name),
            p50_seconds=quantile_between(older, newer, 0.5, catalogue.EVENT_SECONDS, stage=name),
            p95_seconds=quantile_between(older, newer, 0.95, catalogue.EVENT_SECONDS, stage=name),
            completed=_counts(newer.by(catalogue.COMPLETED, "end", stage=name)),
            decided=decided,
            escalated_share=_share(first_tier.get("escalated", 0), sum(first_tier.values())),
            doubts=_counts(newer.by(catalogue.DOUBTS, "code", stage=name)),
            dead_letters=_counts(newer.by(catalogue.DEAD_LETTERS, "reason", stage=name)),
            cost_usd=newer.total(catalogue.COST, stage=name),
            spent=self._spent(newer, name),
            budget=newer.largest_by(catalogue.BUDGET, "window", stage=name),
            commits=_counts(newer.by(catalogue.COMMITS, "outcome", stage=name)),
            rebalances=newer.count(catalogue.REBALANCE_SECONDS, stage=name),
        )

    def _model(self, name: str, older: Reading, newer: Reading) -> ModelStatus:
        calls = newer.by(catalogue.CALLS, "end", model=name)
        before = older.by(catalogue.CALLS, "end", model=name)
        waits = catalogue.WAIT_SECONDS
        return ModelStatus(
            name=name,
            calls=_counts(calls),
            recent_calls={
                end: int(count - before.get(end, 0))
                for end, count in calls.items()
                if count > before.get(end, 0)
            },
            wait_p95_seconds=quantile_between(older, newer, 0.95, waits, model=name),
            p50_seconds=quantile_between(older, newer, 0.5, catalogue.CALL_SECONDS, model=name),
            p95_seconds=quantile_between(older, newer, 0.95, catalogue.CALL_SECONDS, model=name),
            tokens=_counts(newer.by(catalogue.TOKENS, "kind", model=name)),
            cost_usd=newer.total(catalogue.COST, model=name),
            unpriced_calls=int(newer.total(catalogue.UNPRICED, model=name)),
            reused=int(newer.total(catalogue.REUSED, model=name)),
            breaker=self._conditions.breakers.get(name),
            blocked_because=self._conditions.blocked.get(name),
            # One organisation's limit, as each worker was told of it last.
            limits=newer.largest_by(catalogue.RATE_LIMIT, "kind", model=name),
            remaining=newer.smallest_by(catalogue.RATE_LIMIT_REMAINING, "kind", model=name),
        )


def _counts(sums: dict[str, float]) -> dict[str, int]:
    """Of what has happened; series that a rule asks for are there before."""
    return {name: int(value) for name, value in sums.items() if value}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
