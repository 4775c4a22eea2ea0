"""Whether a stated confidence means what it says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
