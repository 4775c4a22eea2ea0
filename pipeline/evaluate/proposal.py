"""Which confidence may be trusted: thresholds tried on one part, certified on another.

The one threshold that is chosen is that of `low_confidence`; all other doubts stay as they are
set. What it is worth is said by a third part, which chose nothing. The bound on the share of
errors is exact, without any approximation.
"""

import hashlib
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.cascade.policy import DEFAULT_THRESHOLD, FAILURES, StagePolicy
from pipeline.evaluate.strategies import Accepts, TierOutcome

_MOST_ITEMS = 1 << 20  # more than people label: beyond it no number is said to be enough


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


def items_needed(risk: float, alpha: float, *, error_rate: float = 0.0) -> int | None:
    """How many accepted items it takes to certify that their share of errors is at most `risk`.

    The smallest number at which the bound holds, for the share of errors that is expected; None
    where these are too many for any. `alpha` is how often the statement may be wrong.
    """
    if not 0 < risk < 1 or not 0 < alpha < 1:
        raise ValueError("risk and alpha lie between 0 and 1")
    if error_rate <= 0:
        return math.ceil(math.log(alpha) / math.log1p(-risk))
    if error_rate >= risk:
        return None

    def certifies(items: int) -> bool:
        return at_most(math.ceil(items * error_rate), items, risk) <= alpha

    low, high = 0, 64
    while not certifies(high):
        low, high = high, high * 2
        if high > _MOST_ITEMS:
            return None
    return bisect_left(range(high), True, lo=low + 1, hi=high, key=certifies)


FIT_SHARE = 0.2
THRESHOLD_SHARE = 0.5  # the largest: certifying takes many items; what is left is the report's


class Part(StrEnum):
    """Disjoint parts of a labelled file: what chooses thresholds must not also praise them.

    The examples of a prompt are a fourth, which is in no labelled file.
    """

    FIT = "fit"  # says which thresholds are worth a try
    THRESHOLD = "threshold"  # certifies one of them
    REPORT = "report"  # says what it is worth


def part_of(event_id: str) -> Part:
    """The part of an event: by its id alone, so that it stays where it is when a file grows."""
    digest = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    if place < FIT_SHARE:
        return Part.FIT
    return Part.THRESHOLD if place < FIT_SHARE + THRESHOLD_SHARE else Part.REPORT


CONFIDENCE = 0.95  # one evaluation in twenty may certify what does not hold
MOST_CANDIDATES = 10
DEFAULTS = (0.05, 0.1, 0.2, 0.3, 0.5)  # tried where there is no part that could say what to try


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer, as far as the choice of a threshold needs it."""

    strength: float | None  # of `low_confidence`; None where it is escalated for another reason
    right: bool

    def accepted(self, threshold: float) -> bool:
        return self.strength is not None and not (0 < self.strength >= threshold)


@dataclass(frozen=True, slots=True)
class Candidate:
    threshold: float  # of `low_confidence`
    items: int  # answers of the part it was tried on
    accepted: int  # of these
    wrong: int  # of the accepted ones
    upper: float  # the bound that the true share of wrong answers stays below


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a threshold comes to on answers that had no part in choosing it."""

    items: int
    accepted: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What can be said about a target accuracy."""

    target: float  # the share of accepted answers that shall be right
    confidence: float  # how sure the statement is
    candidates: tuple[Candidate, ...]  # fixed before the answers were looked at
    chosen: Candidate | None  # accepts most of those that hold; None where none does
    outcome: Outcome | None  # of the chosen threshold, on the part that is left for the report
    accepted_needed: int  # accepted answers without any error that would do for one candidate
    items_needed: int | None  # labelled events, were more like these; None: wrong too often


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
    if not 0 < target < 1:
        raise ValueError("a target accuracy lies between 0 and 1")
    risk = round(1 - target, 12)
    tried = thresholds_to_try(parts[Part.FIT], min(candidates, MOST_CANDIDATES))
    alpha = (1 - confidence) / len(tried)
    total = sum(len(part) for part in parts.values())
    found, needs = [], []
    for threshold in tried:
        seen = _outcome(threshold, parts[Part.THRESHOLD])
        upper = 1.0
        if seen.accepted:
            upper = upper_bound(seen.wrong, seen.accepted, alpha)
            needed = items_needed(risk, alpha, error_rate=seen.wrong / seen.accepted)
            if needed is not None:
                # In the same proportions: of all events some are in this part, some accepted.
                needs.append(math.ceil(needed * total / seen.accepted))
        found.append(Candidate(threshold, seen.items, seen.accepted, seen.wrong, upper))
    holding = [each for each in found if each.accepted and each.upper <= risk]
    chosen = max(holding, key=lambda each: (each.accepted, each.threshold), default=None)
    return Proposal(
        target=target,
        confidence=confidence,
        candidates=tuple(found),
        chosen=chosen,
        outcome=None if chosen is None else _outcome(chosen.threshold, parts[Part.REPORT]),
        accepted_needed=items_needed(risk, alpha) or 0,
        items_needed=min(needs, default=None),
    )


def thresholds_to_try(fit: Sequence[Measured], most: int) -> tuple[float, ...]:
    """Thresholds that accept equal steps of what can be accepted at all, in rising order."""
    ordered = sorted(each.strength for each in fit if each.strength is not None)
    if not ordered:
        return DEFAULTS[:most]
    wanted = {ordered[math.ceil(len(ordered) * step / most) - 1] for step in range(1, most + 1)}
    found = set()
    for strength in wanted:
        # A threshold that this strength does not reach, and the next one does.
        after = next((each for each in ordered if each > strength), 1.0)
        middle = round((strength + after) / 2, 4)
        found.add(middle if strength < middle <= after else math.nextafter(strength, math.inf))
    return tuple(sorted(found))


def _outcome(threshold: float, part: Sequence[Measured]) -> Outcome:
    accepted = [each for each in part if each.accepted(threshold)]
    return Outcome(len(part), len(accepted), sum(not each.right for each in accepted))


LOW_CONFIDENCE = "low_confidence"


def accepts_with(policy: StagePolicy) -> Accepts:
    """An answer is accepted when nothing is a doubt; the random sample is left out."""
    return lambda outcome: not counted_doubts(outcome, policy)


def counted_doubts(outcome: TierOutcome, policy: StagePolicy) -> Mapping[str, str]:
    """The codes of what speaks against accepting an answer, each with a sentence."""
    doubts = policy.doubts(outcome.signals, label=outcome.said)
    return {each.code: each.detail for each in doubts}


def with_confidence(policy: StagePolicy, low_confidence: float) -> StagePolicy:
    """The same policy with another threshold of confidence, but for labels with their own."""
    changed = policy.thresholds.model_copy(update={LOW_CONFIDENCE: low_confidence})
    return replace(policy, thresholds=changed)


def doubt(outcome: TierOutcome, policy: StagePolicy) -> float:
    """How much an answer is doubted: its strongest signal, measured by that signal's threshold.

    From 0 for no signal over 1, where it is escalated, to infinity where there is no answer.
    """
    thresholds = policy.thresholds_of(outcome.said)
    most = 0.0
    for signal in outcome.signals:
        if signal.code in FAILURES:
            return math.inf
        if signal.strength > 0:
            threshold = thresholds.get(signal.code, DEFAULT_THRESHOLD)
            most = max(most, signal.strength / threshold if threshold > 0 else math.inf)
    return most


def measured(outcome: TierOutcome, policy: StagePolicy) -> Measured:
    stated = [each for each in outcome.signals if each.code == LOW_CONFIDENCE]
    others = [each for each in outcome.signals if each.code != LOW_CONFIDENCE]
    own = policy.of_label.get(outcome.said.casefold()) if outcome.said is not None else None
    if own is not None and LOW_CONFIDENCE in own.model_fields_set:
        # This label's threshold is not the one to be chosen: it decides by itself.
        stated, others = [], list(outcome.signals)
    is_lost = bool(policy.doubts(others, label=outcome.said))
    strength = max((each.strength for each in stated), default=0.0)
    return Measured(None if is_lost else strength, outcome.right)
