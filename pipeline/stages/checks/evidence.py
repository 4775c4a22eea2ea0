"""Whether what an answer quotes, or the numbers it gives, occur in the text it was given.

Tolerant of what models change when they copy: case, white space, line breaks, quotation marks,
dashes, Unicode forms, an ellipsis for what they left out. Not tolerant of other words.
"""

import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from pipeline.model.questions import Signal
from pipeline.stages.checks.text_quality import is_blank, nfkc_pieces

_NOT_WORD = re.compile(r"[\W_]+")
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_NOT_KEPT = bytes(set(range(128)) - set((string.ascii_letters + string.digits).encode()))
_ELLIPSIS = re.compile(r"\[?(?:\.{3,}|…)\]?")
_SPACES = " \u00a0\u202f\u2009"
_NUMBER = re.compile(r"\d+(?:[.,'’]\d+)*")
_GROUPED_BY_SPACE = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d+)?(?!\d)")

# Digits of any script are digits to `re` and to Decimal; only their separators need a hand.
_SEPARATORS = {"\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff0c": ","}
_LONGEST_NUMBER = 64
"""Characters; what is longer is no amount of anything."""
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,'’]\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")


def quote_found(quote: str, text: str) -> bool:
    """Whether the quote occurs in the text; an empty quote does."""
    return quotes_found([quote], text)[0]


def quotes_found(quotes: Sequence[str], *texts: str) -> list[bool]:
    """Whether each of the quotes occurs in one of the texts; each of these is read once."""
    haystacks = [letters_and_digits(text) for text in dict.fromkeys(texts)]
    found = []
    for quote in quotes:
        pieces = [letters_and_digits(piece) for piece in _ELLIPSIS.split(quote)]
        is_there = False
        for text in haystacks:
            at = 0  # where the piece before ends
            is_there = is_there or all(
                (at := text.find(piece, at) + len(piece)) >= len(piece) for piece in pieces
            )
        found.append(is_there)
    return found


def letters_and_digits(text: str) -> str:
    """What a copy of a text keeps of it."""
    if text.isascii():
        return text.encode().translate(_LOWER, _NOT_KEPT).decode()
    folded = (unicodedata.normalize("NFKC", each.casefold()) for each in nfkc_pieces(text))
    return "".join(_NOT_WORD.sub("", each) for each in folded)


def numbers_added(text: str, source: str, *, above: int = 0) -> tuple[Decimal, ...]:
    """The numbers of a text, above a limit, that occur in no reading of its source."""
    present = numbers_in(source)
    added = set()
    for token in _NUMBER.finditer(_with_plain_separators(text)):
        readings = set(_readings(token[0]))
        if readings and not readings & present and all(reading > above for reading in readings):
            added.add(min(readings))
    return tuple(sorted(added))


def numbers_in(text: str) -> frozenset[Decimal]:
    """Every number, without signs, that a text may be read to contain; `1.234` is two of them."""
    plain = _with_plain_separators(text)
    # One after the other, not all in one call: other threads wait for each call.
    tokens = {token[0] for each in (_NUMBER, _GROUPED_BY_SPACE) for token in each.finditer(plain)}
    return frozenset(reading for token in tokens for reading in _readings(token))


def numbers_missing(numbers: Iterable[Decimal], text: str) -> tuple[Decimal, ...]:
    """Those of the numbers that do not occur in the text, whatever their signs."""
    present = numbers_in(text)
    return tuple(number for number in numbers if abs(number) not in present)


def _with_plain_separators(text: str) -> str:
    if not text.isascii():
        for separator, plain in _SEPARATORS.items():
            text = text.replace(separator, plain)
    return text


def _readings(token: str) -> Iterable[Decimal]:
    if len(token) > _LONGEST_NUMBER:
        return
    compact = "".join(token.split())
    if _THOUSANDS.fullmatch(compact):
        yield Decimal(re.sub(r"\D", "", compact))
    at = max(compact.rfind(separator) for separator in ".,'’")
    if at < 0:
        yield Decimal(compact)
    elif compact[at] in ".,":
        whole = re.sub(r"\D", "", compact[:at])
        yield Decimal(f"{whole}.{compact[at + 1 :]}")


def quote_signals(quote: str, *texts: str | None, fields: tuple[str, ...] = ()) -> list[Signal]:
    """Check that the quote that these fields rest on occurs in one of the texts."""
    if is_blank(quote):
        return [Signal("evidence_not_found", 0.6, "The answer quotes nothing.", fields)]
    if quotes_found([quote], *(text for text in texts if text))[0]:
        return []
    detail = "What the answer quotes is not in the text."
    return [Signal("evidence_not_found", 1.0, detail, fields)]


def not_found(field: str, *fields: str) -> Signal:
    """A value that is not there; `fields` of the result, where they are not called `field`."""
    detail = f"{field}: not in the text."
    return Signal("evidence_not_found", 0.9, detail, fields or (field,))


def ambiguous(field: str, *fields: str) -> Signal:
    """An amount that may well mean another one, such as `1,234`; `fields` as of `not_found`."""
    detail = f"{field}: can be read in more than one way."
    return Signal("ambiguous_amount", 1.0, detail, fields or (field,))
