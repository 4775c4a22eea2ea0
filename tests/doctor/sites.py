"""Installations to look at, and what is found there."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.config import Settings, TopicSettings
from pipeline.doctor.examination import Finding, Site, Verdict
from pipeline.kafka.cluster import BrokerAt, Cluster, GroupSeen, TopicSeen
from pipeline.kafka.topics import TopicNames

_TOPICS = TopicNames(TopicSettings())
NAMES = _TOPICS.of(Settings().enabled)
COMPACTED = _TOPICS.compacted
WEEK = str(7 * 24 * 3600 * 1000)
YEAR = str(365 * 24 * 3600 * 1000)


def site(environment: Mapping[str, str] | None = None, **settings: Any) -> Site:  # noqa: ANN401
    """An installation with the default settings, but for these tables."""
    return Site(Settings.model_validate(settings), environment or {})


def topic(name: str, **changes: Any) -> TopicSeen:  # noqa: ANN401 - fields of it
    """A topic as it should be, but for the changes."""
    policy = "compact" if name in COMPACTED else "delete"
    if name == _TOPICS.trust:
        policy = "compact,delete"
    kept = YEAR if name in {_TOPICS.audit, _TOPICS.trust} else WEEK
    configs = {"max.message.bytes": str(16 << 20), "retention.ms": kept, "cleanup.policy": policy}
    known: dict[str, Any] = {"partitions": 6, "replicas": 3, "in_sync": 3}
    configs |= changes.pop("configs", {})
    return TopicSeen(name, **(known | changes), configs=configs)


def cluster(
    *changed: TopicSeen,
    missing: Iterable[str] = (),
    groups: Iterable[GroupSeen] = (),
    **changes: Any,  # noqa: ANN401 - fields of it
) -> Cluster:
    """Three brokers and all topics as they should be, but for the changes."""
    topics = {name: topic(name) for name in NAMES if name not in set(missing)}
    topics |= {each.name: each for each in changed}
    brokers = [BrokerAt(node, f"kafka-{node}", 9092) for node in (1, 2, 3)]
    known: dict[str, Any] = {"brokers": brokers, "topics": topics}
    return Cluster(**(known | {"groups": {group.name: group for group in groups}} | changes))


def reported(findings: Iterable[Finding], verdict: Verdict, *words: str) -> Finding:
    """The one finding with those words; it says what is wrong, why that matters, what to do."""
    found = list(findings)
    wrong = [each for each in found if each.verdict is not Verdict.OK]
    matching = [each for each in wrong if words[0] in each.detail]
    assert len(matching) == 1, f"{words[0]!r}: {[each.text for each in wrong]}"
    (finding,) = matching
    assert finding.verdict is verdict, finding
    for word in words:
        assert word in finding.text, finding.text
    for part in (finding.detail, finding.why, finding.advice):
        assert part.endswith("."), finding
    return finding


def fine(findings: Iterable[Finding]) -> None:
    """Nothing is wrong."""
    found = list(findings)
    assert {each.verdict for each in found} <= {Verdict.OK}, found
