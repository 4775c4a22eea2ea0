"""Signs that content speaks to the model that reads it, rather than to a person.

A list of phrases (`injection.toml`) cannot keep an instruction out, and nothing depends on it doing
so: content is delimited as data and the answer can only be what the schema allows. It sends an
event that looks like an attempt to the stronger model, with the reason written down.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.model.questions import Part, Signal, Text
from pipeline.stages.checks.text_quality import TAGS, nfkc

_LONGEST_FLAG = 8
_SCANNED = 100_000
"""Characters, of both ends of a longer text: what is longer is doubted for its length anyway."""
_WINDOW = 4_000
"""Characters that are searched in one go: other threads wait for it."""
_LONGEST_SIGN = 1_000
"""Characters of the longest that a pattern finds, about."""
_FORMAT = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\u00ad]")
_HIDDEN_IN_WORD = re.compile("[A-Za-z][\u200b\u2060-\u2064][A-Za-z]|[\u202d\u202e]")
_TAG_CHARACTERS = re.compile(f"[{TAGS}]")
_TAG_SHIFT = 0xE0000


@dataclass(frozen=True, slots=True)
class _Sign:
    """A pattern, and the words (of each group, one) without which it is not searched.

    Looking for words is a hundred times faster, and most content has none of them.
    """

    strength: float
    what: str
    words: tuple[tuple[str, ...], ...]
    pattern: re.Pattern[str]

    def is_in(self, text: str) -> bool:
        for at in range(0, len(text), _WINDOW):
            end = at + _WINDOW + _LONGEST_SIGN
            found = self.pattern.search(text, at, end)
            # What ends where the search does might go on, and then be something else.
            if found is not None and (found.end() < end or end >= len(text)):
                return True
        return False


def _read_signs() -> Iterator[_Sign]:
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    for sign in data["signs"]:
        pattern = "|".join(sign["patterns"])
        for name, piece in data["pieces"].items():
            pattern = pattern.replace(f"@{name}@", piece)
        words = tuple(tuple(group.split(",")) for group in sign["words"])
        compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
        yield _Sign(sign["strength"], sign["what"], words, compiled)


_SIGNS = tuple(_read_signs())


def steers(parts: Sequence[Part]) -> bool:
    """Whether an event may be meant to steer the model: then it shares a request with no other.

    Any sign will do, since it costs no more than a request of its own.
    """
    return bool(injection_signals(*(part.text for part in parts if isinstance(part, Text))))


def injection_signals(*texts: str | None) -> list[Signal]:
    """At most one `suspected_injection` signal, of the strongest sign in the texts."""
    found: list[tuple[float, str]] = []
    for text in texts:
        if not text:
            continue
        plain = text if len(text) <= _SCANNED else text[: _SCANNED // 2] + text[-_SCANNED // 2 :]
        if not text.isascii():
            if len(hidden_message(text)) > _LONGEST_FLAG:
                found.append((1.0, "hides text in invisible characters"))
            if _HIDDEN_IN_WORD.search(text):
                found.append((0.7, "has invisible characters inside words"))
            plain = _FORMAT.sub("", nfkc(plain))[: 2 * _SCANNED]
        has = plain.lower().__contains__  # mapped, since this runs for every event
        for sign in _SIGNS:
            for group in sign.words:
                if not any(map(has, group)):
                    break
            else:
                found += [(sign.strength, sign.what)] if sign.is_in(plain) else []
    if not found:
        return []
    strength, what = max(found)
    return [Signal("suspected_injection", strength, f"The content {what}.")]


def hidden_message(text: str) -> str:
    """Read what tag characters spell; a flag emoji spells at most six letters."""
    found = _TAG_CHARACTERS.findall(text)
    return "".join(chr(ord(char) - _TAG_SHIFT) for char in found).strip("\x00\x01\x7f")
