"""Raw records read into raw events, and raw events turned into JSON and back.

Whatever is wrong with a record is said in terms of its fields, never by quoting what is in it.

The reading half of a stage whose raw records are JSON and nothing else.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config import StageSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import (
    NoObject,
    NotJson,
    OverLimit,
    RawJson,
    check_passed_on,
    fields_of,
)
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.cloudevents import BATCH_TYPE, STRUCTURED_TYPE, is_envelope, unwrapped
from pipeline.stages.files.media import bare_type
from pipeline.stages.stage import RawEvent

EventT = TypeVar("EventT", bound=RawEvent)
CONTENT_TYPE = "content-type"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
_NAME_LENGTH = 64
_SMALL = 10_000
"""Bytes of JSON of which objects are made before anything is known of it."""
_NESTED = frozenset({dict, list})


def read_event(
    model: type[EventT], value: bytes, *, max_bytes: int, content_type: str = ""
) -> EventT:
    """Read a JSON record, a CloudEvent in structured mode among them.

    Args:
        model: The event's.
        value: The record's.
        max_bytes: That it may have.
        content_type: As the record declares it, without parameters and in lower case.

    Raises:
        InvalidEvent: `too_large`, `invalid_json` or `invalid_event`; the detail names the field.
    """
    check_size(value, max_bytes)
    if not value:
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, "The value is empty.")
    if value.startswith(_UTF_16):
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, "The value is UTF-16; send UTF-8.")
    if content_type == BATCH_TYPE:
        raise InvalidEvent(
            DeadLetterReason.INVALID_EVENT, f"A batch of CloudEvents: {_ONE_A_RECORD}"
        )
    value = value.removeprefix(_BYTE_ORDER_MARK)
    if len(value) <= _SMALL and (event := _plain_fields(model, value)) is not None:
        return from_json_object(model, event)
    fields = _taken_apart(value)
    if content_type == STRUCTURED_TYPE or is_envelope(fields, model.model_fields):
        fields = unwrapped(fields, takes_files="file" in model.model_fields)
    known = model.model_fields
    return from_json_object(
        model,
        {
            name: _read(name, field) if name in known else _passed_on(name, field)
            for name, field in fields.items()
        },
    )


def _plain_fields(model: type[RawEvent], value: bytes) -> dict[str, Any] | None:
    """The fields of an event like most: known ones, nothing nested in them; None if it is not."""
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict) or not data.keys() <= model.model_fields.keys():
        return None
    return data if _NESTED.isdisjoint(map(type, data.values())) else None


def from_json_object(model: type[EventT], data: Mapping[str, Any]) -> EventT:
    """Make an event of a JSON object, as `to_json_object` gave it.

    Raises:
        InvalidEvent: `invalid_event`, naming the first field that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, _first_fault(error)) from None


def to_json_object(event: RawEvent) -> dict[str, Any]:
    """Turn an event into the JSON object it came from, unknown fields and files included.

    Fields that were passed on as bytes are `RawJson` in it; `json_bytes.dumps` writes them.
    """
    unknown = event.model_extra or {}
    known = event.model_dump(mode="json", exclude_unset=True, exclude=set(unknown))
    return {**known, **unknown}


def header_of(headers: Mapping[str, bytes], name: str) -> bytes | None:
    """A header, whatever the case of its name; None where it is absent.

    Args:
        headers: Of the record.
        name: In lower case.
    """
    value = headers.get(name)
    if value is None:
        value = next((headers[key] for key in headers if key.lower() == name), None)
    return value


def check_size(value: bytes, max_bytes: int) -> None:
    """Refuse a value that is too large, before it is read.

    Raises:
        InvalidEvent: `too_large`.
    """
    if len(value) > max_bytes:
        raise InvalidEvent(
            DeadLetterReason.TOO_LARGE,
            f"The value has {len(value):,} bytes; at most {max_bytes:,} are taken.",
        )


def check_text(field: str, text: str, max_chars: int) -> None:
    """Refuse a text that is too long to be asked about.

    Raises:
        InvalidEvent: `too_large`, naming the field.
    """
    if len(text) > max_chars:
        raise InvalidEvent(
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


_ONE_A_RECORD = "send each event as a record of its own."


def _taken_apart(value: bytes) -> dict[str, bytes]:
    try:
        return fields_of(value)
    except NotJson as error:
        raise InvalidEvent(
            DeadLetterReason.INVALID_JSON, f"The value is not JSON: {error}."
        ) from None
    except OverLimit as error:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, f"The value: {error}.") from None
    except NoObject:
        kind = _json_type(value)
        hint = f"; {_ONE_A_RECORD}" if kind == "an array" else "."
        raise InvalidEvent(
            DeadLetterReason.INVALID_EVENT, f"A JSON object is needed, not {kind}{hint}"
        ) from None


def _read(name: str, field: bytes) -> Any:  # noqa: ANN401 - JSON
    """A known field as objects; what is nested in it is held to the limits of unknown ones."""
    if field[0] in b"{[":
        _check(name, field)
    try:
        return orjson.loads(field)
    except orjson.JSONDecodeError:
        # Its syntax was checked, so what is left is an odd byte, or a number beyond all bounds.
        raise InvalidEvent(
            DeadLetterReason.INVALID_JSON, f"{_shown(name)}: not UTF-8, or not a number of 64 bits."
        ) from None


def _passed_on(name: str, field: bytes) -> RawJson:
    _check(name, field)
    return RawJson(field)


def _check(name: str, field: bytes) -> None:
    try:
        check_passed_on(field)
    except NotJson as error:
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, f"{_shown(name)}: {error}.") from None
    except OverLimit as error:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, f"{_shown(name)}: {error}.") from None


def _json_type(value: bytes) -> str:
    match value.lstrip()[:1]:
        case b"n":
            return "null"
        case b"t" | b"f":
            return "a boolean"
        case b"[":
            return "an array"
        case b'"':
            return "a string"
        case _:
            return "a number"


RawT = TypeVar("RawT", bound=RawEvent)


class JsonStage(Generic[RawT]):
    """Reads a stage's raw records, within the stage's limits.

    A stage that extends it adds what it asks: `name`, `raw_model`, `result_model`, and the
    methods `question`, `signals` and `result` of `pipeline.stages.stage.Stage`.

    Args:
        settings: The stage's limits.
    """

    settings_model: ClassVar[type[StageSettings]] = StageSettings
    """What the stage's table of the settings may hold; of a stage of one's own."""

    raw_model: type[RawT]
    reads_files = False
    checks_slowly = False

    def __init__(self, settings: StageSettings) -> None:
        self._limits = settings
        self._largest_event = settings.largest_event

    def parse(
        self,
        value: bytes,
        *,
        key: bytes | None,  # noqa: ARG002 - the id is in the event
        headers: Mapping[str, bytes],
    ) -> RawT:
        """Read a raw record; every text field is held to the limit of texts.

        Raises:
            InvalidEvent: The record is not what this stage takes.
        """
        event = read_event(
            self.raw_model,
            value,
            max_bytes=self._largest_event,
            content_type=_content_type(headers),
        )
        for field in self.raw_model.model_fields:
            text = getattr(event, field)
            if isinstance(text, str):
                check_text(field, text, self._limits.max_text_chars)
        return event


def _content_type(headers: Mapping[str, bytes]) -> str:
    declared = header_of(headers, CONTENT_TYPE)
    if declared is None or declared == b"application/json":
        return ""
    return bare_type(declared.decode("latin-1"))
