"""How well the text of a file can be read."""

from typing import Literal

from pipeline.signals import Signal

Legibility = Literal["legible", "partly", "illegible"]


def legibility_signals(legibility: Legibility) -> list[Signal]:
    """Weigh how well a file could be read."""
    match legibility:
        case "illegible":
            return [Signal("illegible", 1.0, "The file cannot be read.")]
        case "partly":
            return [Signal("illegible", 0.4, "The file can be read in part only.")]
        case "legible":
            return []
