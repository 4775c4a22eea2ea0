"""A stage's fields, found in records of any shape by the expressions of the settings. Pure.

`FieldMapping` makes the JSON that the stage reads of a record's own fields: the mapped ones, those
that the record has under the stage's own names, and what is passed through to the result.
"""

import base64
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.inputs import MappedField, mapped_fields, passed_on
from pipeline.config.stages import StageSettings
from pipeline.inputs.records import InputRecord
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.expressions import Expression, ExpressionFailed, is_true
from pipeline.model.json_bytes import RawJson
from pipeline.model.records import DeadLetterReason

_MISSING: Any = object()
_SCALARS = (str, int, float, bool, Decimal, date, time, UUID)
_KINDS = ((Mapping, "an object"), (bytes, "a file"), (Sequence, "a list of more than texts"))


class FieldMapping:
    """What `map`, `where` and `pass_through` of a stage come to for its raw model.

    Attributes:
        is_costly: Whether an expression walks through what may be long.

    Raises:
        UsageError: A field is mapped that the stage does not read, or passed through under a name
            that it does.
    """

    def __init__(self, stage: str, settings: StageSettings, model: type[BaseModel]) -> None:
        self._setting = f"stages.{stage}"
        self._fields = tuple(mapped_fields(settings.map))
        self._where = None if settings.where is None else Expression(settings.where)
        extra = settings.pass_through
        self._extra = None if extra is None else tuple(passed_on(extra))
        self._known = _model_fields(model)
        self._check_names(stage, model)
        self._mapped = frozenset(field.path[0] for field in self._fields)
        self._nested = frozenset(each.path[0] for each in self._fields if len(each.path) > 1)
        self._texts = {each.path: _is_text(_field_of(model, each.path)) for each in self._fields}
        self._needed = frozenset(
            each.path
            for each in self._fields
            if len(each.path) == 1 and self._known[each.path[0]].is_required()
        )
        reading = [expression for each in self._fields for _, expression in each.parts]
        self._consumed = frozenset(path for each in reading for path in each.reads)
        reading += [] if self._where is None else [self._where]
        reading += [expression for _, expression in self._extra or ()]
        self._reads = {path[0] if path else None for each in reading for path in each.reads}
        self._on_record = any(each.on_record for each in reading)
        self.is_costly = any(each.is_costly for each in reading)

    def _check_names(self, stage: str, model: type[BaseModel]) -> None:
        for field in self._fields:
            inner = None if len(field.path) == 1 else _inner_model(self._known.get(field.path[0]))
            within = self._known if inner is None else _model_fields(inner)
            if field.path[0] not in self._known or field.path[-1] not in within:
                nested = [f"{name}.*" for name, info in self._known.items() if _inner_model(info)]
                raise UsageError(
                    f"{self._setting}.map.{field.name}: {stage} reads no such field; it reads "
                    f"{', '.join([*(self._known if inner is None else within), *nested])}."
                )
            if len(field.path) == 1 and _inner_model(self._known[field.path[0]]) is not None:
                names = ", ".join(_model_fields(_inner_model(self._known[field.path[0]]) or model))
                raise UsageError(
                    f"{self._setting}.map.{field.name} holds fields itself: map {names} below it."
                )
        if taken := [name for name, _ in self._extra or () if name in self._known]:
            raise UsageError(
                f"{self._setting}.pass_through: {stage} reads {taken[0]} itself; map it, or give "
                "what is passed through another name."
            )

    def read(
        self, record: InputRecord, fields: Mapping[str, Any], about: Mapping[str, Any]
    ) -> bytes | None:
        """Make the stage's JSON of a record's `fields`; None where it is passed over.

        A field may be a `RawJson`; bytes are files, and written in base64.

        Raises:
            InvalidEvent: An expression fails on it, or finds nothing where the stage needs it.
        """
        try:
            value = {
                name: field.read() if isinstance(field, RawJson) else field
                for name, field in fields.items()
                if None in self._reads or name in self._reads
            }
        except orjson.JSONDecodeError:
            detail = "A field is not UTF-8, or a number of more than 64 bits."
            raise InvalidEvent(DeadLetterReason.INVALID_JSON, detail) from None
        whole = _whole(record, value, about) if self._on_record else {}
        if self._where is not None and not is_true(self._found("where", self._where, value, whole)):
            return None
        event: dict[str, Any] = {}
        found_in = set()
        for field in self._fields:
            found = self._value_of(field, value, whole)
            if found is not _MISSING:
                _put(event, field, found)
                if not field.is_literal:
                    found_in.add(field.path[0])
            elif field.path in self._needed:
                named = " and ".join(f"`{each.text}`" for _, each in field.parts)
                raise _invalid(
                    f"{self._setting}.map.{field.name}: nothing is at {named}, and every event "
                    "needs it."
                )
        for name in self._nested - found_in:
            # Of a file of which only its type is known, since the settings say it, there is none.
            event.pop(name, None)
        event |= self._unmapped(fields, value)
        for name, expression in self._extra or ():
            passed = self._found("pass_through", expression, value, whole)
            if passed is not None:
                event[name] = passed
        return written(event)

    def takes_file(self, record: InputRecord) -> bool:
        """Whether `where` is true of a record that is a bare file, which has no fields."""
        whole = _whole(record, {}, {}) if self._on_record else {}
        return self._where is None or is_true(self._found("where", self._where, {}, whole))

    def _found(
        self,
        setting: str,
        expression: Expression,
        value: Mapping[str, Any],
        whole: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        try:
            return expression.read(whole if expression.on_record else value)
        except ExpressionFailed as failure:
            raise _invalid(
                f"{self._setting}.{setting}: `{expression.text}` fails on this record: {failure}."
            ) from None

    def _value_of(
        self, field: MappedField, value: Mapping[str, Any], whole: Mapping[str, Any]
    ) -> Any:  # noqa: ANN401
        is_text = self._texts[field.path]
        texts = []
        for heading, expression in field.parts:
            found = self._found(f"map.{field.name}", expression, value, whole)
            if found is None:
                continue
            if not is_text and not field.is_joined:
                return found
            try:
                text = text_of(found, is_id=field.path == ("id",))
            except ValueError as error:
                raise _invalid(
                    f"{self._setting}.map.{field.name}: `{expression.text}` finds {error}, and a "
                    "text is needed."
                ) from None
            if text or not field.is_joined:
                texts.append(f"{heading}\n\n{text}" if heading else text)
        return "\n\n".join(texts) if texts else _MISSING

    def _unmapped(
        self, fields: Mapping[str, Any], value: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """What the record has under the stage's own names, and what else goes with the event."""
        is_all_read = () in self._consumed
        for name, field in fields.items():
            if name in self._mapped:
                continue
            is_known = name in self._known
            if not is_known and (self._extra is not None or is_all_read):
                continue
            left: Any = field
            for path in self._consumed:
                if path and path[0] == name:
                    left = _without(value[name] if left is field else left, path[1:])
                    if left is _MISSING:
                        break
            if left is not _MISSING:
                yield name, left


def text_of(value: Any, *, is_id: bool = False) -> str:  # noqa: ANN401 - JSON
    """A value as a text: numbers and booleans as JSON writes them, the texts of a list as lines.

    Raises:
        ValueError: It is not one; says what it is.
    """
    match value:
        case str():
            return value
        case Decimal() | UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case bool() | int() | float():
            return orjson.dumps(value).decode() if _fits(value) else str(value)
        case list() | tuple() if not is_id:
            each = [item for item in value if item is not None]
            if all(isinstance(item, _SCALARS) for item in each):
                return "\n".join(text_of(item) for item in each)
    raise ValueError(next((kind for cls, kind in _KINDS if isinstance(value, cls)), "no text"))


def written(event: Mapping[str, Any]) -> bytes:
    """An event as JSON, its files in base64; an InvalidEvent says that JSON has no such value."""
    try:
        return orjson.dumps(event, default=_json_of)
    except TypeError:
        raise _invalid(
            "A field is of a type that JSON does not have, such as a number of more than 64 bits."
        ) from None


def _json_of(value: Any) -> Any:  # noqa: ANN401
    match value:
        case RawJson():
            return orjson.Fragment(value.json)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case Decimal():
            return str(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return list(value)
    raise TypeError


def _whole(
    record: InputRecord, value: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    whole: dict[str, Any] = {
        "value": value,
        "key": key,
        "headers": {
            name: content.decode("utf-8", "replace") for name, content in record.headers.items()
        },
        "topic": record.topic,
        "timestamp": record.timestamp.isoformat().replace("+00:00", "Z"),
        "about": about,
    }
    if key is not None and key.startswith("{"):
        # Keys of connectors are objects.
        try:
            whole["key"] = orjson.loads(key)
        except orjson.JSONDecodeError:
            return whole
    return whole


def _without(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401
    """A value without what is at a path; `_MISSING` if nothing is left, or it is in a list."""
    if not path or isinstance(value, list):
        return _MISSING
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    left = _without(value[path[0]], path[1:])
    kept = {name: item for name, item in value.items() if name != path[0]}
    if left is not _MISSING:
        kept[path[0]] = left
    return kept or _MISSING


def _put(event: dict[str, Any], field: MappedField, value: Any) -> None:  # noqa: ANN401
    if len(field.path) == 1:
        event[field.path[0]] = value
        return
    outer, inner = field.path
    event.setdefault(outer, {})[inner] = value


def _model_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _field_of(model: type[BaseModel], path: Iterable[str]) -> FieldInfo | None:
    found: FieldInfo | None = None
    within: type[BaseModel] | None = model
    for name in path:
        found = None if within is None else _model_fields(within).get(name)
        within = _inner_model(found)
    return found


def _options(annotation: Any) -> list[Any]:  # noqa: ANN401 - an annotation
    """The types that a field may have, other than null."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [option for each in get_args(annotation) for option in _options(each)]
    return [] if annotation is type(None) else [annotation]


def _is_text(field: FieldInfo | None) -> bool:
    return field is not None and _options(field.annotation) == [str]


def _inner_model(field: FieldInfo | None) -> type[BaseModel] | None:
    options = [] if field is None else _options(field.annotation)
    inner = options[0] if len(options) == 1 else None
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _fits(number: float) -> bool:
    return not isinstance(number, int) or -(2**63) <= number < 2**64


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
