"""What accepting more of the answers costs in errors, and what escalating more of them buys.

Answers are put in order of their doubt. Those with equal doubt cannot be told apart, so a curve
has a point where a group of them ends, and none within it.

Whether a stated confidence means what it says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Doubted:
    """An answer and how much it is doubted.

    Args:
        doubt: From 0; the larger, the sooner it is escalated. Infinite where it cannot be taken.
        right: Whether it is right.
    """

    doubt: float
    right: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """A point of a risk-coverage curve.

    Args:
        coverage: The share of all answers that is accepted: those with the least doubt.
        risk: The share of the accepted ones that is wrong.
    """

    coverage: float
    risk: float


def risk_coverage(answers: Sequence[Doubted]) -> list[Coverage]:
    """The curve, from the least doubted answers to all of them."""
    points, accepted, wrong = [], 0, 0
    for group in _groups(answers):
        accepted += len(group)
        wrong += sum(not answer.right for answer in group)
        points.append(Coverage(accepted / len(answers), wrong / accepted))
    return points


def area(answers: Sequence[Doubted]) -> float | None:
    """AURC: the mean risk over all coverages, 0 is best; None for no answers.

    Within a group of equal doubt, the mean over all orders it could be in.
    """
    if not answers:
        return None
    risks, accepted, wrong = [], 0, 0
    for group in _groups(answers):
        errors = sum(not answer.right for answer in group)
        risks += [
            (wrong + errors * taken / len(group)) / (accepted + taken)
            for taken in range(1, len(group) + 1)
        ]
        accepted += len(group)
        wrong += errors
    return math.fsum(risks) / len(answers)


def random_area(answers: Sequence[Doubted]) -> float | None:
    """The same of an order by chance: the share of errors, whatever is accepted."""
    return sum(not answer.right for answer in answers) / len(answers) if answers else None


def coverage_at(points: Sequence[Coverage], risk: float) -> float:
    """The largest coverage at which the risk seen is no more than this; 0 where there is none."""
    return max((point.coverage for point in points if point.risk <= risk), default=0.0)


@dataclass(frozen=True, slots=True)
class Pair:
    """One event, answered by both models.

    Args:
        doubt: Of Haiku's answer.
        haiku: Whether Haiku's answer is right.
        sonnet: Whether Sonnet's is.
        haiku_usd: What it cost.
        sonnet_usd: What it cost, or would have.
    """

    doubt: float
    haiku: bool
    sonnet: bool
    haiku_usd: Decimal
    sonnet_usd: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """What a share of escalations comes to.

    Args:
        escalated: The share of events that Sonnet answers, too.
        accuracy: Of the final answers.
        cost_usd: Of all events.
    """

    escalated: float
    accuracy: float
    cost_usd: Decimal


def trades(pairs: Sequence[Pair]) -> list[Trade]:
    """From nothing escalated to everything, the most doubted first."""
    if not pairs:
        return []
    right = sum(pair.haiku for pair in pairs)
    cost = sum((pair.haiku_usd for pair in pairs), Decimal(0))
    points, escalated = [Trade(0.0, right / len(pairs), cost)], 0
    ordered = sorted(pairs, key=lambda pair: -pair.doubt)
    for _, group in groupby(ordered, key=lambda pair: pair.doubt):
        for pair in group:
            escalated += 1
            right += pair.sonnet - pair.haiku
            cost += pair.sonnet_usd
        points.append(Trade(escalated / len(pairs), right / len(pairs), cost))
    return points


def cheapest(points: Sequence[Trade], accuracy: float) -> Trade | None:
    """The first point that reaches an accuracy; None where none does."""
    return next((point for point in points if point.accuracy >= accuracy), None)


def cheapest_at_random(points: Sequence[Trade], accuracy: float) -> Trade | None:
    """What it takes if events are escalated by lot, on average; None where it cannot be."""
    if not points:
        return None
    none, everything = points[0], points[-1]
    if none.accuracy >= accuracy:
        return none
    if everything.accuracy < accuracy:
        return None
    share = (accuracy - none.accuracy) / (everything.accuracy - none.accuracy)
    between = everything.cost_usd - none.cost_usd
    return Trade(share, accuracy, none.cost_usd + between * Decimal(str(share)))


def _groups(answers: Sequence[Doubted]) -> list[list[Doubted]]:
    ordered = sorted(answers, key=lambda answer: answer.doubt)
    return [list(group) for _, group in groupby(ordered, key=lambda answer: answer.doubt)]


BINS = 10
Stated = tuple[float, bool]
"""A confidence from 0 to 1, and whether the answer was right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies in one interval.

    Args:
        low: From here on.
        high: Up to here; the last interval has its end, the others have not.
        items: In it.
        confidence: Their mean; None where there are none.
        accuracy: The share of them that is right; None where there are none.
    """

    low: float
    high: float
    items: int
    confidence: float | None
    accuracy: float | None


def brier(stated: Sequence[Stated]) -> float | None:
    """The mean squared difference between confidence and truth: 0 is best; None for no items."""
    if not stated:
        return None
    return math.fsum((confidence - right) ** 2 for confidence, right in stated) / len(stated)


def reliability(stated: Sequence[Stated], bins: int = BINS) -> list[Bin]:
    """Sort answers into intervals of equal width; each is in exactly one."""
    sorted_in: list[list[Stated]] = [[] for _ in range(bins)]
    for confidence, right in stated:
        sorted_in[min(int(confidence * bins), bins - 1)].append((confidence, right))
    return [_bin(index / bins, (index + 1) / bins, each) for index, each in enumerate(sorted_in)]


def calibration_error(stated: Sequence[Stated], bins: int = BINS) -> float | None:
    """The expected calibration error: the mean gap between confidence and accuracy, by item."""
    if not stated:
        return None
    gaps = (
        each.items * abs(each.confidence - each.accuracy)
        for each in reliability(stated, bins)
        if each.confidence is not None and each.accuracy is not None
    )
    return math.fsum(gaps) / len(stated)


def _bin(low: float, high: float, stated: Sequence[Stated]) -> Bin:
    if not stated:
        return Bin(low, high, 0, None, None)
    mean = math.fsum(confidence for confidence, _ in stated) / len(stated)
    return Bin(low, high, len(stated), mean, sum(right for _, right in stated) / len(stated))
