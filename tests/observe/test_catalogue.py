from typing import get_args

import pytest

from pipeline.model.observer import (
    AuditVerdict,
    BreakerState,
    CallEnd,
    LimitKind,
    OffsetFault,
    ReuseKind,
)
from pipeline.observe import catalogue
from pipeline.observe.catalogue import CATALOGUE, Metric
from pipeline.stream.records import Disposition

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


def test_the_values_of_labels_are_those_that_the_rooms_tell() -> None:
    assert {*catalogue.COMPLETED.values["end"]} == {*Disposition} - {Disposition.PASSED_OVER}
    assert {*catalogue.CALLS.values["end"]} == {*get_args(CallEnd)}
    assert {*catalogue.OFFSET_FAULTS.values["fault"]} == {*get_args(OffsetFault)}
    assert {*catalogue.AUDITED.values["verdict"]} == {*get_args(AuditVerdict)}
    assert {*catalogue.REUSED.values["kind"]} == {*get_args(ReuseKind)}
    assert {*catalogue.RATE_LIMIT.values["kind"]} == {*get_args(LimitKind)}
    assert {*catalogue.BREAKER.values["state"]} == {*get_args(BreakerState)}


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_what_starts_at_0_has_labels_that_are_known_beforehand(metric: Metric) -> None:
    assert {*metric.values} <= {*metric.labels}
    if metric.from_zero:
        assert {*metric.labels} <= {"stage", "tier", "model", *metric.values}
