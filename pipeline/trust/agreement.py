"""How far a judge agrees with people, and how sure that is. Pure.

The interval of the share is Clopper and Pearson's, exact. That of Cohen's kappa (Educational and
Psychological Measurement 20, 1960) is a percentile bootstrap over pairs, drawn the same each time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from pipeline.trust.certificates import upper_bound

Choice = Literal["a", "b", "tie"]
LEVEL = 0.95
"""Of both intervals."""
_RESAMPLED = 1_000
Pair = tuple[Choice, Choice]
"""What a judge chose, and what a person did."""


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `pairs` that both judged the judge chose in `agreed` what the person did.

    `kappa` is 1 for full agreement and 0 for that of chance, given how often either chooses what;
    None where one of them always chose the same, so that chance alone explains it.
    """

    pairs: int
    agreed: int
    share: float
    share_within: Interval
    kappa: float | None
    kappa_within: Interval | None


def agreement(pairs: Sequence[Pair]) -> Agreement:
    """What pairs show, of which there is one at least."""
    count, agreed = len(pairs), sum(judged == human for judged, human in pairs)
    tail = (1 - LEVEL) / 2
    within = Interval(
        1 - upper_bound(count - agreed, count, tail), upper_bound(agreed, count, tail)
    )
    return Agreement(count, agreed, agreed / count, within, kappa(pairs), _kappa_within(pairs))


def kappa(pairs: Sequence[Pair]) -> float | None:
    """Cohen's kappa; None where chance would give full agreement."""
    count = len(pairs)
    judged, human = (Counter(side) for side in zip(*pairs, strict=True))
    by_chance = sum(judged[choice] * human[choice] for choice in judged)
    if by_chance == count * count:
        return None
    expected = by_chance / (count * count)
    observed = sum(one == other for one, other in pairs) / count
    return (observed - expected) / (1 - expected)


def _kappa_within(pairs: Sequence[Pair]) -> Interval | None:
    chance = Random(0)  # noqa: S311 - the same figure each time
    drawn = (kappa(chance.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLED))
    found = sorted(each for each in drawn if each is not None)
    if kappa(pairs) is None or not found:
        return None
    cut = round(len(found) * (1 - LEVEL) / 2)
    return Interval(found[cut], found[-1 - cut])
