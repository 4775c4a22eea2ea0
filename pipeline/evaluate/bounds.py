"""How sure a count of errors makes one: exact bounds on a share, without any approximation."""

import math

_STEPS = 60
"""Halvings of the interval from 0 to 1: below the precision of a double."""


def at_most(errors: int, items: int, share: float) -> float:
    """The probability of no more than `errors` among `items` that go wrong with this share."""
    if share <= 0 or errors >= items:
        return 1.0
    if share >= 1:
        return 0.0
    # From the last term down, each by its ratio to the one before.
    term = math.exp(
        math.lgamma(items + 1)
        - math.lgamma(errors + 1)
        - math.lgamma(items - errors + 1)
        + errors * math.log(share)
        + (items - errors) * math.log1p(-share)
    )
    terms, odds = [], (1 - share) / share
    for count in range(errors, -1, -1):
        terms.append(term)
        term *= count / (items - count + 1) * odds
    return min(1.0, math.fsum(terms))


def upper_bound(errors: int, items: int, alpha: float) -> float:
    """Clopper and Pearson's upper bound on the true share of errors.

    Args:
        errors: That were found.
        items: In which they were found.
        alpha: How often the bound may be wrong, e.g. 0.05.

    Returns:
        The share above which so few errors would be seen with a probability below `alpha`;
        1 where nothing was looked at.
    """
    if not 0 <= errors <= items or not 0 < alpha < 1:
        raise ValueError("errors must be among the items, and alpha between 0 and 1")
    if errors == items:
        return 1.0
    low, high = errors / items, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if at_most(errors, items, middle) > alpha:
            low = middle
        else:
            high = middle
    return high


def items_needed(risk: float, alpha: float, *, error_rate: float = 0.0) -> int | None:
    """How many accepted items it takes to certify that their risk is no more than `risk`.

    Args:
        risk: The share of errors to stay below.
        alpha: How often the statement may be wrong.
        error_rate: The share of errors that is expected among them.

    Returns:
        The smallest number at which the bound holds; None where the errors are too many for any.
    """
    if not 0 < risk < 1 or not 0 < alpha < 1:
        raise ValueError("risk and alpha lie between 0 and 1")
    if error_rate <= 0:
        return math.ceil(math.log(alpha) / math.log1p(-risk))
    if error_rate >= risk:
        return None
    low, high = 0, 64
    while not _certifies(high, risk, alpha, error_rate):
        low, high = high, high * 2
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if _certifies(middle, risk, alpha, error_rate):
            high = middle
        else:
            low = middle
    return high


_MOST = 1 << 20


def _certifies(items: int, risk: float, alpha: float, error_rate: float) -> bool:
    return at_most(math.ceil(items * error_rate), items, risk) <= alpha
