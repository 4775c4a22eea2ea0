import pytest

from pipeline.observe.catalogue import CATALOGUE, Metric

# What differs from event to event would make a series of each event.
PER_EVENT = {"event_id", "id", "key", "offset", "trace_id", "detail"}


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_every_metric_follows_the_conventions(metric: Metric) -> None:
    assert metric.name.startswith("pipeline_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.meaning.endswith(".")
    assert metric.unit
    assert not PER_EVENT & set(metric.labels)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_only_histograms_have_buckets_and_they_ascend(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_names_are_unique() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(names) == len(set(names))
