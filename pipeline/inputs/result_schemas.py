"""Results in a schema registry's formats: the schema of a record, and its records' bytes by it.

The same types always give the same schema, to the letter, so that a registry knows it again. A
field that may be null has null as its default in Avro, is `optional` in Protobuf and not required
in JSON Schema, which is closed: with it or without it, a record is read by the schema before.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import fastavro
import orjson

from pipeline.inputs.protobuf import ProtobufReader
from pipeline.inputs.registry import Schema, SchemaKind
from pipeline.inputs.result_types import (
    Converters,
    Field,
    Kind,
    ListOf,
    MapOf,
    Record,
    Scalar,
    Type,
)
from pipeline.model.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_NUMBERS = 1 << 18
"""Of Protobuf's fields, which take three bytes each with their type."""
_RESERVED = range(19_000, 20_000)


def _seconds_and_nanos(text: str) -> dict[str, int]:
    seconds, rest = divmod((datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND, 1_000)
    return {"seconds": seconds, "nanos": rest * 1_000_000}


def _json_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return orjson.dumps(value).decode()


class AvroSchema:
    """Records in Avro: `timestamp-millis`, `date`, and unions with null first."""

    kind: SchemaKind = "AVRO"
    prefix = b""
    content_type = b"application/avro"
    _AVRO: Mapping[Kind, Any] = {
        "string": "string",
        "integer": "long",
        "number": "double",
        "boolean": "boolean",
        "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
        "date": {"type": "int", "logicalType": "date"},
        "json": "string",
    }

    def __init__(self, record: Record, namespace: str) -> None:
        self._namespace = namespace
        self._named: set[str] = set()
        schema = {**self._record(record), "namespace": namespace}
        self.text = _json_text(schema)
        self._parsed = fastavro.parse_schema(schema)
        convert = Converters(
            {
                "timestamp": lambda text: (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND,
                "date": lambda text: (date.fromisoformat(text) - _EPOCH_DAY).days,
                "json": _json_text,
            },
            # Named, a branch of a union is not looked for by trying each.
            lambda of, value: (f"{namespace}.{of.name}", value),
        ).of(record)
        assert convert is not None  # noqa: S101 - a record is always converted
        self._convert = convert

    def write(self, document: Mapping[str, Any]) -> bytes:
        file = io.BytesIO()
        fastavro.schemaless_writer(file, self._parsed, self._convert(document))
        return file.getvalue()

    def _record(self, record: Record) -> dict[str, Any]:
        self._named.add(_checked(record.name))
        return {
            "type": "record",
            "name": record.name,
            "fields": [self._field(each) for each in record.fields],
        }

    def _field(self, one: Field) -> dict[str, Any]:
        described: dict[str, Any] = {"name": _checked(one.name), "type": self._type(one.type)}
        if one.is_nullable:
            described |= {"type": ["null", described["type"]], "default": None}
        elif isinstance(one.type, ListOf | MapOf):
            described["default"] = [] if isinstance(one.type, ListOf) else {}
        return described | ({"doc": one.about} if one.about else {})

    def _type(self, one: Type) -> Any:  # noqa: ANN401 - a name or an object
        match one:
            case Scalar(kind):
                return self._AVRO[kind]
            case ListOf(items):
                return {"type": "array", "items": self._type(items)}
            case MapOf(values):
                return {"type": "map", "values": self._type(values)}
            case Record():
                # After its first time a record is named.
                return one.name if one.name in self._named else self._record(one)


class ProtobufSchema:
    """Records in Protobuf: `google.protobuf.Timestamp`; dates are text.

    A field's number is a hash of its name, so that none ever gets that of another, whatever is
    added or taken away. A list or a map is empty where JSON has null.
    """

    kind: SchemaKind = "PROTOBUF"
    prefix = b"\x00"
    content_type = b"application/protobuf"
    _PROTO: Mapping[Kind, str] = {
        "string": "string",
        "integer": "int64",
        "number": "double",
        "boolean": "bool",
        "timestamp": "google.protobuf.Timestamp",
        "date": "string",
        "json": "string",
    }

    def __init__(self, record: Record, namespace: str) -> None:
        messages = [
            f"message {_checked(one.name)} {{\n"
            + "".join(f"  {line}\n" for line in self._fields(one))
            + "}\n"
            for one in _records(record)
        ]
        self.text = "\n".join(
            [
                'syntax = "proto3";',
                f"package {namespace};\n",
                'import "google/protobuf/timestamp.proto";\n',
                *messages,
            ]
        )
        # protoc has the last word on what it means, here as at those who read it.
        self._message = ProtobufReader(Schema(self.kind, self.text)).message((0,))
        # A message is made of dictionaries in C, of JSON in Python, which takes ten times as long.
        convert = Converters({"json": _json_text, "timestamp": _seconds_and_nanos}).of(record)
        assert convert is not None  # noqa: S101 - a record is always converted
        self._convert = convert

    def write(self, document: Mapping[str, Any]) -> bytes:
        written: bytes = self._message(**self._convert(document)).SerializeToString()
        return written

    def _fields(self, record: Record) -> Iterator[str]:
        numbers: dict[int, str] = {}
        for one in record.fields:
            number = _number(_checked(one.name))
            if number in numbers:
                raise UsageError(
                    f"{one.name} and {numbers[number]} of {record.name} cannot both be fields in "
                    "Protobuf: rename one, or choose another output.format."
                )
            numbers[number] = one.name
            if one.about:
                yield f"// {' '.join(one.about.split())}"
            yield f"{self._type(one)} {one.name} = {number};"

    def _type(self, one: Field) -> str:
        match one.type:
            case ListOf(items):
                return f"repeated {self._name(items)}"
            case MapOf(values):
                return f"map<string, {self._name(values)}>"
            case Scalar() | Record() as plain:
                # Messages may always be absent.
                is_optional = one.is_nullable and isinstance(plain, Scalar)
                return f"{'optional ' if is_optional else ''}{self._name(plain)}"

    def _name(self, one: Scalar | Record) -> str:
        return self._PROTO[one.kind] if isinstance(one, Scalar) else one.name


class JsonSchema:
    """Records in JSON as they are, by a closed schema of draft 7, which every registry knows."""

    kind: SchemaKind = "JSON"
    prefix = b""
    content_type = b"application/json"
    _JSON: Mapping[Kind, Any] = {
        "string": {"type": "string"},
        "integer": {"type": "integer"},
        "number": {"type": "number"},
        "boolean": {"type": "boolean"},
        "timestamp": {"type": "string", "format": "date-time"},
        "date": {"type": "string", "format": "date"},
        "json": {},
    }

    def __init__(self, record: Record, namespace: str) -> None:
        definitions = {one.name: self._record(one) for one in _records(record)}
        schema = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": f"{namespace}.{record.name}",
            **definitions.pop(record.name),
        }
        if definitions:
            schema["definitions"] = definitions
        self.text = _json_text(schema)
        convert = Converters({}).of(record)
        assert convert is not None  # noqa: S101 - a record is always converted
        self._convert = convert

    def write(self, document: Mapping[str, Any]) -> bytes:
        return orjson.dumps(self._convert(document))

    def _record(self, record: Record) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {one.name: self._field(one) for one in record.fields},
            "required": [one.name for one in record.fields if not one.is_nullable],
            "additionalProperties": False,
        }

    def _field(self, one: Field) -> dict[str, Any]:
        described = self._type(one.type)
        if one.is_nullable:
            described = {"oneOf": [{"type": "null"}, described]}
        return described | ({"description": one.about} if one.about else {})

    def _type(self, one: Type) -> dict[str, Any]:
        match one:
            case Scalar(kind):
                return dict(self._JSON[kind])
            case ListOf(items):
                return {"type": "array", "items": self._type(items)}
            case MapOf(values):
                return {"type": "object", "additionalProperties": self._type(values)}
            case Record():
                return {"$ref": f"#/definitions/{one.name}"}


def _records(record: Record) -> list[Record]:
    """A record and all that it holds, each once, itself first."""
    found = [record]
    for one in found:
        for each in one.fields:
            match each.type:
                case (Record() as held) | ListOf(Record() as held) | MapOf(Record() as held):
                    if held not in found:
                        found.append(held)
    return found


def _number(name: str) -> int:
    digest = hashlib.sha256(name.encode()).digest()
    number = 1 + int.from_bytes(digest[:4], "big") % (_NUMBERS - 1)
    return number + len(_RESERVED) if number in _RESERVED else number


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a field in Avro or Protobuf: rename it, or choose "
            "`json` or `json_schema` as output.format."
        )
    return name
