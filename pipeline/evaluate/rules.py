"""The policy as pure functions over what was recorded: which answers are taken, and how doubted."""

import math
from collections.abc import Mapping
from dataclasses import replace

from pipeline.escalation.failures import FAILURES
from pipeline.escalation.policy import StagePolicy, doubts_of, threshold_of
from pipeline.evaluate.cascade import Heard, Takes
from pipeline.evaluate.proposal import Measured
from pipeline.settings import Thresholds

LOW_CONFIDENCE = "low_confidence"


def takes_with(policy: StagePolicy) -> Takes:
    """An answer is taken when nothing is a doubt; the random sample is left out."""
    return lambda heard: not doubts_of(heard.signals, policy.thresholds_of(heard.said))


def with_confidence(policy: StagePolicy, low_confidence: float) -> StagePolicy:
    """The same policy but for the threshold of the stated confidence.

    Labels that have a threshold of their own keep it.
    """
    changed = policy.thresholds.model_copy(update={LOW_CONFIDENCE: low_confidence})
    return replace(policy, thresholds=changed)


def doubt(heard: Heard, policy: StagePolicy) -> float:
    """How much an answer is doubted: its strongest signal, measured by that signal's threshold.

    From 0 for no signal over 1, where it is escalated, to infinity where there is no answer.
    """
    thresholds = policy.thresholds_of(heard.said)
    return max(
        (_pull(signal.code, signal.strength, thresholds) for signal in heard.signals), default=0.0
    )


def measured(event_id: str, heard: Heard, policy: StagePolicy) -> Measured:
    """What the choice of a threshold of the stated confidence needs of an answer."""
    thresholds = policy.thresholds_of(heard.said)
    others = [signal for signal in heard.signals if signal.code != LOW_CONFIDENCE]
    strength = max(
        (signal.strength for signal in heard.signals if signal.code == LOW_CONFIDENCE), default=0.0
    )
    own = policy.of_label.get(heard.said.casefold()) if heard.said is not None else None
    if own is not None and LOW_CONFIDENCE in own.model_fields_set:
        # This label's threshold is not the one to be chosen: it decides by itself.
        others, strength = list(heard.signals), 0.0
    lost = bool(doubts_of(others, thresholds))
    return Measured(event_id, None if lost else strength, heard.right)


def counted_doubts(heard: Heard, policy: StagePolicy) -> Mapping[str, str]:
    """The codes of what speaks against taking an answer, each with a sentence."""
    thresholds = policy.thresholds_of(heard.said)
    return {each.code: each.detail for each in doubts_of(heard.signals, thresholds)}


def _pull(code: str, strength: float, thresholds: Thresholds) -> float:
    if code in FAILURES:
        return math.inf
    if strength <= 0:
        return 0.0
    threshold = threshold_of(code, thresholds)
    return strength / threshold if threshold > 0 else math.inf
