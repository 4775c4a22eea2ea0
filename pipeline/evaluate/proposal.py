"""Which confidence may be trusted, and what labels prove of what is accepted with it.

The one threshold that is proposed is that of `low_confidence`; all other doubts stay as they are
set. Thresholds are tested in an order that is fixed before anybody looks at what is right: from
the one that accepts a preset share of the answers, each accepting more than the one before, until
one fails. So every test may use all of the permitted error, and no label is spent on choosing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.cascade.policy import FAILURES, SCORE, StagePolicy
from pipeline.evaluate.strategies import Accepts, CascadeTrace, End, TierOutcome
from pipeline.trust.certificates import (
    ErrorBudget,
    Finding,
    Verdict,
    judge,
    labels_needed,
    upper_bound,
)
from pipeline.trust.score import rule_doubt

PRESET = 0.5
"""The share of what can be accepted at all that the first threshold accepts, unless it is set."""
STEP = 0.1
"""By how much more the next one does."""
DEFAULTS = (0.1, 0.2, 0.3, 0.5, 1.0)
"""Thresholds to test where no answer can be accepted at all."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer, as far as the choice of a threshold needs it.

    `strength` is that of `low_confidence`; None where it is escalated for another reason. Answers
    of the same `key` may be alike.
    """

    strength: float | None
    right: bool
    key: str

    def accepted(self, threshold: float) -> bool:
        return self.strength is not None and not (0 < self.strength >= threshold)


@dataclass(frozen=True, slots=True)
class Certified:
    """What labels say of a set of accepted answers.

    `upper` is what the true share of wrong ones stays below, at the confidence that is stated; None
    where answers of a key are alike, since no such bound is known then.
    """

    what: str
    finding: Finding
    upper: float | None
    holds: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A threshold of `low_confidence` that was to be tested; `holds` is None where it was not."""

    threshold: float
    items: int
    accepted: int
    wrong: int
    upper: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What can be said about a target accuracy.

    Args:
        target: The share of accepted answers that shall be right.
        alpha: How often what is said may be wrong.
        steps: In the order in which they were tested.
        chosen: The last that holds; None where the first does not.
        published: What the settings in force accept, by each tier and in all; each by itself.
        accepted_needed: Accepted answers without any error that would do.
        items_needed: Labelled events, were more like these; None: wrong too often.
    """

    target: float
    alpha: float
    steps: tuple[Step, ...]
    chosen: Step | None
    published: tuple[Certified, ...]
    accepted_needed: int
    items_needed: int | None


@dataclass(frozen=True, slots=True)
class Aim:
    """What is to be certified, and how.

    Args:
        target: The share of accepted answers that shall be right.
        preset: The share of what can be accepted at all that the first threshold accepts.
        trial: Which trial on these labels it is, where there are several: another prompt, another
            look at a file that has grown. None: there is no other.
    """

    target: float
    preset: float = PRESET
    trial: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError("a target accuracy lies between 0 and 1")
        if not 0 < self.preset <= 1:
            raise ValueError("a coverage lies between 0 and 1")

    @property
    def risk(self) -> float:
        return round(1 - self.target, 12)

    @property
    def alpha(self) -> float:
        budget = ErrorBudget()
        return budget.alpha if self.trial is None else budget.of_trial(self.trial)


def propose(
    answers: Sequence[Measured], aim: Aim, published: Mapping[str, Sequence[Verdict]]
) -> Proposal:
    """Find the threshold that accepts most and keeps the risk below `1 - target`.

    `published` has what the settings in force accept, by who decided.
    """
    steps: list[Step] = []
    chosen = None
    for threshold in thresholds_to_test(answers, aim.preset):
        seen = [each for each in answers if each.accepted(threshold)]
        found = certified("", [Verdict(each.key, not each.right) for each in seen], aim)
        is_tested = not steps or steps[-1].holds is True
        steps.append(
            Step(
                threshold,
                len(answers),
                len(seen),
                found.finding.errors,
                found.upper,
                found.holds if is_tested else None,
            )
        )
        if steps[-1].holds:
            chosen = steps[-1]
    first, needed = steps[0], None
    if first.accepted:
        each = labels_needed(aim.risk, aim.alpha, true_share=first.wrong / first.accepted)
        needed = None if each is None else math.ceil(each * len(answers) / first.accepted)
    return Proposal(
        target=aim.target,
        alpha=aim.alpha,
        steps=tuple(steps),
        chosen=chosen,
        published=tuple(certified(what, of, aim) for what, of in published.items()),
        accepted_needed=labels_needed(aim.risk, aim.alpha, true_share=0.0) or 0,
        items_needed=needed,
    )


def certified(what: str, verdicts: Sequence[Verdict], aim: Aim) -> Certified:
    finding = judge(verdicts, aim.risk, at_once=True)
    upper = None
    if finding.method == "exact":
        upper = upper_bound(finding.errors, finding.labels, aim.alpha)
    return Certified(what, finding, upper, finding.certifies(aim.alpha))


def thresholds_to_test(answers: Sequence[Measured], preset: float) -> tuple[float, ...]:
    """Thresholds that accept the preset share of what can be accepted at all, and more, rising."""
    ordered = sorted(each.strength for each in answers if each.strength is not None)
    if not ordered:
        return DEFAULTS
    found = set()
    share = preset
    while True:
        strength = ordered[min(len(ordered), max(1, math.ceil(len(ordered) * share - 1e-9))) - 1]
        # A threshold that this strength does not reach, and the next one does.
        after = next((each for each in ordered if each > strength), 1.0)
        middle = round((strength + after) / 2, 4)
        found.add(middle if strength < middle <= after else math.nextafter(strength, math.inf))
        if share >= 1:
            return tuple(sorted(found))
        share = min(1.0, share + STEP)


def published_by(traces: Sequence[CascadeTrace]) -> dict[str, list[Verdict]]:
    """What the cascade accepted, by who decided, and in all; what went to people is not in it."""
    haiku, sonnet = (
        [Verdict(each.case.key, each.end is wrong) for each in traces if each.end in {right, wrong}]
        for right, wrong in (
            (End.HAIKU_RIGHT, End.HAIKU_WRONG),
            (End.SONNET_RIGHT, End.SONNET_WRONG),
        )
    )
    return {"decided by Haiku": haiku, "decided by Sonnet": sonnet, "all": [*haiku, *sonnet]}


LOW_CONFIDENCE = "low_confidence"


def accepts_with(policy: StagePolicy) -> Accepts:
    """An answer is accepted when nothing is a doubt; the random sample is left out."""
    return lambda outcome: not counted_doubts(outcome, policy)


def counted_doubts(outcome: TierOutcome, policy: StagePolicy) -> Mapping[str, str]:
    """The codes of what speaks against accepting an answer, each with a sentence."""
    doubts = _of_answers(policy, outcome).doubts(outcome.signals, label=outcome.said)
    return {each.code: each.detail for each in doubts}


def with_confidence(policy: StagePolicy, low_confidence: float) -> StagePolicy:
    """The rule with another threshold of confidence, but for labels with their own; no score."""
    policy = policy.by_rule()
    changed = policy.thresholds.model_copy(update={LOW_CONFIDENCE: low_confidence})
    return replace(policy, thresholds=changed)


def doubt(outcome: TierOutcome, policy: StagePolicy) -> float:
    """How much an answer is doubted: its strongest signal, measured by that signal's threshold.

    With a score the probability that it is wrong, measured by what is accepted. From 0 for no
    signal over 1, where it is escalated, to infinity where there is no answer.
    """
    if any(signal.code in FAILURES for signal in outcome.signals):
        return math.inf
    score = _of_answers(policy, outcome).score
    if score is None:
        return rule_doubt(outcome.signals, policy.thresholds_of(outcome.said))
    if any(each.code != SCORE for each in policy.doubts(outcome.signals, label=outcome.said)):
        return math.inf
    return score.p_wrong(outcome.signals) / policy.max_risk if policy.max_risk else math.inf


def _of_answers(policy: StagePolicy, outcome: TierOutcome) -> StagePolicy:
    """A score has no say in what an event's own data gave, or where no answer came."""
    return policy if outcome.confidence is not None else policy.by_rule()


def measured(outcome: TierOutcome, policy: StagePolicy, key: str) -> Measured:
    policy = policy.by_rule()
    stated = [each for each in outcome.signals if each.code == LOW_CONFIDENCE]
    others = [each for each in outcome.signals if each.code != LOW_CONFIDENCE]
    own = policy.of_label.get(outcome.said.casefold()) if outcome.said is not None else None
    if own is not None and LOW_CONFIDENCE in own.model_fields_set:
        # This label's threshold is not the one to be chosen: it decides by itself.
        stated, others = [], list(outcome.signals)
    is_lost = bool(policy.doubts(others, label=outcome.said))
    strength = max((each.strength for each in stated), default=0.0)
    return Measured(None if is_lost else strength, outcome.right, key)
