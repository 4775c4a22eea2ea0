"""Labelled answers, read from a file to fit a score to.

Either what `pipeline trust export` writes, a line `{"answer": ..., "labels": [...]}` each, or the
JSON file of `pipeline evaluate`.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.trust.export import read_export
from pipeline.trust.fitting import Example
from pipeline.trust.labelling import last_words, verdict_on
from pipeline.trust.records import AnswerSignal, LabelledAnswer, SampledAnswer

_TAKEN = "It takes labelled answers, or the JSON file of `pipeline evaluate` of this version."
Result = Mapping[str, JsonValue]
Differ = Callable[[Result, Result], bool | None]
"""Whether two results decide differently; None where the stage does not say what decides."""


class _Ignoring(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Outcome(_Ignoring):
    right: bool
    confidence: float | None
    said: str | None
    fields: dict[str, bool]
    signals: tuple[AnswerSignal, ...]


class _Case(_Ignoring):
    id: str
    key: str
    haiku: _Outcome


class _Evaluation(_Ignoring):
    stage: str
    cases: tuple[_Case, ...]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """What a file says of first answers; `left_out` counts what cannot be used, by why."""

    examples: Sequence[Example]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_labelled(
    path: Path, stage: str, *, failures: Collection[str], differ: Differ
) -> LabelledFile:
    """Read either form; `failures` are the codes of answers that never came.

    Raises:
        UsageError: The file cannot be read, or is neither, or is about another stage.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another.") from error
    try:
        evaluation = _Evaluation.model_validate_json(raw)
    except ValidationError:
        lines = read_export(path, otherwise=_TAKEN)
        return of_answers(lines, str(path), stage, failures=failures, differ=differ)
    if evaluation.stage != stage:
        raise UsageError(
            f"{path} is an evaluation of {evaluation.stage}, not of {stage}: name another."
        )
    # What has neither an answer nor a failure was read from the event's own data.
    return LabelledFile(
        [
            Example(
                each.key,
                each.haiku.signals,
                not each.haiku.right,
                {name: not right for name, right in each.haiku.fields.items()},
                each.haiku.said,
                failed=any(signal.code in failures for signal in each.haiku.signals),
            )
            for each in evaluation.cases
            if each.haiku.confidence is not None
            or any(signal.code in failures for signal in each.haiku.signals)
        ]
    )


def of_answers(
    answers: Iterable[LabelledAnswer],
    source: str,
    stage: str,
    *,
    failures: Collection[str],
    differ: Differ,
) -> LabelledFile:
    """Examples of labelled answers; as `read_labelled`, and `source` says where they are from."""
    own = [each for each in answers if each.answer.stage == stage]
    if not own:
        raise UsageError(f"{source} has no labelled answers of {stage}: label some.")
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for each in own:
        verdict = verdict_on(each.answer, each.labels)
        if verdict is None:
            left_out["no label that was drawn with a known chance"] += 1
            continue
        wrong = _is_haiku_wrong(each.answer, differ, wrong=verdict.is_wrong)
        if wrong is None:
            left_out["decided by Sonnet, and unknown whether Haiku was right"] += 1
            continue
        examples.append(_example(each, failures, wrong=wrong, chance=verdict.chance))
    return LabelledFile(examples, left_out)


def _is_haiku_wrong(answer: SampledAnswer, differ: Differ, *, wrong: bool) -> bool | None:
    """Whether Haiku's answer is, where the published one is `wrong` or not; None: not known."""
    if answer.decided_by is Tier.HAIKU:
        return wrong
    if answer.haiku_result is None or answer.result is None:
        return None
    other = differ(answer.haiku_result, answer.result)
    if other is None or (other and wrong):
        return None
    # The same as Sonnet's: as right as that. Another than a right one: wrong.
    return True if other else wrong


def _example(
    labelled: LabelledAnswer, failures: Collection[str], *, wrong: bool, chance: float
) -> Example:
    answer = labelled.answer
    is_haiku = answer.decided_by is Tier.HAIKU
    signals = answer.signals if is_haiku else answer.haiku_signals
    named = {
        pointer.lstrip("/").replace("/", ".")
        for each in last_words(labelled.labels)
        for pointer in each.wrong_fields
    }
    fields: dict[str, bool] = {}
    if is_haiku and answer.result is not None and (named or not wrong):
        fields = {name: name in named for name in _names(answer.result)}
    return Example(
        answer.whose,
        signals,
        wrong,
        fields,
        answer.label if is_haiku else None,
        chance,
        failed=any(each.code in failures for each in signals),
    )


def _names(result: Result) -> Iterator[str]:
    """The fields of a result, those of a team with a dot."""
    for name, value in result.items():
        if name == "fields" and isinstance(value, dict):
            yield from (f"fields.{each}" for each in value)
        else:
            yield name
