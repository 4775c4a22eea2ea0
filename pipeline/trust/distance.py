"""Whether today's answers look like those of the certified window. Pure.

Signals, chosen labels and the share that the second tier decides are compared by Pearson's test of
homogeneity, each answer weighed by the chance with which it was drawn; what a weighed sample is
worth is its effective size (Kish 1965). One window of answers is one look: all comparisons of a
look together are falsely beyond their limit in `FALSELY` of looks. Inputs are seen by the signals
that are about them: length, language, script, legibility, scope, injection.

A distance is a reason to look, not an alarm: answers may change and be right. Only labels say that.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from pipeline.model.records import Tier
from pipeline.trust.certificate_file import Reference
from pipeline.trust.records import SampledAnswer

FALSELY = 0.01
"""Looks at a window in which nothing changed that find something beyond its limit."""
WINDOW = 400
"""Drawn answers of a look; no answer is in two looks."""
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Upper bounds of the bins of a signal's strength; the first is for no signal at all."""
_FEWEST_EXPECTED = 5.0
"""In a cell of the comparison: rarer ones are joined."""
BY_SONNET = "by_sonnet"
LABELS = "labels"


@dataclass(slots=True)
class Tally:
    """Weighed counts of what answers look like."""

    weight: float = 0.0
    squares: float = 0.0
    signals_weight: float = 0.0
    signals_squares: float = 0.0
    by_sonnet: float = 0.0
    labels: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    signals: defaultdict[str, list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0.0] * len(STRENGTHS))
    )
    answers: int = 0

    def add(self, answer: SampledAnswer, chance: float | None = None) -> None:
        """Take an answer that came to be here with a chance, that of being drawn if not given."""
        weight = 1 / (chance or answer.chance)
        self.answers += 1
        self.weight += weight
        self.squares += weight * weight
        if answer.label is not None:
            self.labels[answer.label] += weight
        if answer.decided_by is Tier.SONNET:
            self.by_sonnet += weight
            return
        self.signals_weight += weight
        self.signals_squares += weight * weight
        strongest: dict[str, float] = {}
        for signal in answer.signals:
            strongest[signal.code] = max(signal.strength, strongest.get(signal.code, 0.0))
        for code, strength in strongest.items():
            self.signals[code][bisect_left(STRENGTHS, strength)] += weight

    def reference(self, smallest_chance: float) -> Reference:
        """The same as shares."""
        labels = sorted(self.labels)
        return Reference(
            answers=_effective(self.weight, self.squares),
            signals={
                code: _shares(_with_absent(bins, self.signals_weight))
                for code, bins in sorted(self.signals.items())
            },
            signals_answers=_effective(self.signals_weight, self.signals_squares),
            labels=dict(zip(labels, _shares([self.labels[each] for each in labels]), strict=True)),
            by_sonnet=min(1.0, self.by_sonnet / self.weight) if self.weight else 0.0,
            smallest_chance=smallest_chance,
        )


def distances(reference: Reference, now: Tally) -> dict[str, float]:
    """By what is compared, how far it is as a share of its limit: above 1 it is another one.

    What is compared is a signal's code, `labels`, or `by_sonnet`.
    """
    seen = now.reference(reference.smallest_chance)
    compared: dict[str, tuple[Sequence[float], Sequence[float], float, float]] = {
        BY_SONNET: (
            (reference.by_sonnet, 1 - reference.by_sonnet),
            (seen.by_sonnet, 1 - seen.by_sonnet),
            reference.answers,
            seen.answers,
        )
    }
    if reference.labels or seen.labels:
        names = sorted({*reference.labels, *seen.labels})
        then, today = _aligned(names, reference.labels), _aligned(names, seen.labels)
        compared[LABELS] = then, today, reference.answers, seen.answers
    absent = [1.0] + [0.0] * (len(STRENGTHS) - 1)
    for code in sorted({*reference.signals, *seen.signals}):
        compared[code] = (
            reference.signals.get(code, absent),
            seen.signals.get(code, absent),
            reference.signals_answers,
            seen.signals_answers,
        )
    alpha = FALSELY / len(compared)
    return {name: _distance(*each, alpha) for name, each in compared.items()}


def _distance(
    then: Sequence[float], today: Sequence[float], before: float, after: float, alpha: float
) -> float:
    """Pearson's statistic of two samples as a share of the value that it reaches with `alpha`."""
    if min(before, after) <= 0:
        return 0.0
    size = before + after
    cells = [(p, q, (before * p + after * q) / size) for p, q in zip(then, today, strict=True)]
    fewest = _FEWEST_EXPECTED / min(before, after)
    common = [each for each in cells if each[2] >= fewest]
    rare = [each for each in cells if 0 < each[2] < fewest]
    if rare:
        joined = tuple(math.fsum(each[at] for each in rare) for at in range(3))
        common.append((joined[0], joined[1], joined[2]))
    if len(common) < 2:  # noqa: PLR2004 - one cell holds everything in both
        return 0.0
    statistic = before * after / size * math.fsum((p - q) ** 2 / pooled for p, q, pooled in common)
    return statistic / _quantile(1 - alpha, len(common) - 1)


def _quantile(probability: float, freedom: int) -> float:
    """Of the chi-square distribution, by Wilson and Hilferty's approximation (1931)."""
    spread = 2 / (9 * freedom)
    cube = 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return freedom * cube**3


def _effective(weight: float, squares: float) -> float:
    return weight * weight / squares if squares else 0.0


def _with_absent(bins: Sequence[float], weight: float) -> list[float]:
    """Answers without the signal are as those that have it at a strength of 0."""
    rest = max(0.0, weight - math.fsum(bins))
    return [bins[0] + rest, *bins[1:]]


def _shares(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [min(1.0, each / total) if total else 0.0 for each in weights]


def _aligned(names: Sequence[str], shares: Mapping[str, float]) -> list[float]:
    return [shares.get(name, 0.0) for name in names]
