"""Words, their stems and what they are about; phrases with a meaning. The lists are in `data`."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_IDENTIFIER_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[A-Z]")
_ENDINGS = (
    "ungen", "ments", "ings", "ment", "ung", "ing", "ies", "ed", "en", "er", "es", "s", "e", "n",
)  # fmt: skip
_SHORTEST_STEM, _COMPOUND, _SHORTEST_PART = 3, 9, 5


def read_sections(name: str) -> Mapping[str, str]:
    """A file of `data`: `[section]`, then its text on lines that are joined; `#` is a comment."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (resources.files(__package__) / "data" / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            lines.append(line)
    return {section: " ".join(lines) for section, lines in found.items()}


def pattern_of(phrases: Iterable[str]) -> re.Pattern[str]:
    """Finds any of the phrases as whole words; `*` is any ending."""
    cleaned = sorted({" ".join(phrase.split()) for phrase in phrases} - {""}, key=len, reverse=True)
    either = "|".join(
        re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for phrase in cleaned
    )
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)


class Phrases:
    """Phrases of several meanings; `*` in a phrase is any ending."""

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._patterns = {name: pattern_of(text.split(",")) for name, text in meanings.items()}

    def first(self, text: str) -> str | None:
        """The first of the meanings that a phrase in a text has."""
        return next((name for name, each in self._patterns.items() if each.search(text)), None)

    def find(self, text: str) -> tuple[str, re.Match[str]] | None:
        """The meaning of the longest phrase in a text, and where it stands."""
        found = (
            (meaning, match)
            for meaning, pattern in self._patterns.items()
            for match in pattern.finditer(text)
        )
        return max(found, key=lambda f: (len(f[1].group()), -f[1].start()), default=None)


_NAMES = read_sections("names.txt")


def listed(group: str, sections: Mapping[str, str] = _NAMES) -> dict[str, str]:
    """The sections `[group name]` by their names; their items are apart by commas."""
    return {
        section.removeprefix(f"{group} "): text
        for section, text in sections.items()
        if section.startswith(f"{group} ")
    }


def spaced(name: str) -> str:
    return " ".join(_IDENTIFIER_PART.findall(name))


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    word = "".join(letter for letter in folded if not unicodedata.combining(letter))
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == word[-2] else word


STOP_WORDS = frozenset(" ".join(read_sections("stop_words.txt").values()).split())


@lru_cache(maxsize=50_000)
def concepts(word: str) -> tuple[str, ...]:
    """What a word of everyday and business language is about.

    A long word that is not known is about the known words in it: compounds, and words between
    which a scan lost the blanks.
    """
    known = _CONCEPTS.get(stem(word))
    if known is None and len(word) >= _COMPOUND:
        whole = stem(word)
        parts = (part for part in _CONCEPTS if len(part) >= _SHORTEST_PART and part in whole)
        known = tuple(dict.fromkeys(concept for part in parts for concept in _CONCEPTS[part]))
    return known or ()


_CONCEPTS: dict[str, tuple[str, ...]] = {}
for _concept, _members in read_sections("thesaurus.txt").items():
    for _stem in {stem(member.replace("-", "")) for member in _members.split()}:
        _CONCEPTS[_stem] = (*_CONCEPTS.get(_stem, ()), _concept)
