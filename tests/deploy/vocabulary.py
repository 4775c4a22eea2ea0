"""What the pipeline's metrics can say: names, labels, and the values of labels that are fixed."""

import re
from typing import get_args

from pipeline.claude.observer import BreakerState, CallEnd, LimitKind, ReuseKind
from pipeline.events import DeadLetterReason, Tier
from pipeline.observe.catalogue import CATALOGUE, Metric
from pipeline.processing.observer import AuditVerdict
from pipeline.stream.records import End
from tests.deploy.documents import rules
from tests.deploy.promql import Selector, grouping_labels, selectors

TARGET_LABELS = {"job", "instance", "namespace", "pod", "service", "endpoint", "worker"}
"""What Prometheus, Kubernetes and the supervisor of several workers add to each series."""

_OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_ENDS = {end.value for end in End}
_VALUES: dict[tuple[str, str], set[str]] = {
    ("pipeline_events_completed_total", "end"): _ENDS,
    ("pipeline_event_seconds", "end"): _ENDS,
    ("pipeline_decisions_total", "end"): _ENDS,
    ("pipeline_decisions_total", "tier"): {tier.value for tier in Tier},
    ("pipeline_audited_total", "verdict"): set(get_args(AuditVerdict)),
    ("pipeline_dead_letters_total", "reason"): {reason.value for reason in DeadLetterReason},
    ("pipeline_commits_total", "outcome"): {"committed", "aborted", "fenced", "dead"},
    ("pipeline_model_calls_total", "end"): set(get_args(CallEnd)),
    ("pipeline_model_tokens_total", "kind"): {"input", "cache_read", "cache_write", "output"},
    ("pipeline_answers_reused_total", "kind"): set(get_args(ReuseKind)),
    ("pipeline_rate_limit", "kind"): set(get_args(LimitKind)),
    ("pipeline_rate_limit_remaining", "kind"): set(get_args(LimitKind)),
    ("pipeline_breaker_state", "state"): set(get_args(BreakerState)),
    ("pipeline_spent_usd", "window"): {"hour", "day"},
    ("pipeline_budget_usd", "window"): {"hour", "day"},
    ("pipeline_backfill_events", "state"): {"waiting", "under_way", "published"},
    ("pipeline_backfill_cost_usd", "lane"): {"batch", "normal"},
    ("pipeline_build_info", "delivery"): {"exactly_once", "at_least_once"},
}


def _series() -> dict[str, Metric]:
    return {
        metric.name + suffix: metric for metric in CATALOGUE for suffix in _SUFFIXES[metric.kind]
    }


_SERIES = _series()
_RECORDED = {rule["record"] for rule in rules() if "record" in rule}
_ALL_LABELS = {label for metric in CATALOGUE for label in metric.labels} | TARGET_LABELS | {"le"}


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
        known = _VALUES.get((metric.name, matcher.label)) if metric else None
        alternatives = matcher.value.split("|")
        if known is None or any(re.search(r"[^\w.-]", each) for each in alternatives):
            continue  # a variable, or a name from the settings
        found += [
            f"{name} never has {matcher.label} {each}" for each in alternatives if each not in known
        ]
    return found
