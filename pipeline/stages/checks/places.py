"""Where in a text of an event the values of an answer stand. Pure.

A value that stands in one place only was read there. Of several places the one nearest to what the
answer puts beside the value counts: the passage that it quotes, the description of the same line,
the field's own name where the text prints it. Where nothing of that singles one out, none is
given: who checks a value at one glance is misled by a wrong place, and not by none.

Each search is linear in the text, and is made in pieces, since it holds up all threads.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from pipeline.model.records import LONGEST_QUOTE, Evidence
from pipeline.stages.checks.text_quality import fold_in_place
from pipeline.stages.fields import amounts
from pipeline.stages.fields.dates import DateForms

MOST_PLACES = 16
"""Of one value: what stands in more places, such as a 1, tells nobody where it was read."""
_PIECE = 20_000
"""Characters that are searched in one go."""
_WORDS_AT_MOST = 60
_LONGEST_COMPARED = 200_000
"""Characters; in a longer text only what is there to the letter is found."""
_BESIDE_LABEL = 120
"""Characters: about a line, or a cell and its heading."""
_WORD = re.compile(r"[^\W_]+")
_BETWEEN_WORDS = r"[\W_]{1,12}"
_WITHIN_NUMBERS = r"[\W_]{0,3}"
_NUMBER = re.compile(
    r"(?<![\d.,])\d{1,3}(?: \d{2,3}){0,6}(?: \d{3})(?:[.,٫]\d{1,9})?(?!\d)|\d++(?:[.,'٫]\d++)*+"
)
_LONGEST_NUMBER = 40
_NOT_DIGIT = re.compile(r"\D+")
_UNSPACED = "\u2e80"
"""Scripts from here on are written without blanks between words."""


class Span(NamedTuple):
    """A piece of a text, in code points: `text[start:end]`."""

    start: int
    end: int

    def distance_to(self, other: "Span") -> int:
        """Code points between both; 0 where they touch."""
        return max(0, other.start - self.end, self.start - other.end)

    def is_within(self, other: "Span") -> bool:
        return other.start <= self.start and self.end <= other.end


class Places:
    """The text of one field of a raw event, as it came in."""

    def __init__(self, text: str, field: str) -> None:
        self.field = field
        self._text = text

    def evidence(self, pointer: str, spans: Sequence[Span], *beside: Span) -> Iterator[Evidence]:
        """What is said of a value of the result that stands in these places, if one is singled out.

        `beside` are places of what the answer puts beside it.
        """
        span = nearest(spans, beside)
        if span is not None and span.end - span.start <= LONGEST_QUOTE:
            quote = self._text[span.start : span.end]
            yield Evidence(
                field=pointer,
                source="text",
                input=self.field,
                start=span.start,
                end=span.end,
                quote=quote,
            )

    def of_copy(self, value: str) -> list[Span]:
        """Where a copied passage, name or number of a document stands.

        As it is, or in other case and with other punctuation and blanks between its words.
        """
        return self.exact(value) or self.alike(value)

    def of_number(self, number: Decimal, currency: str | None = None) -> list[Span]:
        """Where a number stands, whatever its sign, in any writing that can be read as it."""
        wanted = abs(number)
        if not wanted:
            return []
        exact = currency if amounts.currency_decimals(currency) == _FINEST else None
        digits = _NOT_DIGIT.sub("", format(wanted, "f")).strip("0")
        return [
            span
            for token, span in self._numbers.get(digits, ())
            if any(each.value == wanted for each in amounts.digits_read(token, exact))
        ]

    def of_date(self, day: date) -> list[Span]:
        """Where a day is named, the longest of forms that lie within each other."""
        found = sorted({Span(*each) for each in self._dates.places(day)})
        return [
            each
            for each in found
            if not any(each != other and each.is_within(other) for other in found)
        ]

    def exact(self, value: str) -> list[Span]:
        """Where a value stands to the letter, as whole words."""
        value = value.strip()
        found: list[Span] = []
        if not 0 < len(value) <= LONGEST_QUOTE:
            return found
        at = self._text.find(value)
        while at >= 0 and len(found) <= MOST_PLACES:
            span = Span(at, at + len(value))
            if self._is_whole(span):
                found.append(span)
            at = self._text.find(value, span.end)
        return found

    def alike(self, *values: str) -> list[Span]:
        """Where one of some values stands, in other case, with other signs between its words."""
        patterns = list(filter(None, map(_pattern, values)))
        found: list[Span] = []
        if not patterns or len(self._text) > _LONGEST_COMPARED:
            return found
        pattern, reached = re.compile("|".join(patterns), re.IGNORECASE), 0
        for at in range(0, len(self._text), _PIECE):
            for match in pattern.finditer(self._text, max(at, reached), at + _PIECE + _REACH):
                span = Span(*match.span())
                reached = span.end
                if self._is_whole(span):
                    found.append(span)
                if len(found) > MOST_PLACES:
                    return found
        return found

    def _is_whole(self, span: Span) -> bool:
        """Whether no word goes on before or behind it."""
        text, start, end = self._text, span.start, span.end
        return not (
            (start > 0 and _goes_on(text[start - 1]) and _goes_on(text[start]))
            or (end < len(text) and _goes_on(text[end - 1]) and _goes_on(text[end]))
        )

    @cached_property
    def _numbers(self) -> dict[str, list[tuple[str, Span]]]:
        """The numbers of the text and their places, by their digits without zeros around."""
        found: dict[str, list[tuple[str, Span]]] = {}
        plain = amounts.digits_in_place(self._text)
        for match in _NUMBER.finditer(plain):
            token = match[0]
            if len(token) <= _LONGEST_NUMBER:
                digits = _NOT_DIGIT.sub("", token).strip("0")
                found.setdefault(digits, []).append((token, Span(*match.span())))
        return found

    @cached_property
    def _dates(self) -> DateForms:
        return DateForms(fold_in_place(self._text))


def copied_from(texts: Sequence[Places], pointer: str, value: str) -> Iterator[Evidence]:
    """What is said of a copied value that stands in one of the texts of an event alone."""
    for find in (Places.exact, Places.alike):
        found = [(text, spans) for text in texts if (spans := find(text, value))]
        if found:
            if len(found) == 1:
                yield from found[0][0].evidence(pointer, found[0][1])
            return


_REACH = 2 * LONGEST_QUOTE
_FINEST = 3
"""Decimals of the dinars and of the Omani rial: of them `119,500` is not 119,500."""


def _pattern(value: str) -> str:
    """Finds the words of a value, whatever stands between them; empty where it has none."""
    if len(value) > LONGEST_QUOTE:
        return ""
    words = _WORD.findall(value)
    between = _WITHIN_NUMBERS if any(map(str.isdigit, value)) else _BETWEEN_WORDS
    return between.join(map(re.escape, words)) if len(words) <= _WORDS_AT_MOST else ""


def _goes_on(char: str) -> bool:
    return char.isalnum() and char < _UNSPACED


def nearest(spans: Sequence[Span], beside: Iterable[Span]) -> Span | None:
    """The only place, or the one nearest to one of the others; None where two are as near.

    What stands behind a label is nearer to it than what stands as far before it.
    """
    if len(spans) <= 1:
        return spans[0] if spans else None
    others = list(beside)
    if len(spans) > MOST_PLACES or not others:
        return None
    ranked = sorted(
        (min((span.distance_to(each), span < each) for each in others), span) for span in spans
    )
    (least, first), (next_least, _) = ranked[:2]
    return first if least < next_least and least[0] <= _BESIDE_LABEL else None
