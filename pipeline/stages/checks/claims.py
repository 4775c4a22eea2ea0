"""Whether a free text of an answer says what its source does not: dates, names, words in quotes.

That a claim is not in the source is seen here; that it is there and means something else is not.
Numbers are `evidence.numbers_added`. Names are known by their capitals, so only in languages that
write no other nouns with them, and only where text and source are of one language. Pure.
"""

import re
from collections.abc import Iterator

from pipeline.model.questions import Signal
from pipeline.stages.checks.evidence import quotes_found
from pipeline.stages.checks.text_quality import fold
from pipeline.stages.fields.amounts import MONTHS

CODE = "unsupported_claim"
_QUOTED = re.compile('["“„«]([^"“”„«»\n]{3,200})["”“»]')
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
_BETWEEN = frozenset({
    "a", "am", "de", "del", "di", "do", "of", "st", "nd", "rd", "th", "º", "ª", "er",
})  # fmt: skip
"""What stands between a day and its month: 5th of March, 5 de marzo."""
_MOST_DAYS, _MOST_MONTHS, _DAY_DIGITS = 31, 12, 2
_SHORTEST_MONTH = 3
"""Letters: shorter abbreviations are other words as well."""
Days = frozenset[tuple[int, int]]
"""What a date may mean: days and months, two of them where either may come first."""
_NUMERIC = re.compile(r"(?<![\d.,/-])(\d{1,4})([./-])(\d{1,2})(?:\2(\d{1,4}))?(?!\d)")
_CJK = re.compile(r"(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日일]")
_NAME = re.compile(r"(?<![\w'’-])[^\W\d_][\w'’-]*")
_SENTENCE_BEFORE = re.compile(r"(?:^|[.!?:;\n\"“„«(\[-])\s*[\"“„«(\[]?$")
_SHORTEST_NAME = 3
_COMPARED_LETTERS = 4
"""Of a name: `Norwegian` is of `Norway`, and the genitive of a name is the name."""
_MOST_WORDS = 2_000
_FOLDED_AT_ONCE = 50_000
_LOOKED_AT = 200_000
"""Characters of a source; in a longer one dates are not looked for."""
_NAMES_IN_CAPITALS = frozenset({
    "bg", "ca", "cs", "da", "el", "en", "es", "et", "fi", "fr", "ga", "hr", "hu", "id", "is", "it",
    "lt", "lv", "mk", "ms", "nl", "no", "nb", "nn", "pl", "pt", "ro", "ru", "sk", "sl", "sq", "sr",
    "sv", "tr", "uk", "vi",
})  # fmt: skip
"""Of languages with capitals, those that write no other nouns with them, as German does."""


def claim_signals(written: str, source: str, *, language: str | None) -> Iterator[Signal]:
    """Notice what a text claims beyond its source.

    Args:
        written: What the answer says in its own words.
        source: All that it may be taken from.
        language: ISO 639-1 code of both; None where it is not known, or not the same.
    """
    quoted = _QUOTED.findall(written)
    if missing := quotes_found(quoted, source).count(False):
        yield Signal(CODE, 0.9, f"{missing} passages in quotation marks are not in the text.")
    if len(source) <= _LOOKED_AT and (dates := _dates(written)):
        held = frozenset().union(*_dates(source))
        if strange := sum(each.isdisjoint(held) for each in dates):
            yield Signal(CODE, 0.8, f"{strange} dates are not in the text.")
    if language in _NAMES_IN_CAPITALS and (names := list(_names(written))):
        folded = "".join(
            fold(source[at : at + _FOLDED_AT_ONCE]) for at in range(0, len(source), _FOLDED_AT_ONCE)
        )
        if strange := sum(not _begins_a_word(name, folded) for name in names):
            yield Signal(CODE, 0.6, f"{strange} names are not in the text.")


def _dates(text: str) -> list[Days]:
    """The days that a text names with their months, whatever the year."""
    found = []
    for match in _NUMERIC.finditer(text):
        first, sign, second, third = match.groups()
        # "3/4" and "1.5" are other things than dates more often.
        if third is None and sign != "/":
            continue
        numbers = [int(each) for each in (first, second, third) if each is not None]
        pairs = (pair for one in numbers[:2] for pair in _both(one, numbers[1:]))
        found.append(frozenset(pair for pair in pairs if _is_day(*pair)))
    found += (frozenset({(int(day), int(month))}) for month, day in _CJK.findall(text))
    tokens = [each for each in _TOKEN.findall(fold(text)) if each not in _BETWEEN]
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        months = MONTHS.get(token, ()) if len(token) >= _SHORTEST_MONTH else ()
        days = [
            int(each) for each in (before, after) if each.isdecimal() and len(each) <= _DAY_DIGITS
        ]
        if months and days:
            found.append(frozenset((day, month) for day in days for month in months))
    return [each for each in found if each]


def _both(one: int, others: list[int]) -> Iterator[tuple[int, int]]:
    for other in others:
        yield one, other
        yield other, one


def _is_day(day: int, month: int) -> bool:
    return 1 <= day <= _MOST_DAYS and 1 <= month <= _MOST_MONTHS


def _names(text: str) -> Iterator[str]:
    """Words in capitals that do not begin a sentence, folded; no months, which are translated."""
    for match, _ in zip(_NAME.finditer(text), range(_MOST_WORDS), strict=False):
        word = match[0]
        if not word[0].isupper() or len(word) < _SHORTEST_NAME:
            continue
        if _SENTENCE_BEFORE.search(text[max(0, match.start() - 4) : match.start()]):
            continue
        name = fold(re.split("['’]", word)[0])
        if name and name not in MONTHS:
            yield name


def _begins_a_word(name: str, folded: str) -> bool:
    begin, at = name[:_COMPARED_LETTERS], -1
    while (at := folded.find(begin, at + 1)) >= 0:
        if at == 0 or not folded[at - 1].isalnum():
            return True
    return False
