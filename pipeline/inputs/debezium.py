"""Change events of Debezium: the row after the change is the event.

Read are the envelope (`before`, `after`, `source`, `op`), with and without Connect's schema around
it, and rows that Debezium has unwrapped itself (`ExtractNewRecordState`). A schema says of a number
that it is a date, and of bytes that they are a decimal; without one, values stay as they came.
(https://debezium.io/documentation/reference/stable/connectors/postgresql.html)
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from pipeline.inputs.records import Document, Format, InputRecord, JsonObjects, NotAnEvent
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.raw_events import read_object

_IMAGES = frozenset({"c", "u", "r"})
_NO_ROW = {"t": "truncate", "m": "message"}
_ENVELOPE = ("before", "after", "source")
_ABOUT = ("source", "op", "ts_ms", "transaction")
_UNWRAPPED = "__"  # before what ExtractNewRecordState adds to a row
_PLACEHOLDER = "__debezium_unavailable_value"
_UNAVAILABLE = frozenset({
    _PLACEHOLDER,
    base64.b64encode(_PLACEHOLDER.encode()).decode(),
    _PLACEHOLDER.encode().hex(),
})  # fmt: skip
"""In place of a large value that did not change, which Postgres does not write to its log."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is counted from it has no time zone either
_DIGITS = 1000
"""Decimal places at most, on either side of the point."""
_DECIMAL_BYTES = 400


class Debezium:
    """Reads the row after a change; a delete is read as a tombstone.

    `inner` decodes the record, by default as JSON. What is `about` the row is `source`, `op`,
    `ts_ms` and `transaction` of the envelope, or what was added to an unwrapped row.
    """

    def __init__(self, inner: Format | None = None) -> None:
        self._inner = inner or JsonObjects()

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        document = await self._inner.read(record)
        if document is None:
            return None
        change = change_of(document.fields)
        return change and Document(change.fields, {**document.about, **change.about})


def change_of(record: Mapping[str, Any]) -> Document | None:
    """What an envelope or an unwrapped row says; None of a delete. Raises as `Format.read`."""
    schema: Mapping[str, Any] = {}
    if record.keys() == {"schema", "payload"}:
        schema = record["schema"] if isinstance(record["schema"], dict) else {}
        if record["payload"] is None:
            return None
        if not isinstance(record["payload"], dict):
            raise _invalid("payload: an object is needed, the change event.")
        record = record["payload"]
    if "op" not in record or not any(name in record for name in _ENVELOPE):
        return _unwrapped(record, schema)
    operation = str(record["op"])
    if operation == "d":
        return None
    if operation in _NO_ROW:
        raise NotAnEvent(_NO_ROW[operation])
    if operation not in _IMAGES:
        raise _invalid("op: an operation that is not known.")
    about = {name: record[name] for name in _ABOUT if record.get(name) is not None}
    return Document(_after(record.get("after"), _types(schema).get("after", {})), about)


def _after(after: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    if isinstance(after, str):
        return {name: _plain(value) for name, value in read_object(after.encode()).items()}
    if not isinstance(after, dict):
        raise _invalid(
            "after: missing; MongoDB's connector has it with "
            "capture.mode=change_streams_update_full."
        )
    return _row(after, schema)


def _unwrapped(row: Mapping[str, Any], schema: Mapping[str, Any]) -> Document | None:
    if str(row.get("__deleted")).lower() == "true":
        return None
    values = _row(row, schema)
    added = {name for name in values if name.startswith(_UNWRAPPED)}
    about = {name.removeprefix(_UNWRAPPED): values[name] for name in added}
    return Document({name: values[name] for name in values.keys() - added}, about)


def _row(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    types = _types(schema)
    return {
        name: _typed(value, types.get(name))
        for name, value in values.items()
        if not _is_unavailable(value)
    }


def _is_unavailable(value: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return len(value) == 1 and _is_unavailable(value[0])
    return value in _UNAVAILABLE if isinstance(value, str) else value == _PLACEHOLDER.encode()


def _types(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The schemas of a struct's fields, by name."""
    fields = schema.get("fields")
    return {
        str(each.get("field")): each
        for each in (fields if isinstance(fields, list) else ())
        if isinstance(each, dict)
    }


def _typed(value: Any, schema: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - JSON
    """A value as its schema means it; as it came where it is not what the schema says."""
    if value is None or schema is None:
        return value
    convert = SEMANTIC_TYPES.get(str(schema.get("name")))
    if convert is not None:
        return convert(value, schema)
    if isinstance(value, dict) and schema.get("type") == "struct":
        types = _types(schema)
        return {name: _typed(each, types.get(name)) for name, each in value.items()}
    inner = schema.get("items") if isinstance(value, list) else schema.get("values")
    if isinstance(inner, dict) and isinstance(value, list):
        return [_typed(each, inner) for each in value]
    if isinstance(inner, dict) and isinstance(value, dict):
        return {name: _typed(each, inner) for name, each in value.items()}
    return value


def _decimal(value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Connect's decimal: an integer in bytes, and how many of its digits are decimal places."""
    parameters = schema.get("parameters")
    scale = parameters.get("scale") if isinstance(parameters, dict) else None
    return _scaled(value, scale)


def _variable_decimal(value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401, ARG001 - JSON
    return _scaled(value.get("value"), value.get("scale")) if isinstance(value, dict) else value


def _scaled(value: Any, scale: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, str | bytes):
        return value  # a double, or a string: decimal.handling.mode
    try:
        digits = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
        places = int(scale)
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise _invalid("A decimal is not base64, or its schema has no scale.") from None
    if len(digits) > _DECIMAL_BYTES or abs(places) > _DIGITS:
        raise _invalid(f"A decimal has more than {_DIGITS} digits.")
    unscaled = int.from_bytes(digits, "big", signed=True)
    sign, whole = int(unscaled < 0), tuple(map(int, str(abs(unscaled))))
    return f"{Decimal((sign, whole, -places)):f}"


def _moment(value: Any, schema: Mapping[str, Any], *, digits: int) -> Any:  # noqa: ANN401, ARG001
    """ISO 8601 without a time zone; a moment that no calendar has stays a number."""
    if not isinstance(value, int):
        return value
    seconds, rest = divmod(value, 10**digits)
    try:
        whole = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return value
    fraction = f"{rest:0{digits}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _time_of_day(value: Any, schema: Mapping[str, Any], *, digits: int) -> Any:  # noqa: ANN401
    found = _moment(value, schema, digits=digits)
    return found.partition("T")[2] if isinstance(found, str) and "T" in found else found


def _day(value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401, ARG001 - JSON
    if not isinstance(value, int):
        return value
    try:
        return date.fromordinal(_EPOCH.toordinal() + value).isoformat()
    except (OverflowError, ValueError):
        return value


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """MongoDB's extended JSON without its type wrappers: the value that a reader expects."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(kind, inner)] = value.items()
        if kind == "$date":
            return _utc(inner.get("$numberLong") if isinstance(inner, dict) else inner)
        if kind in {"$numberLong", "$numberInt"} and isinstance(inner, str) and _is_int(inner):
            return int(inner)
        if kind in {"$oid", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal"}:
            return inner
    return {name: _plain(each) for name, each in value.items()}


def _utc(since: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(since, str) and _is_int(since):
        since = int(since)
    moment = _moment(since, {}, digits=3)
    return f"{moment}Z" if isinstance(since, int) and isinstance(moment, str) else moment


def _is_int(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19  # noqa: PLR2004 - 64 bits


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)


_Convert = Callable[[Any, Mapping[str, Any]], Any]
SEMANTIC_TYPES: Mapping[str, _Convert] = {
    "org.apache.kafka.connect.data.Decimal": _decimal,
    "io.debezium.data.VariableScaleDecimal": _variable_decimal,
    "org.apache.kafka.connect.data.Date": _day,
    "io.debezium.time.Date": _day,
    "org.apache.kafka.connect.data.Timestamp": partial(_moment, digits=3),
    "io.debezium.time.Timestamp": partial(_moment, digits=3),
    "io.debezium.time.MicroTimestamp": partial(_moment, digits=6),
    "io.debezium.time.NanoTimestamp": partial(_moment, digits=9),
    "org.apache.kafka.connect.data.Time": partial(_time_of_day, digits=3),
    "io.debezium.time.Time": partial(_time_of_day, digits=3),
    "io.debezium.time.MicroTime": partial(_time_of_day, digits=6),
    "io.debezium.time.NanoTime": partial(_time_of_day, digits=9),
}
