"""Fitting a score to labels of a stage's answers, and writing it: `pipeline trust fit`."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.cascade.policy import FAILURES, asks_of, rule_of
from pipeline.config import Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Tier
from pipeline.operators.files import usable
from pipeline.stages.api import differences, stage_named
from pipeline.trust.fitting import Fitted, Thresholds, fit
from pipeline.trust.labelled import Differ, LabelledFile, Result, of_answers, read_labelled
from pipeline.trust.records import LabelledAnswer


def of_file(settings: Settings, stage: str, file: Path) -> LabelledFile:
    """What a file of labels says of a stage's first answers; raises as `read_labelled`."""
    return read_labelled(file, stage, failures=FAILURES, differ=_differ(settings, stage))


def of_topic(settings: Settings, stage: str, answers: Sequence[LabelledAnswer]) -> LabelledFile:
    """What the labelled answers of the topic `trust` say of them.

    Raises:
        UsageError: There is no such stage, or none of the answers is its own.
    """
    topic, differ = TopicNames.under(settings).trust, _differ(settings, stage)
    return of_answers(answers, f"The topic {topic}", stage, failures=FAILURES, differ=differ)


def _differ(settings: Settings, name: str) -> Differ:
    stage = stage_named(settings.stages, name)

    def differ(one: Result, other: Result) -> bool | None:
        found = differences(stage, one, other)
        return None if found is None else bool(found)

    return differ


def fit_score(settings: Settings, name: str, labelled: LabelledFile) -> Fitted:
    """Fit a score of a stage's first answers to labels, held against the rule in force.

    Raises:
        UsageError: The labels are of no use, or the rule is no worse.
    """
    rule = rule_of(settings, name, Tier.HAIKU)
    thresholds = Thresholds(
        rule.thresholds_of(None), {label: rule.thresholds_of(label) for label in rule.of_label}
    )
    asks = asks_of(settings.stages.by_name()[name])
    return fit(labelled.examples, thresholds, stage=name, asks=asks)


def write_score(fitted: Fitted, path: Path) -> None:
    """Write the file that `stages.<stage>.score` names; a UsageError says that it cannot be."""
    with usable(path, "written", otherwise="name another file."):
        path.write_text(fitted.score.model_dump_json(by_alias=True, indent=1) + "\n", "utf-8")
