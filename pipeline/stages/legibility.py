"""How well the text of a file can be read, and whether a text is one at all."""

import re
import unicodedata
from typing import Literal

from pipeline.signals import Signal

_DAMAGE_WEIGHT = 5
"""A text of which a tenth is damaged has lost words: strength 0.5. A fifth of it leaves little."""
_LEAST_STRENGTH = 0.1
_LOOKED_AT = 20_000
_WRONGLY_DECODED = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac.|\u00ef\u00bf\u00bd")
"""UTF-8 that somebody read as Latin-1 or Windows-1252."""
_NO_CHARACTERS = frozenset({"Cc", "Cn", "Co", "Cs"})

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


def damage_signals(*texts: str | None) -> list[Signal]:
    """Weigh the share of characters that are none: lost, unassigned, or wrongly decoded."""
    text = "".join(text[:_LOOKED_AT] for text in texts if text and not text.isascii())
    if not text:
        return []
    length = sum(len(text) for text in texts if text)
    wrong = sum(len(found) for found in _WRONGLY_DECODED.findall(text))
    lost = sum(
        char == "\ufffd" or (unicodedata.category(char) in _NO_CHARACTERS and not char.isspace())
        for char in text
    )
    share = (wrong + lost) / min(length, _LOOKED_AT * len(texts))
    strength = round(min(1.0, _DAMAGE_WEIGHT * share), 6)
    if strength < _LEAST_STRENGTH:
        return []
    return [Signal("illegible", strength, f"{wrong + lost} characters of the text are damaged.")]
