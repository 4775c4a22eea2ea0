"""Further values that a team wants extracted: asked, read and checked beside what a stage asks.

An answer holds them as strings, empty where the content does not say: nullable fields would use
up the unions that the API takes, and no digit is lost to a float.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
)

from pipeline.config import ExtraField
from pipeline.model.questions import Signal
from pipeline.model.records import Evidence
from pipeline.stages.checks.evidence import ambiguous, not_found, quotes_found
from pipeline.stages.checks.places import Places, Span, copied_from
from pipeline.stages.checks.text_index import TextIndex
from pipeline.stages.checks.text_quality import stated
from pipeline.stages.fields.amounts import format_amount, read_amount
from pipeline.stages.fields.asking import Answer, AnswerT, Section
from pipeline.stages.fields.dates import is_plausible, parse_date

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
_HINTS: Mapping[str, str] = {
    "text": "In the content's own words.",
    "number": "Plain digits with a point before the decimals, without unit or grouping.",
    "integer": "A whole number, plain digits.",
    "boolean": "yes or no.",
    "date": "YYYY-MM-DD.",
    "list": "Every one of them, in the order of the content.",
}
_COPIED = "Copied exactly, letter for letter."
_COPIES = frozenset({"text", "list"})
_NUMBERS = frozenset({"number", "integer"})
_TOKENS, _LIST_TOKENS = 120, 500
_DecimalString = Annotated[
    Decimal,
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string"}),
]


class FieldExtractor:
    """The further fields of a stage, as the settings have them; there may be none.

    `within` is what their names begin with as fields of the stage's result.
    """

    def __init__(self, fields: Sequence[ExtraField], *, within: str = f"{FIELDS}.") -> None:
        self._fields = tuple(fields)
        self._within = within
        types: dict[str, Any] = {
            field.name: (_type_of(field), Field(description=" ".join(field.description.split())))
            for field in fields
        }
        self._model: type[BaseModel] = create_model(
            "FurtherFields", __config__=ConfigDict(extra="forbid", frozen=True), **types
        )

    @property
    def sections(self) -> tuple[Section, ...]:
        if not self._fields:
            return ()
        lines = [_INTRODUCTION]
        for field in self._fields:
            hint = f"One of: {', '.join(field.choices)}." if field.choices else _HINTS[field.type]
            if field.quoted and field.type in _COPIES:
                hint = _COPIED if field.type == "text" else f"{hint} {_COPIED}"
            lines.append(f"- `{field.name}`: {' '.join(field.description.split())} {hint}")
        return (Section("Further fields", "\n".join(lines)),)

    @property
    def max_output_tokens(self) -> int:
        """What all of them may take of an answer."""
        return sum(_LIST_TOKENS if field.type == "list" else _TOKENS for field in self._fields)

    def result_model(self, name: str, about: str) -> type[BaseModel]:
        """A result that is these fields and nothing else, each null where it is not known."""
        types: dict[str, Any] = {
            field.name: (_result_type(field), Field(description=field.description))
            for field in self._fields
        }
        return create_model(
            name, __config__=ConfigDict(extra="forbid", frozen=True), __doc__=about, **types
        )

    def extended(self, model: type[AnswerT]) -> type[AnswerT]:
        """The answer's model with a property for them; or the model itself without any."""
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
        if not self._fields:
            return {}
        said = self._said(answer)
        return {
            field.name: list(dict.fromkeys(said[field.name]))
            if field.type == "list"
            else next((_value(field, text) for text in said[field.name]), None)
            for field in self._fields
        }

    def texts(self, answer: Answer) -> list[str]:
        """All that was answered, as texts."""
        return [text for texts in self._said(answer).values() for text in texts]

    def lines(self, answer: Answer) -> list[str]:
        """What an answer has for them, a line a field; none for what it does not say."""
        return [f"{name}: {'; '.join(said)}" for name, said in self._said(answer).items() if said]

    def signals(self, answer: Answer, *texts: str | None) -> list[Signal]:
        """Check that required values are there, that each is what it should be, and in the texts.

        Texts and lists may differ in what a copy loses; numbers and dates are found in any form.
        There are no texts where the event is a file.
        """
        if not self._fields:
            return []
        said = self._said(answer)
        found: list[Signal] = []
        for field in self._fields:
            name, values = f"{FIELDS}.{field.name}", said[field.name]
            about = (self._within + field.name,)
            if not values:
                if field.required:
                    found.append(Signal("missing_field", 0.8, f"{name}: empty.", about))
            elif field.type != "list" and _value(field, values[0]) is None:
                found.append(Signal("implausible", 0.9, f"{name}: not a {field.type}.", about))
        text = "\n".join(text for text in texts if text)
        index = TextIndex(text) if text else None
        found += [
            ambiguous(f"{FIELDS}.{field.name}", self._within + field.name)
            for field in self._fields
            if field.type in _NUMBERS and not _is_plain(field, said[field.name], index)
        ]
        if index is None:
            return found
        quoted = [field for field in self._fields if field.quoted]
        copies = [value for field in quoted if field.type in _COPIES for value in said[field.name]]
        in_text = zip(copies, quotes_found(copies, text), strict=True)
        copied = {value for value, is_there in in_text if is_there}
        for field in quoted:
            others = (value for value in said[field.name] if value not in copied)
            if not all(_is_there(field, value, index) for value in others):
                found.append(not_found(f"{FIELDS}.{field.name}", self._within + field.name))
        return found

    def evidence(
        self, answer: Answer, *texts: Places, within: str = f"/{FIELDS}"
    ) -> Iterator[Evidence]:
        """Where the texts hold what is published; `within` is where a result has the fields."""
        published = self.read(answer)
        for field in self._fields:
            pointer, value = f"{within}/{field.name}", published[field.name]
            if isinstance(value, list):
                for at, each in enumerate(value):
                    yield from copied_from(texts, f"{pointer}/{at}", each)
                continue
            found = [(text, spans) for text in texts if (spans := _places(field, value, text))]
            if len(found) == 1:
                [(text, spans)] = found
                beside = text.alike(field.name) if len(spans) > 1 else []
                yield from text.evidence(pointer, spans, *beside)

    def _said(self, answer: Answer) -> dict[str, list[str]]:
        values = getattr(answer, FIELDS, None)
        said = {}
        for field in self._fields:
            value: str | list[str] = getattr(values, field.name, "")
            every = map(stated, [value] if isinstance(value, str) else value)
            said[field.name] = [text for text in every if text is not None]
        return said


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


def _result_type(field: ExtraField) -> Any:  # noqa: ANN401 - a type made at run time
    match field.type:
        case "number":
            return _DecimalString | None
        case "integer":
            return int | None
        case "boolean":
            return bool | None
        case "date":
            return date | None
        case "list":
            return list[str]
        case _:
            return str | None


def _value(field: ExtraField, text: str) -> Value:
    """What is published for a field that is not a list; None where the text is no such value."""
    match field.type:
        case "number":
            numbers = read_amount(text, counts=True)
            return format_amount(numbers[0]) if numbers else None
        case "integer":
            # Of the readings of `1.234` the decimal one is not whole.
            whole = (int(each) for each in read_amount(text, counts=True) if each == int(each))
            return next(whole, None)
        case "boolean":
            return {"yes": True, "no": False}.get(text.casefold())
        case "date":
            day = parse_date(text)
            return day.isoformat() if day is not None and is_plausible(day) else None
        case _:
            return text.strip()


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


def _places(field: ExtraField, value: object, text: Places) -> list[Span]:
    """Where a text has a published value; nowhere for what was chosen, or is not known."""
    if field.type == "text" and isinstance(value, str):
        return text.of_copy(value)
    if field.type in _NUMBERS and isinstance(value, str | int):
        return text.of_number(Decimal(value))
    if field.type == "date" and isinstance(value, str):
        return text.of_date(date.fromisoformat(value))
    return []


def _is_plain(field: ExtraField, said: Sequence[str], index: TextIndex | None) -> bool:
    """Whether a number can mean nothing but what is published, as far as the text shows."""
    numbers = dict.fromkeys(read_amount(said[0], counts=True)) if said else ()
    readings = [each for each in numbers if field.type == "number" or each == int(each)]
    if len(readings) <= 1:
        return True
    first, *others = (index is not None and index.supports(each) for each in readings)
    return first and not any(others)
