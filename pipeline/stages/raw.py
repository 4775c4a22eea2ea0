"""Raw records read into raw events, and raw events turned into JSON and back.

Whatever is wrong with a record is said in terms of its fields, never by quoting what is in it.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails, from_json

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.stages.stage import RawEvent

EventT = TypeVar("EventT", bound=RawEvent)

MAX_DEPTH = 64
"""How deep unknown fields may nest, so that no later reader of the record meets its own limit."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_INTEGER = 2**64 - 1
_MIN_INTEGER = -(2**63)
_NAME_LENGTH = 64


def read_event(model: type[EventT], value: bytes, *, max_bytes: int) -> EventT:
    """Read a JSON record.

    Raises:
        Invalid: `too_large`, `invalid_json` or `invalid_event`; the detail names the field.
    """
    check_size(value, max_bytes)
    if not value:
        raise Invalid(DeadLetterReason.INVALID_JSON, "The value is empty.")
    try:
        data = from_json(value.removeprefix(_BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise Invalid(DeadLetterReason.INVALID_JSON, f"The value is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise Invalid(
            DeadLetterReason.INVALID_EVENT, f"A JSON object is needed, not {_json_type(data)}."
        )
    return from_json_object(model, data)


def from_json_object(model: type[EventT], data: Mapping[str, Any]) -> EventT:
    """Make an event of a JSON object, as `to_json_object` gave it or as a publisher wrote it.

    Raises:
        Invalid: `invalid_event`, naming the first field that is wrong.
    """
    try:
        event = model.model_validate(data)
    except ValidationError as error:
        raise Invalid(DeadLetterReason.INVALID_EVENT, _first_fault(error)) from None
    for name, value in event.unknown_fields.items():
        if (fault := _fault_of(value)) is not None:
            raise Invalid(
                DeadLetterReason.INVALID_EVENT, f"{_shown(name)}: {fault}."
            )  # unknown fields are passed on, so they must be what every JSON reader takes
    return event


def to_json_object(event: RawEvent) -> dict[str, JsonValue]:
    """Turn an event into the JSON object it came from, unknown fields and files included."""
    return event.model_dump(mode="json", exclude_unset=True)


def check_size(value: bytes, max_bytes: int) -> None:
    """Refuse a value that is too large, before it is read.

    Raises:
        Invalid: `too_large`.
    """
    if len(value) > max_bytes:
        raise Invalid(
            DeadLetterReason.TOO_LARGE,
            f"The value has {len(value):,} bytes; at most {max_bytes:,} are taken.",
        )


def check_text(field: str, text: str, max_chars: int) -> None:
    """Refuse a text that is too long to be asked about.

    Raises:
        Invalid: `too_large`, naming the field.
    """
    if len(text) > max_chars:
        raise Invalid(
            DeadLetterReason.TOO_LARGE,
            f"{field}: has {len(text):,} characters; at most {max_chars:,} are taken.",
        )


def _first_fault(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{_describe(faults[0])}{more}."


def _describe(fault: ErrorDetails) -> str:
    where = ".".join(_shown(str(step)) for step in fault["loc"])
    said = "missing" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def _shown(name: str) -> str:
    """A publisher's own field name, fit for a header and a log line."""
    printable = "".join(char if char.isprintable() else "?" for char in name[:_NAME_LENGTH])
    return printable if len(name) <= _NAME_LENGTH else f"{printable}..."


def _fault_of(value: JsonValue, depth: int = 1) -> str | None:
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep"
    match value:
        case bool():
            return None
        case int():
            fits = _MIN_INTEGER <= value <= _MAX_INTEGER
            return None if fits else "an integer of more than 64 bits; send it as a string"
        case float():
            return None if math.isfinite(value) else "a number too large for a double"
        case list():
            inner: list[JsonValue] = value
        case dict():
            inner = list(value.values())
        case _:
            return None
    faults = (_fault_of(item, depth + 1) for item in inner)
    return next((fault for fault in faults if fault is not None), None)


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"
