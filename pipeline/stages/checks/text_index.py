"""What a text says, in the forms in which values of an answer are looked for.

Built once for an event and asked for each value. Every form is made when it is first wanted, in a
time that is linear in the text; no search backtracks further than a few dozen characters.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cached_property

from pipeline.stages.checks.normal_forms import fold, is_close, name_core, spaceless, words_of
from pipeline.stages.checks.text_quality import CURRENCIES
from pipeline.stages.fields.amounts import Reading, digits_read, magnitudes_after, normal_digits
from pipeline.stages.fields.dates import DateForms
from pipeline.stages.fields.locale_data import currency_decimals, locale_data, plain_word

_NUMBER = re.compile(r"\d++(?:[.,'٫]\d++)*+")
_GROUPED_BY_SPACE = re.compile(
    r"(?<![\d.,])\d{1,3}(?: \d{2,3}){0,6}(?: \d{3})(?:[.,٫]\d{1,9})?(?!\d)"
)
_WITH_WORD = re.compile(r"(?<![\d.,'])(\d++(?:[.,'٫]\d++)*+)[ \n]?([^\W\d_][^\s\d,;:()/]{0,11})")
_PLAIN_WORDS = frozenset({
    "mio", "mrd", "tsd", "million", "millions", "millionen", "milliard", "milliards", "milliarden",
    "billion", "billions", "lakh", "lakhs", "lac", "lacs", "crore", "crores",
})  # fmt: skip
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
    """A text of an event, to look for values in.

    Args:
        text: As the publisher sent it, or several of one event joined.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def has_number(self, number: Decimal, currency: str | None = None) -> bool:
        """Whether the text may be read to contain a number, whatever its sign and writing.

        Of a currency with three decimals `119,500` is not 119,500: that would have more of them.
        """
        wanted = abs(number)
        candidates = self._candidates(
            wanted, currency=currency if currency_decimals(currency) == _FINEST else None
        )
        return any(reading.value == wanted for readings in candidates for reading in readings)

    def supports(self, number: Decimal) -> bool:
        """Whether the text contains a number that can be read in this way only.

        A number with one separator and three digits behind it is read as the text's other
        numbers are, where they use that separator in one way.
        """
        wanted = abs(number)
        return any(
            self._is_meant(reading) and reading.value == wanted
            for readings in self._candidates(wanted, shortest=_TELLING)
            for reading in readings
            if len(readings) == 1 or reading.separator
        )

    def has_date(self, day: date) -> bool:
        """Whether the text names a day, in whatever usual form; order of month and day is free."""
        return self._dates.has(day)

    def has_day_without_year(self, day: date) -> bool:
        """The same, and where the text has the day and month in numbers alone, as in 5.3."""
        return self._dates.has_without_year(day)

    def has_term(self, start: date, end: date) -> bool:
        """Whether the text names the time between two days, as in "payable within 30 days"."""
        return self._dates.has_term(start, end)

    def has_identifier(self, value: str) -> bool:
        """Whether a number such as an invoice's occurs, with or without its separators."""
        spaced = " ".join(words_of(fold(value)))
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
        words = words_of(fold(name))
        core = name_core(words)
        whole, shorter = "".join(words), "".join(core)
        if 0 < len(whole) < _SHORTEST_IN_LETTERS and not _UNSPACED.search(whole):
            return f" {' '.join(words)} " in self._spaced
        if whole in self._letters or (len(shorter) >= _SHORTEST_CORE and shorter in self._letters):
            return True
        if is_close(shorter, self._letters):
            return True
        return len(core) > 1 and self.share_of(core) >= _WORDS_SHARE

    def share_of(self, words: Iterable[str]) -> float:
        """How much of some folded words occurs, by length: 0 to 1."""
        given = [word for word in words if word]
        length = sum(map(len, given))
        found = sum(len(word) for word in given if self._has_word(word))
        return found / length if length else 1.0

    def says_otherwise(self, currency: str) -> bool:
        """Whether all signs and codes of money in the text are those of other currencies."""
        named = self._currencies
        return bool(named) and currency not in named

    def words(self, text: str) -> list[str]:
        """The words of another text, folded as this one's."""
        return words_of(fold(text))

    def _has_word(self, word: str) -> bool:
        return f" {word} " in self._spaced or is_close(word, self._letters)

    def _candidates(
        self, wanted: Decimal, *, shortest: int = 1, currency: str | None = None
    ) -> Iterator[tuple[Reading, ...]]:
        """How each of the numbers with the same digits, zeros around them aside, can be read."""
        for token, powers in self._by_digits.get(_significant(wanted), ()):
            if len(token) < shortest:
                continue
            yield tuple(
                replace(reading, value=reading.value.scaleb(power))
                for power in powers
                for reading in digits_read(token, None if power else currency)
            )

    def _is_meant(self, reading: Reading) -> bool:
        if not reading.separator:
            return True
        decimals, groups = self._separators
        used, unused = (groups, decimals) if reading.is_grouped else (decimals, groups)
        return reading.separator in used and reading.separator not in unused

    @cached_property
    def _plain(self) -> str:
        return normal_digits(self._text)

    @cached_property
    def _numbers(self) -> frozenset[str]:
        found = {*_NUMBER.findall(self._plain), *_GROUPED_BY_SPACE.findall(self._plain)}
        return frozenset(token for token in found if len(token) <= _LONGEST_NUMBER)

    @cached_property
    def _by_digits(self) -> dict[str, set[tuple[str, tuple[int, ...]]]]:
        """Tokens by their digits without zeros around: what may be the same number."""
        found: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
        with_words = _WITH_WORD.findall(self._plain)
        magnified = Counter(token for token, word in with_words if word.lower() in _PLAIN_WORDS)
        occurring = Counter(_NUMBER.findall(self._plain)) if magnified else Counter[str]()
        for token in self._numbers:
            # "1.19 Mio" is not 1.19, where 1.19 stands nowhere else.
            if not 0 < occurring[token] <= magnified[token]:
                found.setdefault(_NOT_DIGIT.sub("", token).strip("0"), set()).add((token, (0,)))
        for token, word in set(with_words):
            powers = magnitudes_after(word)
            if powers and len(token) <= _LONGEST_NUMBER:
                key = _NOT_DIGIT.sub("", token).strip("0")
                found.setdefault(key, set()).add((token, tuple(sorted(powers))))
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
        found = beside & CURRENCIES
        symbols = locale_data().symbols
        for sign in set(_SIGN.findall(self._text)):
            known = symbols.get(plain_word(sign)) or symbols.get(sign[-1], frozenset())
            found |= known
        return frozenset(found)

    @cached_property
    def _folded(self) -> str:
        return fold(self._text)

    @cached_property
    def _letters(self) -> str:
        return spaceless(self._folded)

    @cached_property
    def _spaced(self) -> str:
        return f" {' '.join(words_of(self._folded))} "

    @cached_property
    def _dates(self) -> DateForms:
        return DateForms(self._folded)


def _significant(number: Decimal) -> str:
    return _NOT_DIGIT.sub("", format(number, "f")).strip("0")
