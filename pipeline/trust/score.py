"""How likely an answer is wrong: one number from all its signals. Pure, and plain Python.

A score is a small file of numbers that `pipeline trust fit` writes (`fitting`) and `run` reads. It
has a model of the whole answer and one of each field of the result, and each begins with today's
rule: the strongest signal, measured by its threshold. What labels say is added to that, as weights
of a logistic regression or as trees (Friedman 2001), and calibrated (Platt 1999).

Correlated signals count once. Of those of one code only the two strongest are looked at, each by
itself, and their weights are fitted together; `runner_up_close` is the confidence in other words.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.model.errors import UsageError

DERIVED = frozenset({"runner_up_close"})
"""Signals that follow from another one: (1 - c) / c carries nothing beyond a confidence c."""
HARD = frozenset({"suspected_injection", "document_contradicts", "boundaries"})
"""Signals that no other one makes up for: they count by their thresholds, whatever a score says."""
OF_FIELD = "/field"
NEXT = "/next"
RULE = "(rule)"
"""Names of features, after a code: of those about the field itself, of the second strongest of a
code; and what the rule says of the whole."""
_LEAST_DOUBT, _MOST_DOUBT = 0.05, 20.0
"""As multiples of a threshold; beyond them the rule says no more."""
_RULE_SLOPE = 2.0
"""The rule as a prior: at its threshold wrong as likely as right, at half of it one in five."""
_SURE = 35.0
Finite = Annotated[float, Field(allow_inf_nan=False)]


class AnySignal(Protocol):
    """`pipeline.model.questions.Signal`, or as the topic `trust` keeps it."""

    @property
    def code(self) -> str: ...
    @property
    def strength(self) -> float: ...
    @property
    def fields(self) -> Sequence[str]: ...


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Tree(_Plain):
    """A regression tree as arrays, a place a node: a leaf has the feature -1 and a `value`.

    A node goes `left` where its feature is at most its limit. Both lie behind it.
    """

    feature: tuple[int, ...]
    limit: tuple[Finite, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[Finite, ...]

    @model_validator(mode="after")
    def _ends(self) -> "Tree":
        nodes = len(self.feature)
        if not nodes or {len(each) for each in (self.limit, self.left, self.right, self.value)} != {
            nodes
        }:
            raise ValueError("the arrays of a tree have the same length")
        for at, feature in enumerate(self.feature):
            if feature >= 0 and not (at < self.left[at] < nodes and at < self.right[at] < nodes):
                raise ValueError("the branches of a node lie behind it")
        return self

    def of(self, features: Sequence[float]) -> float:
        at = 0
        while (feature := self.feature[at]) >= 0:
            at = self.left[at] if features[feature] <= self.limit[at] else self.right[at]
        return self.value[at]


class Model(_Plain):
    """What makes the log-odds of being wrong out of features, in this order.

    Either `weights`, one a feature, or `trees`; then `slope` and `offset` calibrate. `threshold` is
    the probability from which on as many answers were accepted wrongly as by the rule.
    """

    features: tuple[str, ...]
    intercept: Finite = 0.0
    weights: tuple[Finite, ...] = ()
    trees: tuple[Tree, ...] = ()
    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    offset: Finite = 0.0
    threshold: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _fits(self) -> "Model":
        known = len(self.features)
        if self.weights and len(self.weights) != known:
            raise ValueError("there is a weight for each feature")
        if any(feature >= known for tree in self.trees for feature in tree.feature):
            raise ValueError("a tree asks for a feature that is not there")
        return self

    def p_wrong(self, features: Sequence[float]) -> float:
        raw = self.intercept + math.fsum(
            weight * value for weight, value in zip(self.weights, features, strict=False)
        )
        raw += math.fsum(tree.of(features) for tree in self.trees)
        return probability(self.offset + self.slope * raw)


class Score(_Plain):
    """A score of one stage's first answers; `codes` are the signals that it knows.

    `asks` is the digest of the labels and fields that it was fitted for, `fitted_on` that of the
    labelled answers, of which there were `labels`.
    """

    schema_: Literal["trust.score/1"] = Field("trust.score/1", alias="schema")
    stage: str
    asks: str
    fitted_on: str
    labels: int
    method: Literal["logistic", "trees"]
    codes: tuple[str, ...]
    thresholds: dict[str, Finite] = Field(description="Of the rule that it begins with.")
    whole: Model
    fields: dict[str, Model] = {}

    @model_validator(mode="after")
    def _has_a_rule(self) -> "Score":
        if "other" not in self.thresholds:
            raise ValueError("the thresholds lack `other`, for codes without one of their own")
        return self

    @property
    def digest(self) -> str:
        return sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()[:16]

    def p_wrong(self, signals: Iterable[AnySignal], field: str | None = None) -> float:
        """How likely the answer is wrong, or one field of its result.

        A field that has no model of its own is as likely wrong as the whole answer.
        """
        model = self.whole if field is None else self.fields.get(field)
        if model is None:
            model, field = self.whole, None
        return model.p_wrong(features_of(signals, model.features, self.thresholds, field))

    def strongest(self, signals: Sequence[AnySignal], *, most: int = 3) -> list[str]:
        """The codes without which the answer would be least likely wrong, the strongest first."""
        whole = self.p_wrong(signals)
        codes = sorted(({each.code for each in signals} & set(self.codes)) - HARD - DERIVED)
        without = {
            code: self.p_wrong([each for each in signals if each.code != code]) for code in codes
        }
        counting = sorted((p, code) for code, p in without.items() if p < whole)
        return [code for _, code in counting[:most]]


def probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-max(-_SURE, min(_SURE, log_odds))))


def rule_doubt(signals: Iterable[AnySignal], thresholds: Mapping[str, float]) -> float:
    """The strongest signal, measured by its threshold: from 1 on an answer is doubted by the rule.

    `thresholds` has `other` for codes without one of their own.
    """
    most = 0.0
    for signal in signals:
        if signal.strength > 0:
            threshold = thresholds.get(signal.code, thresholds["other"])
            most = max(most, signal.strength / threshold if threshold > 0 else math.inf)
    return most


def is_about(signal: AnySignal, field: str) -> bool:
    """Whether a signal is about this field, by itself or among others."""
    return any(each == field or each.startswith(f"{field}.") for each in signal.fields)


def relevant(signals: Iterable[AnySignal], field: str) -> list[AnySignal]:
    """Those that are about a field, or about all of the answer."""
    return [each for each in signals if not each.fields or is_about(each, field)]


def feature_names(codes: Collection[str], *, of_field: bool) -> tuple[str, ...]:
    """What a model may look at, in a fixed order."""
    soft = sorted(set(codes) - DERIVED - HARD)
    own = [f"{code}{OF_FIELD}" for code in soft] if of_field else []
    return (RULE, *soft, *(f"{code}{NEXT}" for code in soft), *own)


def features_of(
    signals: Iterable[AnySignal],
    names: Sequence[str],
    thresholds: Mapping[str, float],
    field: str | None = None,
) -> list[float]:
    """The value of each feature; 0 where nothing of it was seen."""
    seen = list(signals) if field is None else relevant(signals, field)
    strengths: defaultdict[str, list[float]] = defaultdict(list)
    for each in seen:
        strengths[each.code].append(each.strength)
        if field is not None and each.fields:
            strengths[f"{each.code}{OF_FIELD}"].append(each.strength)
    found = {RULE: _rule_log_odds(seen, thresholds)}
    for name, values in strengths.items():
        values.sort(reverse=True)
        found[name] = values[0]
        if values[1:]:
            found[f"{name}{NEXT}"] = values[1]
    return [found.get(name, 0.0) for name in names]


def _rule_log_odds(signals: Sequence[AnySignal], thresholds: Mapping[str, float]) -> float:
    soft = (each for each in signals if each.code not in HARD | DERIVED)
    doubt = rule_doubt(soft, thresholds)
    return _RULE_SLOPE * math.log(min(max(doubt, _LEAST_DOUBT), _MOST_DOUBT))


def read_score(path: Path) -> Score:
    """Read a file that `pipeline trust fit` wrote.

    Raises:
        UsageError: It cannot be read, or is no score.
    """
    try:
        return Score.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"The score {path} cannot be read ({error.strerror}): write it with "
            "`pipeline trust fit`."
        ) from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise UsageError(
            f"{path} is no score of this version ({where}: {fault['msg']}): write it again with "
            "`pipeline trust fit`."
        ) from None
