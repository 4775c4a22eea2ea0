"""Raw records, JSON or bare files, read into raw events, and these turned into JSON and back.

The file of an event is in the JSON, or is the bare value of the record, or is behind a `uri`.
Whatever is wrong with a record is said in terms of its fields, never by quoting what is in it.

Of a CloudEvent in structured mode the raw event is the envelope's `data`. What else the envelope
says is kept as one unknown field, `cloudevent`, lest its `source` and `type` be taken for the
event's (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md).
"""

import base64
import binascii
import codecs
import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

import orjson
import pydantic
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from pipeline.config import FileSettings, StageSettings
from pipeline.model import json_bytes
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.questions import Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.checks.text_quality import visible
from pipeline.stages.files import decoding
from pipeline.stages.files.claims import Claims, ClaimStore
from pipeline.stages.files.media import (
    MEDIA_TYPES,
    PDF,
    MediaType,
    bare_type,
    checked_type,
    may_have_attachments,
    says_nothing,
    sniff,
)
from pipeline.stages.files.splitting import Splitter
from pipeline.stages.files.xml import XML, begins_like_xml, is_xml_type

CONTENT_TYPE = "content-type"
STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
ENVELOPE = "cloudevent"
"""The field under which the envelope's own attributes are kept."""
REQUIRED = ("specversion", "id", "source", "type")
_CONTENTS = ("data", "data_base64")
EVENT_ID = "event-id"
_FETCHED_AT_ONCE = 16
"""Files behind a `uri` that a stage holds before they are decoded: their bytes are not among those
of the records in flight, so nothing else bounds them."""
_JSON_TYPES = frozenset({"application/json", STRUCTURED_TYPE, BATCH_TYPE, "text/json"})
_BLANKS = b" \t\r\n\v\f"
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
_ONE_A_RECORD = "send each event as a record of its own."
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
_NAME_LENGTH = 64
_SMALL = 10_000
"""Bytes of JSON of which objects are made before anything is known of it."""
_NESTED = frozenset({dict, list})


class RawEvent(BaseModel):
    """What every raw event has; unknown fields are kept and passed through."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    __pydantic_extra__: dict[str, Annotated[Any, json_bytes.PassedOn]]

    id: str = Field(
        min_length=1, max_length=256, description="The publisher's own id of the event."
    )

    @property
    def unknown_fields(self) -> dict[str, JsonValue | json_bytes.RawJson]:
        """The fields the stage does not know, for `source.extra`; as bytes where just read."""
        return self.model_extra or {}

    @property
    def file_place(self) -> str:
        """Where its file is, if it has one: what is away there is away for others there, too."""
        return ""


EventT = TypeVar("EventT", bound=RawEvent)


def read_event(
    model: type[EventT], value: bytes, *, max_bytes: int, content_type: str = ""
) -> EventT:
    """Read a JSON record, a CloudEvent in structured mode among them.

    `content_type` is what the record declares, without parameters and in lower case.

    Raises:
        InvalidEvent: `too_large`, `invalid_json` or `invalid_event`; the detail names the field.
    """
    value = _json_of(value, max_bytes=max_bytes, content_type=content_type)
    known = model.model_fields
    if len(value) <= _SMALL:
        # An event like most has known fields, and nothing nested in them.
        with contextlib.suppress(orjson.JSONDecodeError, ValidationError):  # reported below
            data = orjson.loads(value)
            is_flat = isinstance(data, dict) and _NESTED.isdisjoint(map(type, data.values()))
            if is_flat and data.keys() <= known.keys():
                return model.model_validate(data)
    fields = _unwrapped_fields(value, known, content_type)
    data = {name: _read_field(name, field, name in known) for name, field in fields.items()}
    return from_json_object(model, data)


def fields_of_record(
    model: type[RawEvent], value: bytes, headers: Mapping[str, bytes], *, max_bytes: int
) -> dict[str, json_bytes.RawJson] | None:
    """The fields of a JSON record of any shape; None where the record is a bare file.

    `model` says what the record is for: of a CloudEvent in structured mode the fields are those of
    its `data`, as in `read_event`, which says what is raised.
    """
    declared = (header_of(headers, CONTENT_TYPE) or b"").decode("latin-1")
    if "file" in model.model_fields and declared and not _is_json(declared, value):
        return None
    content_type = bare_type(declared)
    value = _json_of(value, max_bytes=max_bytes, content_type=content_type)
    fields = _unwrapped_fields(value, model.model_fields, content_type)
    return {name: _read_field(name, field, False) for name, field in fields.items()}


def from_json_object(model: type[EventT], data: Mapping[str, Any]) -> EventT:
    """Make an event of what `to_json_object` gave; an InvalidEvent names the first wrong field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    fault = faults[0]
    where = ".".join(_shown(str(step)) for step in fault["loc"])
    said = "missing" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    raise _invalid(f"{where}: {said}{more}." if where else f"{said}{more}.")


def to_json_object(event: RawEvent) -> dict[str, Any]:
    """Turn an event into the JSON object it came from, unknown fields and files included.

    Fields that were passed on as bytes are `RawJson` in it; `json_bytes.dumps` writes them.
    """
    unknown = event.model_extra or {}
    known = event.model_dump(mode="json", exclude_unset=True, exclude=set(unknown))
    return {**known, **unknown}


def header_of(headers: Mapping[str, bytes], name: str) -> bytes | None:
    """A header, given in lower case, whatever the case of its name; None where it is absent."""
    if name in headers:
        return headers[name]
    return next((headers[key] for key in headers if key.lower() == name), None)


def text_too_long(field: str, text: str, max_chars: int) -> InvalidEvent:
    detail = f"{field}: has {len(text):,} characters; at most {max_chars:,} are taken."
    return InvalidEvent(DeadLetterReason.TOO_LARGE, detail)


def check_texts(event: RawEvent, max_chars: int) -> None:
    """Hold every text that a stage knows to the limit of texts; raises `InvalidEvent`."""
    for field in type(event).model_fields:
        text = getattr(event, field)
        if isinstance(text, str) and len(text) > max_chars:
            raise text_too_long(field, text, max_chars)


def _value_too_large(value: bytes, max_bytes: int) -> InvalidEvent:
    detail = f"The value has {len(value):,} bytes; at most {max_bytes:,} are taken."
    return InvalidEvent(DeadLetterReason.TOO_LARGE, detail)


def _shown(name: str) -> str:
    """A publisher's own field name, fit for a header and a log line."""
    printable = "".join(char if char.isprintable() else "?" for char in name[:_NAME_LENGTH])
    return printable if len(name) <= _NAME_LENGTH else f"{printable}..."


def _invalid(detail: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)


def _json_fault(where: str, error: Exception) -> InvalidEvent:
    if isinstance(error, json_bytes.OverLimit):
        return _invalid(f"{where}: {error}.")
    return InvalidEvent(DeadLetterReason.INVALID_JSON, f"{where}: {error}.")


def _json_of(value: bytes, *, max_bytes: int, content_type: str) -> bytes:
    """The value without what JSON does not begin with."""
    if len(value) > max_bytes:
        raise _value_too_large(value, max_bytes)
    if not value:
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, "The value is empty.")
    if value.startswith(_UTF_16):
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, "The value is UTF-16; send UTF-8.")
    if content_type == BATCH_TYPE:
        raise _invalid(f"A batch of CloudEvents: {_ONE_A_RECORD}")
    return value.removeprefix(codecs.BOM_UTF8)


def _is_json(declared: str, value: bytes) -> bool:
    """Whether it is JSON by its type or, where that says nothing, by its first bytes."""
    return bare_type(declared) in _JSON_TYPES or (
        says_nothing(declared) and value[:64].lstrip(_BEFORE_JSON).startswith(b"{")
    )


def _unwrapped_fields(value: bytes, known: Collection[str], content_type: str) -> dict[str, bytes]:
    fields = _fields_of_record(value)
    if content_type == STRUCTURED_TYPE or is_envelope(fields, known):
        return unwrapped(fields, takes_files="file" in known)
    return fields


def _fields_of_record(value: bytes) -> dict[str, bytes]:
    try:
        return json_bytes.fields_of(value)
    except json_bytes.NotJson as error:
        detail = f"The value is not JSON: {error}."
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, detail) from None
    except json_bytes.OverLimit as error:
        raise _json_fault("The value", error) from None
    except json_bytes.NoObject:
        kinds = {b"n": "null", b"t": "a boolean", b"f": "a boolean", b'"': "a string"}
        begin = value.lstrip()[:1]
        if begin == b"[":
            raise _invalid(f"A JSON object is needed, not an array; {_ONE_A_RECORD}") from None
        kind = kinds.get(begin, "a number")
        raise _invalid(f"A JSON object is needed, not {kind}.") from None


def _read_field(name: str, field: bytes, is_known: bool) -> Any:  # noqa: ANN401 - JSON
    """A known field as objects, with nested ones held to the limits of unknown fields."""
    try:
        if not is_known or field[0] in b"{[":
            json_bytes.check_passed_on(field)
        return orjson.loads(field) if is_known else json_bytes.RawJson(field)
    except (json_bytes.NotJson, json_bytes.OverLimit) as error:
        raise _json_fault(_shown(name), error) from None
    except orjson.JSONDecodeError:
        # Its syntax was checked, so what is left is an odd byte, or a number beyond all bounds.
        detail = f"{_shown(name)}: not UTF-8, or not a number of 64 bits."
        raise InvalidEvent(DeadLetterReason.INVALID_JSON, detail) from None


RawT = TypeVar("RawT", bound=RawEvent)


class JsonStage(Generic[RawT]):
    """Reads a stage's raw records, within the limits of its settings.

    A stage that extends it adds what it asks: `name`, `raw_model`, `result_model`, and the
    methods `question`, `signals` and `result` of `pipeline.stages.api.Stage`.
    """

    settings_model: ClassVar[type[StageSettings]] = StageSettings
    """What the stage's table of the settings may hold; of a third-party stage."""

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
        """Read a raw record; every text field is held to the limit of texts."""
        declared = (header_of(headers, CONTENT_TYPE) if headers else None) or b""
        is_plain = declared in {b"", b"application/json"}
        event = read_event(
            self.raw_model,
            value,
            max_bytes=self._largest_event,
            content_type="" if is_plain else bare_type(declared.decode("latin-1")),
        )
        check_texts(event, self._limits.max_text_chars)
        return event


def read_object(value: bytes) -> dict[str, Any]:
    """Read a JSON object of any shape, as objects, within the limits of what is passed on.

    Raises:
        InvalidEvent: `invalid_json` or `invalid_event`; the detail names the field.
    """
    fields = _fields_of_record(value.removeprefix(codecs.BOM_UTF8))
    return {name: _read_field(name, field, is_known=True) for name, field in fields.items()}


def is_json_type(media_type: str) -> bool:
    """Whether content of this bare type is JSON."""
    return media_type in _JSON_TYPES or media_type.endswith("+json")


def is_envelope(fields: Collection[str], known: Collection[str]) -> bool:
    """Whether a record is an envelope by its fields; a field that the stage knows is its own."""
    has_contents = any(name in fields and name not in known for name in _CONTENTS)
    return has_contents and all(name in fields for name in REQUIRED)


def unwrapped(fields: Mapping[str, bytes], *, takes_files: bool) -> dict[str, bytes]:
    """The fields of the event in an envelope; its id is the envelope's where `data` has none.

    A file may be in `data_base64`, its type in `datacontenttype` or, where that says nothing, in
    its bytes.
    """
    for name in REQUIRED:
        if name not in fields:
            raise _invalid(f"{name}: missing; every CloudEvent has it.")
    event = _event(fields, takes_files=takes_files)
    about = {name: field for name, field in fields.items() if name not in _CONTENTS}
    for name, field in about.items():
        try:
            json_bytes.check_passed_on(field)
        except (json_bytes.NotJson, json_bytes.OverLimit) as error:
            shown = name if name in REQUIRED else "an attribute of the CloudEvent"
            raise _invalid(f"{shown}: {error}.") from None
    envelope = json_bytes.dumps({name: json_bytes.RawJson(field) for name, field in about.items()})
    return {"id": fields["id"], ENVELOPE: envelope, **event}


def _event(fields: Mapping[str, bytes], *, takes_files: bool) -> dict[str, bytes]:
    encoded = fields.get("data_base64")
    # Writers of every attribute leave the one of both that is not used null.
    if "data" in fields and (encoded is None or fields["data"] != b"null"):
        return _event_fields("data", fields["data"])
    if encoded is None:
        raise _invalid("data: missing; it is the raw event.")
    media_type = _text_of(fields.get("datacontenttype"))
    bare = bare_type(media_type)
    file = {"media_type": media_type, "data": json_bytes.RawJson(encoded)}
    if takes_files and (bare in MEDIA_TYPES or is_xml_type(bare)):
        return {"file": json_bytes.dumps({**file, "media_type": bare})}
    try:
        data = base64.b64decode("".join(_text_of(encoded).split()), validate=True)
    except (binascii.Error, ValueError):
        raise _invalid("data_base64: not base64.") from None
    if takes_files and says_nothing(media_type) and sniff(data) is not None:
        return {"file": json_bytes.dumps(file)}
    return _event_fields("data_base64", data.removeprefix(codecs.BOM_UTF8))


def _event_fields(name: str, data: bytes) -> dict[str, bytes]:
    try:
        return json_bytes.fields_of(data)
    except json_bytes.NoObject:
        raise _invalid(f"{name}: a JSON object is needed, the raw event.") from None
    except json_bytes.OverLimit as error:
        raise _json_fault(name, error) from None
    except json_bytes.NotJson as error:
        raise _json_fault(f"{name}: not JSON", error) from None


def _text_of(field: bytes | None) -> str:
    with contextlib.suppress(orjson.JSONDecodeError):
        text = orjson.loads(field or b"null")
        if isinstance(text, str):
            return text
    return ""


def _decode(value: Any) -> Any:  # noqa: ANN401 - a validator takes anything
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.encode("ascii").translate(None, _BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


Base64 = Annotated[
    bytes,
    pydantic.BeforeValidator(_decode),
    pydantic.PlainSerializer(lambda data: base64.b64encode(data).decode("ascii"), return_type=str),
    pydantic.WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


class RawFile(BaseModel):
    """A file inside a raw event."""

    # What a publisher says beside it, such as a file name, is kept as other unknown fields are.
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    media_type: str = Field(description="What the file is; checked against its first bytes.")
    data: Base64 = Field(repr=False)


class FileEvent(RawEvent):
    """A raw event about a file: in the event itself, or behind a `uri`."""

    file: RawFile | None = None
    uri: str | None = Field(None, description="Where the file is; an allowed place only.")

    @model_validator(mode="after")
    def _has_one_content(self) -> Self:
        names = [name for name in self.contents() if getattr(self, name) is not None]
        if len(names) != 1:
            raise ValueError(f"exactly one of {', '.join(self.contents())} is needed")
        return self

    @property
    def unknown_fields(self) -> dict[str, JsonValue | json_bytes.RawJson]:
        """The fields the stage does not know, those beside the file under `file`."""
        beside = self.file.model_extra if self.file is not None else None
        return {**super().unknown_fields, **({"file": beside} if beside else {})}

    @property
    def file_place(self) -> str:
        """The record itself, the bucket, or the file system of this machine."""
        if self.uri is None:
            return "record" if self.file is not None else ""
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    @classmethod
    def contents(cls) -> tuple[str, ...]:
        """The fields of which an event has exactly one."""
        return ("file", "uri")


FileT = TypeVar("FileT", bound=FileEvent)


class Files:
    """Reads, fetches and decodes the files of one stage's events.

    If `takes_xml`, files may be XML as well, and of PDF files the attached XML is read, too.
    """

    def __init__(
        self,
        settings: FileSettings,
        claims: ClaimStore | None = None,
        decode: decoding.Decode = decoding.decoders_of_this_process.decode,
        *,
        takes_xml: bool = False,
    ) -> None:
        self._settings = settings
        self._claims = claims or Claims(settings)
        self._decode = decode
        self._takes_xml = takes_xml
        self._fetches = threading.BoundedSemaphore(_FETCHED_AT_ONCE)
        images = settings.image_limits
        self._limits = decoding.FileLimits(
            settings.max_image_pixels,
            images.long_edge,
            settings.max_pdf_pages,
            images.tokens,
            settings.max_text_chars,
        )

    def read_event(
        self, model: type[EventT], value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]
    ) -> EventT:
        """Read a record that is JSON, or a bare file with its type in the `content-type` header.

        A bare file has its id in the header `event-id`, or else in the record's key. An
        InvalidEvent says that the record is neither.
        """
        max_bytes = self._settings.max_event_bytes
        declared = _text(headers, CONTENT_TYPE)
        if declared is not None and not _is_json(declared, value):
            if len(value) > max_bytes:
                raise _value_too_large(value, max_bytes)
            media_type = self._checked_type(value, declared, CONTENT_TYPE)
            event_id = _text(headers, EVENT_ID) or _utf8(key or b"", "the record's key")
            if not event_id:
                where = f"the header {EVENT_ID} or in the record's key"
                raise _invalid(f"id: missing; a bare file has it in {where}.")
            file = RawFile(media_type=media_type, data=value)
            return from_json_object(model, {"id": event_id, "file": file})
        try:
            declared = bare_type(declared or "")
            event = read_event(model, value, max_bytes=max_bytes, content_type=declared)
        except InvalidEvent as invalid:
            if invalid.reason is DeadLetterReason.INVALID_JSON and (found := sniff(value)):
                detail = f"The value looks like {found}; send it with that `content-type` header."
                raise InvalidEvent(DeadLetterReason.INVALID_JSON, detail) from None
            raise
        check_texts(event, self._settings.max_text_chars)
        return event

    def splitter(self, stage: str) -> Splitter | None:
        """What finds several documents in one file, where that is set.

        Raises:
            UsageError: The extra `split`, which shows pages, is not installed.
        """
        if not self._settings.split:
            return None
        if find_spec("pypdfium2") is None:
            raise UsageError(
                f"stages.{stage}.split needs the extra split: pip install 'haiku-pipeline[split]'."
            )
        return Splitter(stage, self)

    def open(self, event: FileEvent) -> decoding.Prepared:
        """Check an event's file and make it what is sent, in parts if it is long; may be slow.

        Raises:
            InvalidEvent: The file is not what it says it is, or breaks a limit.
            Unavailable: Where the `uri` points cannot be reached, or no decoder can be started.
        """
        opened = self.open_any(event)
        if isinstance(opened, bytes):  # only where XML is taken, which does not call this
            raise TypeError("XML is not prepared to be sent")
        return opened

    def open_any(self, event: FileEvent) -> decoding.Prepared | bytes:
        """The same; of a file that is XML its bytes, as they came."""
        return self._decoded(event, "send")

    def show_pages(self, event: FileEvent) -> decoding.Prepared:
        """Check an event's file and make it what shows its pages; none where it has no pages.

        Raises what `open` does.
        """
        if event.file is None and event.uri is None:
            return ()
        shown = self._decoded(event, "show_pages")
        return () if isinstance(shown, bytes) else shown

    def view(self, event: FileEvent, page: int, long_edge: int) -> decoding.Prepared | bytes:
        """What a person sees of an event's file: how many pages, and a picture of one; or its text.

        Pages count from 1; `long_edge` is in pixels. Of XML its bytes. Raises what `open` does.
        """
        limits = replace(self._limits, image_long_edge=long_edge)
        return self._decoded(event, "view", ((page, page),), limits)

    def cut(self, event: FileT, parts: Sequence[decoding.Pages]) -> Sequence[FileT]:
        """The same event, once with each of the parts as its file.

        Raises what `open` does.
        """
        files = (part for part in self._decoded(event, "cut", tuple(parts)))
        made = [RawFile(media_type=PDF, data=part.data) for part in files if isinstance(part, Pdf)]
        beside = {} if event.file is None else event.file.model_extra or {}
        instead: dict[str, Any] = {} if event.uri is None else {"uri": None}
        return [
            event.model_copy(update={"file": file.model_copy(update=beside), **instead})
            for file in made
        ]

    def _decoded(
        self,
        event: FileEvent,
        purpose: decoding.Purpose,
        pages: tuple[decoding.Pages, ...] = (),
        limits: decoding.FileLimits | None = None,
    ) -> decoding.Prepared | bytes:
        how: dict[str, Any] = {"purpose": purpose, "pages": pages, "limits": limits or self._limits}
        if event.file is not None:
            return self._prepared(event.file.data, event.file.media_type, "file", **how)
        with self._fetches:
            data = self._claims.fetch(event.uri or "", max_bytes=self._settings.max_event_bytes)
            return self._prepared(data, "", "uri", **how)

    def _prepared(
        self,
        data: bytes,
        declared: str,
        field: str,
        *,
        purpose: decoding.Purpose,
        pages: tuple[decoding.Pages, ...],
        limits: decoding.FileLimits,
    ) -> decoding.Prepared | bytes:
        media_type = self._checked_type(data, declared, field)
        if media_type == XML:
            return data
        attached = (
            purpose == "send"
            and self._takes_xml
            and media_type == PDF
            and may_have_attachments(data)
        )
        job = decoding.Job(data, media_type, field, limits, purpose, pages, attached)
        return tuple(
            replace(part, text=visible(part.text)) if isinstance(part, Text) else part
            for part in self._decode(job)
        )

    def _checked_type(
        self, data: bytes, declared: str, field: str
    ) -> MediaType | Literal["application/xml"]:
        if self._takes_xml and sniff(data) is None and begins_like_xml(data):
            said = bare_type(declared)
            if is_xml_type(said) or says_nothing(said):
                return XML
        return checked_type(data, declared, field=field)


def _text(headers: Mapping[str, bytes], name: str) -> str | None:
    value = header_of(headers, name)
    return None if value is None else _utf8(value, f"the header {name}")


def _utf8(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _invalid(f"id: {what} is not UTF-8.") from None
