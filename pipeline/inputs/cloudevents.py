"""CloudEvents in Kafka, in binary and in structured mode.

In binary mode the attributes are headers and the value is the data; in structured mode the value is
a JSON envelope with both. Either way the data comes to the same: what its content type says reads
it. (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md)

A stage reads structured mode without any settings, by `pipeline/stages/files/raw_events.py`.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.config.inputs import Attachments
from pipeline.inputs.mail import Mail
from pipeline.inputs.plain_text import PlainText
from pipeline.inputs.records import Document, Format, InputRecord, JsonObjects, off_loop
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.media import MEDIA_TYPES, bare_type, says_nothing, sniff
from pipeline.stages.files.raw_events import (
    BATCH_TYPE,
    CONTENT_TYPE,
    EVENT_ID,
    REQUIRED,
    STRUCTURED_TYPE,
    header_of,
    is_envelope,
    is_json_type,
    read_object,
)

_PREFIX = "ce_"
_ANY_STRUCTURED = "application/cloudevents"
_MAIL = "message/rfc822"
_CONTENTS = frozenset({"data", "data_base64"})
Opened = tuple[Mapping[str, Any], Document | InputRecord]
"""Attributes, and the event or else the record that it is to be read from."""


class CloudEvents:
    """Reads the data of CloudEvents; its attributes are what is `about` it.

    Text, e-mails and files are read by their content type, and all else by `inner`, which is JSON
    by default. The id is the envelope's where the data has none.
    """

    def __init__(self, inner: Format | None = None, *, attachments: Attachments = "ignore") -> None:
        self._inner = inner
        self._json = JsonObjects()
        self._text = PlainText()
        self._mail = Mail(attachments)

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        about, data = await off_loop(_opened, record)
        document: Document | None
        if isinstance(data, Document):
            document = data
        else:
            content_type = (header_of(data.headers, CONTENT_TYPE) or b"").decode("latin-1")
            document = await self._read_data(data, bare_type(content_type))
        if document is None:
            return None
        fields = {"id": about["id"], **document.fields}
        return Document(fields, {**document.about, **about}, document.parts)

    async def _read_data(self, data: InputRecord, media_type: str) -> Document | None:
        value = data.value or b""
        if media_type == _MAIL:
            return await self._mail.read(data)
        is_json = is_json_type(media_type)
        if _is_text(media_type) and not is_json:
            return await self._text.read(data)
        if media_type in MEDIA_TYPES:
            return _file(value, media_type)
        if self._inner is not None:
            return await self._inner.read(data)
        if says_nothing(media_type):
            is_json = value.lstrip()[:1] == b"{" or sniff(value) is None
        elif not is_json:
            detail = "The data has a type that is not read; JSON, text, mails and files are."
            raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, detail)
        return await self._json.read(data) if is_json else _file(value, media_type)


def _file(value: bytes, media_type: str) -> Document:
    return Document({"file": {"media_type": media_type, "data": value}})


def _is_text(media_type: str) -> bool:
    is_xml = media_type == "application/xml" or media_type.endswith("+xml")
    return media_type.startswith("text/") or is_xml


def _opened(record: InputRecord) -> Opened:
    declared = (header_of(record.headers, CONTENT_TYPE) or b"").decode("latin-1")
    media_type = declared.partition(";")[0].strip().lower()
    if media_type == BATCH_TYPE:
        raise _invalid("A batch of CloudEvents: send each event as a record of its own.")
    if media_type.startswith(_ANY_STRUCTURED):
        if media_type != STRUCTURED_TYPE:
            raise _invalid("Of CloudEvents in structured mode only JSON is read.")
        return _structured(record, read_object(record.value or b""))
    about = {
        name.lower().removeprefix(_PREFIX): content.decode(errors="replace")
        for name, content in record.headers.items()
        if name.lower().startswith(_PREFIX)
    }
    if about:
        _check(about)
        return about, replace(record, headers={**record.headers, EVENT_ID: about["id"].encode()})
    if (record.value or b"").lstrip()[:1] == b"{":
        fields = read_object(record.value or b"")
        if is_envelope(fields, ()):
            return _structured(record, fields)
    raise _invalid("This is not a CloudEvent: it has no ce_ headers and is not an envelope.")


def _structured(record: InputRecord, fields: Mapping[str, Any]) -> Opened:
    about = {name: value for name, value in fields.items() if name not in _CONTENTS}
    _check(about)
    content_type = str(about.get("datacontenttype") or "")
    data, encoded = fields.get("data"), fields.get("data_base64")
    if isinstance(data, dict):
        return about, Document(data)
    if isinstance(data, str) and content_type and not is_json_type(bare_type(content_type)):
        value = data.encode()
        content_type = f"{bare_type(content_type)}; charset=utf-8"
    elif isinstance(encoded, str) and data is None:
        try:
            value = base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            raise _invalid("data_base64: not base64.") from None
    elif data is None:
        raise _invalid("data: missing; it is the raw event.")
    else:
        raise _invalid("data: a JSON object is needed, the raw event.")
    headers = {
        CONTENT_TYPE: content_type.encode("latin-1", "replace"),
        EVENT_ID: str(about["id"]).encode(),
    }
    return about, replace(record, value=value, headers=headers)


def _check(about: Mapping[str, Any]) -> None:
    for name in REQUIRED:
        if not isinstance(about.get(name), str) or not about[name]:
            raise _invalid(f"{name}: missing; every CloudEvent has it, as text.")


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
