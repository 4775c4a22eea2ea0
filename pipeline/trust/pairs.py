"""Two ways of answering the same events: how far apart they are, and whether one is no worse. Pure.

Only events that the two answer differently have to be judged: where both say the same, both are
right or both are wrong. So a hundred judged differences may stand for ten thousand events.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BETS = 16
_LARGEST_BET = 0.97
_SMALLEST_BET = 0.02
"""Both as parts of what would be lost whole by one event that is worse."""
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference, and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def share_difference(before_only: int, after_only: int, pairs: int) -> Interval:
    """How much larger a share is after than before, where both are of the same events.

    Args:
        before_only: Events that are counted before and not after.
        after_only: The reverse.
        pairs: All events, at least one.

    By Agresti and Min (Statistics in Medicine 2005): half an event is added to each of the four
    cells of the table, which keeps the interval honest for few events.
    """
    n, b, c = pairs + 2, before_only + 0.5, after_only + 0.5
    middle = (c - b) / n
    half = _NORMAL_95 * math.sqrt(max(0.0, b + c - (b - c) ** 2 / n)) / n
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    return Interval((after_only - before_only) / pairs, low, high)


def mean_difference(differences: Sequence[float]) -> Interval:
    """The mean of paired differences, with the normal approximation; of a single one no bounds."""
    n = len(differences)
    mean = math.fsum(differences) / n
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    variance = math.fsum((each - mean) ** 2 for each in differences) / (n - 1)
    half = _NORMAL_95 * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class NoWorse:
    """Whether a candidate is wrong about at most `margin` more events than what it would replace.

    `p_value` is how likely such verdicts, or better ones, are at most where it is not so.
    """

    events: int
    worse: int
    better: int
    margin: float
    p_value: float

    def holds(self, alpha: float) -> bool:
        return self.p_value <= alpha


def no_worse(verdicts: Sequence[int], margin: float) -> NoWorse:
    """Whether verdicts on events that were drawn by lot show it.

    Args:
        verdicts: Of each event 1 where only the candidate is wrong, -1 where only what it would
            replace is, 0 where they agree or are both right or both wrong.
        margin: A share between 0 and 1.

    A bet against "the mean is above the margin", on one event after the other: where that is so its
    capital is above twenty in at most one case of twenty, however many events somebody waits for
    (Ville). Half of it is staked on no event being worse, as where little changes; the rest spread.
    """
    if not 0 < margin < 1:
        raise ValueError("a margin lies between 0 and 1")
    counts = Counter(verdicts)
    capital = _capital(_stakes(margin), margin, counts)
    p_value = 1 / capital if capital > 1 else 1.0
    return NoWorse(len(verdicts), counts[1], counts[-1], margin, p_value)


def _capital(stakes: Sequence[float], margin: float, counts: Mapping[int, int]) -> float:
    logs = [
        math.fsum(many * math.log1p(stake * (margin - each)) for each, many in counts.items())
        for stake in stakes
    ]
    largest, *others = logs
    spread = math.fsum(math.exp(min(each, 700.0)) for each in others) / len(others)
    return 0.5 * math.exp(min(largest, 700.0)) + 0.5 * spread


def _stakes(margin: float) -> list[float]:
    """The largest first; evenly on a logarithmic scale."""
    ratio = (_SMALLEST_BET / _LARGEST_BET) ** (1 / (_BETS - 1))
    return [_LARGEST_BET / (1 - margin) * ratio**number for number in range(_BETS)]
