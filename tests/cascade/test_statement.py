"""What an answer says of itself."""

import pytest

from pipeline.cascade.policy import StagePolicy, statement_signals
from pipeline.config import Thresholds
from pipeline.stages.api import Answer


def codes(confidence: float, *, unclear: bool = False) -> dict[str, float]:
    signals = statement_signals(Answer(confidence=confidence, unclear=unclear))
    return {signal.code: signal.strength for signal in signals}


@pytest.mark.parametrize(
    ("confidence", "strength"), [(1, 0.0), (0.75, 0.25), (0.7, 0.3), (0.8, 0.2), (0, 1.0)]
)
def test_doubt_is_what_confidence_leaves(confidence: float, strength: float) -> None:
    assert codes(confidence) == {"low_confidence": strength}


def test_a_confidence_of_exactly_the_bound_counts() -> None:
    signals = statement_signals(Answer(confidence=0.7, unclear=False))
    assert StagePolicy(Thresholds(low_confidence=0.3)).doubts(signals)


@pytest.mark.parametrize("confidence", [-0.1, 1.01, 95])
def test_a_confidence_on_another_scale_says_nothing(confidence: float) -> None:
    assert codes(confidence) == {"low_confidence": 1.0}


def test_unclear_is_a_signal_of_its_own() -> None:
    assert codes(1, unclear=True) == {"low_confidence": 0.0, "unclear": 1.0}
