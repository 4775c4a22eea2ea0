"""What an answer says of itself. Worth something, and never enough alone."""

from typing import Protocol

from pipeline.signals import Signal

_DECIMALS = 6
"""So that a confidence of 0.8 reaches a threshold of 0.2 in binary fractions, too."""


class Statement(Protocol):
    """The part of an answer in which the model judges it."""

    @property
    def confidence(self) -> float:
        """How likely the answer is right, from 0 to 1."""
        ...

    @property
    def unclear(self) -> bool:
        """Whether a careful person could not settle it."""
        ...


def statement_signals(answer: Statement) -> tuple[Signal, ...]:
    """Weigh the stated confidence and `unclear`.

    A schema cannot hold a model to a range. A confidence outside 0 to 1 was stated on some other
    scale, so it says nothing, which is the strongest signal.
    """
    confidence = answer.confidence
    if 0 <= confidence <= 1:
        strength = round(1 - confidence, _DECIMALS)
        doubt = Signal("low_confidence", strength, f"Stated confidence: {confidence:.2f}.")
    else:
        doubt = Signal("low_confidence", 1.0, f"Stated confidence: {confidence:g}, of 0 to 1.")
    unclear = Signal("unclear", 1.0, "The model says that the content does not settle it.")
    return (doubt, unclear) if answer.unclear else (doubt,)
