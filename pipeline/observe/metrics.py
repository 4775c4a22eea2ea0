"""What the rooms report: as metrics, as states with a reason, and the newest records.

Metrics cost one dictionary look-up each.
"""

import itertools
import platform
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from pipeline.model.observer import Observer, OffsetFault
from pipeline.model.records import (
    SIMULATED,
    CertificateState,
    Decider,
    Doubt,
    Enriched,
    Review,
    Tier,
    Usage,
)
from pipeline.observe import catalogue
from pipeline.observe.catalogue import Metric

ChildT = TypeVar("ChildT", bound=MetricWrapperBase)
OTHER = "other"
_MAX_CHARS = 400
_MAX_ITEMS = 12
_MAX_DEPTH = 5


@dataclass(slots=True)
class Conditions:
    """The present state of the process, as the rooms reported it last: reasons by stage or model.

    `held` is why events wait for their turn although nothing is wrong; a stage is in `assigned`
    from its first assignment on, be it an empty one. `in_use` is which tiers ask a model, of those
    that could. `stale` is why a stage's certificate is, `alarms` is what labels have
    shown.
    """

    intake_closed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, int] = field(default_factory=dict)
    in_use: dict[str, dict[Tier, bool]] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, str] = field(default_factory=dict)
    simulated: bool = False

    def not_answering(self) -> str | None:
        """Why the models cannot be asked, or None; one that no tier asks does not matter."""
        idle = {model for model, tiers in self.in_use.items() if not any(tiers.values())}
        for model, reason in self.blocked.items():
            if model not in idle:
                return f"{model}: {reason}"
        open_breakers = sorted(
            model for model, state in self.breakers.items() if state == "open" and model not in idle
        )
        if open_breakers:
            return f"No answer from {', '.join(open_breakers)}: asking again now and then."
        return None


@dataclass(frozen=True, slots=True)
class RecentRecord:
    """One record, as much of it as a page can show; `decided_by` is None for a review item.

    `seconds` are from the raw record's receipt to the decision; `cost_usd` is None where a price is
    not known.
    """

    at: datetime
    stage: str
    event_id: str
    end: str
    decided_by: str | None
    model: str
    confidence: float | None
    seconds: float
    cost_usd: float | None
    doubts: tuple[Mapping[str, str], ...]
    result: Any


class Recent:
    """The newest records in memory; with 0 none, so that no result leaves through the port."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._records: deque[Enriched[Any] | Review] = deque(maxlen=most)
        self.add = self._records.append
        """Takes a record, which is made presentable when the page is shown."""

    def newest_first(self) -> Sequence[RecentRecord]:
        return [_presentable(record) for record in reversed(self._records)]


def _presentable(record: Enriched[Any] | Review) -> RecentRecord:
    timing = record.timing
    doubts: Sequence[Doubt]
    result: Any
    if isinstance(record, Review):
        end, result, decided_by, confidence = "review", record.sonnet_result, None, None
        doubts = record.doubts
    else:
        end, result, decided_by = "enriched", record.result, record.decided_by
        confidence = record.confidence
        doubts = record.escalation.doubts if record.escalation is not None else ()
    cost = record.usage.cost_usd
    return RecentRecord(
        at=timing.enriched_at,
        stage=record.stage,
        event_id=shortened(record.event_id),
        end=end,
        decided_by=decided_by,
        model=record.model,
        confidence=confidence,
        seconds=max(0.0, (timing.enriched_at - timing.received_at).total_seconds()),
        cost_usd=None if cost is None else float(cost),
        doubts=tuple({"code": each.code, "detail": shortened(each.detail)} for each in doubts),
        result=shortened(
            result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        ),
    )


def shortened(value: Any, depth: int = _MAX_DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """JSON with long texts and lists cut off, and an ellipsis where something is missing."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_CHARS else value[:_MAX_CHARS] + "…"
    if isinstance(value, Mapping):
        if depth == 0:
            return "…"
        items = list(value.items())
        shown = {str(name): shortened(item, depth - 1) for name, item in items[:_MAX_ITEMS]}
        return shown | ({"…": f"{len(items) - _MAX_ITEMS} more"} if len(items) > _MAX_ITEMS else {})
    if isinstance(value, Sequence):
        if depth == 0:
            return "…"
        cut = ["…"] if len(value) > _MAX_ITEMS else []
        return [shortened(item, depth - 1) for item in value[:_MAX_ITEMS]] + cut
    return value


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that a process asks about the events of a stage, and as which tier."""

    stage: str
    tier: Tier
    model: str


class Children(dict[Any, ChildT]):
    """The series of one metric by its label value, or values; each is resolved once."""

    def __init__(self, metric: Metric, family: ChildT) -> None:
        super().__init__()
        self._metric = metric
        self._family = family

    def __missing__(self, values: str | tuple[str, ...]) -> ChildT:
        """The series of these label values; the one called `other` once there are too many."""
        labels = (values,) if isinstance(values, str) else values
        if len(self) >= self._metric.series_limit:
            return self._family.labels(*(OTHER,) * len(labels))
        child = self[values] = self._family.labels(*labels)
        return child

    def remove(self, *values: str) -> None:
        """Forget a series of several labels: what it says is not known any more."""
        if self.pop(values, None) is not None:
            self._family.remove(*values)

    def begin(self, stages: Sequence[str], asked: Sequence[Asked]) -> None:
        """Have the series at 0 whose label values are known before anything happens."""
        metric = self._metric
        if {"tier", "model"} & {*metric.labels}:
            named = [{"stage": it.stage, "tier": it.tier.value, "model": it.model} for it in asked]
        else:
            named = [{"stage": stage} for stage in stages]
        for known, fixed in itertools.product(named, itertools.product(*metric.values.values())):
            labels = known | dict(zip(metric.values, fixed, strict=True))
            values = tuple(labels[label] for label in metric.labels)
            self[values if len(values) > 1 else values[0]]


@dataclass(slots=True)
class Prompted:
    tokens: int = 0
    read: int = 0

    def ratio(self) -> float:
        return self.read / self.tokens if self.tokens else 0.0


class Metrics(Observer):
    """What the rooms report, as metrics; what has a reason is noted in the conditions, too."""

    def __init__(
        self, registry: CollectorRegistry, conditions: Conditions, *, recent: Recent | None = None
    ) -> None:
        self._conditions = conditions
        self._recent = recent
        self._counters: dict[Metric, Children[Counter]] = {}
        self._gauges: dict[Metric, Children[Gauge]] = {}
        self._histograms: dict[Metric, Children[Histogram]] = {}
        self._prompted: dict[Gauge, Prompted] = {}
        for metric in catalogue.CATALOGUE:
            about = (metric.name, metric.meaning, metric.labels)
            if metric.kind == "counter":
                counter = Counter(*about, registry=registry)
                self._counters[metric] = Children(metric, counter)
            elif metric.kind == "gauge":
                self._gauges[metric] = Children(metric, Gauge(*about, registry=registry))
            else:
                histogram = Histogram(*about, registry=registry, buckets=metric.buckets)
                self._histograms[metric] = Children(metric, histogram)

    # What is known at the start.

    def started(
        self, *, version: str, delivery: str, budgets: Mapping[tuple[str, str], Decimal]
    ) -> None:
        """State what runs: the guarantee in force, and budgets by stage (or `all`) and window."""
        self._gauges[catalogue.BUILD][version, platform.python_version(), delivery].set(1)
        for (stage, window), usd in budgets.items():
            self._gauges[catalogue.BUDGET][stage, window].set(float(usd))

    def begin_well(
        self, stages: Sequence[str], models: Iterable[str], asked: Sequence[Asked]
    ) -> None:
        """State that nothing is wrong: a series that is not there looks like one that is lost."""
        for families in (self._counters, self._gauges, self._histograms):
            for metric, children in families.items():
                if metric.from_zero:
                    children.begin(stages, asked)
        for stage in stages:
            self.intake(stage, paused_reason=None)
            self.held(stage, because=None)
            self.stuck(stage, is_stuck=False)
            self.settings_refused(stage, is_refused=False)
            self.tenants_waiting(stage, count=0)
            self.failing(stage, partitions=0)
        for model in models:
            self.blocked(model, because=None)
            self.breaker(model, "closed")

    # From the stream.

    def received(self, stage: str, topic: str, partition: int, *, size: int) -> None:  # noqa: ARG002 - by stage is enough
        self._counters[catalogue.RECEIVED][stage].inc()
        self._counters[catalogue.RECEIVED_BYTES][stage].inc(size)

    def tombstone(self, stage: str) -> None:
        self._counters[catalogue.TOMBSTONES][stage].inc()

    def passed_over(self, stage: str) -> None:
        self._counters[catalogue.PASSED_OVER][stage].inc()

    def completed(self, stage: str, end: str, *, seconds: float) -> None:
        self._counters[catalogue.COMPLETED][stage, end].inc()
        self._histograms[catalogue.EVENT_SECONDS][stage, end].observe(seconds)

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        self._counters[catalogue.COMMITS][stage, "committed"].inc()
        self._counters[catalogue.COMMITTED][stage].inc(records)
        self._histograms[catalogue.COMMIT_SECONDS][stage].observe(seconds)

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        self._counters[catalogue.COMMITS][stage, outcome].inc()

    def offset_fault(self, stage: str, fault: OffsetFault) -> None:
        self._counters[catalogue.OFFSET_FAULTS][stage, fault].inc()

    def failing(self, stage: str, *, partitions: int) -> None:
        self._gauges[catalogue.FAILING][stage].set(partitions)

    def reachable(self, stage: str, *, are_brokers: bool) -> None:
        self._gauges[catalogue.BROKERS_REACHABLE][stage].set(are_brokers)

    def in_flight(self, stage: str, topic: str, partition: int, *, count: int) -> None:
        self._gauges[catalogue.IN_FLIGHT][stage, topic, str(partition)].set(count)

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        self._gauges[catalogue.LAG][stage, topic, str(partition)].set(records)
        if oldest_seconds is not None:
            self._gauges[catalogue.LAG_SECONDS][stage, topic, str(partition)].set(oldest_seconds)

    def revoked(self, stage: str, topic: str, partition: int) -> None:
        for gauges in (
            self._gauges[catalogue.IN_FLIGHT],
            self._gauges[catalogue.LAG],
            self._gauges[catalogue.LAG_SECONDS],
        ):
            gauges.remove(stage, topic, str(partition))

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        self._gauges[catalogue.PARTITIONS][stage].set(partitions)
        self._histograms[catalogue.REBALANCE_SECONDS][stage].observe(seconds)
        self._conditions.assigned[stage] = partitions

    def members_differ(self, stage: str, *, differ: bool) -> None:
        self._gauges[catalogue.MEMBERS_DIFFER][stage].set(differ)

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        self._gauges[catalogue.INTAKE_OPEN][stage].set(paused_reason is None)
        _note(self._conditions.intake_closed, stage, paused_reason)

    def held(self, stage: str, *, because: str | None) -> None:
        self._gauges[catalogue.HELD][stage].set(because is not None)
        _note(self._conditions.held, stage, because)

    def tenants_waiting(self, stage: str, *, count: int) -> None:
        self._gauges[catalogue.TENANTS_WAITING][stage].set(count)

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        self._gauges[catalogue.STUCK][stage].set(is_stuck)
        reason = "The consumer lives but makes no progress." if is_stuck else None
        _note(self._conditions.stuck, stage, reason)

    def settings_refused(self, stage: str, *, is_refused: bool) -> None:
        self._gauges[catalogue.SETTINGS_REFUSED][stage].set(is_refused)

    # From the processors.

    def decided(
        self,
        stage: str,
        tier: Decider,
        end: str,
        *,
        model: str,
        record: Enriched[Any] | Review | None = None,
    ) -> None:
        self._counters[catalogue.DECISIONS][stage, tier, end].inc()
        self._conditions.simulated |= model.startswith(SIMULATED)
        if record is not None and self._recent is not None:
            self._recent.add(record)

    def doubted(self, stage: str, code: str) -> None:
        self._counters[catalogue.DOUBTS][stage, code].inc()

    def audited(self, stage: str, verdict: str) -> None:
        self._counters[catalogue.AUDITED][stage, verdict].inc()

    def dead_lettered(self, stage: str, reason: str) -> None:
        self._counters[catalogue.DEAD_LETTERS][stage, reason].inc()

    # From the gateway.

    def call(
        self, stage: str, model: str, end: str, *, seconds: float, usage: Usage | None
    ) -> None:
        self._counters[catalogue.CALLS][stage, model, end].inc()
        self._histograms[catalogue.CALL_SECONDS][stage, model].observe(seconds)
        if usage is None:
            return
        self._counters[catalogue.TOKENS][stage, model, "input"].inc(usage.input_tokens)
        self._counters[catalogue.TOKENS][stage, model, "cache_read"].inc(usage.cache_read_tokens)
        self._counters[catalogue.TOKENS][stage, model, "cache_write"].inc(usage.cache_write_tokens)
        self._counters[catalogue.TOKENS][stage, model, "output"].inc(usage.output_tokens)
        ratio = self._gauges[catalogue.HIT_RATIO][stage, model]
        prompted = self._prompted.get(ratio)
        if prompted is None:
            prompted = self._prompted[ratio] = Prompted()
            # Worked out when it is read, not for every call.
            ratio.set_function(prompted.ratio)
        cached = usage.cache_read_tokens
        prompted.tokens += usage.input_tokens + cached + usage.cache_write_tokens
        prompted.read += cached
        if usage.cost_usd is None:
            self._counters[catalogue.UNPRICED][stage, model].inc()
        else:
            self._counters[catalogue.COST][stage, model].inc(float(usage.cost_usd))

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        if usd is None:
            self._counters[catalogue.UNPRICED][stage, model].inc()
        else:
            self._counters[catalogue.MAYBE_BILLED][stage, model].inc(float(usd))

    def waited(self, stage: str, model: str, *, seconds: float) -> None:
        self._histograms[catalogue.WAIT_SECONDS][stage, model].observe(seconds)

    def reused(self, stage: str, model: str, kind: str) -> None:
        self._counters[catalogue.REUSED][stage, model, kind].inc()

    def limit(self, model: str, kind: str, *, limit: float, remaining: float) -> None:
        self._gauges[catalogue.RATE_LIMIT][model, kind].set(limit)
        self._gauges[catalogue.RATE_LIMIT_REMAINING][model, kind].set(remaining)

    def breaker(self, model: str, state: str) -> None:
        for each in catalogue.BREAKER.values["state"]:
            self._gauges[catalogue.BREAKER][model, each].set(each == state)
        self._conditions.breakers[model] = state

    def blocked(self, model: str, *, because: str | None) -> None:
        self._gauges[catalogue.BLOCKED][model].set(because is not None)
        _note(self._conditions.blocked, model, because)

    def in_use(self, tier: Tier, model: str, place: str, *, in_use: bool) -> None:
        if model not in self._conditions.in_use:
            # `begin_well` does not know of fallbacks.
            self.blocked(model, because=None)
            self.breaker(model, "closed")
        self._gauges[catalogue.IN_USE][tier, model, place].set(in_use)
        self._conditions.in_use.setdefault(model, {})[tier] = in_use

    def moved(self, stage: str, model: str, *, maybe_billed: int) -> None:
        self._counters[catalogue.MOVED][stage, model].inc()
        self._counters[catalogue.UNANSWERED][stage, model].inc(maybe_billed)

    def spent(self, stage: str, *, window: str, usd: Decimal) -> None:
        self._gauges[catalogue.SPENT][stage, window].set(float(usd))

    # From certificates.

    def certificate(self, stage: str, state: CertificateState, *, id: str, because: str) -> None:  # noqa: A002, ARG002
        for each in catalogue.CERTIFICATE.values["state"]:
            self._gauges[catalogue.CERTIFICATE][stage, each].set(each == state)
        _note(self._conditions.stale, stage, because if state == "stale" else None)

    def certified(self, stage: str, tier: Tier, state: CertificateState) -> None:
        self._counters[catalogue.CERTIFIED][stage, tier, state].inc()

    def certified_share(self, stage: str, *, lower: float, upper: float) -> None:
        self._gauges[catalogue.CERTIFIED_SHARE][stage, "lower"].set(lower)
        self._gauges[catalogue.CERTIFIED_SHARE][stage, "upper"].set(upper)

    def alarmed(self, stage: str, *, because: str | None) -> None:
        self._gauges[catalogue.ALARM][stage].set(because is not None)
        _note(self._conditions.alarms, stage, because)

    def labelled(
        self, stage: str, scope: str, label: str, *, labels: int, upper: float, level: float | None
    ) -> None:
        self._gauges[catalogue.ERROR_BOUND][stage, scope, label].set(upper)
        self._gauges[catalogue.LABELS][stage, scope, label].set(labels)
        if level is not None:
            self._gauges[catalogue.ALARM_LEVEL][stage, scope].set(level)

    def distant(self, stage: str, distances: Mapping[str, float]) -> None:
        for compared, distance in distances.items():
            self._gauges[catalogue.DISTANCE][stage, compared].set(distance)

    # From a backfill.

    def backfilled(self, stage: str, *, events: Mapping[str, int], batches: int) -> None:
        for state, count in events.items():
            self._gauges[catalogue.BACKFILL_EVENTS][stage, state].set(count)
        self._gauges[catalogue.BACKFILL_BATCHES][stage].set(batches)

    def backfill_cost(self, stage: str, *, lane: str, usd: Decimal) -> None:
        self._gauges[catalogue.BACKFILL_COST][stage, lane].set(float(usd))


def _note(reasons: dict[str, str], name: str, reason: str | None) -> None:
    if reason is None:
        reasons.pop(name, None)
    else:
        reasons[name] = reason
