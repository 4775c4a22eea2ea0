"""What the pipeline's metrics can say: names, labels, and the values of labels that are fixed."""

import re

from pipeline.model.records import Tier
from pipeline.observe.catalogue import CATALOGUE, Metric
from tests.deploy.documents import rules
from tests.deploy.promql import Selector, grouping_labels, selectors

TARGET_LABELS = {"job", "instance", "namespace", "pod", "service", "endpoint", "worker"}
"""What Prometheus, Kubernetes and the supervisor of several workers add to each series."""

_OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
_TIERS = {"tier": tuple(Tier)}
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def _series() -> dict[str, Metric]:
    return {
        metric.name + suffix: metric for metric in CATALOGUE for suffix in _SUFFIXES[metric.kind]
    }


_SERIES = _series()
_RECORDED = {rule["record"] for rule in rules() if "record" in rule}
_ALL_LABELS = {label for metric in CATALOGUE for label in metric.labels} | TARGET_LABELS | {"le"}


def series_of(name: str) -> Metric | None:
    """The metric that has a series of this name."""
    return _SERIES.get(name)


def objections(expression: str) -> list[str]:
    """What the expression asks for that nothing will ever say."""
    found = [
        f"no metric has a label {label}" for label in grouping_labels(expression) - _ALL_LABELS
    ]
    asked = list(selectors(expression))
    if not asked:
        found.append("it asks for no series")
    for selector in asked:
        found += _of_selector(selector)
    return found


def _of_selector(selector: Selector) -> list[str]:
    name = selector.metric
    if name in _RECORDED:
        labels = _ALL_LABELS
    elif name in _OF_PROMETHEUS:
        labels = _OF_PROMETHEUS[name] | TARGET_LABELS
    elif name in _SERIES:
        labels = {*_SERIES[name].labels} | TARGET_LABELS | ({"le"} if "bucket" in name else set())
    else:
        return [f"there is no metric {name}"]
    found = [
        f"{name} has no label {matcher.label}"
        for matcher in selector.matchers
        if matcher.label not in labels
    ]
    metric = _SERIES.get(name)
    for matcher in selector.matchers if metric else ():
        known = (_TIERS | {**metric.values}).get(matcher.label) if metric else None
        alternatives = matcher.value.split("|")
        if known is None or any(re.search(r"[^\w.-]", each) for each in alternatives):
            continue  # a variable, or a name from the settings
        found += [
            f"{name} never has {matcher.label} {each}" for each in alternatives if each not in known
        ]
    return found
