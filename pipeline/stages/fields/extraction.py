"""Further values that a team wants extracted: asked, read and checked beside what a stage asks.

An answer holds them as strings, empty where the content does not say: nullable fields would use
up the unions that the API takes, and no digit is lost to a float.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.config import ExtraField
from pipeline.model.questions import Signal
from pipeline.stages.checks.evidence import quotes_found
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import stated
from pipeline.stages.checks.values import ambiguous, not_found
from pipeline.stages.fields.amounts import format_amount, read_amount
from pipeline.stages.fields.dates import is_plausible, parse_date
from pipeline.stages.stage import Answer, Section

AnswerT = TypeVar("AnswerT", bound=Answer)
Value = str | int | bool | list[str] | None
"""As it is published: numbers and dates as strings, null where the content does not say."""
Extracted = Annotated[
    dict[str, Value],
    Field(description="Further values that the settings name; null where it does not say."),
]
FIELDS = "fields"
_INTRODUCTION = """\
`fields` holds what is listed here. Where the content does not say it, write an empty string, or \
an empty list; never guess, and never take a value that belongs to something else."""
_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "text": "In the content's own words.",
        "number": "Plain digits with a point before the decimals, without unit or grouping.",
        "integer": "A whole number, plain digits.",
        "boolean": "yes or no.",
        "date": "YYYY-MM-DD.",
        "list": "Every one of them, in the order of the content.",
    }
)
_COPIED = "Copied exactly, letter for letter."
_COPIES = frozenset({"text", "list"})
_NUMBERS = frozenset({"number", "integer"})


class FieldExtractor:
    """The further fields of a stage.

    Args:
        fields: As the settings have them; there may be none.
    """

    def __init__(self, fields: Sequence[ExtraField]) -> None:
        self._fields = tuple(fields)
        types: dict[str, Any] = {
            field.name: (_type_of(field), Field(description=" ".join(field.description.split())))
            for field in fields
        }
        self._model: type[BaseModel] = create_model(
            "FurtherFields", __config__=ConfigDict(extra="forbid", frozen=True), **types
        )

    @property
    def sections(self) -> tuple[Section, ...]:
        """What the instructions say of them; nothing where there are none."""
        if not self._fields:
            return ()
        lines = "\n".join(_line_of(field) for field in self._fields)
        return (Section("Further fields", f"{_INTRODUCTION}\n{lines}"),)

    def extended(self, model: type[AnswerT]) -> type[AnswerT]:
        """The answer's model with a property for them; the model itself where there are none."""
        if not self._fields:
            return model
        field: Any = (self._model, Field(description="Further values of the content."))
        extended: type[AnswerT] = create_model(model.__name__, __base__=model, **{FIELDS: field})
        return extended

    def given(self, answer: Answer) -> dict[str, Any]:
        """What an answer has for them, by property, to make another answer of."""
        return {FIELDS: getattr(answer, FIELDS)} if self._fields else {}

    def read(self, answer: Answer) -> dict[str, Value]:
        """What is published; each field is there, and null where nothing usable was given."""
        said = self._said(answer)
        return {field.name: _value(field, said[field.name]) for field in self._fields}

    def texts(self, answer: Answer) -> list[str]:
        """All that was answered, as texts."""
        return [text for texts in self._said(answer).values() for text in texts]

    def lines(self, answer: Answer) -> list[str]:
        """What an answer has for them, a line a field; none for what it does not say."""
        return [f"{name}: {'; '.join(said)}" for name, said in self._said(answer).items() if said]

    def signals(self, answer: Answer, *texts: str | None) -> list[Signal]:
        """Check that required ones are there, that they are what they should be, and in the text.

        Texts and lists may differ in what a copy loses; numbers and dates are found in any form.

        Args:
            answer: To a question with these fields.
            texts: Of the event; none where it is a file.
        """
        said = self._said(answer)
        found = [signal for field in self._fields for signal in _own(field, said[field.name])]
        text = "\n".join(text for text in texts if text)
        index = TextIndex(text) if text else None
        found += [
            ambiguous(f"{FIELDS}.{field.name}")
            for field in self._fields
            if field.type in _NUMBERS and not _is_plain(field, said[field.name], index)
        ]
        if index is not None:
            found += self._evidence(said, text, index)
        return found

    def _evidence(
        self, said: Mapping[str, Sequence[str]], text: str, index: TextIndex
    ) -> list[Signal]:
        quoted = [field for field in self._fields if field.quoted]
        copies = [value for field in quoted if field.type in _COPIES for value in said[field.name]]
        copied = {
            value for value, found in zip(copies, quotes_found(copies, text), strict=True) if found
        }
        return [
            not_found(f"{FIELDS}.{field.name}")
            for field in quoted
            if any(
                value not in copied and not _is_there(field, value, index)
                for value in said[field.name]
            )
        ]

    def _said(self, answer: Answer) -> dict[str, list[str]]:
        values = getattr(answer, FIELDS, None)
        given = {field.name: getattr(values, field.name, "") for field in self._fields}
        return {
            name: [text for each in _listed(value) if (text := stated(each)) is not None]
            for name, value in given.items()
        }


def _listed(value: str | list[str]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value


def _type_of(field: ExtraField) -> Any:  # noqa: ANN401 - a type made at run time
    match field.type:
        case "boolean":
            return Literal["yes", "no", ""]
        case "choice":
            return Literal[(*(choice.strip() for choice in field.choices), "")]
        case "list":
            return list[str]
        case _:
            return str


def _line_of(field: ExtraField) -> str:
    hint = f"One of: {', '.join(field.choices)}." if field.choices else _HINTS[field.type]
    if field.quoted and field.type in {"text", "list"}:
        hint = _COPIED if field.type == "text" else f"{hint} {_COPIED}"
    return f"- `{field.name}`: {' '.join(field.description.split())} {hint}"


def _value(field: ExtraField, said: Sequence[str]) -> Value:
    if field.type == "list":
        return list(dict.fromkeys(said))
    return _READERS[field.type](said[0]) if said else None


def _own(field: ExtraField, said: Sequence[str]) -> list[Signal]:
    if not said:
        lacks = field.required
        return [Signal("missing_field", 0.8, f"fields.{field.name}: empty.")] if lacks else []
    if field.type != "list" and _READERS[field.type](said[0]) is None:
        return [Signal("implausible", 0.9, f"fields.{field.name}: not a {field.type}.")]
    return []


def _is_there(field: ExtraField, value: str, index: TextIndex) -> bool:
    """Whether a value is in the text in another form than its own."""
    if field.type in _COPIES:
        has_digits = any(char.isdigit() for char in value)
        return index.has_identifier(value) if has_digits else index.has_name(value)
    if field.type in _NUMBERS:
        numbers = read_amount(value, counts=True)
        return not numbers or any(index.has_number(number) for number in numbers)
    if field.type == "date" and (day := parse_date(value)) is not None:
        return index.has_date(day) or index.has_day_without_year(day)
    return True


def _is_plain(field: ExtraField, said: Sequence[str], index: TextIndex | None) -> bool:
    """Whether a number can mean nothing but what is published, as far as the text shows."""
    numbers = dict.fromkeys(read_amount(said[0], counts=True)) if said else ()
    readings = [each for each in numbers if field.type == "number" or _is_whole(each)]
    if len(readings) <= 1:
        return True
    first, *others = (index is not None and index.supports(each) for each in readings)
    return first and not any(others)


def _number(text: str) -> str | None:
    numbers = read_amount(text, counts=True)
    return format_amount(numbers[0]) if numbers else None


def _integer(text: str) -> int | None:
    """A whole number; of the readings of `1.234` the decimal one is none."""
    whole = (int(number) for number in read_amount(text, counts=True) if _is_whole(number))
    return next(whole, None)


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _boolean(text: str) -> bool | None:
    return {"yes": True, "no": False}.get(text.casefold())


def _date(text: str) -> str | None:
    day = parse_date(text)
    return day.isoformat() if day is not None and is_plausible(day) else None


_READERS: Mapping[str, Callable[[str], Value]] = MappingProxyType(
    {
        "text": str.strip,
        "number": _number,
        "integer": _integer,
        "boolean": _boolean,
        "date": _date,
        "choice": str.strip,
    }
)
