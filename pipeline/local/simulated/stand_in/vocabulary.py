"""Words, their stems and what they are about; phrases with a meaning. The lists are in `data`."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_IDENTIFIER_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[A-Z]")
_ENDINGS = (
    "ungen", "ments", "ings", "ment", "ung", "ing", "ies", "ed", "en", "er", "es", "s", "e", "n",
)  # fmt: skip
_SHORTEST_STEM = 3
_COMPOUND, _SHORTEST_PART = 9, 5


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


def pattern_of(phrases: Iterable[str], *, any_case: bool = True) -> re.Pattern[str]:
    """Finds any of the phrases as whole words; `*` is any ending."""
    cleaned = sorted({" ".join(phrase.split()) for phrase in phrases} - {""}, key=len, reverse=True)
    either = "|".join(
        re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for phrase in cleaned
    )
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE if any_case else 0)


class Phrases:
    """Phrases of several meanings; the longest phrase in a text decides."""

    def __init__(self, sections: Mapping[str, str]) -> None:
        self._meanings: dict[str, str] = {}
        wild: list[tuple[re.Pattern[str], str]] = []
        for meaning, text in sections.items():
            for phrase in (" ".join(part.split()).lower() for part in text.split(",")):
                if phrase:
                    self._meanings.setdefault(phrase, meaning)
                    if "*" in phrase:
                        wild.append((pattern_of([phrase]), meaning))
        self._wild = wild
        self._any = pattern_of(self._meanings)
        self._condensed = {_condense(phrase): known for phrase, known in self._meanings.items()}

    def exactly(self, text: str) -> str | None:
        """The meaning of a text that is a phrase, whatever blanks and marks are in it."""
        return self._condensed.get(_condense(text))

    def find(self, text: str) -> tuple[str, re.Match[str]] | None:
        """The meaning of the longest phrase in a text, and where it stands."""
        best: re.Match[str] | None = None
        at = 0
        while match := self._any.search(text, at):
            if best is None or len(match.group()) > len(best.group()):
                best = match
            at = match.start() + 1
        if best is None:
            return None
        phrase = " ".join(best.group().split()).lower()
        known = self._meanings.get(phrase)
        return known or next(m for pattern, m in self._wild if pattern.fullmatch(phrase)), best


def _condense(text: str) -> str:
    # Blanks that a PDF file put into a word do not count.
    return "".join(character for character in text.lower() if character.isalnum())


def spaced(name: str) -> str:
    return " ".join(_IDENTIFIER_PART.findall(name))


def words(text: str) -> list[str]:
    """The words of a text, in lower case; `tax-free` is `taxfree`, `tax` and `free`."""
    found = _WORD.findall(text.lower())
    if "-" not in text:
        return found
    separate: list[str] = []
    for word in found:
        parts = word.split("-")
        separate += [word] if len(parts) == 1 else ["".join(parts), *(p for p in parts if p[2:])]
    return separate


@lru_cache(maxsize=50_000)
def plain(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    word = plain(word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > _SHORTEST_STEM and word[-1] == word[-2] else word


_STOP_WORDS = frozenset(" ".join(read_sections("stop_words.txt").values()).split())


def is_stop_word(word: str) -> bool:
    return word in _STOP_WORDS


@lru_cache(maxsize=50_000)
def concepts(word: str) -> tuple[str, ...]:
    """What a word of everyday and business language is about.

    A long word that is not known is about the known words in it: compounds, and words between
    which a scan lost the blanks.
    """
    known = _CONCEPTS.get(stem(word))
    if known is None and len(word) >= _COMPOUND:
        bare = plain(word)
        inside = (about for part, about in _CONCEPTS_OF_PARTS if part in bare)
        known = tuple(dict.fromkeys(concept for about in inside for concept in about))
    return known or ()


def _concepts() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for concept, members in read_sections("thesaurus.txt").items():
        for member in members.split():
            found.setdefault(stem(member.replace("-", "")), {})[concept] = None
    return {word: tuple(about) for word, about in found.items()}


_CONCEPTS = _concepts()
_CONCEPTS_OF_PARTS = tuple(
    (part, about) for part, about in _CONCEPTS.items() if len(part) >= _SHORTEST_PART
)
