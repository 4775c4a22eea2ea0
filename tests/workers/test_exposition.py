"""The metrics of all workers on one page."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.workers.fleet import Merged


def page(events: int) -> str:
    registry = CollectorRegistry()
    Counter("events", "Events.", ["stage"], registry=registry).labels("tickets").inc(events)
    Histogram("seconds", "Seconds.", registry=registry).observe(events)
    return generate_latest(registry).decode()


def merge(pages: Mapping[str, str]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Merged(pages))
    return generate_latest(registry)


def test_samples_keep_their_labels_and_gain_the_worker() -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(merge({"0": page(3), "1": page(4)}).decode())
    }

    events = {
        (sample.labels["stage"], sample.labels["worker"]): sample.value
        for sample in families["events"].samples
        if sample.name == "events_total"
    }
    assert events == {("tickets", "0"): 3, ("tickets", "1"): 4}
    assert families["events"].type == "counter"
    assert families["seconds"].type == "histogram"
    assert families["seconds"].documentation == "Seconds."


def test_a_family_is_declared_once_however_many_workers_have_it() -> None:
    merged = merge({"0": page(1), "1": page(1), "2": page(1)}).decode()

    assert merged.count("# TYPE seconds histogram") == 1
