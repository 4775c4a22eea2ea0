"""Signals: what speaks against an answer, before anybody decides whether it counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signal:
    """Something about an answer that may be a reason to doubt it.

    Args:
        code: A field of `pipeline.settings.Thresholds`, or a stage's own code.
        strength: 0 (no reason) to 1 (certain); the stage's threshold decides whether it counts.
        detail: A sentence for a person.
    """

    code: str
    strength: float
    detail: str
