"""What a text says, in the forms in which values of an answer are looked for.

Every form is made when it is first wanted, in a time that is linear in the text: characters are
folded one by one, what is nearly the same is looked for at a bounded number of places, and no
search backtracks further than a few dozen characters.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType

from pipeline.model.questions import Signal
from pipeline.stages.checks.evidence import not_found
from pipeline.stages.checks.text_quality import WORDS, fold
from pipeline.stages.fields import amounts
from pipeline.stages.fields.dates import DateForms

_NOTHING: Mapping[str, None] = MappingProxyType({})
_NOT_WORD = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LEGAL_FORMS = frozenset(WORDS["legal_forms"].split())
_FORM_LETTERS = frozenset("abcegiklmnoprsuvyz")
"""Of forms that are written with full stops: s. r. o., z o. o., e. K."""
_LETTERS_A_MISREADING = 6
_MOST_MISREADINGS = 3
_MOST_PLACES = 16
_SHORTEST_PIECE = 3
_NUMBER = re.compile(r"\d++(?:[.,'٫]\d++)*+")
_GROUPED_BY_SPACE = re.compile(
    r"(?<![\d.,])\d{1,3}(?: \d{2,3}){0,6}(?: \d{3})(?:[.,٫]\d{1,9})?(?!\d)"
)
_WITH_WORD = re.compile(r"(?<![\d.,'])(\d++(?:[.,'٫]\d++)*+)[ \n]?([^\W\d_][^\s\d,;:()/]{0,11})")
_PLAIN_WORDS = frozenset(WORDS["magnitudes"].split())
"""Words of magnitude that are nothing else beside an amount; "min" and "m" are many things."""
_NOT_DIGIT = re.compile(r"\D+")
_LONGEST_NUMBER = 40
_SURE = re.compile(
    r"(?<![\d.,'])(?:\d++([.,])\d{1,2}+|\d{4,}+([.,])\d++|0([.,])\d++|\d++([.,])\d{4,}+)(?![.,']?\d)"
)
"""Numbers whose only separator is the decimal one whatever the language."""
_SURE_GROUPS = re.compile(
    r"(?<![\d.,'])\d{1,3}([.,])\d{2,3}(?:\1\d{3})++(?:(?!\1)([.,])\d++)?+(?![.,']?\d)"
    r"|(?<![\d.,'])\d{1,3}([.,])\d{3}(?!\3)([.,])\d++(?![.,']?\d)"
)
_BESIDE_MONEY = re.compile(
    r"(?<![A-Za-z])([A-Z]{3})[ :]{0,2}-?\d[\d.,' ]{0,12}[.,]\d"
    r"|\d[.,]\d{1,4} ?([A-Z]{3})(?![A-Za-z])"
)
"""Codes beside amounts with decimals only: ALL, TOP and CUP are words as well."""
_SIGN = re.compile(r"[^\W\d_]{0,3}[¢£¤¥֏؋৲৳฿៛₠-₿￠￡￥￦]")
"""Not the dollar, which is written for the money of many countries, and for others still."""
_FINEST = 3
"""Decimals of the dinars and of the Omani rial."""
_SHORT_IDENTIFIER = 5
_TELLING = 3
"""Characters: that somewhere there is a 1 says nothing of whether 1,000 is one or a thousand."""
_WORDS_SHARE = 0.7
_SHORTEST_CORE = 2
_SHORTEST_IN_LETTERS = 4
"""Of a name; in a text without its blanks, shorter ones occur by chance."""
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff가-힣]")


class TextIndex:
    """A text of an event, or several of one event joined, to look for values in."""

    def __init__(self, text: str) -> None:
        self._text = text

    def has_number(self, number: Decimal, currency: str | None = None) -> bool:
        """Whether the text may be read to contain a number, whatever its sign and writing.

        Of a currency with three decimals `119,500` is not 119,500: that would have more of them.
        """
        wanted = abs(number)
        exact = currency if amounts.currency_decimals(currency) == _FINEST else None
        candidates = self._candidates(wanted, currency=exact)
        return any(reading.value == wanted for readings in candidates for reading in readings)

    def supports(self, number: Decimal) -> bool:
        """Whether the text contains a number that can be read in this way only.

        `1.234` is read as the text's other numbers are, where they use that separator in one way.
        """
        wanted = abs(number)
        return any(
            reading.value == wanted and self._is_meant(reading)
            for readings in self._candidates(wanted, shortest=_TELLING)
            for reading in readings
            if len(readings) == 1 or reading.separator
        )

    def has_date(self, day: date) -> bool:
        """Whether the text names a day; whether day or month comes first does not matter."""
        return self._dates.has(day)

    def has_day_without_year(self, day: date) -> bool:
        """The same, and where the text has the day and month in numbers alone, as in 5.3."""
        return self._dates.has_without_year(day)

    def has_term(self, start: date, end: date) -> bool:
        """Whether the text names the time between two days, as in "payable within 30 days"."""
        return self._dates.has_term(start, end)

    def has_identifier(self, value: str) -> bool:
        """Whether a number such as an invoice's occurs, with or without its separators."""
        spaced = " ".join(self.words(value))
        if not spaced:
            return True
        compact = spaced.replace(" ", "")
        return f" {spaced} " in self._spaced or (
            len(compact) >= _SHORT_IDENTIFIER and compact in self._letters
        )

    def has_name(self, name: str) -> bool:
        """Whether a name occurs.

        Case, diacritics, punctuation, line breaks, hyphens and the legal form do not matter, nor
        do a few misread letters, nor other words between those of the name.
        """
        words = self.words(name)
        core = [word for word in words if word not in _LEGAL_FORMS]
        while len(core) > 1 and core[-1] in _FORM_LETTERS:
            core.pop()
        core = core or words
        whole, shorter = "".join(words), "".join(core)
        if 0 < len(whole) < _SHORTEST_IN_LETTERS and not _UNSPACED.search(whole):
            return f" {' '.join(words)} " in self._spaced
        return (
            whole in self._letters
            or (len(shorter) >= _SHORTEST_CORE and shorter in self._letters)
            or _is_close(shorter, self._letters)
            or (len(core) > 1 and self.share_of(core) >= _WORDS_SHARE)
        )

    def share_of(self, words: Iterable[str]) -> float:
        """How much of some folded words occurs, by length: 0 to 1."""
        given = [word for word in words if word]
        length = sum(map(len, given))
        spaced, letters = self._spaced, self._letters
        there = [word for word in given if f" {word} " in spaced or _is_close(word, letters)]
        return sum(map(len, there)) / length if length else 1.0

    def says_otherwise(self, currency: str) -> bool:
        """Whether all signs and codes of money in the text are those of other currencies."""
        named = self._currencies
        return bool(named) and currency not in named

    def words(self, text: str) -> list[str]:
        """The words and numbers of another text, folded as this one's."""
        return _WORD.findall(fold(text))

    def _candidates(
        self, wanted: Decimal, *, shortest: int = 1, currency: str | None = None
    ) -> Iterator[tuple[amounts.AmountReading, ...]]:
        """How each of the numbers with the same digits, zeros around them aside, can be read."""
        digits = _NOT_DIGIT.sub("", format(wanted, "f")).strip("0")
        for token, powers in self._by_digits.get(digits, ()):
            if len(token) >= shortest:
                yield tuple(
                    replace(reading, value=reading.value.scaleb(power))
                    for power in powers
                    for reading in amounts.digits_read(token, None if power else currency)
                )

    def _is_meant(self, reading: amounts.AmountReading) -> bool:
        if not reading.separator:
            return True
        decimals, groups = self._separators
        used, unused = (groups, decimals) if reading.is_grouped else (decimals, groups)
        return reading.separator in used and reading.separator not in unused

    @cached_property
    def _plain(self) -> str:
        return amounts.normal_digits(self._text)

    @cached_property
    def _by_digits(self) -> dict[str, set[tuple[str, tuple[int, ...]]]]:
        """Tokens by their digits without zeros around: what may be the same number."""
        found: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
        occurring = Counter(_NUMBER.findall(self._plain))
        with_words = _WITH_WORD.findall(self._plain)
        magnified = Counter(token for token, word in with_words if word.lower() in _PLAIN_WORDS)
        # "1.19 Mio" is not 1.19, where 1.19 stands nowhere else.
        plain = {token for token, count in occurring.items() if count > magnified[token]}
        tokens: set[tuple[str, tuple[int, ...]]] = {
            (token, (0,)) for token in plain.union(_GROUPED_BY_SPACE.findall(self._plain))
        }
        for token, word in set(with_words):
            if magnitudes := amounts.magnitudes_after(word):
                tokens.add((token, tuple(sorted(magnitudes))))
        for token, powers in tokens:
            if len(token) <= _LONGEST_NUMBER:
                found.setdefault(_NOT_DIGIT.sub("", token).strip("0"), set()).add((token, powers))
        return found

    @cached_property
    def _separators(self) -> tuple[set[str], set[str]]:
        decimals = {sign for found in _SURE.findall(self._plain) for sign in found if sign}
        groups: set[str] = set()
        for first, then, other, last in _SURE_GROUPS.findall(self._plain):
            groups |= {first, other} - {""}
            decimals |= {then, last} - {""}
        return decimals, groups

    @cached_property
    def _currencies(self) -> frozenset[str]:
        beside = {code for pair in set(_BESIDE_MONEY.findall(self._plain)) for code in pair}
        found = beside & amounts.CURRENCIES
        for sign in set(_SIGN.findall(self._text)):
            named = amounts.SYMBOLS.get(amounts.plain_word(sign))
            found |= named or amounts.SYMBOLS.get(sign[-1], frozenset())
        return frozenset(found)

    @cached_property
    def _folded(self) -> str:
        return fold(self._text)

    @cached_property
    def _letters(self) -> str:
        return _NOT_WORD.sub("", self._folded)

    @cached_property
    def _spaced(self) -> str:
        return f" {' '.join(_WORD.findall(self._folded))} "

    @cached_property
    def _dates(self) -> DateForms:
        return DateForms(self._folded)


def _is_close(needle: str, haystack: str) -> bool:
    """Whether letters occur but for a few that were misread: one in six, at most three.

    Digits are never misread here: a number with another digit is another number.
    """
    allowed = min(_MOST_MISREADINGS, len(needle) // _LETTERS_A_MISREADING)
    if needle in haystack:
        return True
    if allowed == 0 or any(char.isdigit() for char in needle):
        return False
    # One of its pieces is free of misreadings, and so found as it is.
    size = len(needle) // (allowed + 1)
    if size < _SHORTEST_PIECE:
        return False
    for at in range(0, size * (allowed + 1), size):
        piece, place = needle[at : at + size], -1
        for _ in range(_MOST_PLACES):
            place = haystack.find(piece, place + 1)
            if place < 0:
                break
            window = haystack[max(0, place - at - allowed) :][: len(needle) + 2 * allowed]
            if _edits(needle, window) <= allowed:
                return True
    return False


def _edits(needle: str, window: str) -> int:
    """The least number of edits that make the needle a part of the window."""
    row = [0] * (len(window) + 1)
    for count, wanted in enumerate(needle, start=1):
        above, row[0] = row[0], count
        for at, char in enumerate(window, start=1):
            above, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, above + (char != wanted))
    return min(row)


def value_signals(
    index: TextIndex,
    *,
    names: Mapping[str, str | None] = _NOTHING,
    identifiers: Mapping[str, str | None] = _NOTHING,
    dates: Mapping[str, date | None] = _NOTHING,
    numbers: Mapping[str, Decimal | None] = _NOTHING,
) -> list[Signal]:
    """Notice values, by the names of their fields, that a text does not contain in any usual form.

    None is never missing. `identifiers` are numbers of documents and orders, which may have
    letters. Of numbers signs do not matter, and a zero need not be printed.
    """
    found = [
        *((field, name is None or index.has_name(name)) for field, name in names.items()),
        *((field, id_ is None or index.has_identifier(id_)) for field, id_ in identifiers.items()),
        *((field, day is None or index.has_date(day)) for field, day in dates.items()),
        *((field, not number or index.has_number(number)) for field, number in numbers.items()),
    ]
    return [not_found(field) for field, is_there in found if not is_there]
