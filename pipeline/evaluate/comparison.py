"""Whether a value is the true one, however either of them is written.

Names are compared by their letters and digits, without case, spaces and punctuation; amounts and
dates by value. Free text has no true value and is not compared.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import JsonValue
from pydantic.fields import FieldInfo

from pipeline.stages.fields.amounts import parse_amount
from pipeline.stages.fields.dates import parse_date

FREE_TEXT = frozenset(
    {
        "summary", "description", "documentation", "cleaned_text", "key_points", "actions",
        "example", "returns", "why",
    }
)  # fmt: skip
"""Fields whose wording is the model's own: no label can say what is right."""
BY_THE_WAY = frozenset({"runner_up", "missing", "defects", "legibility"})
"""Fields that say how sure a result is, or of how much: compared only where they are asked for."""
_ESSENCE = ("amount", "name")
"""What is compared of an object in a list, such as a position of an invoice or a parameter."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMERIC = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})")
_RUN_TOGETHER = re.compile(r"(\d{2})(\d{2})(\d{4})")
_WITH_MONTH = re.compile(r"(\d{1,2})[-/. ]*([a-z]{3})[a-z]*[-/., ]*(\d{4}|\d{2})", re.IGNORECASE)
_CENTURY = 2000


class Kind(StrEnum):
    """How the values of a field are compared."""

    NAME = "letters and digits"
    AMOUNT = "amount; none and 0 are the same"
    DATE = "date; where it is not plain, the day comes first"
    FLAG = "yes or no"
    LIST = "the same items, in any order; of objects their amount or name"


def kind_of(field: FieldInfo) -> Kind:
    """How a field of a result is compared, by its type."""
    annotation = _without_none(field.annotation)
    if annotation is bool:
        return Kind.FLAG
    if annotation is date:
        return Kind.DATE
    if annotation is Decimal:
        return Kind.AMOUNT
    return Kind.LIST if get_origin(annotation) in {list, set, tuple} else Kind.NAME


def same(kind: Kind, truth: JsonValue, found: JsonValue, *, key: str = "") -> bool:
    """Compare a value with the true one.

    Args:
        kind: Of the field.
        truth: From the label file.
        found: From a result, as JSON.
        key: What the label is called. A label of yes or no on a field of several values says
            whether the value is the one that the label is named after.
    """
    if isinstance(truth, bool) and not isinstance(found, bool):
        return truth == (letters(found) == letters(key))
    match kind:
        case Kind.FLAG:
            return truth == found
        case Kind.AMOUNT:
            return _amount(truth) == _amount(found)
        case Kind.DATE:
            return _day(truth) == _day(found) and (truth is None) == (found is None)
        case Kind.LIST:
            return _items(truth) == _items(found)
        case Kind.NAME:
            return letters(truth) == letters(found)


def letters(value: JsonValue) -> str:
    """What is left of a text without case, spaces and punctuation."""
    text = unicodedata.normalize("NFKC", "" if value is None else str(value)).casefold()
    kept = "".join(char for char in text if char.isalnum())
    return kept or text.strip()


def read_date(text: str) -> date | None:
    """Read a date as people write it; None where it is none.

    Of `03/04/2018` the day is the third, unless only the other reading is a date.
    """
    plain = text.strip()
    if (day := parse_date(plain[:10])) is not None:
        return day
    if (found := _WITH_MONTH.fullmatch(plain)) is not None:
        number, month, year = found.groups()
        if month.lower() in _MONTHS:
            return _date(year, _MONTHS.index(month.lower()) + 1, int(number))
        return None
    found = _NUMERIC.fullmatch(plain) or _RUN_TOGETHER.fullmatch(plain)
    if found is None:
        return None
    first, second, year = found.groups()
    return _date(year, int(second), int(first)) or _date(year, int(first), int(second))


def _date(year: str, month: int, day: int) -> date | None:
    whole = int(year) if len(year) == len("2026") else _CENTURY + int(year)
    try:
        return date(whole, month, day)
    except ValueError:
        return None


def _day(value: JsonValue) -> date | str | None:
    if value is None or value == "":
        return None
    return read_date(str(value)) or letters(value)


def _amount(value: JsonValue) -> Decimal | str:
    if value is None or value == "":
        return Decimal(0)
    if isinstance(value, int | float):
        return Decimal(str(value))
    amount = parse_amount(str(value))
    return str(value) if amount is None else amount


def _items(value: JsonValue) -> list[str]:
    items: Sequence[JsonValue] = value if isinstance(value, list) else []
    return sorted(_essence(item) for item in items)


def _essence(item: JsonValue) -> str:
    if isinstance(item, dict):
        if "amount" in item:
            amount = _amount(item["amount"])
            return str(amount.normalize() if isinstance(amount, Decimal) else amount)
        name = next((item[key] for key in _ESSENCE if key in item), str(sorted(item.items())))
        return letters(name)
    return letters(item)


def _without_none(annotation: Any) -> Any:  # noqa: ANN401 - an annotation is anything
    if get_origin(annotation) in {Union, UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _without_none(members[0]) if members else None
    # What is annotated is its first argument.
    if hasattr(annotation, "__metadata__"):
        return _without_none(get_args(annotation)[0])
    return annotation
