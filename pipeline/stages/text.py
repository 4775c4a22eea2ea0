"""Text as it may be shown to a model: without what a person could not see."""

import re
import unicodedata

from pipeline.stages.normal_forms import is_placeholder

_TAGS = "\U000e0000-\U000e007f"
_OVERRIDES = "\u202d\u202e"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_UNSEEN = re.compile(f"[{_TAGS}{_OVERRIDES}{_CONTROLS}\ufeff]")
_LINE_BREAKS = ("\r\n", "\r", "\u2028", "\u2029")
_SLICE = 50_000
"""Characters that are searched in one go: other threads wait for it."""
_TAG_CHARACTERS = re.compile(f"[{_TAGS}]")
_TAG_SHIFT = 0xE0000


def visible(text: str) -> str:
    """Drop what is invisible and carries meaning to a model only; keep all that a person reads.

    Control characters, tag characters (an invisible copy of ASCII) and the two direction
    overrides go. Direction marks and joiners stay: Arabic, Hebrew, Persian, Indic text and emoji
    need them.
    """
    places = range(0, len(text), _SLICE)
    shown = "".join(_UNSEEN.sub("", text[at : at + _SLICE]) for at in places)
    for line_break in _LINE_BREAKS:
        shown = shown.replace(line_break, "\n")
    return shown


def is_blank(*texts: str | None) -> bool:
    """Whether there is nothing to read in any of the texts."""
    return not any(
        unicodedata.category(char)[0] not in "CZ" for text in texts for char in text or ""
    )


def stated(text: str) -> str | None:
    """What a field of an answer says; None where it says nothing, in whatever words."""
    return None if is_placeholder(text) else text.strip()


def hidden_message(text: str) -> str:
    """Read what tag characters spell; a flag emoji spells at most six letters."""
    found = _TAG_CHARACTERS.findall(text)
    return "".join(chr(ord(char) - _TAG_SHIFT) for char in found).strip("\x00\x01\x7f")
