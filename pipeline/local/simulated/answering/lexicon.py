"""The word lists of this package: plain text, `[name]` and then words or phrases."""

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType


def read_lexicon(name: str) -> Mapping[str, frozenset[str]]:
    """Read a list of words, separated by blanks.

    Args:
        name: Of the file in `data`.
    """
    return MappingProxyType(
        {section: frozenset(text.split()) for section, text in _sections(name).items()}
    )


def read_cues(name: str) -> Mapping[str, re.Pattern[str]]:
    """Read a list of phrases, separated by commas; `*` is any ending. Each list is one pattern.

    The patterns find lower case only: that is twice as fast as finding any.

    Args:
        name: Of the file in `data`.
    """
    return MappingProxyType(
        {
            section: pattern_of(text.split(","), any_case=False)
            for section, text in _sections(name).items()
        }
    )


def condense(text: str) -> str:
    """Letters and digits alone: blanks that a PDF file put into a word do not count."""
    return "".join(character for character in text.lower() if character.isalnum())


class Cues:
    """Phrases of several meanings; the longest phrase in a text says which it is.

    Args:
        name: Of the file in `data`.
    """

    def __init__(self, name: str) -> None:
        self._meanings: dict[str, str] = {}
        wild: list[tuple[re.Pattern[str], str]] = []
        phrases: list[str] = []
        for meaning, text in _sections(name).items():
            for phrase in (" ".join(part.split()).lower() for part in text.split(",")):
                if "*" in phrase:
                    wild.append((pattern_of([phrase]), meaning))
                else:
                    self._meanings.setdefault(phrase, meaning)
                phrases.append(phrase)
        self._wild = wild
        self._any = pattern_of(phrases)
        self._condensed = {condense(phrase): known for phrase, known in self._meanings.items()}

    def exactly(self, text: str) -> str | None:
        """The meaning of a text that is a phrase, whatever blanks and marks are in it."""
        return self._condensed.get(condense(text))

    def find(self, text: str) -> tuple[str, re.Match[str]] | None:
        """The meaning of the longest phrase in a text, and where it stands."""
        best: re.Match[str] | None = None
        at = 0
        while match := self._any.search(text, at):
            if best is None or len(match.group()) > len(best.group()):
                best = match
            at = match.start() + 1
        return None if best is None else (self._meaning(best.group()), best)

    def _meaning(self, found: str) -> str:
        phrase = " ".join(found.split()).lower()
        known = self._meanings.get(phrase)
        if known is not None:
            return known
        return next(meaning for pattern, meaning in self._wild if pattern.fullmatch(phrase))


def pattern_of(phrases: list[str], *, any_case: bool = True) -> re.Pattern[str]:
    """A pattern that finds any of the phrases, as whole words."""
    cleaned = sorted({" ".join(phrase.split()) for phrase in phrases} - {""}, key=len, reverse=True)
    either = "|".join(
        re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for phrase in cleaned
    )
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE if any_case else 0)


def _sections(name: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    text = (resources.files(__package__) / "data" / name).read_text("utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            lines.append(line)
    return {section: " ".join(lines) for section, lines in found.items()}
