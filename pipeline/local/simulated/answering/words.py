"""From text to comparable words."""

import re
import unicodedata
from functools import lru_cache

from pipeline.local.simulated.answering.lexicon import read_lexicon

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_LONG_PART = 3
_IDENTIFIER_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+|[A-Z]")
_ENDINGS = (
    "ungen", "ments", "ings", "ment", "ung", "ing", "ies", "ed", "en", "er", "es", "s", "e", "n",
)  # fmt: skip
_SHORTEST_STEM = 3
_COMPOUND = 9
_SHORTEST_PART = 5
STOP_WORDS = read_lexicon("stop_words.txt")
"""By ISO 639-1 code."""
_ANY_STOP_WORD = frozenset().union(*(STOP_WORDS[language] for language in ("en", "de", "fr", "es")))


def spaced(name: str) -> str:
    """An identifier in words: `invoiceNumber` and `invoice_number` are `invoice number`."""
    return " ".join(_IDENTIFIER_PART.findall(name))


def bare(text: str) -> str:
    """A text as words between single blanks, one at each end; marks are left out."""
    return f" {re.sub(r'[^a-z0-9]+', ' ', text.lower())} "


def words(text: str) -> list[str]:
    """The words of a text, in lower case; `tax-free` is `taxfree`, `tax` and `free`."""
    found = _WORD.findall(text.lower())
    if "-" not in text:
        return found
    separate: list[str] = []
    for word in found:
        if "-" in word:
            separate.append(word.replace("-", ""))
            separate += [part for part in word.split("-") if len(part) >= _LONG_PART]
        else:
            separate.append(word)
    return separate


@lru_cache(maxsize=50_000)
def plain(word: str) -> str:
    """Without accents."""
    if word.isascii():
        return word
    folded = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Without the most common endings; words that mean alike mostly become one."""
    word = plain(word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word[: -len(ending)]
            break
    if len(word) > _SHORTEST_STEM and word[-1] == word[-2]:
        word = word[:-1]
    return word


def is_stop_word(word: str) -> bool:
    """Whether a word says nothing by itself in English, German, French or Spanish."""
    return word in _ANY_STOP_WORD


@lru_cache(maxsize=50_000)
def concepts(word: str) -> tuple[str, ...]:
    """What a word is about, for words of everyday and business language.

    A long word that is not known is about the known words in it: compounds, and words between
    which a scan lost the blanks.
    """
    known = _CONCEPTS_BY_STEM.get(stem(word))
    if known is None and len(word) >= _COMPOUND:
        bare = plain(word)
        inside = (about for part, about in _CONCEPTS_OF_PARTS if part in bare)
        known = tuple(dict.fromkeys(concept for about in inside for concept in about))
    return known or ()


def _by_stem() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for concept, members in read_lexicon("thesaurus.txt").items():
        for member in sorted(members):
            known = found.setdefault(stem(member.replace("-", "")), [])
            if concept not in known:
                known.append(concept)
    return {word: tuple(about) for word, about in found.items()}


_CONCEPTS_BY_STEM = _by_stem()
_CONCEPTS_OF_PARTS = tuple(
    (part, about) for part, about in _CONCEPTS_BY_STEM.items() if len(part) >= _SHORTEST_PART
)
