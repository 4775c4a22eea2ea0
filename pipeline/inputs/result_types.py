"""What a stage's enriched record is made of, in the few types that every schema language has. Pure.

It comes from the JSON schema of the record's model, and from the settings where a team says itself
what is extracted. What is stable is kept so: a choice is a string, since a new label should be no
new schema; what only some records have may be null.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal, Protocol

import orjson
from pydantic import BaseModel

from pipeline.config import Extracting, StageSettings
from pipeline.config.stages import ExtraField
from pipeline.inputs.registry import SchemaKind
from pipeline.model.records import Enriched

Kind = Literal["string", "integer", "number", "boolean", "timestamp", "date", "json"]
"""`timestamp` and `date` are RFC 3339 in JSON; `json` is any JSON, which others have as its text.
Exact numbers are strings, here as in JSON."""
_KINDS: Mapping[str, Kind] = {
    "string": "string", "integer": "integer", "number": "number", "boolean": "boolean",
}  # fmt: skip
_FORMATS: Mapping[str, Kind] = {"date-time": "timestamp", "date": "date"}
_EXTRACTED: Mapping[str, Kind] = {"integer": "integer", "boolean": "boolean", "date": "date"}


@dataclass(frozen=True, slots=True)
class Scalar:
    kind: Kind


@dataclass(frozen=True, slots=True)
class ListOf:
    items: "Scalar | Record"


@dataclass(frozen=True, slots=True)
class MapOf:
    values: "Scalar | Record"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record; a list or a map is never null."""

    name: str
    type: "Type"
    is_nullable: bool = False
    about: str = ""


@dataclass(eq=False, slots=True)
class Record:
    """Equal to none but itself; may hold itself."""

    name: str
    fields: tuple[Field, ...] = ()


Type = Scalar | ListOf | MapOf | Record
JSON = Scalar("json")
UNWRITABLE = (ValueError, TypeError, OverflowError, LookupError, AttributeError)
"""What writers raise where a document is not of the schema; the text may quote it."""


def envelope_type(result_model: type[BaseModel], settings: StageSettings) -> Record:
    """The enriched record of a stage, its own further fields one by one."""
    model: type[BaseModel] = Enriched[result_model]  # type: ignore[valid-type]
    schema = model.model_json_schema(mode="serialization")
    reader = _Reader(schema.get("$defs", {}))
    record = reader.record("Enriched", schema)
    section: object = settings
    extracted = section.fields if isinstance(section, Extracting) else []
    for each in record.fields:
        if each.name == "result" and isinstance(each.type, Record):
            each.type.fields = tuple(_with_extracted(each.type.fields, extracted))
    return record


def _with_extracted(fields: Sequence[Field], extracted: Sequence[ExtraField]) -> Iterator[Field]:
    for each in fields:
        if each.name != "fields":
            yield each
        elif extracted:
            own = Record("Fields", tuple(_extracted(one) for one in extracted))
            yield Field("fields", own, is_nullable=True, about=each.about)


def _extracted(own: ExtraField) -> Field:
    if own.type == "list":
        return Field(own.name, ListOf(Scalar("string")), about=own.description)
    kind = _EXTRACTED.get(own.type, "string")
    return Field(own.name, Scalar(kind), is_nullable=True, about=own.description)


class _Reader:
    """Reads the JSON schemas that pydantic writes."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._records: dict[str, Record] = {}

    def record(self, name: str, schema: Mapping[str, Any]) -> Record:
        if (found := self._records.get(name)) is None:
            # It is there before its fields are, since one of them may hold it.
            found = self._records[name] = Record(name)
            found.fields = tuple(
                self._field(name, each, about, schema.get("required", ()))
                for each, about in schema["properties"].items()
            )
        return found

    def _field(
        self, owner: str, name: str, schema: Mapping[str, Any], required: Sequence[str]
    ) -> Field:
        about = schema.get("description", "")
        found, is_nullable = self._type(f"{owner}_{name}", schema)
        if isinstance(found, ListOf | MapOf):
            is_nullable = False
        elif name not in required and schema.get("default", "") is None:
            is_nullable = True
        return Field(name, found, is_nullable, about)

    def _type(self, name: str, schema: Mapping[str, Any]) -> tuple[Type, bool]:
        """The type, and whether it may be null; `name` is for a record that has none."""
        if reference := schema.get("$ref"):
            defined = reference.removeprefix("#/$defs/")
            target = self._definitions[defined]
            if "properties" not in target:
                return self._type(name, target)
            return self.record(re.sub(r"\W+", "_", defined).strip("_"), target), False
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            others = [each for each in options if each.get("type") != "null"]
            if len(others) == 1:
                return self._type(name, others[0])[0], len(others) < len(options)
            return JSON, False
        return self._plain(name, schema), False

    def _plain(self, name: str, schema: Mapping[str, Any]) -> Type:
        found: Type = JSON
        match schema:
            case {"type": "object", "properties": _}:
                found = self.record(name, schema)
            case {"type": "object"}:
                found = MapOf(self._inner(name, schema.get("additionalProperties")))
            case {"type": "array", "items": items}:
                inner = self._inner(name, items)
                found = JSON if inner is JSON else ListOf(inner)
            case {"type": "string", "format": str() as form} if form in _FORMATS:
                found = Scalar(_FORMATS[form])
            case {"type": str() as kind} if kind in _KINDS:
                found = Scalar(_KINDS[kind])
        return found

    def _inner(self, name: str, schema: object) -> Scalar | Record:
        """What lists and maps hold; any JSON where that may be null, or is a list or map itself."""
        if not isinstance(schema, dict):
            return JSON
        found, is_nullable = self._type(name, schema)
        return JSON if is_nullable or isinstance(found, ListOf | MapOf) else found


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the flat record, and where the enriched record has its value."""

    field: Field
    path: tuple[str, ...] = dataclass_field(repr=False)
    is_text: bool = False  # of JSON: a list or a map

    def value_in(self, document: Any) -> Any:  # noqa: ANN401 - JSON
        for step in self.path:
            if not isinstance(document, dict):
                return None
            document = document.get(step)
        return orjson.dumps(document).decode() if self.is_text else document


def _fixed(name: str, *path: str, kind: Kind = "string", may_be_null: bool = False) -> Column:
    return Column(Field(name, Scalar(kind), may_be_null), path)


_BEFORE = (_fixed("event_id", "event_id"),)
_AFTER = (
    _fixed("decided_by", "decided_by"),
    _fixed("confidence", "confidence", kind="number", may_be_null=True),
    _fixed("cost_usd", "usage", "cost_usd", may_be_null=True),
    _fixed("event_timestamp", "source", "timestamp", kind="timestamp"),
    _fixed("received_at", "timing", "received_at", kind="timestamp"),
    _fixed("enriched_at", "timing", "enriched_at", kind="timestamp"),
)


def columns(envelope: Record) -> tuple[Column, ...]:
    """The flat record: the result's values by their joined names, between columns that all have.

    A value of the result that is called like one of these gets `result_` before its name.
    """
    taken = {each.field.name for each in (*_BEFORE, *_AFTER)}
    found: list[Column] = []
    for each in envelope.fields:
        if each.name == "result":
            found += _leaves(each, ("result",), (), taken)
    return (*_BEFORE, *found, *_AFTER)


def _leaves(
    one: Field, path: tuple[str, ...], within: tuple[Record, ...], taken: set[str]
) -> Iterator[Column]:
    if isinstance(one.type, Record) and one.type not in within:
        for each in one.type.fields:
            yield from _leaves(each, (*path, each.name), (*within, one.type), taken)
        return
    name = "_".join(path[1:]) or "result"
    while name in taken:
        name = f"result_{name}"
    taken.add(name)
    is_text = not isinstance(one.type, Scalar) or one.type is JSON
    kind = Scalar("string") if is_text else one.type
    # Whatever a team's settings ask for next, earlier rows are without it.
    yield Column(Field(name, kind, is_nullable=True, about=one.about), path, is_text)


def row_type(of: Sequence[Column]) -> Record:
    return Record("Row", tuple(each.field for each in of))


def row(of: Sequence[Column], document: Mapping[str, Any]) -> dict[str, Any]:
    """The flat record of an enriched one, both as JSON."""
    return {each.field.name: each.value_in(document) for each in of}


Convert = Callable[[Any], Any]


class Converters:
    """Makes of a record's JSON what a library writes by a schema: `scalar` says how, of each kind.

    Names that the record's type does not have are left out; `nullable_record` wraps a record where
    there might have been none.
    """

    def __init__(
        self,
        scalar: Mapping[Kind, Convert],
        nullable_record: Callable[[Record, Any], Any] = lambda _, value: value,
    ) -> None:
        self._scalar = scalar
        self._nullable_record = nullable_record
        self._records: dict[Record, list[tuple[str, Convert | None]]] = {}

    def of(self, one: Type) -> Convert | None:
        """What converts a value that is not null; None where nothing has to be done."""
        match one:
            case Scalar(kind):
                return self._scalar.get(kind)
            case ListOf(items):
                each = self.of(items)
                return None if each is None else lambda value: [each(item) for item in value]
            case MapOf(values):
                of = self.of(values)
                return of and (lambda value: {name: of(item) for name, item in value.items()})
            case Record():
                return self._of_record(one)

    def _of_record(self, one: Record) -> Convert:
        steps = self._records.get(one)
        if steps is None:
            steps = self._records[one] = []
            for each in one.fields:
                convert = self.of(each.type)
                if isinstance(each.type, ListOf | MapOf):
                    convert = _or_empty(list if isinstance(each.type, ListOf) else dict, convert)
                elif each.is_nullable:
                    convert = self._nullable(each.type, convert)
                steps.append((each.name, convert))

        def convert_record(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
            return {
                name: value.get(name) if convert is None else convert(value.get(name))
                for name, convert in steps
            }

        return convert_record

    def _nullable(self, one: Type, convert: Convert | None) -> Convert | None:
        if isinstance(one, Record):
            wrap, inner = self._nullable_record, convert
            assert inner is not None  # noqa: S101 - a record is always converted
            return lambda value: None if value is None else wrap(one, inner(value))
        return convert and (lambda value: None if value is None else convert(value))


def _or_empty(kind: type, convert: Convert | None) -> Convert:
    """An answer of before a field was set does not have it, and null a list or map never is."""
    return lambda value: kind() if value is None else value if convert is None else convert(value)


class ResultSchema(Protocol):
    """How results are written in one of a registry's formats."""

    kind: SchemaKind
    text: str
    """As it is registered."""
    prefix: bytes
    """What follows the schema's id in each record."""
    content_type: bytes

    def write(self, document: Mapping[str, Any]) -> bytes:
        """The bytes of a record, given as JSON; one of `UNWRITABLE` if it is not of the schema."""
