"""The file of an event: in the JSON, as the bare value of the record, or behind a `uri`."""

import base64
import binascii
import threading
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from pipeline.config import FileSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import RawJson
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.claims import ClaimStore, claims_of
from pipeline.stages.files.decoding import (
    Decoder,
    FileLimits,
    Job,
    Prepared,
    decoders_of_this_process,
)
from pipeline.stages.files.media import bare_type, checked_type, says_nothing, sniff
from pipeline.stages.files.raw_events import (
    BATCH_TYPE,
    CONTENT_TYPE,
    STRUCTURED_TYPE,
    RawEvent,
    from_json_object,
    header_of,
    read_event,
    value_too_large,
)

EventT = TypeVar("EventT", bound=RawEvent)
EVENT_ID = "event-id"
_FETCHED_AT_ONCE = 16
"""Files behind a `uri` that a stage holds before they are decoded: their bytes are not among those
of the records in flight, so nothing else bounds them."""
_JSON_TYPES = frozenset({"application/json", STRUCTURED_TYPE, BATCH_TYPE, "text/json"})
_BLANKS = b" \t\r\n\v\f"
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


def _decode(value: Any) -> Any:  # noqa: ANN401 - a validator takes anything
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.encode("ascii").translate(None, _BLANKS), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


Base64 = Annotated[
    bytes,
    BeforeValidator(_decode),
    PlainSerializer(lambda data: base64.b64encode(data).decode("ascii"), return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
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
    def unknown_fields(self) -> dict[str, JsonValue | RawJson]:
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


class Files:
    """Reads, fetches and checks the files of one stage's events.

    They are decoded by the child processes that all stages share, unless a decoder is given.
    """

    def __init__(
        self,
        settings: FileSettings,
        claims: ClaimStore | None = None,
        decoder: Decoder = decoders_of_this_process,
    ) -> None:
        self._settings = settings
        self._claims = claims or claims_of(settings)
        self._decoder = decoder
        self._fetches = threading.BoundedSemaphore(_FETCHED_AT_ONCE)
        self._limits = FileLimits(
            settings.max_image_pixels, settings.image_long_edge, settings.max_pdf_pages
        )

    def read_event(
        self,
        model: type[EventT],
        value: bytes,
        *,
        key: bytes | None,
        headers: Mapping[str, bytes],
    ) -> EventT:
        """Read a record that is JSON, or a bare file with its type in the `content-type` header.

        A bare file has its id in the header `event-id`, or else in the record's key. An
        InvalidEvent says that the record is neither.
        """
        max_bytes = self._settings.max_event_bytes
        declared = _text(headers, CONTENT_TYPE)
        # JSON by its type or, where that says nothing, by its first bytes.
        is_json = declared is None or (
            bare_type(declared) in _JSON_TYPES
            or (says_nothing(declared) and value[:64].lstrip(_BEFORE_JSON).startswith(b"{"))
        )
        if declared is not None and not is_json:
            if len(value) > max_bytes:
                raise value_too_large(value, max_bytes)
            media_type = checked_type(value, declared, field=CONTENT_TYPE)
            event_id = _text(headers, EVENT_ID) or _utf8(key, "the record's key")
            file = RawFile(media_type=media_type, data=value)
            return from_json_object(model, {"id": event_id, "file": file})
        try:
            return read_event(
                model, value, max_bytes=max_bytes, content_type=bare_type(declared or "")
            )
        except InvalidEvent as invalid:
            if invalid.reason is DeadLetterReason.INVALID_JSON and (found := sniff(value)):
                detail = f"The value looks like {found}; send it with that `content-type` header."
                raise InvalidEvent(DeadLetterReason.INVALID_JSON, detail) from None
            raise

    def open(self, event: FileEvent) -> Prepared:
        """Check an event's file and make it what is sent, in parts if it is long; may be slow.

        Raises:
            InvalidEvent: The file is not what it says it is, or breaks a limit.
            Unavailable: Where the `uri` points cannot be reached, or no decoder can be started.
        """
        if event.file is not None:
            return self._prepared(event.file.data, event.file.media_type, "file")
        with self._fetches:
            data = self._claims.fetch(event.uri or "", max_bytes=self._settings.max_event_bytes)
            return self._prepared(data, "", "uri")

    def _prepared(self, data: bytes, declared: str, field: str) -> Prepared:
        media_type = checked_type(data, declared, field=field)
        return self._decoder.decode(Job(data, media_type, field, self._limits))


def _text(headers: Mapping[str, bytes], name: str) -> str | None:
    value = header_of(headers, name)
    return _utf8(value, f"the header {name}") if value else (None if value is None else "")


def _utf8(value: bytes | None, what: str) -> str:
    if not value:
        raise InvalidEvent(
            DeadLetterReason.INVALID_EVENT,
            f"id: missing; a bare file has it in the header {EVENT_ID} or in the record's key.",
        )
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, f"id: {what} is not UTF-8.") from None
