"""Whether what an answer quotes, or the numbers it gives, occur in the text it was given.

Tolerant of what models change when they copy: case, white space, line breaks, quotation marks,
dashes, Unicode forms, an ellipsis for what they left out. Not tolerant of other words.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from pipeline.stages.checks.text_quality import nfkc_pieces

_NOT_WORD = re.compile(r"[\W_]+")
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_NOT_KEPT = bytes(set(range(128)) - set((string.ascii_letters + string.digits).encode()))
_ELLIPSIS = re.compile(r"\[?(?:\.{3,}|…)\]?")
_SPACES = " \u00a0\u202f\u2009"
_NUMBER = re.compile(r"\d+(?:[.,'’]\d+)*")
_GROUPED_BY_SPACE = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?(?!\d)")
_NUMBERS = (_NUMBER, _GROUPED_BY_SPACE)

# Digits of any script are digits to `re` and to Decimal; only their separators need a hand.
_SEPARATORS = {"\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff0c": ","}
_LONGEST_NUMBER = 64
"""Characters; what is longer is no amount of anything."""
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,'’]\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")


def quote_found(quote: str, text: str) -> bool:
    """Whether the quote occurs in the text; an empty quote does."""
    return quotes_found([quote], text)[0]


def quotes_found(quotes: Sequence[str], *texts: str) -> list[bool]:
    """Whether each of the quotes occurs in one of the texts, which may be long.

    Each text and each quote is read once.
    """
    haystacks = [letters_and_digits(text) for text in dict.fromkeys(texts)]
    return [_occurs(quote, haystacks) for quote in quotes]


def _occurs(quote: str, haystacks: Sequence[str]) -> bool:
    needles = [letters_and_digits(piece) for piece in _ELLIPSIS.split(quote)]
    return any(_in_order(needles, haystack) for haystack in haystacks)


def _in_order(needles: Sequence[str], haystack: str) -> bool:
    position = 0
    for needle in needles:
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
    for token in _NUMBER.finditer(_with_plain_separators(text)):
        readings = set(_readings(token[0]))
        if readings and not readings & present and all(reading > above for reading in readings):
            added.add(min(readings))
    return tuple(sorted(added))


def letters_and_digits(text: str) -> str:
    """Reduce a text to what a copy of it keeps."""
    if text.isascii():
        return text.encode().translate(_LOWER, _NOT_KEPT).decode()
    folded = (unicodedata.normalize("NFKC", each.casefold()) for each in nfkc_pieces(text))
    return "".join(_NOT_WORD.sub("", each) for each in folded)


def numbers_in(text: str) -> frozenset[Decimal]:
    """Find every number a text may be read to contain, signs left out.

    `1.234` is read both ways, as are digits grouped by spaces.
    """
    plain = _with_plain_separators(text)
    # One after the other, not all in one call: others wait for each call.
    every = (token[0] for each in _NUMBERS for token in each.finditer(plain))
    return frozenset(reading for token in set(every) for reading in _readings(token))


def numbers_missing(numbers: Iterable[Decimal], text: str) -> tuple[Decimal, ...]:
    """Tell which of the numbers do not occur in the text, whatever their signs."""
    present = numbers_in(text)
    return tuple(number for number in numbers if abs(number) not in present)


def _with_plain_separators(text: str) -> str:
    if text.isascii():
        return text
    for separator, plain in _SEPARATORS.items():
        text = text.replace(separator, plain)
    return text


def _readings(token: str) -> Iterable[Decimal]:
    if len(token) > _LONGEST_NUMBER:
        return
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
