"""What people said of published answers, read from a file, and what it comes to."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.model.errors import UsageError
from pipeline.trust.certificates import (
    ErrorBudget,
    Finding,
    Verdict,
    judge,
    labels_needed,
    upper_bound,
)
from pipeline.trust.drift import Detector
from pipeline.trust.export import fault_of, is_exported, lines_of, read_export
from pipeline.trust.labelling import weighed
from pipeline.trust.records import SampledAnswer


class _Line(BaseModel):
    """A line of the file; other fields are nobody's business here."""

    model_config = ConfigDict(extra="ignore")

    id: str | int
    right: bool
    key: str | int | None = None
    chance: Annotated[float, Field(gt=0, le=1)] | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is certified: `target` or more of the answers are right; `upper` bounds the errors."""

    target: float
    alpha: float
    finding: Finding
    upper: float | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """What the alarm came to: `alarm_at` is the label at which it was raised, None where not."""

    labels: int
    errors: int
    level: float
    alarm_at: int | None


@dataclass(frozen=True, slots=True)
class Planned:
    """How many labels certify with which chance where so many are right; None: no number does."""

    right: float
    labels: int | None


def read_verdicts(
    path: Path,
    *,
    is_wanted: Callable[[SampledAnswer], bool] = lambda _: True,
    origins: Collection[str] | None = None,
) -> list[Verdict]:
    """Read JSON Lines, `{"id": ..., "right": true, "key": ..., "chance": 0.01}`, in their order.

    `key`, whose event it is, is the id where it is not given; `chance`, with which the answer was
    drawn from all, is 1 where no line has any. What `pipeline trust export` wrote is read as well,
    of which `is_wanted` and `origins` leave out answers and labels.

    Raises:
        UsageError: The file cannot be read, or a line is no verdict, or an id is there twice, or
            only some have a chance.
    """
    lines = lines_of(path)
    if lines and is_exported(lines[0][1]):
        return weighed((each for each in read_export(path) if is_wanted(each.answer)), origins)
    found: dict[str, Verdict] = {}
    with_chance = 0
    for number, line in lines:
        try:
            read = _Line.model_validate_json(line, strict=True)
        except ValidationError as error:
            raise UsageError(f"{path}:{number}: {fault_of(error)}.") from None
        if (name := str(read.id)) in found:
            raise UsageError(f"{path}:{number}: {name!r} is there twice; it has one verdict.")
        with_chance += read.chance is not None
        key = name if read.key is None else str(read.key)
        found[name] = Verdict(key, not read.right, 1.0 if read.chance is None else read.chance)
    if not found:
        raise UsageError(f"{path} has no verdicts: name another file.")
    if 0 < with_chance < len(found):
        raise UsageError(
            f"{path}: {len(found) - with_chance:,} of {len(found):,} verdicts have no chance, so "
            "they cannot be weighed with the others: give each the chance that it was drawn with, "
            "or leave them out."
        )
    return list(found.values())


def certify(
    verdicts: Sequence[Verdict], target: float, *, at_once: bool, trial: int | None = None
) -> Certificate:
    """Whether the verdicts show that so many are right.

    Raises:
        UsageError: The target is no share.
    """
    if not 0 < target < 1:
        raise UsageError(
            "The target, the share that shall be right, lies between 0 and 1: say --target 0.95."
        )
    budget, risk = ErrorBudget(), round(1 - target, 12)
    alpha = budget.alpha if trial is None else budget.of_trial(trial)
    finding = judge(verdicts, risk, at_once=at_once)
    upper = None
    if finding.method == "exact":
        upper = upper_bound(finding.errors, finding.labels, alpha)
    return Certificate(target, alpha, finding, upper, finding.certifies(alpha))


def watch(verdicts: Sequence[Verdict], target: float, run_length: float) -> Watched:
    """Let the alarm see the verdicts one by one, in their order.

    Raises:
        UsageError: The target is no share, or the run length is below 1.
    """
    try:
        detector = Detector(round(1 - target, 12), run_length)
    except ValueError as error:
        raise UsageError(f"There is no such alarm: {error}.") from error
    # The rarest that is drawn weighs most, as it stands for most.
    heaviest = max(1 / each.chance for each in verdicts)
    alarm_at = None
    for number, each in enumerate(verdicts, start=1):
        if detector.add(each.is_wrong, 1 / each.chance / heaviest) and alarm_at is None:
            alarm_at = number
    errors = sum(each.is_wrong for each in verdicts)
    return Watched(len(verdicts), errors, detector.level, alarm_at)


def plan(target: float, right: Sequence[float], chance: float) -> list[Planned]:
    """How many labels it takes, for each share that may be right in truth.

    Raises:
        UsageError: Something of it is no share.
    """
    risk, alpha = round(1 - target, 12), ErrorBudget().alpha
    try:
        return [
            Planned(each, labels_needed(risk, alpha, true_share=round(1 - each, 12), chance=chance))
            for each in right
        ]
    except ValueError as error:
        raise UsageError(f"Nothing can be planned so: {error}.") from error
