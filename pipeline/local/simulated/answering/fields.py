"""Finds single values: each kind of property is recognised by its name, then by its description."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.local.simulated.answering.ask import Ask, Found
from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.document import Document
from pipeline.local.simulated.answering.language import NAMES, detect_language
from pipeline.local.simulated.answering.sentences import quote, shorten, summary
from pipeline.local.simulated.answering.tidy import tidied
from pipeline.local.simulated.answering.words import bare

Finder = Callable[[Ask, Content], Found]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of text field.

    Args:
        pattern: What its name, in words, contains.
        find: How it is found.
    """

    pattern: re.Pattern[str]
    find: Finder


def _by_pattern(pattern: str, *, certainty: float = 0.9) -> Finder:
    compiled = re.compile(pattern)

    def find(ask: Ask, content: Content) -> Found:  # noqa: ARG001 - a finder takes both
        match = compiled.search(content.text)
        return Found(match.group().strip() if match else None, certainty if match else 0.5)

    return find


def _language(ask: Ask, content: Content) -> Found:
    code, certainty = detect_language(content.text)
    if code is None:
        return Found(None, 0.2)
    full = "name" in ask.words or re.search(r"\b(English|German)\b", ask.description)
    as_name = full and not re.search(r"639|\bcode\b|\ben\b", ask.description)
    return Found(NAMES.get(code, code).capitalize() if as_name else code, certainty)


def _summary(ask: Ask, content: Content) -> Found:
    count = re.search(r"\b([2-9]|two|three|four|five) sentences\b", ask.description)
    numbers = {"two": 2, "three": 3, "four": 4, "five": 5}
    wanted = (numbers.get(count[1]) or int(count[1])) if count else 1
    wanted = content.number("sentence") or wanted
    return Found(summary(content, wanted))


def _title(ask: Ask, content: Content) -> Found:  # noqa: ARG001 - a finder takes both
    return Found(content.title or shorten(summary(content), 80))


def _quote(ask: Ask, content: Content) -> Found:  # noqa: ARG001
    return Found(quote(content))


def _tidied(ask: Ask, content: Content) -> Found:  # noqa: ARG001
    return Found(tidied(content.body))


TEXT_KINDS: Sequence[Kind] = (
    Kind(re.compile(r" (?:cleaned|clean|tidied|tidy|normali[sz]ed|corrected) "), _tidied),
    Kind(re.compile(r" (?:language|lang|sprache|locale) "), _language),
    Kind(re.compile(r" (?:quote|evidence|excerpt|verbatim|citation|passage) "), _quote),
    Kind(re.compile(r" (?:title|headline|subject) "), _title),
    Kind(
        re.compile(r" (?:e mail|email|mail) "),
        _by_pattern(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ),
    Kind(
        re.compile(r" iban "),
        _by_pattern(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ),
    Kind(
        re.compile(r" (?:url|uri|website|link) "),
        _by_pattern(r"https?://[^\s<>\"']+|www\.[^\s<>\"']+"),
    ),
    Kind(
        re.compile(r" (?:phone|telephone|tel|mobile|fax) "),
        _by_pattern(r"(?<!\w)\+?\(?\d[\d ()/.-]{6,}\d(?!\w)", certainty=0.7),
    ),
    Kind(
        re.compile(
            r" (?:summary|description|abstract|gist|explanation|reason|rationale|comment|note|why"
            r"|content|about|topic) "
        ),
        _summary,
    ),
)


def find_text(ask: Ask, content: Content, document: Document) -> Found:
    """The value of a text property; its value is None where nothing was found."""
    if "text" not in ask.memo:
        ask.memo["text"] = _kind(ask.words), _kind(bare(ask.description))
    kinds: tuple[Kind | None, Kind | None] = ask.memo["text"]
    by_name, by_description = kinds
    if by_name is not None:
        return by_name.find(ask, content)
    if (named := document.named([ask.words.strip()])) is not None:
        return Found(named, 0.7)
    return Found(None, 0.4) if by_description is None else by_description.find(ask, content)


def _kind(words: str) -> Kind | None:
    return next((kind for kind in TEXT_KINDS if kind.pattern.search(words)), None)
