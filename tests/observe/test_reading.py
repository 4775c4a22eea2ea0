import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from pipeline.observe import catalogue
from pipeline.observe.metrics import Metrics
from pipeline.observe.readings import Reading, quantile, quantile_between, rate

counts = st.lists(st.integers(0, 50), min_size=2, max_size=12)


def cumulative(each: list[int]) -> list[tuple[float, float]]:
    bounds = [*(float(number + 1) for number in range(len(each) - 1)), math.inf]
    totals = [sum(each[: index + 1]) for index in range(len(each))]
    return list(zip(bounds, totals, strict=True))


@given(counts, st.floats(0.001, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_its_rank(each: list[int], share: float) -> None:
    buckets = cumulative(each)
    value = quantile(share, buckets)
    if buckets[-1][1] == 0:
        assert value is None
        return
    assert value is not None
    rank = share * buckets[-1][1]
    at_or_below = max((count for bound, count in buckets if bound <= value), default=0)
    reached = next(count for bound, count in buckets if bound >= value)
    assert at_or_below <= rank or math.isclose(at_or_below, rank)
    assert reached >= rank or value == buckets[-2][0]


@given(counts, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_has_a_smaller_quantile(
    each: list[int], one: float, other: float
) -> None:
    buckets = cumulative(each)
    smaller, larger = (quantile(share, buckets) for share in sorted((one, other)))
    assert smaller is None or larger is None or smaller <= larger


def test_beyond_the_last_bound_a_quantile_is_that_bound() -> None:
    assert quantile(0.5, [(1.0, 0), (2.0, 0), (math.inf, 10)]) == 2.0


def test_rates_and_quantiles_are_of_what_happened_in_between(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.completed("tickets", "enriched", seconds=25.0)
    older = Reading.of(10.0, registry.collect())
    for _ in range(20):
        metrics.completed("tickets", "enriched", seconds=0.25)
    newer = Reading.of(20.0, registry.collect())

    assert rate(older, newer, catalogue.COMPLETED, stage="tickets") == 2.0
    assert rate(newer, newer, catalogue.COMPLETED) == 0.0
    p95 = quantile_between(older, newer, 0.95, catalogue.EVENT_SECONDS, stage="tickets")
    assert p95 == pytest.approx(0.295)
    assert quantile_between(newer, newer, 0.5, catalogue.EVENT_SECONDS) is None
