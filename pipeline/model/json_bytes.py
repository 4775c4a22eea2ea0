"""JSON that is passed on as the bytes in which it came. Pure.

A publisher's own fields may hold anything and any amount of it. The pipeline does not look at
them: they are cut out of the record once, and put into what is published as they are.

A megabyte of brackets becomes a hundred megabytes of objects, so a record is measured before
anything is made of it: by counting bytes, which costs about a nanosecond each, and not by a
parser. Only then are the names and extents of its fields found, by msgspec, which checks all of
the syntax and builds nothing but the names.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Annotated, Any

import msgspec
import orjson
from pydantic import GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema


class RawJson:
    """One JSON value, as bytes that every JSON reader takes; its maker has checked that.

    It equals whatever has the same value: `RawJson(b"[1, 2]") == [1, 2]`. Its `repr` shows no
    content.
    """

    __slots__ = ("json",)
    __hash__ = None  # type: ignore[assignment] # as lists and dicts, which it stands for

    def __init__(self, json: bytes) -> None:
        self.json = json

    def read(self) -> JsonValue:
        value: JsonValue = orjson.loads(self.json)
        return value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RawJson):
            return self.json == other.json or self.read() == other.read()
        return bool(self.read() == other)

    def __repr__(self) -> str:
        return f"RawJson({len(self.json)} bytes)"


class PassedOn:
    """Annotates a type, of which pydantic then takes and leaves a `RawJson` as well."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls,
        source: Any,  # noqa: ANN401
        handler: GetCoreSchemaHandler,
    ) -> CoreSchema:
        value = handler(source)
        return core_schema.no_info_wrap_validator_function(
            _validated,
            value,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _read, return_schema=value
            ),
        )


def _validated(value: Any, handler: Callable[[Any], JsonValue]) -> JsonValue | RawJson:  # noqa: ANN401
    return value if isinstance(value, RawJson) else handler(value)


def _read(value: JsonValue | RawJson) -> JsonValue:
    return value.read() if isinstance(value, RawJson) else value


AnyJson = Annotated[JsonValue, PassedOn]
"""JSON in a record. A reader finds objects; a writer may put a `RawJson` there."""


def dumps(document: Any) -> bytes:  # noqa: ANN401 - whatever orjson takes
    """Write a document in which a `RawJson` may stand anywhere.

    Raises:
        TypeError: It holds what orjson does not take, such as integers of more than 64 bits.
    """
    return orjson.dumps(document, default=_fragment)


def _fragment(value: Any) -> orjson.Fragment:  # noqa: ANN401
    if isinstance(value, RawJson):
        return orjson.Fragment(value.json)
    raise TypeError


MAX_DEPTH = 64
"""How deep fields may nest, so that no later reader of the record meets its own limit."""
MAX_NODES = 50_000
"""Names and values of a record. Each may take a microsecond and 100 bytes of its reader."""
_MAX_INTEGER = 2**64 - 1
_MIN_INTEGER = -(2**63)
_INTEGER_CHARS = 20
_SLICE = 1 << 20
"""Bytes that are searched in one go: other threads wait for it, the event loop among them."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANYTHING = msgspec.json.Decoder(msgspec.Raw)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BRACKETS = bytes.maketrans(b"[{]}", b"\x02\x02\x00\x00")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

# Literals have an "e" as well, so an exponent is one after a digit.
_UNUSUAL_NUMBER = re.compile(rb"[0-9](?:[eE]|[0-9]{18})")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")


class NotJson(ValueError):
    """The bytes are not JSON; says where they cease to be."""


class NoObject(ValueError):
    """They are JSON, but not an object; the first byte shows what they are."""


class OverLimit(ValueError):
    """They are JSON that not every reader takes; says which limit it breaks."""


def fields_of(value: bytes) -> dict[str, bytes]:
    """Take a JSON object apart: each field's own JSON, by its name.

    Of a name that occurs twice the last one counts, as with most readers. Half a surrogate pair,
    which no encoding has, becomes a question mark, as it does when a request is encoded.

    Args:
        value: UTF-8. What stands in the strings of fields is not checked for that.

    Raises:
        NotJson: It is not JSON.
        NoObject: It is JSON of another type.
        OverLimit: It has too many nodes, or nests too deep.
    """
    # A name or a value takes two bytes at least, its separator included.
    if len(value) > 2 * MAX_NODES and value.lstrip().startswith(b"{"):
        measured(value, max_depth=MAX_DEPTH + 1)
    try:
        fields = _decoded(value)
    except NotJson:
        if not _SURROGATE.search(value):
            raise
        measured(value, max_depth=MAX_DEPTH + 1)
        fields = _decoded(_without_halves(value))
    return {name: bytes(field) for name, field in fields.items()}


def check_passed_on(field: bytes) -> None:
    """Check a field's JSON, as `fields_of` found it, for what not every reader takes.

    Raises:
        NotJson: Its strings are not UTF-8.
        OverLimit: It nests too deep, or holds a number that is not exact in 64 bits.
    """
    if not field.isascii():
        try:
            field.decode()
        except UnicodeDecodeError:
            raise NotJson("not UTF-8") from None
    if field[0] in b'"tfn':
        return
    # Most fields show at a look that they are within the limits, strings and all.
    is_small = len(field) <= 2 * MAX_NODES
    is_bounded = is_small and field.count(b"[") + field.count(b"{") <= MAX_DEPTH
    if is_bounded and not _UNUSUAL_NUMBER.search(field):
        return
    # Of small fields there may be thousands, so what stands in strings is cut out in one go.
    outside = _STRING.sub(b"", field) if is_bounded else measured(field, max_depth=MAX_DEPTH)
    if _UNUSUAL_NUMBER.search(outside):
        for number in _NUMBER.finditer(outside):
            _check_number(number[0])


def measured(value: bytes, *, max_depth: int) -> bytes:
    """Check how many nodes JSON has, and how deep it nests; return what stands outside its strings.

    Raises:
        OverLimit: There are more names and values than `MAX_NODES`, or they nest too deep.
    """
    outside = outside_strings(value, max_nodes=MAX_NODES)
    brackets = outside.translate(_BRACKETS, _ALL_BUT_BRACKETS)
    # Opening is 2 and closing 0, so that a byte can hold it; what is summed is 1 and -1.
    deepest = max(accumulate(step - 1 for step in brackets), default=0)
    if deepest > max_depth:
        raise OverLimit(f"nested more than {MAX_DEPTH} levels deep")
    return outside


def outside_strings(value: bytes, *, max_nodes: int) -> bytes:
    """What stands outside the strings of JSON, which are left empty.

    Everything here is counting and cutting of bytes in C. Of bytes that are not JSON nothing is
    said: a parser will.

    Raises:
        OverLimit: There are more names and values than `max_nodes`.
    """
    plain = b"".join(_without_escapes(value))
    # Whatever the strings are, names or values, each is a node; this bounds the pieces below.
    if plain.count(b'"') <= 2 * max_nodes:
        outside = b'""'.join(plain.split(b'"')[::2])
        if sum(map(outside.count, (b",", b":", b"[", b"{"))) <= max_nodes:
            return outside
    raise OverLimit(f"more than {max_nodes:,} names and values")


def _decoded(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        try:
            return _FIELDS.decode(value)
        except msgspec.ValidationError:
            _ANYTHING.decode(value)
            raise NoObject from None
    except RecursionError:
        raise NotJson("nested too deep") from None
    except msgspec.DecodeError as error:
        raise NotJson(str(error).removeprefix("JSON is malformed: ")) from None


def _without_escapes(value: bytes) -> Iterator[bytes]:
    """The same JSON with nothing in its strings that looks like a quotation mark."""
    at = 0
    while at < len(value):
        piece = value[at : at + _SLICE]
        backslashes = len(piece) - len(piece.rstrip(b"\\"))
        if backslashes % 2:  # the last one escapes what comes next
            piece = value[at : at + _SLICE + 1]
        at += len(piece)
        yield piece.replace(b"\\\\", b"").replace(b'\\"', b"")


def _without_halves(value: bytes) -> bytes:
    """The same JSON, the halves of surrogate pairs replaced in names and values.

    Python's own parser is the one that takes them. What it makes of the record is bounded, since
    the record was measured.
    """
    try:
        document = json.loads(value)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} (byte {error.pos})") from None
    except UnicodeDecodeError:
        raise NotJson("not UTF-8") from None
    except ValueError:  # Python's own limit
        raise NotJson("a number of thousands of digits, beside half a surrogate pair") from None
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _check_number(number: bytes) -> None:
    if number.lstrip(b"-").isdigit():
        if len(number) > _INTEGER_CHARS or not _MIN_INTEGER <= int(number) <= _MAX_INTEGER:
            raise OverLimit("an integer of more than 64 bits; send it as a string")
    elif not math.isfinite(float(number)):
        raise OverLimit("a number too large for a double")
