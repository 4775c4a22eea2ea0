"""What labels prove: that of the accepted answers at most a share is wrong. Pure.

Two ways, both without an approximation. *Exact*: a number of labels that was set beforehand is
looked at once; every key has one, each drawn with the same chance. It asks how likely so few
errors are where the share is as large as the stated risk (the binomial tail). *As they come*: a
bet against that share, label by label; where its capital has grown twentyfold, the share is below
the risk with 95 % confidence, whenever and however often anybody looks, also where answers were
drawn with different chances and where those of a key are alike (test martingales; Ville's
inequality; "betting" as in Waudby-Smith and Ramdas, JRSS B 2024). It costs some tenth more labels.

An error that the labeller overlooks is none here: what is certified is no better than the labels.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_MOST_ERRORS = 1 << 10
"""Among labels that are planned: beyond it no number is said to be enough."""
_NEGLIGIBLE = 1e-300
_BETS = 24
"""Bets of different size that share the capital: the best of them is not known beforehand."""
_LARGEST_BET = 0.97
"""Of what would be lost whole by the first error."""


def at_most(errors: int, items: int, share: float) -> float:
    """The probability of no more than `errors` among `items` that go wrong with this share."""
    if errors < 0:
        return 0.0
    if share <= 0 or errors >= items:
        return 1.0
    if share >= 1:
        return 0.0
    odds = share / (1 - share)
    if errors + 1 > items * share:
        # What is left lies beyond the largest term, from which on each is smaller.
        term, terms = _term(errors + 1, items, share), []
        for count in range(errors + 1, items + 1):
            if term < _NEGLIGIBLE:
                break
            terms.append(term)
            term *= (items - count) / (count + 1) * odds
        return 1 - min(1.0, math.fsum(terms))
    term, terms = _term(errors, items, share), []
    for count in range(errors, -1, -1):
        if term < _NEGLIGIBLE:
            break
        terms.append(term)
        term *= count / (items - count + 1) / odds
    return min(1.0, math.fsum(terms))


def _term(errors: int, items: int, share: float) -> float:
    """The probability of just so many errors."""
    return math.exp(
        math.lgamma(items + 1)
        - math.lgamma(errors + 1)
        - math.lgamma(items - errors + 1)
        + errors * math.log(share)
        + (items - errors) * math.log1p(-share)
    )


def upper_bound(errors: int, items: int, alpha: float) -> float:
    """Clopper and Pearson's upper bound on the true share of errors.

    The share above which so few errors among so many items would be seen with a probability below
    `alpha`, e.g. 0.05; 1 where nothing was looked at.
    """
    if not 0 <= errors <= items or not 0 < alpha < 1:
        raise ValueError("errors must be among the items, and alpha between 0 and 1")
    if errors == items:
        return 1.0
    low, high = errors / items, 1.0
    for _ in range(60):  # halvings: below the precision of a double
        middle = (low + high) / 2
        if at_most(errors, items, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def errors_allowed(items: int, risk: float, alpha: float) -> int:
    """The most errors among so many labels that still certify the risk; -1: not even none does."""
    return bisect_left(range(items + 1), True, key=lambda e: at_most(e, items, risk) > alpha) - 1


def chance_to_certify(items: int, risk: float, alpha: float, *, true_share: float) -> float:
    """How likely so many labels certify the risk where answers are wrong with the true share."""
    allowed = errors_allowed(items, risk, alpha)
    return at_most(allowed, items, true_share) if allowed >= 0 else 0.0


def labels_needed(
    risk: float, alpha: float, *, true_share: float, chance: float = 0.8
) -> int | None:
    """The fewest labels of accepted answers that certify the risk with this chance, looked at once.

    None where no number does. It has to be this very number: one label more allows no more errors.
    """
    if not (0 < risk < 1 and 0 < alpha < 1 and 0 <= true_share <= 1 and 0 < chance < 1):
        raise ValueError("risk, alpha, the true share and the chance lie between 0 and 1")
    if true_share >= risk:
        return None

    def chance_with(allowed: int) -> float:
        return at_most(allowed, _fewest(allowed, risk, alpha), true_share)

    high = 1
    while chance_with(high) < chance:
        if high > _MOST_ERRORS:
            return None
        high *= 2
    allowed = bisect_left(range(high), True, key=lambda errors: chance_with(errors) >= chance)
    return _fewest(allowed, risk, alpha)


def _fewest(errors: int, risk: float, alpha: float) -> int:
    """The smallest number of labels that certifies the risk with so many errors."""
    high = 64
    while at_most(errors, high, risk) > alpha:
        high *= 2
    return bisect_left(
        range(high), True, lo=errors + 1, key=lambda items: at_most(errors, items, risk) <= alpha
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person said of one published answer.

    Args:
        key: Whose event it is: answers of one key may be alike.
        is_wrong: Whether it is.
        chance: With which it was drawn from what was published.
    """

    key: str
    is_wrong: bool
    chance: float = 1.0


class Bet:
    """A bet that the share of wrong answers is below a risk; it may be looked at after each label.

    It begins with 1 and grows, in the long run, only where it is right. Each bet of `_BETS` stakes
    another part of its capital; together they are worth their mean.

    Args:
        risk: The share that is not to be reached.
        largest: The largest stake of one key that `add` is given.
    """

    def __init__(self, risk: float, largest: float = 1.0) -> None:
        if not 0 < risk < 1 or not largest > 0:
            raise ValueError("a risk lies between 0 and 1, and stakes are more than nothing")
        self._risk = risk
        self._largest = largest
        most = _LARGEST_BET / (1 - risk)
        self._sizes = [most * (number + 1) / _BETS for number in range(_BETS)]
        self._logs = [0.0] * _BETS

    def add(self, stakes: Sequence[tuple[float, bool]]) -> None:
        """Take the labels of one key: what each weighs, at most `largest` together, and is wrong.

        Labels of the same key are taken together, since one may follow from another.
        """
        weight = math.fsum(stake for stake, _ in stakes)
        if weight > self._largest * (1 + 1e-9):
            raise ValueError("a key weighs more than the bet was made for")
        loss = math.fsum(stake for stake, is_wrong in stakes if is_wrong)
        excess = (loss - weight * self._risk) / self._largest
        for number, size in enumerate(self._sizes):
            self._logs[number] += math.log1p(-size * excess)

    @property
    def capital(self) -> float:
        """What 1 has become: at least 1 / alpha is proof with a confidence of 1 - alpha."""
        most = max(self._logs)
        return math.exp(min(700.0, most)) * math.fsum(
            math.exp(each - most) / _BETS for each in self._logs
        )


Method = Literal["exact", "as they come"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What labels say of one risk.

    Args:
        p_value: Of the hypothesis that the share of errors is the risk or more: the smaller, the
            surer that it is not.
        estimate: The share of errors, each label weighed by the chance it was drawn with.
        keys: How many different ones there are.
    """

    method: Method
    labels: int
    keys: int
    errors: int
    estimate: float
    p_value: float

    def certifies(self, alpha: float) -> bool:
        return self.p_value <= alpha


def judge(verdicts: Iterable[Verdict], risk: float, *, at_once: bool) -> Finding:
    """What the verdicts say of the risk, exactly where their number was set before the first.

    That is `at_once`; it takes one label of a key, drawn with the same chance each, and else they
    are judged as they come, in their order, those of a key together.

    Raises:
        ValueError: A chance is not more than 0 and at most 1.
    """
    by_key: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if not 0 < verdict.chance <= 1:
            raise ValueError(f"a chance of {verdict.chance:g} is none: it cannot be weighed")
        by_key[verdict.key].append(verdict)
    every = [verdict for each in by_key.values() for verdict in each]
    weights = {key: [1 / each.chance for each in found] for key, found in by_key.items()}
    total = math.fsum(weight for found in weights.values() for weight in found)
    wrong = math.fsum(1 / each.chance for each in every if each.is_wrong)
    errors = sum(each.is_wrong for each in every)
    is_plain = len(by_key) == len(every) and len({each.chance for each in every}) <= 1
    if at_once and is_plain:
        method: Method = "exact"
        p_value = at_most(errors, len(every), risk)
    else:
        method = "as they come"
        largest = max((math.fsum(found) for found in weights.values()), default=1.0)
        bet = Bet(risk, largest)
        most = 1.0
        for key, found in by_key.items():
            stakes = zip(weights[key], (each.is_wrong for each in found), strict=True)
            bet.add(list(stakes))
            most = max(most, bet.capital)
        p_value = 1 / most
    estimate = wrong / total if total else 0.0
    return Finding(method, len(every), len(by_key), errors, estimate, p_value)


def highest_coverage(
    verdicts: Mapping[float, Sequence[Verdict]], risk: float, alpha: float, *, at_once: bool
) -> tuple[float, Finding] | None:
    """The largest share of answers that may be accepted, certified by one test after the other.

    `verdicts` has those of the answers that each coverage accepts; the smallest coverage is the
    one that was preset. It is tested first, then the next larger one, as long as each holds: so
    every test may use all of `alpha`, and what comes after the first that fails is not looked at.
    None where the preset one fails.
    """
    found = None
    for coverage in sorted(verdicts):
        finding = judge(verdicts[coverage], risk, at_once=at_once)
        if not finding.certifies(alpha):
            break
        found = coverage, finding
    return found


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """How often a statement may be wrong, over everything that is ever tried on the same labels.

    Each trial (a prompt, a model, another look with a test that allows only one) has a part of it,
    by its number: the first a half, then a sixth, a twelfth, ... which sum to the whole however
    many come.
    """

    alpha: float = 0.05

    def of_trial(self, number: int) -> float:
        """What the trial may use up; the first is 1."""
        if number < 1:
            raise ValueError("trials are counted from 1")
        return self.alpha / (number * (number + 1))
