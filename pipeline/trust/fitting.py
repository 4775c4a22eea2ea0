"""Fitting a score to labelled answers: `pipeline trust fit`. Needs scikit-learn (extra `trust`).

Below `MANY` labels a logistic regression whose weights are pulled towards today's rule: by how much
does not depend on the number of labels, so that few change little and many decide (a Gaussian prior
on the weights; their most likely values). From there on gradient boosting. Either is calibrated,
and compared with the rule, by answers that it was not fitted to: those of a key are left out
together, since they may be alike.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from pydantic_core import to_json
from sklearn.ensemble import GradientBoostingClassifier

from pipeline.model.errors import UsageError
from pipeline.trust.score import (
    HARD,
    RULE,
    AnySignal,
    Model,
    Score,
    Tree,
    feature_names,
    features_of,
    probability,
    relevant,
    rule_doubt,
)

Numbers: TypeAlias = Any
"""An array of floats; types are checked where NumPy is not installed, too."""
MANY = 500
"""Labels from which on trees are fitted."""
FEWEST = 40
"""Labels, and a tenth of that of wrong and of right answers, below which nothing is fitted."""
FOLDS = 5
_PULL = 1.0
"""Precision of the prior: a weight of 1 beyond the rule's is one standard deviation."""
_PULL_OF_CALIBRATION = 10.0
_STEPS, _CLOSE = 50, 1e-9
_RESAMPLES = 200
_TREES: Mapping[str, Any] = {
    "n_estimators": 60,
    "max_depth": 3,
    "learning_rate": 0.08,
    "subsample": 0.7,
    "min_samples_leaf": 10,
    "random_state": 0,
}


@dataclass(frozen=True, slots=True)
class Example:
    """A first answer of which it is known whether it is right.

    Args:
        key: Whose event it is: answers of one key may be alike.
        signals: All that spoke against it.
        wrong: Whether it is wrong.
        wrong_fields: The same of each field of the result of which it is known.
        label: That was chosen, for thresholds of its own.
        chance: With which it was drawn; it stands for 1 / chance answers.
        failed: There was no answer.
    """

    key: str
    signals: Sequence[AnySignal]
    wrong: bool
    wrong_fields: Mapping[str, bool] = field(default_factory=dict)
    label: str | None = None
    chance: float = 1.0
    failed: bool = False


class Thresholds:
    """Those of the rule: of answers that chose a label, and of all others."""

    def __init__(
        self,
        usual: Mapping[str, float],
        of_label: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.usual = usual
        self._of_label = of_label or {}

    def of(self, label: str | None) -> Mapping[str, float]:
        return self.usual if label is None else self._of_label.get(label.casefold(), self.usual)


@dataclass(frozen=True, slots=True)
class Compared:
    """Escalations by the rule and by the score where they accept equally many wrong answers.

    Shares of all answers; `low` and `high` bound `score - rule` with 95 % confidence (bootstrap
    over keys). `risk` is the share that is wrong of the answers that the rule accepts; None where
    it accepts none, so that nothing can be compared.
    """

    what: str
    labels: int
    wrong: int
    risk: float | None
    rule: float
    score: float
    low: float
    high: float

    @property
    def is_worse(self) -> bool:
        return self.risk is None or self.score > self.rule


@dataclass(frozen=True, slots=True)
class Fitted:
    """A score, and what it came to by cross-validation; `left_out` are fields, and why."""

    score: Score
    whole: Compared
    fields: tuple[Compared, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """Of one target, the whole answer or a field, all that is known, a row an answer."""

    rows: Numbers
    wrong: Numbers
    weights: Numbers
    doubts: Sequence[float]
    keys: Sequence[str]


def fit(examples: Sequence[Example], thresholds: Thresholds, *, stage: str, asks: str) -> Fitted:
    """Fit a score of the whole answer, and one of each field of which enough is known.

    Raises:
        UsageError: There are too few labels, or it is worse than the rule.
    """
    # No score has a say in what is escalated whatever it says.
    usable = [each for each in examples if not _is_hard(each, thresholds)]
    lost = math.fsum(1 / each.chance for each in examples) - math.fsum(
        1 / each.chance for each in usable
    )
    _need_labels(usable)
    codes = sorted({signal.code for each in usable for signal in each.signals})
    is_many = len(usable) >= MANY
    whole, compared = _fitted("the whole answer", usable, codes, thresholds, lost=lost)
    if compared.is_worse:
        raise UsageError(
            "The score is not better than the rule, so none is written: at the rule's risk it "
            f"escalates {compared.score:.1%}, the rule {compared.rule:.1%}. Label more answers."
        )
    models, comparisons, left_out = {}, [], {}
    names = {name for each in usable for name in each.wrong_fields}
    # The only field of which anything is known is the whole answer.
    for name in sorted(names) if len(names) > 1 else []:
        known = [each for each in usable if name in each.wrong_fields]
        try:
            _need_labels(known, name)
        except UsageError as error:
            left_out[name] = str(error)
            continue
        model, found = _fitted(name, known, codes, thresholds, name=name)
        if found.is_worse:
            left_out[name] = "Not better than the rule."
            continue
        models[name] = model
        comparisons.append(found)
    score = Score(
        schema_="trust.score/1",
        stage=stage,
        asks=asks,
        fitted_on=_digest_of(usable),
        labels=len(usable),
        method="trees" if is_many else "logistic",
        codes=tuple(codes),
        thresholds=dict(thresholds.usual),
        whole=whole,
        fields=models,
    )
    return Fitted(score, compared, tuple(comparisons), left_out)


def _is_hard(example: Example, thresholds: Thresholds) -> bool:
    hard = (each for each in example.signals if each.code in HARD)
    return example.failed or rule_doubt(hard, thresholds.of(example.label)) >= 1


def _need_labels(examples: Sequence[Example], name: str | None = None) -> None:
    wrong = sum(each.wrong if name is None else each.wrong_fields[name] for each in examples)
    least = FEWEST // 10
    if len(examples) < FEWEST or not least <= wrong <= len(examples) - least:
        raise UsageError(
            f"{len(examples)} labels, {wrong} of them of wrong answers, are too few: it takes "
            f"{FEWEST}, and {least} of either kind."
        )


def _fitted(
    what: str,
    examples: Sequence[Example],
    codes: Sequence[str],
    thresholds: Thresholds,
    *,
    name: str | None = None,
    lost: float = 0.0,
) -> tuple[Model, Compared]:
    """The model, and the comparison of the rule with models that had not seen what they judge."""
    names = feature_names(codes, of_field=name is not None)
    known = _known(examples, names, thresholds, name)
    fold_of = [_number(key) % FOLDS for key in known.keys]
    raw = [0.0] * len(examples)
    for fold in range(FOLDS):
        held = [at for at, each in enumerate(fold_of) if each == fold]
        rest = [at for at, each in enumerate(fold_of) if each != fold]
        if not held or not rest:
            continue
        model = _model(known, names, rest)
        for at in held:
            raw[at] = _raw(model, known.rows[at])
    points = np.column_stack([np.ones(len(raw)), raw])
    offset, slope = _regression(
        points, known.wrong, known.weights, [0.0, 1.0], _PULL_OF_CALIBRATION
    )
    slope = max(float(slope), 0.05)
    unseen = [probability(float(offset) + slope * each) for each in raw]
    compared, threshold = compare(
        what,
        unseen,
        known.doubts,
        [bool(each) for each in known.wrong],
        weights=known.weights.tolist(),
        keys=known.keys,
        # In the unit of the weights, of which one is an average label.
        lost=lost * len(examples) / math.fsum(1 / each.chance for each in examples),
    )
    every = _model(known, names, range(len(examples)))
    calibrated = {"slope": slope, "offset": float(offset), "threshold": threshold}
    return every.model_copy(update=calibrated), compared


def _known(
    examples: Sequence[Example], names: Sequence[str], thresholds: Thresholds, name: str | None
) -> _Known:
    rows, wrong, doubts = [], [], []
    for each in examples:
        seen = each.signals if name is None else relevant(each.signals, name)
        rows.append(features_of(each.signals, names, thresholds.usual, name))
        wrong.append(float(each.wrong if name is None else each.wrong_fields[name]))
        doubts.append(rule_doubt(seen, thresholds.of(each.label)))
    weights = np.array([1 / each.chance for each in examples])
    return _Known(
        np.array(rows),
        np.array(wrong),
        # Together they weigh as much as there are labels, so that rare draws seem no surer.
        weights * (len(examples) / weights.sum()),
        doubts,
        [each.key for each in examples],
    )


def _model(known: _Known, names: Sequence[str], chosen: Iterable[int]) -> Model:
    at = list(chosen)
    rows, wrong, weights = known.rows[at], known.wrong[at], known.weights[at]
    # Which model it is depends on all labels, so that the folds judge the one that is written.
    if len(known.wrong) < MANY:
        return _logistic(rows, wrong, weights, names)
    return _boosted(rows, wrong, weights, names)


def _logistic(rows: Numbers, wrong: Numbers, weights: Numbers, names: Sequence[str]) -> Model:
    points = np.column_stack([np.ones(len(rows)), rows])
    expected = [0.0, *(float(name == RULE) for name in names)]
    intercept, *found = _regression(points, wrong, weights, expected, _PULL)
    return Model(
        features=tuple(names),
        intercept=float(intercept),
        weights=tuple(map(float, found)),
        threshold=0.5,
    )


def _regression(
    points: Numbers,
    wrong: Numbers,
    weights: Numbers,
    expected: Sequence[float],
    pull: float,
) -> Numbers:
    """The most likely weights under a Gaussian prior around the expected ones, by Newton's method.

    The first, the intercept, is hardly pulled.
    """
    prior = np.array(expected)
    precision = np.full(len(prior), pull)
    precision[0] = 1e-3

    def cost(weighed: Numbers) -> float:
        odds = points @ weighed
        likely = (weights * (np.logaddexp(0, odds) - wrong * odds)).sum()
        return float(likely + (precision * (weighed - prior) ** 2).sum() / 2)

    found = prior.copy()
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(points @ found, -35, 35)))
        slope = points.T @ (weights * (p - wrong)) + precision * (found - prior)
        curve = (points * (weights * p * (1 - p))[:, None]).T @ points + np.diag(precision)
        step, share = np.linalg.solve(curve, slope), 1.0
        while share > _CLOSE and cost(found - share * step) > cost(found):
            share /= 2
        found -= share * step
        if float(np.abs(step).max()) < _CLOSE:
            break
    return found


def _boosted(rows: Numbers, wrong: Numbers, weights: Numbers, names: Sequence[str]) -> Model:
    if wrong.min() == wrong.max():
        raise UsageError("All labels of a fold say the same: label more keys.")
    fitted = GradientBoostingClassifier(**_TREES).fit(rows, wrong, sample_weight=weights)
    first = float((weights * wrong).sum() / weights.sum())
    trees = []
    for (regressor,) in fitted.estimators_:
        tree = regressor.tree_
        is_leaf = tree.children_left < 0
        trees.append(
            Tree(
                feature=tuple(
                    -1 if leaf else int(f) for leaf, f in zip(is_leaf, tree.feature, strict=True)
                ),
                limit=tuple(
                    0.0 if leaf else float(t)
                    for leaf, t in zip(is_leaf, tree.threshold, strict=True)
                ),
                left=tuple(map(int, tree.children_left)),
                right=tuple(map(int, tree.children_right)),
                value=tuple(float(v) * _TREES["learning_rate"] for v in tree.value[:, 0, 0]),
            )
        )
    return Model(
        features=tuple(names),
        intercept=math.log(first / (1 - first)),
        trees=tuple(trees),
        threshold=0.5,
    )


def _raw(model: Model, row: Sequence[float]) -> float:
    p = model.p_wrong(row)
    return math.log(p / (1 - p))


# Comparing with the rule, on answers that the score was not fitted to.


Judged = tuple[float, float, bool, float, str]
"""An answer: how likely it is wrong, the rule's doubt, whether it is wrong, its weight, its key."""


def compare(
    what: str,
    p_wrong: Sequence[float],
    doubts: Sequence[float],
    wrong: Sequence[bool],
    *,
    weights: Sequence[float],
    keys: Sequence[str],
    lost: float = 0.0,
) -> tuple[Compared, float]:
    """Hold a score against the rule at the rule's own risk; also the probability it accepts up to.

    `doubts` are the rule's, which accepts what is below 1. What is `lost` both escalate.
    """
    rows = list(zip(p_wrong, doubts, wrong, weights, keys, strict=True))
    rule, score, risk, threshold = at_equal_risk(rows, lost)
    by_key: dict[str, list[Judged]] = {}
    for row in rows:
        by_key.setdefault(row[-1], []).append(row)
    groups, dice = list(by_key.values()), random.Random(0)  # noqa: S311 - repeatable, not secret
    gains = []
    for _ in range(_RESAMPLES):
        drawn = [row for group in dice.choices(groups, k=len(groups)) for row in group]
        of_rule, of_score, _, _ = at_equal_risk(drawn, lost)
        gains.append(of_score - of_rule)
    gains.sort()
    low, high = gains[round(0.025 * _RESAMPLES)], gains[round(0.975 * _RESAMPLES) - 1]
    found = Compared(what, len(rows), sum(wrong), risk, rule, score, low, high)
    return found, threshold


def at_equal_risk(
    rows: Sequence[Judged], lost: float = 0.0
) -> tuple[float, float, float | None, float]:
    """Escalated by the rule, by the score, the risk, and the probability up to which it accepts."""
    total = math.fsum(row[3] for row in rows) + lost
    accepted = math.fsum(row[3] for row in rows if row[1] < 1)
    if not accepted:
        return 1.0, 1.0, None, 0.0
    risk = math.fsum(row[3] for row in rows if row[1] < 1 and row[2]) / accepted
    taken = bad = most = 0.0
    ordered = sorted(rows, key=lambda row: row[0])
    threshold = 0.0
    for at, (p, _, is_wrong, weight, _) in enumerate(ordered):
        taken += weight
        bad += weight * is_wrong
        after = ordered[at + 1][0] if at + 1 < len(ordered) else 1.0
        if after > p and bad <= risk * taken * (1 + 1e-9):
            most, threshold = taken, (p + after) / 2
    return 1 - accepted / total, 1 - most / total, risk, threshold


def _number(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _digest_of(examples: Sequence[Example]) -> str:
    said = [
        [each.key, each.wrong, dict(each.wrong_fields), each.label, each.chance,
         [[signal.code, signal.strength, list(signal.fields)] for signal in each.signals]]
        for each in examples
    ]  # fmt: skip
    return blake2b(to_json(said), digest_size=8).hexdigest()
