"""The values of all series at one moment, and what happened between two such moments."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Self

from prometheus_client import Metric as PrometheusMetric

from pipeline.observe.catalogue import Metric

Series = tuple[dict[str, str], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """All series at one moment, by the name of the sample; `at` is of a monotonic clock."""

    at: float
    series: dict[str, list[Series]]

    @classmethod
    def of(cls, at: float, families: Iterable[PrometheusMetric]) -> Self:
        series: dict[str, list[Series]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                series[sample.name].append((sample.labels, sample.value))
        return cls(at, series)

    def total(self, metric: Metric, **where: str) -> float:
        """The sum over the series whose labels match; 0 where there are none."""
        return sum(value for _, value in self._matching(metric.name, where))

    def known_total(self, metric: Metric, **where: str) -> float | None:
        """The sum over the series whose labels match; None where there are none."""
        values = [value for _, value in self._matching(metric.name, where)]
        return sum(values) if values else None

    def largest(self, metric: Metric, **where: str) -> float | None:
        """The largest of the series whose labels match; None where there are none."""
        return max((value for _, value in self._matching(metric.name, where)), default=None)

    def count(self, histogram: Metric, **where: str) -> int:
        """How much a histogram saw, summed over what matches."""
        return int(sum(value for _, value in self._matching(f"{histogram.name}_count", where)))

    def largest_by(self, metric: Metric, label: str, **where: str) -> dict[str, float]:
        """The largest series by the values of one label: for what all workers say of one thing."""
        return self._picked(max, metric, label, where)

    def smallest_by(self, metric: Metric, label: str, **where: str) -> dict[str, float]:
        return self._picked(min, metric, label, where)

    def _picked(
        self, pick: Callable[..., float], metric: Metric, label: str, where: dict[str, str]
    ) -> dict[str, float]:
        found: dict[str, float] = {}
        for labels, value in self._matching(metric.name, where):
            found[labels[label]] = pick(value, found.get(labels[label], value))
        return found

    def by(self, metric: Metric, label: str, **where: str) -> dict[str, float]:
        """The sums by the values of one label, largest first."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self._matching(metric.name, where):
            sums[labels[label]] += value
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def most(
        self, metric: Metric, labels: tuple[str, ...], count: int, **where: str
    ) -> list[tuple[tuple[str, ...], float]]:
        """The largest series that are above 0, the largest first, by the values of some labels."""
        found = [
            (tuple(own[label] for label in labels), value)
            for own, value in self._matching(metric.name, where)
            if value > 0
        ]
        return nlargest(count, found, key=lambda each: (each[1], each[0]))

    def buckets(self, histogram: Metric, **where: str) -> list[tuple[float, float]]:
        """Upper bounds and cumulative counts of a histogram, summed over what matches."""
        sums: dict[float, float] = defaultdict(float)
        for labels, value in self._matching(f"{histogram.name}_bucket", where):
            sums[float(labels["le"])] += value
        return sorted(sums.items())

    def _matching(self, name: str, where: dict[str, str]) -> Iterable[Series]:
        wanted = where.items()
        return (each for each in self.series.get(name, ()) if wanted <= each[0].items())


def rate(older: Reading, newer: Reading, metric: Metric, **where: str) -> float:
    """Events a second of a counter between two readings; 0 where no time went by.

    A sum over workers falls when one of them starts again, which is no pace.
    """
    seconds = newer.at - older.at
    if seconds <= 0:
        return 0.0
    return max(0.0, newer.total(metric, **where) - older.total(metric, **where)) / seconds


def quantile_between(
    older: Reading, newer: Reading, share: float, histogram: Metric, **where: str
) -> float | None:
    """A quantile of what a histogram saw between two readings; None where it saw nothing."""
    before = dict(older.buckets(histogram, **where))
    after = newer.buckets(histogram, **where)
    return quantile(share, [(bound, count - before.get(bound, 0)) for bound, count in after])


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Estimate a quantile as Prometheus does: linear inside the bucket it falls into.

    Buckets are upper bounds, ascending, the last infinite, with cumulative counts. None where
    nothing was counted; the largest finite bound where it lies beyond it.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower
