"""Text as it may be shown to a model: without what a person could not see."""

import re
import unicodedata

from pipeline.stages.normal_forms import is_placeholder

_TAGS = "\U000e0000-\U000e007f"
_OVERRIDES = "\u202d\u202e"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_UNSEEN = re.compile(f"[{_TAGS}{_OVERRIDES}{_CONTROLS}\ufeff]")
_LINE_BREAKS = re.compile("\r\n?|[\u2028\u2029]")
_TAG_CHARACTERS = re.compile(f"[{_TAGS}]")
_TAG_SHIFT = 0xE0000


def visible(text: str) -> str:
    """Drop what is invisible and carries meaning to a model only; keep all that a person reads.

    Control characters, tag characters (an invisible copy of ASCII) and the two direction
    overrides go. Direction marks and joiners stay: Arabic, Hebrew, Persian, Indic text and emoji
    need them.
    """
    return _LINE_BREAKS.sub("\n", _UNSEEN.sub("", text))


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
