"""Fitting a score to labels of a stage's answers, and writing it: `pipeline trust fit`."""

from pathlib import Path

from pipeline.cascade.policy import FAILURES, asks_of, rule_of
from pipeline.config import Settings
from pipeline.model.records import Tier
from pipeline.operators.files import usable
from pipeline.stages.api import differences, stage_named
from pipeline.trust.fitting import Fitted, Thresholds, fit
from pipeline.trust.labelled import LabelledFile, Result, read_labelled


def fit_score(settings: Settings, name: str, file: Path) -> tuple[Fitted, LabelledFile]:
    """Fit a score of a stage's first answers to a file of labels, held against the rule in force.

    Raises:
        UsageError: There is no such stage, the file is of no use, or the rule is no worse.
    """
    stage = stage_named(settings.stages, name)

    def differ(one: Result, other: Result) -> bool | None:
        found = differences(stage, one, other)
        return None if found is None else bool(found)

    rule = rule_of(settings, name, Tier.HAIKU)
    thresholds = Thresholds(
        rule.thresholds_of(None), {label: rule.thresholds_of(label) for label in rule.of_label}
    )
    labelled = read_labelled(file, name, failures=FAILURES, differ=differ)
    found = fit(
        labelled.examples, thresholds, stage=name, asks=asks_of(settings.stages.by_name()[name])
    )
    return found, labelled


def write_score(fitted: Fitted, path: Path) -> None:
    """Write the file that `stages.<stage>.score` names; a UsageError says that it cannot be."""
    with usable(path, "written", otherwise="name another file."):
        path.write_text(fitted.score.model_dump_json(by_alias=True, indent=1) + "\n", "utf-8")
