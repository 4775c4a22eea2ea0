"""Lists: everything of a kind that the content has."""

import re
from collections.abc import Callable, Sequence

from pipeline.local.simulated.answering.ask import Ask
from pipeline.local.simulated.answering.content import Content
from pipeline.local.simulated.answering.dates import find_dates, printed_dates
from pipeline.local.simulated.answering.lexicon import pattern_of
from pipeline.local.simulated.answering.sentences import ranked, shorten
from pipeline.local.simulated.answering.words import is_stop_word, words

Lister = Callable[[Ask, Content], list[str]]
_MOST = 20
_POINTS = 5
_POINT_CHARACTERS = 200
_ACTION = re.compile(
    r"\b(?:will|must|shall|needs? to|has to|have to|to do|todo|action|please|should|agreed to|"
    r"assigned|deadline|by (?:monday|tuesday|wednesday|thursday|friday|tomorrow|end of)|muss|soll|"
    r"bitte|wird bis|doit|devra|il faut|debe|hay que)\b",
    re.IGNORECASE,
)
_NAME = r"\b[A-ZÀ-Ý][\w'’-]+(?:\s+(?:[A-ZÀ-Ý][\w'’&-]+|&|of|de|von))*\s+[A-ZÀ-Ý][\w'’-]+"
_TOPIC_WORDS = 4
_AS_PRINTED = re.compile(
    r"as (?:it|they) stands?|letter for letter|as (?:printed|written)|verbatim|exactly",
    re.IGNORECASE,
)
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d(?:[\d ()-]|(?<! )/(?! )){5,}\d(?![\w-])")
_PHONE_DIGITS = 7
_OTHER_NUMBER = re.compile(
    r"(?:ref\w*|order|invoice|pedido|rechnung|amount|betrag|iban\b.*|no|nr|#)[\s.:#]*$",
    re.IGNORECASE,
)
_BEFORE = 16


def _matches(pattern: str) -> Lister:
    compiled = re.compile(pattern)

    def find(ask: Ask, content: Content) -> list[str]:  # noqa: ARG001 - a lister takes both
        return [match.group().strip() for match in compiled.finditer(content.text)]

    return find


def _dates(ask: Ask, content: Content) -> list[str]:
    if _AS_PRINTED.search(ask.description):
        return [match.group().strip() for match in printed_dates(content.text)]
    return [found.day.isoformat() for found in find_dates(content.text)]


def _phones(ask: Ask, content: Content) -> list[str]:  # noqa: ARG001 - a lister takes both
    text = content.text
    dates = [match.span() for match in printed_dates(text)]
    return [
        match.group().strip()
        for match in _PHONE.finditer(text)
        if sum(map(str.isdigit, match.group())) >= _PHONE_DIGITS
        and not any(begin < match.end() and match.start() < end for begin, end in dates)
        and not _OTHER_NUMBER.search(text[max(0, match.start() - _BEFORE) : match.start()])
    ]


def _points(ask: Ask, content: Content) -> list[str]:  # noqa: ARG001
    best = set(ranked(content)[:_POINTS])
    return [shorten(s, _POINT_CHARACTERS) for s in content.sentences if s in best]


def _actions(ask: Ask, content: Content) -> list[str]:  # noqa: ARG001
    return [shorten(s, _POINT_CHARACTERS) for s in content.sentences if _ACTION.search(s)]


def _topics(ask: Ask, content: Content) -> list[str]:  # noqa: ARG001
    counts: dict[str, int] = {}
    for word in words(content.text):
        if len(word) >= _TOPIC_WORDS and not is_stop_word(word):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: -counts[word])[:_POINTS]


_LISTERS: Sequence[tuple[str, Lister]] = (
    ("e mails, emails, mails, mail addresses", _matches(r"[\w.+-]+ ?@ ?[\w-]+(?:\.[\w-]+)+")),
    ("phones, phone numbers, telephones", _phones),
    ("urls, links, websites", _matches(r"https?://[^\s<>\"']+")),
    ("dates, deadlines, days", _dates),
    ("actions, action items, todos, tasks, next steps", _actions),
    ("names, people, persons, companies, entities, parties", _matches(_NAME)),
    ("tags, keywords, topics, themes", _topics),
    (
        "quotes, evidence, excerpts, points, key points, facts, highlights, findings, takeaways",
        _points,
    ),
)
_BY_NAME = tuple((pattern_of(names.split(",")), lister) for names, lister in _LISTERS)


def list_texts(ask: Ask, content: Content) -> list[str]:
    """The texts of a kind, each once, in order."""
    for pattern, lister in _BY_NAME:
        if pattern.search(ask.words):
            return list(dict.fromkeys(lister(ask, content)))[:_MOST]
    return []
