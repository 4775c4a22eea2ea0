"""JSON that is passed on as the bytes in which it came, without ever becoming objects.

A publisher's own fields may hold anything and any amount of it. Nobody here looks at them, so
they are cut out of the record once, and put into what is published as they are.
"""

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from pydantic import GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema


class RawJson:
    """One JSON value, as bytes.

    It equals whatever has the same value: `RawJson(b"[1, 2]") == [1, 2]`. Its `repr` shows no
    content.

    Args:
        json: UTF-8, well-formed, and within what every JSON reader takes: whoever makes one has
            seen to that (`pipeline.stages.json_limits`).
    """

    __slots__ = ("json",)
    __hash__ = None  # type: ignore[assignment] # as lists and dicts, which it stands for

    def __init__(self, json: bytes) -> None:
        self.json = json

    def read(self) -> JsonValue:
        """The value as objects."""
        value: JsonValue = orjson.loads(self.json)
        return value

    def __eq__(self, other: object) -> bool:
        """Whether the values are the same, however they are written."""
        if isinstance(other, RawJson):
            return self.json == other.json or self.read() == other.read()
        return bool(self.read() == other)

    def __repr__(self) -> str:
        """How much it is."""
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
"""JSON in a record. Whoever reads one finds objects; who writes one may put a `RawJson` there."""


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
