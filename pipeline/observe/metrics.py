"""Turns what the rooms report into metrics, at the cost of one dictionary look-up each.

The catalogue's metrics as families of Prometheus' client, and the series of each.
"""

import itertools
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from pipeline.model.observer import Observer
from pipeline.model.records import Enriched, Review, Tier, Usage, is_simulated
from pipeline.observe import catalogue
from pipeline.observe.catalogue import Metric
from pipeline.observe.health import Conditions
from pipeline.observe.history import Recent

ChildT = TypeVar("ChildT", bound=MetricWrapperBase)
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that a process asks about the events of a stage, and as which tier."""

    stage: str
    tier: Tier
    model: str


class Children(Generic[ChildT]):
    """The series of one metric by label values; each is resolved once.

    Args:
        metric: What it is.
        family: What Prometheus' client made of it.
    """

    def __init__(self, metric: Metric, family: ChildT) -> None:
        self._family = family
        self._labels = len(metric.labels)
        self._limit = metric.series_limit
        self._known: dict[tuple[str, ...], ChildT] = {}

    def __call__(self, *values: str) -> ChildT:
        """The series of these label values; the one called `other` once there are too many."""
        child = self._known.get(values)
        return self._resolve(values) if child is None else child

    def remove(self, *values: str) -> None:
        """Forget a series: what it says is not known any more."""
        if self._known.pop(values, None) is not None:
            self._family.remove(*values)

    def _resolve(self, values: tuple[str, ...]) -> ChildT:
        if len(self._known) >= self._limit:
            return self._family.labels(*(OTHER,) * self._labels)
        child = self._known[values] = self._family.labels(*values)
        return child


class Families:
    """Registers metrics, and has those series at 0 that are known beforehand.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._counting: list[tuple[Metric, Children[Counter] | Children[Histogram]]] = []

    def counter(self, metric: Metric) -> Children[Counter]:
        """Register a counter."""
        family = Counter(metric.name, metric.meaning, metric.labels, registry=self._registry)
        children = Children(metric, family)
        self._counting.append((metric, children))
        return children

    def gauge(self, metric: Metric) -> Children[Gauge]:
        """Register a gauge."""
        family = Gauge(metric.name, metric.meaning, metric.labels, registry=self._registry)
        return Children(metric, family)

    def histogram(self, metric: Metric) -> Children[Histogram]:
        """Register a histogram."""
        family = Histogram(
            metric.name,
            metric.meaning,
            metric.labels,
            registry=self._registry,
            buckets=metric.buckets,
        )
        children = Children(metric, family)
        self._counting.append((metric, children))
        return children

    def begin(self, stages: Sequence[str], asked: Sequence[Asked]) -> None:
        """Have the series at 0 of which the catalogue says so.

        Args:
            stages: Whose consumers run here.
            asked: Which models are asked here about the events of which stage.
        """
        for metric, children in self._counting:
            for values in _beforehand(metric, stages, asked) if metric.from_zero else ():
                children(*values)


def _beforehand(
    metric: Metric, stages: Sequence[str], asked: Sequence[Asked]
) -> Iterator[tuple[str, ...]]:
    """The label values of a metric that are known before anything happens."""
    if {"tier", "model"} & {*metric.labels}:
        named = [{"stage": it.stage, "tier": it.tier.value, "model": it.model} for it in asked]
    else:
        named = [{"stage": stage} for stage in stages]
    for known, fixed in itertools.product(named, itertools.product(*metric.values.values())):
        labels = known | dict(zip(metric.values, fixed, strict=True))
        yield tuple(labels[label] for label in metric.labels)


@dataclass(slots=True)
class Prompted:
    """Tokens of the prompts of a stage to a model: all, and those read from the prompt cache."""

    tokens: int = 0
    read: int = 0

    def ratio(self) -> float:
        """The share that was read from the cache."""
        return self.read / self.tokens if self.tokens else 0.0


class Metrics(Observer):
    """What the rooms report, as metrics.

    Args:
        registry: Where the metrics are registered; one for each process.
        conditions: Told of what is a state with a reason rather than a number.
        recent: Given the last record of each event.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        conditions: Conditions,
        *,
        recent: Recent | None = None,
    ) -> None:
        self._conditions = conditions
        self._recent = recent
        self._families = families = Families(registry)
        counter, gauge, histogram = families.counter, families.gauge, families.histogram
        self._received = counter(catalogue.RECEIVED)
        self._received_bytes = counter(catalogue.RECEIVED_BYTES)
        self._tombstones = counter(catalogue.TOMBSTONES)
        self._completed = counter(catalogue.COMPLETED)
        self._event_seconds = histogram(catalogue.EVENT_SECONDS)
        self._in_flight = gauge(catalogue.IN_FLIGHT)
        self._lag = gauge(catalogue.LAG)
        self._lag_seconds = gauge(catalogue.LAG_SECONDS)
        self._commits = counter(catalogue.COMMITS)
        self._failing = gauge(catalogue.FAILING)
        self._committed = counter(catalogue.COMMITTED)
        self._commit_seconds = histogram(catalogue.COMMIT_SECONDS)
        self._partitions = gauge(catalogue.PARTITIONS)
        self._rebalance_seconds = histogram(catalogue.REBALANCE_SECONDS)
        self._intake_open = gauge(catalogue.INTAKE_OPEN)
        self._held = gauge(catalogue.HELD)
        self._stuck = gauge(catalogue.STUCK)
        self._decisions = counter(catalogue.DECISIONS)
        self._doubts = counter(catalogue.DOUBTS)
        self._audited = counter(catalogue.AUDITED)
        self._dead_letters = counter(catalogue.DEAD_LETTERS)
        self._calls = counter(catalogue.CALLS)
        self._call_seconds = histogram(catalogue.CALL_SECONDS)
        self._tokens = counter(catalogue.TOKENS)
        self._hit_ratio = gauge(catalogue.HIT_RATIO)
        self._prompted: dict[Gauge, Prompted] = {}
        self._cost = counter(catalogue.COST)
        self._unpriced = counter(catalogue.UNPRICED)
        self._maybe_billed = counter(catalogue.MAYBE_BILLED)
        self._reused = counter(catalogue.REUSED)
        self._wait_seconds = histogram(catalogue.WAIT_SECONDS)
        self._rate_limit = gauge(catalogue.RATE_LIMIT)
        self._rate_limit_remaining = gauge(catalogue.RATE_LIMIT_REMAINING)
        self._breaker = gauge(catalogue.BREAKER)
        self._blocked = gauge(catalogue.BLOCKED)
        self._spent = gauge(catalogue.SPENT)
        self._budget = gauge(catalogue.BUDGET)
        self._backfill_events = gauge(catalogue.BACKFILL_EVENTS)
        self._backfill_batches = gauge(catalogue.BACKFILL_BATCHES)
        self._backfill_cost = gauge(catalogue.BACKFILL_COST)
        self._build = gauge(catalogue.BUILD)

    # What is known at the start.

    def started(
        self, *, version: str, delivery: str, budgets: Mapping[tuple[str, str], Decimal]
    ) -> None:
        """State what runs.

        Args:
            version: Of the pipeline.
            delivery: The guarantee that is in force, not the one that was asked for.
            budgets: US dollars by stage (`all` for the sum) and window (`hour` or `day`).
        """
        self._build(version, platform.python_version(), delivery).set(1)
        for (stage, window), usd in budgets.items():
            self._budget(stage, window).set(float(usd))

    def begin_well(
        self, stages: Sequence[str], models: Iterable[str], asked: Sequence[Asked]
    ) -> None:
        """State that nothing is wrong: a series that is not there looks like one that is lost.

        Args:
            stages: Whose consumers run here.
            models: That may be blocked or out of reach.
            asked: Which of them are asked here about the events of which stage.
        """
        self._families.begin(stages, asked)
        for stage in stages:
            self.intake(stage, paused_reason=None)
            self.held(stage, because=None)
            self.stuck(stage, is_stuck=False)
            self.failing(stage, partitions=0)
        for model in models:
            self.blocked(model, because=None)
            self.breaker(model, "closed")

    # From the stream.

    def received(self, stage: str, topic: str, partition: int, *, size: int) -> None:  # noqa: ARG002 - by stage is enough
        """A record came in; `size` in bytes."""
        self._received(stage).inc()
        self._received_bytes(stage).inc(size)

    def tombstone(self, stage: str) -> None:
        """A record without a value came in."""
        self._tombstones(stage).inc()

    def completed(self, stage: str, end: str, *, seconds: float) -> None:
        """A record came to an end."""
        self._completed(stage, end).inc()
        self._event_seconds(stage, end).observe(seconds)

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        """A commit succeeded."""
        self._commits(stage, "committed").inc()
        self._committed(stage).inc(records)
        self._commit_seconds(stage).observe(seconds)

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        """A commit did not."""
        self._commits(stage, outcome).inc()

    def failing(self, stage: str, *, partitions: int) -> None:
        """How many partitions cannot commit at present."""
        self._failing(stage).set(partitions)

    def in_flight(self, stage: str, topic: str, partition: int, *, count: int) -> None:
        """How many records of a partition are taken and not committed."""
        self._in_flight(stage, topic, str(partition)).set(count)

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        """How far behind a partition is; the age of what waits is left as it was if not known."""
        self._lag(stage, topic, str(partition)).set(records)
        if oldest_seconds is not None:
            self._lag_seconds(stage, topic, str(partition)).set(oldest_seconds)

    def revoked(self, stage: str, topic: str, partition: int) -> None:
        """A partition is not ours any more: another process tells of it now."""
        for gauges in (self._in_flight, self._lag, self._lag_seconds):
            gauges.remove(stage, topic, str(partition))

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        """A rebalance ended."""
        self._partitions(stage).set(partitions)
        self._rebalance_seconds(stage).observe(seconds)
        self._conditions.assigned[stage] = partitions

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        """Intake was closed, with the reason, or opened."""
        self._intake_open(stage).set(paused_reason is None)
        _note(self._conditions.intake_closed, stage, paused_reason)

    def held(self, stage: str, *, because: str | None) -> None:
        """Events wait for their turn, with the reason, or go on."""
        self._held(stage).set(because is not None)
        _note(self._conditions.held, stage, because)

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        """The consumer is alive but makes no progress, or does again."""
        self._stuck(stage).set(is_stuck)
        reason = "The consumer lives but makes no progress." if is_stuck else None
        _note(self._conditions.stuck, stage, reason)

    # From the processors.

    def decided(self, stage: str, tier: Tier, end: str, *, model: str) -> None:
        """A model's answer was judged, and the event ends there."""
        self._decisions(stage, tier, end).inc()
        self._conditions.simulated |= is_simulated(model)

    def settled(self, record: Enriched[Any] | Review) -> None:
        """An event came to its last record."""
        if self._recent is not None:
            self._recent.add(record)

    def doubted(self, stage: str, code: str) -> None:
        """An answer was not accepted, for this reason among others."""
        self._doubts(stage, code).inc()

    def audited(self, stage: str, verdict: str) -> None:
        """The second tier looked at an answer that nothing spoke against."""
        self._audited(stage, verdict).inc()

    def dead_lettered(self, stage: str, reason: str) -> None:
        """An event became a dead letter."""
        self._dead_letters(stage, reason).inc()

    # From the gateway.

    def call(
        self, stage: str, model: str, end: str, *, seconds: float, usage: Usage | None
    ) -> None:
        """One request ended; `usage` where the API gave one."""
        self._calls(stage, model, end).inc()
        self._call_seconds(stage, model).observe(seconds)
        if usage is None:
            return
        self._tokens(stage, model, "input").inc(usage.input_tokens)
        self._tokens(stage, model, "cache_read").inc(usage.cache_read_tokens)
        self._tokens(stage, model, "cache_write").inc(usage.cache_write_tokens)
        self._tokens(stage, model, "output").inc(usage.output_tokens)
        self._prompt(stage, model, usage)
        if usage.cost_usd is None:
            self._unpriced(stage, model).inc()
        else:
            self._cost(stage, model).inc(float(usage.cost_usd))

    def _prompt(self, stage: str, model: str, usage: Usage) -> None:
        gauge = self._hit_ratio(stage, model)
        prompted = self._prompted.get(gauge)
        if prompted is None:
            prompted = self._prompted[gauge] = Prompted()
            # Worked out when somebody looks, not for every call.
            gauge.set_function(prompted.ratio)
        cached = usage.cache_read_tokens
        prompted.tokens += usage.input_tokens + cached + usage.cache_write_tokens
        prompted.read += cached

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        """A call ended without an answer and may have been paid all the same: an estimate."""
        if usd is None:
            self._unpriced(stage, model).inc()
        else:
            self._maybe_billed(stage, model).inc(float(usd))

    def waited(self, stage: str, model: str, *, seconds: float) -> None:
        """A question waited before it was sent."""
        self._wait_seconds(stage, model).observe(seconds)

    def reused(self, stage: str, model: str, kind: str) -> None:
        """An answer was not paid again."""
        self._reused(stage, model, kind).inc()

    def limit(self, model: str, kind: str, *, limit: float, remaining: float) -> None:
        """What is known of a rate limit, per minute."""
        self._rate_limit(model, kind).set(limit)
        self._rate_limit_remaining(model, kind).set(remaining)

    def breaker(self, model: str, state: str) -> None:
        """The breaker of a model changed."""
        for each in catalogue.BREAKER.values["state"]:
            self._breaker(model, each).set(each == state)
        self._conditions.breakers[model] = state

    def blocked(self, model: str, *, because: str | None) -> None:
        """No call can succeed until a person mends something, or can again."""
        self._blocked(model).set(because is not None)
        _note(self._conditions.blocked, model, because)

    def spent(self, stage: str, *, window: str, usd: Decimal) -> None:
        """What a stage has spent in the running window."""
        self._spent(stage, window).set(float(usd))

    # From a backfill.

    def backfilled(self, stage: str, *, events: Mapping[str, int], batches: int) -> None:
        """How many events of a backfill are in which state, and how many batches under way."""
        for state, count in events.items():
            self._backfill_events(stage, state).set(count)
        self._backfill_batches(stage).set(batches)

    def backfill_cost(self, stage: str, *, lane: str, usd: Decimal) -> None:
        """What the answers of a lane have cost in a backfill so far."""
        self._backfill_cost(stage, lane).set(float(usd))


def _note(reasons: dict[str, str], name: str, reason: str | None) -> None:
    if reason is None:
        reasons.pop(name, None)
    else:
        reasons[name] = reason
