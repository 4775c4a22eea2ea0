"""Whether what an answer quotes, or the numbers it gives, occur in the text it was given.

Tolerant of what models change when they copy: case, white space, line breaks, quotation marks,
dashes, Unicode forms, an ellipsis for what they left out. Not tolerant of other words.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

_NOT_WORD = re.compile(r"[\W_]+")
_ELLIPSIS = re.compile(r"\[?(?:\.{3,}|…)\]?")
_SPACES = " \u00a0\u202f\u2009"
_NUMBER = re.compile(r"\d+(?:[.,'’]\d+)*")
_GROUPED_BY_SPACE = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?(?!\d)")
# Digits of any script are digits to `re` and to Decimal; only their separators need a hand.
_SEPARATORS = {0x66B: ".", 0x66C: ",", 0xFF0E: ".", 0xFF0C: ","}
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,'’]\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")


def quote_found(quote: str, text: str) -> bool:
    """Whether the quote occurs in the text; an empty quote does."""
    return quotes_found([quote], text)[0]


def quotes_found(quotes: Sequence[str], text: str) -> list[bool]:
    """Whether each of the quotes occurs in a text, which may be long: it is read once."""
    haystack = letters_and_digits(text)
    return [_occurs(quote, haystack) for quote in quotes]


def _occurs(quote: str, haystack: str) -> bool:
    position = 0
    for piece in _ELLIPSIS.split(quote):
        needle = letters_and_digits(piece)
        found = haystack.find(needle, position)
        if found < 0:
            return False
        position = found + len(needle)
    return True


def numbers_added(text: str, source: str, *, above: int = 0) -> tuple[Decimal, ...]:
    """Tell which numbers of a text occur in no reading of its source.

    Args:
        text: What was written about the source.
        source: What it was written about.
        above: Smaller numbers are left out: a source may have spelt them.
    """
    present = numbers_in(source)
    added = set()
    for token in _NUMBER.findall(text.translate(_SEPARATORS)):
        readings = set(_readings(token))
        if not readings & present and all(reading > above for reading in readings):
            added.add(min(readings))
    return tuple(sorted(added))


def letters_and_digits(text: str) -> str:
    """Reduce a text to what a copy of it keeps."""
    if text.isascii():
        return _NOT_WORD.sub("", text.lower())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _NOT_WORD.sub("", folded)


def numbers_in(text: str) -> frozenset[Decimal]:
    """Find every number a text may be read to contain, signs left out.

    `1.234` is read both ways, as are digits grouped by spaces.
    """
    plain = text.translate(_SEPARATORS)
    found = {*_NUMBER.findall(plain), *_GROUPED_BY_SPACE.findall(plain)}
    return frozenset(reading for token in found for reading in _readings(token))


def numbers_missing(numbers: Iterable[Decimal], text: str) -> tuple[Decimal, ...]:
    """Tell which of the numbers do not occur in the text, whatever their signs."""
    present = numbers_in(text)
    return tuple(number for number in numbers if abs(number) not in present)


def _readings(token: str) -> Iterable[Decimal]:
    compact = "".join(token.split())
    if _THOUSANDS.fullmatch(compact):
        yield Decimal(_digits(compact))
    whole, separator, fraction = _split_at_last_separator(compact)
    if separator not in {"'", "’"}:
        yield Decimal(f"{_digits(whole)}.{fraction}" if separator else compact)


def _digits(token: str) -> str:
    return re.sub(r"\D", "", token)


def _split_at_last_separator(token: str) -> tuple[str, str, str]:
    at = max(token.rfind(separator) for separator in ".,'’")
    return (token[:at], token[at], token[at + 1 :]) if at >= 0 else (token, "", "")
