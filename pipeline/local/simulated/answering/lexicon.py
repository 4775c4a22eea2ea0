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

    Args:
        name: Of the file in `data`.
    """
    return MappingProxyType(
        {section: pattern_of(text.split(",")) for section, text in _sections(name).items()}
    )


def pattern_of(phrases: list[str]) -> re.Pattern[str]:
    """A pattern that finds any of the phrases, as whole words, in any case."""
    cleaned = sorted({" ".join(phrase.split()) for phrase in phrases} - {""}, key=len, reverse=True)
    either = "|".join(
        re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for phrase in cleaned
    )
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)


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
