"""The catalogue's metrics as families of Prometheus' client, and the series of each."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from pipeline.events import Tier
from pipeline.observe.catalogue import Metric

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
