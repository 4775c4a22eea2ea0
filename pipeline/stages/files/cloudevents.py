"""CloudEvents in structured mode: the raw event is the envelope's `data`. Pure.

What is said about the event in the envelope (its type, its source, its time, extensions) is
nothing that a stage knows, so it is kept as one unknown field, `cloudevent`: beside each other,
`source` and `type` could be taken for fields of the event itself.

The format is https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md.
"""

import base64
import binascii
import codecs
from collections.abc import Collection, Mapping

import orjson

from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import (
    NoObject,
    NotJson,
    OverLimit,
    RawJson,
    check_passed_on,
    dumps,
    fields_of,
)
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import MEDIA_TYPES, bare_type, says_nothing, sniff

STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
ENVELOPE = "cloudevent"
"""The field under which the envelope's own attributes are kept."""
_REQUIRED = ("specversion", "id", "source", "type")
_CONTENTS = ("data", "data_base64")


def is_envelope(fields: Collection[str], known: Collection[str]) -> bool:
    """Whether a record is an envelope by its fields, whatever it is declared as.

    Args:
        fields: Of the record.
        known: Fields of the event itself; a stage that has a field `data` takes it as its own.
    """
    if "specversion" not in fields:
        return False
    contents = [name for name in _CONTENTS if name in fields and name not in known]
    return bool(contents) and all(name in fields for name in _REQUIRED)


def unwrapped(fields: Mapping[str, bytes], *, takes_files: bool) -> dict[str, bytes]:
    """The fields of the event in an envelope.

    The event's id is the envelope's where `data` has none. A file may be the data as it is, in
    `data_base64`; its type is in `datacontenttype` or, where that says nothing, in its bytes.

    Args:
        fields: Of the envelope, each as JSON.
        takes_files: Whether the stage's events may be files.

    Raises:
        InvalidEvent: `invalid_event` or `invalid_json`: there is no such event in it.
    """
    for name in _REQUIRED:
        if name not in fields:
            raise _invalid(f"{name}: missing; every CloudEvent has it.")
    event = _event(fields, takes_files=takes_files)
    about = {name: field for name, field in fields.items() if name not in _CONTENTS}
    return {"id": fields["id"], ENVELOPE: _joined(about), **event}


def _event(fields: Mapping[str, bytes], *, takes_files: bool) -> dict[str, bytes]:
    encoded = fields.get("data_base64")
    # Writers of every attribute leave the one of both that is not used null.
    if "data" in fields and (encoded is None or fields["data"] != b"null"):
        return _fields("data", fields["data"])
    if encoded is None:
        raise _invalid("data: missing; it is the raw event.")
    media_type = _text(fields.get("datacontenttype"))
    if takes_files and bare_type(media_type) in MEDIA_TYPES:
        return _file(bare_type(media_type), encoded)
    try:
        data = base64.b64decode("".join(_text(encoded).split()), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("data_base64: not base64.") from None
    if takes_files and says_nothing(media_type) and sniff(data) is not None:
        return _file(media_type, encoded)
    return _fields("data_base64", data.removeprefix(codecs.BOM_UTF8))


def _file(media_type: str, encoded: bytes) -> dict[str, bytes]:
    return {"file": dumps({"media_type": media_type, "data": RawJson(encoded)})}


def _fields(name: str, data: bytes) -> dict[str, bytes]:
    try:
        return fields_of(data)
    except NoObject:
        raise _invalid(f"{name}: a JSON object is needed, the raw event.") from None
    except OverLimit as error:
        raise _invalid(f"{name}: {error}.") from None
    except NotJson as error:
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, f"{name}: not JSON: {error}.") from None


def _joined(fields: Mapping[str, bytes]) -> bytes:
    for name, field in fields.items():
        try:
            check_passed_on(field)
        except (NotJson, OverLimit) as error:
            shown = name if name in _REQUIRED else "an attribute of the CloudEvent"
            raise _invalid(f"{shown}: {error}.") from None
    return dumps({name: RawJson(field) for name, field in fields.items()})


def _text(field: bytes | None) -> str:
    try:
        text = orjson.loads(field or b"null")
    except orjson.JSONDecodeError:
        text = None
    return text if isinstance(text, str) else ""


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
