"""Avro: what a record's bytes mean by its schema, and results written by a schema of their own.

fastavro reads and writes, which the extra `registry` installs. What it trusts is held to bounds
first: its reader in C goes as deep as a record says, past the end of the stack, and makes as many
items of an array as a record claims where an item takes no bytes.
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
from fastavro import _read_py
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

from pipeline.inputs.debezium import SEMANTIC_TYPES
from pipeline.inputs.registry import Schema
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import MAX_DEPTH
from pipeline.model.records import DeadLetterReason

MAX_READS = 400_000
"""Reads of a number or of bytes in one record: about eight for each of the names and values that a
JSON record may have."""
SMALL_BYTES = 100_000
"""Of a record that cannot have as many."""
_SMALL_IN_PYTHON = 5_000
MAX_FREE = 20_000
"""Values of one record that take no bytes: of more, its schema alone is out of all proportion."""
_USUALLY_FREE = 8
"""Of one item of a list: itself, and a few records within it."""
MAX_DECIMAL_BYTES = 512
"""More than a thousand digits, which take a millisecond to write out."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local timestamps have no zone, others get theirs
_DIGITS = Context(prec=2_000)
_OURS = "json-"
"""Before the name of a logical type: it is then read as the JSON that it becomes."""
_NOT_A_SCHEMA = (
    SchemaParseException, UnknownType, ValueError, LookupError, TypeError, RecursionError,
)  # fmt: skip
_NOT_A_RECORD = (EOFError, LookupError, ValueError, OverflowError, TypeError, struct.error)
_CONTAINERS = {"array": "items", "map": "values"}


class TooLarge(ValueError):
    """A record would become more names and values than an event may have."""


class AvroReader:
    """Reads the records of one schema; made outside the event loop, as large schemas take long.

    Those of up to `small_bytes` are read within milliseconds.

    Raises:
        InvalidEvent: The schema cannot be read, or lets a few bytes become any number of items.
    """

    def __init__(self, schema: Schema) -> None:
        named: dict[str, Any] = {}
        try:
            for reference in schema.references.values():
                fastavro.parse_schema(_as_json(json.loads(reference.text)), named_schemas=named)
            self._schema = fastavro.parse_schema(
                _as_json(json.loads(schema.text)), named_schemas=named
            )
            walk = _Walk(named)
            walk.through(self._schema)
            free = walk.free(self._schema)
        except _NOT_A_SCHEMA as error:
            raise _invalid("its schema in the registry is not Avro") from error
        if walk.has_empty_items:
            raise _invalid("its schema has an array of items that take no bytes: leave it out")
        if free > MAX_FREE or walk.most_free > MAX_FREE:
            raise _invalid("its schema makes of any record more values than an event may have")
        # What takes no bytes is not read, and so is not counted either.
        share = 1 + walk.most_free // _USUALLY_FREE
        self._uncounted, self._max_reads = SMALL_BYTES // share, MAX_READS // share
        # In Python the depth is bounded; in C a record could end the process.
        self._is_recursive = walk.is_recursive
        self.small_bytes = (_SMALL_IN_PYTHON if walk.is_recursive else SMALL_BYTES) // share
        reader = _read_py if walk.is_recursive else fastavro
        self._read: Callable[[Any, Any, None], Any] = reader.schemaless_reader

    def __call__(self, payload: bytes | memoryview) -> Any:  # noqa: ANN401 - what the schema says
        """What the bytes mean, as JSON is: logical types as text, bytes as they are.

        Raises:
            InvalidEvent: They are not of this schema, or too many values.
        """
        file: Any = BytesIO(payload)
        if len(payload) > self._uncounted:
            file = _Counted(file, self._max_reads)
        try:
            value = self._read(file, self._schema, None)
            left = len(file.read(1))
        except TooLarge as error:
            raise InvalidEvent(
                DeadLetterReason.TOO_LARGE, "It has more names and values than an event may have."
            ) from error
        except RecursionError as error:
            raise _too_deep() from error
        except _NOT_A_RECORD as error:
            raise _invalid("its bytes are not of the schema that it names") from error
        if left:
            raise _invalid("bytes are left after the end of what its schema describes")
        if self._is_recursive and _is_deeper(value, MAX_DEPTH):
            raise _too_deep()
        return value


def _invalid(why: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, f"The record is not readable Avro: {why}.")


def _too_deep() -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.TOO_LARGE, "It is nested too deep to be read.")


def _is_deeper(value: object, levels: int) -> bool:
    match value:
        case dict():
            inner: Iterable[object] = value.values()
        case list():
            inner = value
        case _:
            return False
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


class _Counted:
    """A file of which so many reads are allowed; each value takes one at least, as does a count."""

    def __init__(self, file: BytesIO, most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise TooLarge
        return self._file.read(size)


class _Walk:
    """Looks through a parsed schema for what makes it dangerous to read in C."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._open: list[str] = []
        self._done: set[str] = set()
        # By name, since a few lines of a schema may hold another any number of times over.
        self._empty: dict[str, bool] = {}
        self._free: dict[str, int] = {}
        self.is_recursive = False
        self.has_empty_items = False
        self.most_free = 0
        """Of the values that one record may have any number of."""

    def through(self, schema: Any) -> None:  # noqa: ANN401 - as fastavro has it
        match schema:
            case str() if schema in self._named:
                if schema in self._open:
                    self.is_recursive = True
                    self.most_free = max(self.most_free, self.free(schema))
                elif schema not in self._done:
                    self.through(self._named[schema])
            case list():
                for branch in schema:
                    self.through(branch)
            case {"type": "record" | "error", "name": str() as name, "fields": list() as fields}:
                self._open.append(name)
                for each in fields:
                    self.through(each["type"])
                self._open.remove(name)
                self._done.add(name)
            case {"type": "array" | "map" as kind}:
                items = schema[_CONTAINERS[kind]]
                self.has_empty_items |= kind == "array" and self._is_empty(items)
                self.most_free = max(self.most_free, self.free(items))
                self.through(items)
            case {"type": dict() | list() as inner}:
                self.through(inner)

    def _is_empty(self, schema: Any) -> bool:  # noqa: ANN401
        """Whether a value of it may take no bytes."""
        match schema:
            case "null" | {"type": "null"} | {"type": "fixed", "size": 0}:
                return True
            case str() if schema in self._named:
                return self._is_empty(self._named[schema])
            case {"type": "record" | "error", "name": str() as name, "fields": list() as fields}:
                if name not in self._empty:
                    self._empty[name] = False  # while it is looked at: it may hold itself
                    self._empty[name] = all(self._is_empty(each["type"]) for each in fields)
                return self._empty[name]
            case {"type": dict() as inner}:
                return self._is_empty(inner)
        return False

    def free(self, schema: Any) -> int:  # noqa: ANN401
        """How many values one of it has at most beyond the bytes that it takes."""
        match schema:
            case "null" | {"type": "null"} | {"type": "fixed", "size": 0}:
                return 1
            case str() if schema in self._named:
                return self.free(self._named[schema])
            case list():
                # Which branch it is takes a byte.
                return max([0, *(self.free(branch) - 1 for branch in schema)])
            case {"type": "record" | "error", "name": str() as name, "fields": list() as fields}:
                if name not in self._free:
                    self._free[name] = 0
                    self._free[name] = 1 + sum(self.free(each["type"]) for each in fields)
                return self._free[name]
            case {"type": dict() | list() as inner}:
                return self.free(inner)
        return 0


def _as_json(schema: Any) -> Any:  # noqa: ANN401
    """The same schema, its logical types and Debezium's ours, read as JSON by `LOGICAL_READERS`."""
    if isinstance(schema, list):
        return [_as_json(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kind, logical = schema.get("type"), schema.get("logicalType")
    schema = {
        name: _as_json(value) if name in {"type", "items", "values", "fields"} else value
        for name, value in schema.items()
    }
    # Connect's converters write a type that Avro has not under this name.
    of_connect = schema.get("connect.name")
    for name in (logical, of_connect):
        if isinstance(kind, str) and f"{kind}-{name}" in _JSON_OF:
            schema["logicalType"] = f"{_OURS}{name}"
            break
    return schema


def _decimal(data: bytes, schema: Mapping[str, Any]) -> str:
    if len(data) > MAX_DECIMAL_BYTES:
        raise ValueError
    unscaled = Decimal(int.from_bytes(data, "big", signed=True))
    return format(unscaled.scaleb(-int(schema.get("scale", 0)), _DIGITS), "f")


def _date(days: int, _: Mapping[str, Any]) -> str:
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()


def _moment(units: int, digits: int, suffix: str = "Z") -> Callable[[int, Mapping[str, Any]], str]:
    def read(value: int, _: Mapping[str, Any]) -> str:
        seconds, rest = divmod(value, units)
        moment = (_EPOCH + timedelta(seconds=seconds)).isoformat()
        return f"{moment}.{rest:0{digits}d}{suffix}"

    return read


def _time(units: int, digits: int) -> Callable[[int, Mapping[str, Any]], str]:
    moment = _moment(units, digits, "")
    return lambda value, schema: moment(value % (86_400 * units), schema)[11:]


def _uuid(value: str | bytes, _: Mapping[str, Any]) -> str:
    return str(UUID(bytes=value) if isinstance(value, bytes) else UUID(value))


def _duration(value: bytes, _: Mapping[str, Any]) -> str:
    months, days, millis = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
    return f"P{months}M{days}DT{millis // 1000}.{millis % 1000:03d}S"


_MILLIS, _MICROS, _NANOS = (1_000, 3), (1_000_000, 6), (1_000_000_000, 9)
_JSON_OF: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "int-date": _date,
    "int-time-millis": _time(*_MILLIS),
    "long-time-micros": _time(*_MICROS),
    "long-timestamp-millis": _moment(*_MILLIS),
    "long-timestamp-micros": _moment(*_MICROS),
    "long-timestamp-nanos": _moment(*_NANOS),
    "long-local-timestamp-millis": _moment(*_MILLIS, ""),
    "long-local-timestamp-micros": _moment(*_MICROS, ""),
    "long-local-timestamp-nanos": _moment(*_NANOS, ""),
    "string-uuid": _uuid,
    "fixed-uuid": _uuid,
    "fixed-duration": _duration,
    **{
        f"{kind}-{name}": read
        for name, read in SEMANTIC_TYPES.items()
        if name.startswith("io.debezium.")
        for kind in ("int", "long", "record")
    },
}


def _read_as_json(read: Callable[[Any, Mapping[str, Any]], Any]) -> Callable[..., Any]:
    return lambda value, writer_schema, _: read(value, writer_schema)


for _name, _read in _JSON_OF.items():
    _kind, _logical = _name.split("-", 1)
    LOGICAL_READERS[f"{_kind}-{_OURS}{_logical}"] = _read_as_json(_read)
