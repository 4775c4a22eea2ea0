"""When an answer counts as right: which fields are compared with which labels, and how.

Names are compared by their letters and digits, without case, spaces and punctuation; amounts and
dates by value. Free text has no true value and is not compared.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from pipeline.model.errors import UsageError
from pipeline.stages.fields.amounts import parse_amount
from pipeline.stages.fields.dates import parse_date

ALIASES: Mapping[str, str] = {
    "number": "invoice_number",
    "date": "issue_date",
    "total": "gross",
    "grand_total": "gross",
    "net_total": "net",
    "tax_total": "tax",
    "allowance_total": "allowances",
    "charge_total": "charges",
    "moderation": "needs_moderation",
    "legible": "legibility",
}
"""Names that labels go by, and the fields of results that they mean."""
LABELS = ("intent", "queue", "document_type", "agent", "label", "category")
"""Fields that put an event into a class: the first of them that is scored is the label."""
FREE_TEXT = frozenset(
    {
        "summary", "description", "documentation", "cleaned_text", "key_points", "actions",
        "example", "returns", "why",
    }
)  # fmt: skip
"""Fields whose wording is the model's own: no label can say what is right."""
INCIDENTAL = frozenset({"runner_up", "missing", "defects", "legibility"})
"""Fields that say how sure a result is, or of how much: compared only where they are asked for."""
_MONTH = re.compile(r"(\d{1,2})[-/. ]*([a-z]{3})[a-z]*[-/., ]*(\d{4}|\d{2})", re.IGNORECASE)
_NUMERIC = re.compile(r"(\d{1,2})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})|(\d{2})(\d{2})(\d{4})")


class Kind(StrEnum):
    """How the values of a field are compared; the value is what the report says of it."""

    NAME = "letters and digits"
    AMOUNT = "amount; none and 0 are the same"
    DATE = "date; where it is not plain, the day comes first"
    FLAG = "yes or no"
    LIST = "the same items, in any order; of objects their amount or name"


@dataclass(frozen=True, slots=True)
class Truth:
    """A field of the result, and the key under which the label file has its true value."""

    field: str
    key: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scoring:
    truths: tuple[Truth, ...]  # what is compared
    label: str | None  # the field that puts an event into a class; None where none does
    deciding: tuple[str, ...]  # right when these are: the label, or the stage's own, or all
    ignored: tuple[str, ...] = ()  # keys of the label file that nothing is compared with

    @property
    def rule(self) -> str:
        """In a sentence, when an answer counts as right."""
        *most, last = self.deciding
        if not most:
            return f"An answer counts as right when its {last} is."
        return f"An answer counts as right when its {', '.join(most)} and {last} are."

    def of(self, gold: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The true values of one event, by field; a field that has no label is not there."""
        return {truth.field: gold[truth.key] for truth in self.truths if truth.key in gold}

    def compare(
        self, truth: Mapping[str, JsonValue], result: Mapping[str, JsonValue]
    ) -> dict[str, bool]:
        """Which of an event's labelled fields are right in a result."""
        return {
            each.field: same(each.kind, truth[each.field], result.get(each.field), key=each.key)
            for each in self.truths
            if each.field in truth
        }

    def is_right(self, fields: Mapping[str, bool]) -> bool:
        # An event without a label for any of what decides is judged by what it has.
        judged = [fields[name] for name in self.deciding if name in fields] or fields.values()
        return bool(judged) and all(judged)


def scoring_of(
    result: type[BaseModel],
    keys: Iterable[str],
    *,
    label: str | None = None,
    fields: Sequence[str] = (),
    deciding: Sequence[str] = (),
) -> Scoring:
    """What can be compared: what is asked for as `KEY` or `FIELD=KEY`, else all that has a label.

    `label` is the class of an event, `fields` are further ones, `deciding` is what the stage says
    decides, unless something is asked for. Raises `UsageError` where there is no such field or key,
    or nothing to compare.
    """
    known = tuple(dict.fromkeys(keys))
    asked = [_asked(each, result, known) for each in ([label] if label else []) + list(fields)]
    found = asked or [
        Truth(name, key, kind_of(result.model_fields[name]))
        for key in known
        if (name := _field_of(key, result)) is not None
        and name not in FREE_TEXT
        and (name not in INCIDENTAL or key in ALIASES)
    ]
    by_field = {truth.field: truth for truth in found}
    if not by_field:
        raise UsageError(
            "There is nothing to compare: no label is about a field of the result "
            f"({', '.join(sorted(set(result.model_fields) - FREE_TEXT))}). "
            "Say which is which with --label FIELD=KEY or --field FIELD=KEY."
        )
    chosen = asked[0].field if label else next((each for each in LABELS if each in by_field), None)
    named = [] if asked else [name for name in deciding if name in by_field]
    used = {truth.key for truth in by_field.values()}
    return Scoring(
        truths=tuple(by_field.values()),
        label=chosen,
        deciding=(chosen,) if chosen is not None else tuple(named or by_field),
        ignored=tuple(key for key in known if key not in used),
    )


def _asked(text: str, result: type[BaseModel], known: Sequence[str]) -> Truth:
    name, _, key = text.rpartition("=")
    class_field = next((each for each in LABELS if each in result.model_fields), "")
    field_name = name or _field_of(key, result) or class_field
    if key not in known:
        raise UsageError(f"No line has a label {key!r}; there are {', '.join(known)}.")
    if field_name not in result.model_fields:
        raise UsageError(
            f"The result has no field {field_name!r}; it has {', '.join(result.model_fields)}."
        )
    if field_name in FREE_TEXT:
        raise UsageError(f"{field_name} is free text: no label can say what is right.")
    return Truth(field_name, key, kind_of(result.model_fields[field_name]))


def _field_of(key: str, result: type[BaseModel]) -> str | None:
    name = key if key in result.model_fields else ALIASES.get(key, "")
    return name if name in result.model_fields else None


def kind_of(field: FieldInfo) -> Kind:
    """How a field of a result is compared, by its type."""
    annotation: Any = field.annotation
    while True:
        if get_origin(annotation) in {Union, UnionType}:
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        elif hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
        else:
            break
    if annotation is bool:
        return Kind.FLAG
    if annotation is date:
        return Kind.DATE
    if annotation is Decimal:
        return Kind.AMOUNT
    return Kind.LIST if get_origin(annotation) in {list, set, tuple} else Kind.NAME


def same(kind: Kind, truth: JsonValue, found: JsonValue, *, key: str = "") -> bool:
    """Compare a value with the true one.

    A label of yes or no on a field of several values says whether the value is the one that the
    label is named after: its `key`.
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
    """Read a date as people write it; None where it is not one.

    Of `03/04/2018` the day is the third, unless only the other reading is a date.
    """
    plain = text.strip()
    if (day := parse_date(plain[:10])) is not None:
        return day
    found, forms = _MONTH.fullmatch(plain), ["%d %b %Y"]
    if found is None:
        found, forms = _NUMERIC.fullmatch(plain), ["%d %m %Y", "%m %d %Y"]
    if found is None:
        return None
    *day_and_month, year = filter(None, found.groups())
    written = " ".join([*day_and_month, f"20{year}"[-4:]])
    for form in forms:
        with suppress(ValueError):
            return datetime.strptime(written, form).date()  # noqa: DTZ007 - a day has no zone
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
    return sorted(_essence(item) for item in value) if isinstance(value, list) else []


def _essence(item: JsonValue) -> str:
    """What is compared of an item, such as a position of an invoice or a parameter."""
    if not isinstance(item, dict):
        return letters(item)
    if "amount" in item:
        amount = _amount(item["amount"])
        return str(amount.normalize() if isinstance(amount, Decimal) else amount)
    return letters(item["name"] if "name" in item else str(sorted(item.items())))
