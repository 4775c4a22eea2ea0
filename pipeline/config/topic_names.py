"""What each topic is called, and which stages read and write it: by the settings alone, pure.

A stage reads `<stage>.raw` and writes `<stage>.enriched`, behind the prefix, unless its settings
name the topics that a team has: those names are whole, nothing is put before them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from pipeline.config.stages import StageSettings, StagesSettings
from pipeline.config.tables import TopicSettings
from pipeline.model.errors import UsageError

if TYPE_CHECKING:
    from pipeline.config.settings import Settings

ESCALATIONS = "escalations"
"""The stage that reads what the others escalate, whatever its topic is called."""
_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")
_KNOWN = 1_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a stage reads: topics by name, and all whose whole name a pattern matches.

    The pattern matches no topic that the pipeline itself writes, nor one of the brokers' own.
    """

    topics: tuple[str, ...]
    pattern: str | None = None

    def takes(self, topic: str) -> bool:
        is_matched = self.pattern is not None and re.match(self.pattern, topic) is not None
        return is_matched or topic in self.topics

    def among(self, existing: Iterable[str]) -> tuple[str, ...]:
        """The topics that are named, there or not, and those that exist and match the pattern."""
        matched = sorted(topic for topic in existing if self.takes(topic))
        return tuple(dict.fromkeys((*self.topics, *matched)))

    def __str__(self) -> str:
        return ", ".join(self.topics) or "what input.pattern matches"


class TopicNames:
    """What each topic is called under the settings; `UsageError` where Kafka takes no such name.

    Only `stages` that are given can have other than the default ones; without any, what a topic is
    for is known of the stages that come with the pipeline.
    """

    def __init__(
        self, settings: TopicSettings, stages: Mapping[str, StageSettings] | None = None
    ) -> None:
        self._settings = settings
        self._stages = StagesSettings().by_name() if stages is None else stages
        self.escalations = self._name(settings.escalations)
        self.review = self._name(settings.review)
        self.dead_letters = self._name(settings.dead_letters)
        self.audit = self._name(settings.audit)
        self.trust = self._name(settings.trust)
        self.feedback = None if settings.feedback is None else self._name(settings.feedback)
        self.replayed = self._name(settings.replayed)
        self.resolved = self._name(settings.resolved)
        self.backfills = self._name(settings.backfills)
        self.budget = self._name(settings.budget)
        self.enriched: Callable[[str], str] = cache(self._enriched)
        self.read_by: Callable[[str], Subscription] = cache(self._read_by)
        # The stages that read a topic; its name may be anybody's.
        self.readers_of: Callable[[str], tuple[str, ...]] = lru_cache(_KNOWN)(self._readers_of)

    @classmethod
    def under(cls, settings: "Settings") -> "TopicNames":
        """Those of all stages that there are."""
        return cls(settings.topics, settings.stages.by_name())

    def raw(self, stage: str) -> str:
        """Where a stage's raw events are published from here: the first topic that it reads.

        Raises:
            UsageError: It reads what a pattern matches, so a topic has to be named.
        """
        topics = self.read_by(stage).topics
        if not topics:
            raise UsageError(f"{stage} reads topics by a pattern: name one of them.")
        return topics[0]

    def tried_on(self, stage: str) -> str:
        """Where a record is taken to come from that is on no topic: one that the stage reads."""
        return next(iter(self.read_by(stage).topics), f"{stage}.raw")

    @property
    def compacted(self) -> tuple[str, ...]:
        """Topics whose records hold until one with the same key follows, however old they are."""
        return (self.replayed, self.resolved, self.backfills, self.budget)

    @property
    def shared(self) -> tuple[str, ...]:
        """What the pipeline writes for all stages together, but for their results."""
        payloads = self.escalations, self.review, self.dead_letters
        return (*payloads, self.audit, self.trust, *self.compacted)

    def of(self, stages: Iterable[str], existing: Iterable[str] = ()) -> tuple[str, ...]:
        """Every topic that these stages read or write, each once.

        What a pattern matches is looked for among the topics that exist.
        """
        names, existing = list(self.shared), tuple(existing)
        names += [] if self.feedback is None else [self.feedback]
        for stage in stages:
            if stage != ESCALATIONS:
                names += [*self.read_by(stage).among(existing), *self.results_of(stage)]
        return tuple(dict.fromkeys(names))

    def results_of(self, stage: str) -> tuple[str, ...]:
        """The topics that the results of a stage are written to."""
        own = self._stages.get(stage)
        flat = None if own is None else own.output.flat_topic
        return (self.enriched(stage),) if flat is None else (self.enriched(stage), _legal(flat))

    def _readers_of(self, topic: str) -> tuple[str, ...]:
        return tuple(stage for stage in self._stages if self.read_by(stage).takes(topic))

    def is_written(self, topic: str) -> bool:
        """Whether the pipeline writes a topic, and so may settle what is in it."""
        return topic in self.shared or topic in self._results()

    def is_given(self, topic: str) -> bool:
        """Whether the settings of a stage name a topic, or match it: how it is made is a team's."""
        for stage in self._stages.values():
            if topic in {*stage.input.topics, stage.output.topic, stage.output.flat_topic}:
                return True
        patterns = (self.read_by(stage).pattern for stage in self._stages)
        return any(pattern and re.match(pattern, topic) for pattern in patterns)

    def retention_of(self, topic: str) -> tuple[str, float | None]:
        """The setting that says for how long a topic keeps its records, and its seconds."""
        settings = self._settings
        if topic == self.audit:
            return "topics.audit_retention", settings.audit_retention
        if topic == self.trust:
            return "topics.trust_retention", settings.trust_retention
        if topic in self._results():
            return "topics.enriched_retention", settings.enriched_retention
        if topic in {self.escalations, self.review, self.dead_letters} or self.readers_of(topic):
            return "topics.payload_retention", settings.payload_retention
        return "", None

    def check(self) -> None:
        """Raise `UsageError` where a topic's name is not legal, or records would go in a circle."""
        leads_to: dict[str, set[str]] = {}
        for stage in self._stages:
            results, topics = self.results_of(stage), self.read_by(stage).topics
            if taken := next((topic for topic in results if topic in self.shared), None):
                raise UsageError(f"stages.{stage}.output: {taken} is for all stages.")
            if taken := next((topic for topic in topics if topic in self.shared), None):
                raise UsageError(
                    f"stages.{stage}.input.topics: {taken} is what the pipeline writes of events "
                    "that it has read."
                )
            if both := next((topic for topic in topics if topic in results), None):
                raise UsageError(
                    f"stages.{stage}: it would read {both}, which it writes: give its results "
                    "another topic."
                )
            if len(results) > len(set(results)):
                raise UsageError(
                    f"stages.{stage}.output: flat_topic is {results[0]}, too, where the envelope "
                    'goes: give it another topic, or set shape = "flat" instead.'
                )
            leads_to[stage] = {
                other
                for other in self._stages
                if other != stage and not set(self.results_of(other)).isdisjoint(topics)
            }
        self._check_shared_results()
        try:
            TopologicalSorter(leads_to).prepare()
        except CycleError as error:
            circle = " to ".join(error.args[1])
            raise UsageError(
                f"stages: records would go round for ever, {circle}: each reads what the one "
                "before writes."
            ) from None

    def _check_shared_results(self) -> None:
        """Envelopes say whose they are, so stages may share a topic; other forms do not."""
        writers: dict[str, str] = {}
        for stage in self._stages:
            for topic in self.results_of(stage):
                other = writers.setdefault(topic, stage)
                forms = {self._shareable_form(each, topic) for each in (stage, other)}
                if other != stage and (None in forms or len(forms) > 1):
                    raise UsageError(
                        f"stages.{stage}.output: {other} writes {topic}, too, and its records "
                        "would be of another form: give one of them another topic."
                    )

    def _shareable_form(self, stage: str, topic: str) -> str | None:
        """In which form a stage's results are on a topic; None where that is of it alone."""
        output = self._stages[stage].output
        is_flat = output.shape == "flat" or topic == output.flat_topic
        is_subject = output.format != "json" and output.subject == "topic"
        return None if is_flat or is_subject else output.format

    def _results(self) -> frozenset[str]:
        return frozenset(topic for stage in self._stages for topic in self.results_of(stage))

    def _enriched(self, stage: str) -> str:
        settings = self._stages.get(stage)
        given = None if settings is None else settings.output.topic
        return self._name(f"{stage}.enriched") if given is None else _legal(given)

    def _read_by(self, stage: str) -> Subscription:
        if stage == ESCALATIONS:
            return Subscription((self.escalations,))
        settings = self._stages.get(stage)
        if settings is None or not (settings.input.topics or settings.input.pattern):
            return Subscription((self._name(f"{stage}.raw"),))
        topics = tuple(dict.fromkeys(map(_legal, settings.input.topics)))
        if settings.input.pattern is None:
            return Subscription(topics)
        written = sorted({*self.shared, *self._results(), *filter(None, [self.feedback])})
        but_for = "|".join(["__.*", *map(re.escape, written)])
        return Subscription(topics, rf"(?!(?:{but_for})\Z)(?:{settings.input.pattern})\Z")

    def _name(self, name: str) -> str:
        return _legal(self._settings.prefix + name)


def _legal(name: str) -> str:
    if not _LEGAL.fullmatch(name) or name in {".", ".."}:
        raise UsageError(
            f"{name!r} cannot be the name of a topic: letters, digits, '.', '_' and '-', "
            "at most 249; see [topics] in the settings."
        )
    return name
