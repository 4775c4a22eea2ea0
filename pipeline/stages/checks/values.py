"""Whether the values of an answer are in the text that they are said to come from."""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from pipeline.model.questions import Signal
from pipeline.stages.checks.text_index import TextIndex

_NONE: Mapping[str, None] = MappingProxyType({})
_STRENGTH = 0.9
_ValueT = TypeVar("_ValueT")


def value_signals(
    index: TextIndex,
    *,
    names: Mapping[str, str | None] = _NONE,
    identifiers: Mapping[str, str | None] = _NONE,
    dates: Mapping[str, date | None] = _NONE,
    numbers: Mapping[str, Decimal | None] = _NONE,
) -> list[Signal]:
    """Notice values that a text does not contain, in whatever usual form.

    All are by what the field is called; None is what an answer does not say, and never missing.

    Args:
        index: Of the event's text, made once for all its values.
        names: Of people, companies, things.
        identifiers: Numbers of documents and orders, which may have letters.
        dates: Days.
        numbers: Amounts and quantities; signs do not matter, and a zero need not be printed.

    Returns:
        A signal for each value that was not found. It names the field and quotes nothing.
    """
    found = [
        *((field, index.has_name(value)) for field, value in _given(names)),
        *((field, index.has_identifier(value)) for field, value in _given(identifiers)),
        *((field, index.has_date(value)) for field, value in _given(dates)),
        *((field, not value or index.has_number(value)) for field, value in _given(numbers)),
    ]
    return [not_found(field) for field, is_there in found if not is_there]


def not_found(field: str) -> Signal:
    """The signal of a value that is not in the text."""
    return Signal("evidence_not_found", _STRENGTH, f"{field}: not in the text.")


def ambiguous(field: str) -> Signal:
    """The signal of an amount that may well mean another one, such as `1,234`."""
    return Signal("ambiguous_amount", 1.0, f"{field}: can be read in more than one way.")


def _given(values: Mapping[str, _ValueT | None]) -> Iterator[tuple[str, _ValueT]]:
    return ((field, value) for field, value in values.items() if value is not None)
