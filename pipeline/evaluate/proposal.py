"""Which confidence may be trusted: thresholds tried on one part, certified on another.

The one threshold that is chosen is that of `low_confidence`; all other doubts stay as they are
set. What it is worth is said by a third part, which chose nothing.

The policy as pure functions over what was recorded: which answers are taken, and how doubted.

How sure a count of errors makes one: exact bounds on a share, without any approximation.

Disjoint parts of a labelled file: what chooses thresholds must not also praise them.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from pipeline.cascade.policy import FAILURES, StagePolicy, doubts_of, threshold_of
from pipeline.config import Thresholds
from pipeline.evaluate.strategies import Takes, TierOutcome

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


T = TypeVar("T")
FIT_SHARE = 0.2
THRESHOLD_SHARE = 0.5
"""The largest, because certifying is what takes many items; what is left is the report's."""


class Part(StrEnum):
    """What a part is for. The examples of a prompt are a fourth, which is in no labelled file."""

    FIT = "fit"
    """Says which thresholds are worth a try."""
    THRESHOLD = "threshold"
    """Certifies one of them."""
    REPORT = "report"
    """Says what it is worth."""


def part_of(event_id: str) -> Part:
    """The part of an event: by its id alone, so that it stays where it is when a file grows."""
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    if place < FIT_SHARE:
        return Part.FIT
    return Part.THRESHOLD if place < FIT_SHARE + THRESHOLD_SHARE else Part.REPORT


def split(items: Iterable[T], identity: Callable[[T], str]) -> Mapping[Part, list[T]]:
    """Put each item into exactly one part."""
    parts: dict[Part, list[T]] = {part: [] for part in Part}
    for item in items:
        parts[part_of(identity(item))].append(item)
    return parts


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


LOW_CONFIDENCE = "low_confidence"


def takes_with(policy: StagePolicy) -> Takes:
    """An answer is taken when nothing is a doubt; the random sample is left out."""
    return lambda outcome: not doubts_of(outcome.signals, policy.thresholds_of(outcome.said))


def with_confidence(policy: StagePolicy, low_confidence: float) -> StagePolicy:
    """The same policy but for the threshold of the stated confidence.

    Labels that have a threshold of their own keep it.
    """
    changed = policy.thresholds.model_copy(update={LOW_CONFIDENCE: low_confidence})
    return replace(policy, thresholds=changed)


def doubt(outcome: TierOutcome, policy: StagePolicy) -> float:
    """How much an answer is doubted: its strongest signal, measured by that signal's threshold.

    From 0 for no signal over 1, where it is escalated, to infinity where there is no answer.
    """
    thresholds = policy.thresholds_of(outcome.said)
    return max(
        (_pull(signal.code, signal.strength, thresholds) for signal in outcome.signals), default=0.0
    )


def measured(event_id: str, outcome: TierOutcome, policy: StagePolicy) -> Measured:
    """What the choice of a threshold of the stated confidence needs of an answer."""
    thresholds = policy.thresholds_of(outcome.said)
    others = [signal for signal in outcome.signals if signal.code != LOW_CONFIDENCE]
    strength = max(
        (signal.strength for signal in outcome.signals if signal.code == LOW_CONFIDENCE),
        default=0.0,
    )
    own = policy.of_label.get(outcome.said.casefold()) if outcome.said is not None else None
    if own is not None and LOW_CONFIDENCE in own.model_fields_set:
        # This label's threshold is not the one to be chosen: it decides by itself.
        others, strength = list(outcome.signals), 0.0
    lost = bool(doubts_of(others, thresholds))
    return Measured(event_id, None if lost else strength, outcome.right)


def counted_doubts(outcome: TierOutcome, policy: StagePolicy) -> Mapping[str, str]:
    """The codes of what speaks against taking an answer, each with a sentence."""
    thresholds = policy.thresholds_of(outcome.said)
    return {each.code: each.detail for each in doubts_of(outcome.signals, thresholds)}


def _pull(code: str, strength: float, thresholds: Thresholds) -> float:
    if code in FAILURES:
        return math.inf
    if strength <= 0:
        return 0.0
    threshold = threshold_of(code, thresholds)
    return strength / threshold if threshold > 0 else math.inf
