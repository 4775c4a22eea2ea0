"""Which confidence may be trusted: thresholds tried on one part, certified on another.

The one threshold that is chosen is that of `low_confidence`; all other doubts stay as they are
set. What it is worth is said by a third part, which chose nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluate.bounds import items_needed, upper_bound
from pipeline.evaluate.parts import Part

CONFIDENCE = 0.95
"""How sure the statement is: one evaluation in twenty may certify what does not hold."""
MOST_CANDIDATES = 10
FIXED = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Tried where there is no part that could say what to try."""
_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer, as far as the choice of a threshold needs it.

    Args:
        id: The event's.
        strength: Of the signal `low_confidence`; None where the answer is escalated for another
            reason, whatever the threshold.
        right: Whether it is right.
    """

    id: str
    strength: float | None
    right: bool

    def taken(self, threshold: float) -> bool:
        """Whether the answer is accepted with this threshold."""
        return self.strength is not None and not (0 < self.strength >= threshold)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A threshold that was tried.

    Args:
        threshold: Of `low_confidence`.
        items: Answers of the part it was tried on.
        accepted: Of these.
        wrong: Of the accepted ones.
        upper: The bound that the true share of wrong answers stays below.
    """

    threshold: float
    items: int
    accepted: int
    wrong: int
    upper: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a threshold comes to on answers that had no part in choosing it."""

    items: int
    accepted: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What can be said about a target accuracy.

    Args:
        target: The share of accepted answers that shall be right.
        confidence: How sure the statement is.
        candidates: The thresholds tried, fixed before the answers were looked at.
        chosen: The one that accepts most among those that hold; None where none does.
        outcome: Of the chosen threshold, on the part that is left for the report.
        accepted_needed: Accepted answers without any error that would do for one candidate.
        items_needed: Labelled events in all that would do, were all further answers like these;
            None where accepted answers are wrong too often, whatever their number.
    """

    target: float
    confidence: float
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    outcome: Outcome | None
    accepted_needed: int
    items_needed: int | None


def propose(
    parts: Mapping[Part, Sequence[Measured]],
    target: float,
    *,
    candidates: int = 5,
    confidence: float = CONFIDENCE,
) -> Proposal:
    """Choose a threshold that keeps the risk of accepted answers below `1 - target`.

    Each of the candidates has its share of the permitted error (Bonferroni), so trying several
    does not weaken what is said about the one that is chosen.
    """
    risk = _risk(target)
    tried = thresholds_to_try(parts[Part.FIT], min(candidates, MOST_CANDIDATES))
    alpha = (1 - confidence) / len(tried)
    found = tuple(_try(threshold, parts[Part.THRESHOLD], alpha) for threshold in tried)
    holding = [each for each in found if each.accepted and each.upper <= risk]
    chosen = max(holding, key=lambda each: (each.accepted, each.threshold), default=None)
    total = sum(len(part) for part in parts.values())
    return Proposal(
        target=target,
        confidence=confidence,
        candidates=found,
        chosen=chosen,
        outcome=None if chosen is None else _outcome(chosen.threshold, parts[Part.REPORT]),
        accepted_needed=items_needed(risk, alpha) or 0,
        items_needed=_items_needed(found, risk, alpha, total),
    )


def thresholds_to_try(fit: Sequence[Measured], most: int) -> tuple[float, ...]:
    """Thresholds that accept equal steps of what can be accepted at all, in rising order."""
    strengths = sorted({each.strength for each in fit if each.strength is not None})
    if not strengths:
        return FIXED[:most]
    ordered = sorted(each.strength for each in fit if each.strength is not None)
    wanted = {ordered[math.ceil(len(ordered) * step / most) - 1] for step in range(1, most + 1)}
    return tuple(sorted({_just_above(strength, strengths) for strength in wanted}))


def _just_above(strength: float, strengths: Sequence[float]) -> float:
    """A threshold that this strength does not reach, and the next one does."""
    after = next((each for each in strengths if each > strength), 1.0)
    middle = round((strength + after) / 2, _DECIMALS)
    return middle if strength < middle <= after else math.nextafter(strength, math.inf)


def _try(threshold: float, part: Sequence[Measured], alpha: float) -> Candidate:
    seen = _outcome(threshold, part)
    upper = upper_bound(seen.wrong, seen.accepted, alpha) if seen.accepted else 1.0
    return Candidate(threshold, seen.items, seen.accepted, seen.wrong, upper)


def _outcome(threshold: float, part: Sequence[Measured]) -> Outcome:
    accepted = [each for each in part if each.taken(threshold)]
    return Outcome(len(part), len(accepted), sum(not each.right for each in accepted))


def _items_needed(found: Sequence[Candidate], risk: float, alpha: float, total: int) -> int | None:
    """By the candidate that would need fewest, if its share of errors stayed what it is."""
    needs = []
    for each in found:
        if not each.accepted:
            continue
        accepted = items_needed(risk, alpha, error_rate=each.wrong / each.accepted)
        if accepted is not None:
            # In the same proportions: of all events some are in this part, some accepted.
            needs.append(math.ceil(accepted * total / each.accepted))
    return min(needs, default=None)


def _risk(target: float) -> float:
    if not 0 < target < 1:
        raise ValueError("a target accuracy lies between 0 and 1")
    return round(1 - target, 12)
