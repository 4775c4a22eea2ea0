"""E-mails as they are on the wire (`message/rfc822`): the text that their writer wrote, and files.

Parsed by the standard library, under its policy `compat32`: the default policy's reader of headers
takes time that grows with the square of what is in them, and raises errors of its own. A mail is
bounded by its lines, parts and nesting, each part's headers by their length, before more is read.
"""

import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32
from email.utils import getaddresses, parsedate_to_datetime
from functools import partial
from typing import Any

from pipeline.config.inputs import Attachments
from pipeline.inputs.mail_history import is_reply, own_text
from pipeline.inputs.plain_text import decoded, parameter
from pipeline.inputs.records import Document, DocumentPart, InputRecord, off_loop
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.html_mail import readable
from pipeline.stages.files.media import MEDIA_TYPES, bare_type, sniff

MOST_LINES = 250_000
"""Each is an object, and compared with the boundary of each part around it. A file of 8 MB has
110,000."""
MOST_PARTS = 250
MOST_DEPTH = 30
_HEADER_CHARS = 4_000
_MIME_CHARS = 1_000
"""Of a header that says what a part is: its parameters are found in time that grows with the square
of its length."""
_MOST_HEADERS = 100
_MOST_ADDRESSES = 100
_MOST_COMMENTS = 20
_ID_CHARS = 256
_NAME_CHARS = 200
_LARGE_BYTES = 10_000
_HEAD_BYTES = 64 << 10
_END_OF_HEADERS = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_OF_MAILS = frozenset({
    "from", "to", "subject", "date", "message-id", "received", "mime-version", "return-path",
    "delivered-to", "content-type",
})  # fmt: skip
_CID = re.compile(r"""cid:([^"'\s>)]{1,300})""", re.IGNORECASE)


class Mail:
    """Reads an e-mail: `id`, `subject`, `from`, `from_name`, `to`, `date` and `text`.

    The id is its Message-ID. With attachments as `each`, the one that a stage takes (an image, a
    PDF) is the event's `file`, and the mail's text is only `about` it. With `together`, those that
    are text are appended to the mail's. In any case their names, types and sizes are in `about`.
    """

    def __init__(self, attachments: Attachments = "ignore") -> None:
        self._attachments = attachments

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        return await off_loop(self._read, record, larger_than=_LARGE_BYTES)

    async def read_head(self, record: InputRecord) -> Document:
        """What its headers say: the same without its text and files, whatever its size."""
        value = (record.value or b"")[:_HEAD_BYTES]
        end = _END_OF_HEADERS.search(value)
        return self._read(replace(record, value=value if end is None else value[: end.end()]))

    def _read(self, record: InputRecord) -> Document:
        mail = _parsed(record.value or b"")
        headers = _headers(mail)
        if headers.keys().isdisjoint(_OF_MAILS):
            raise _invalid("This is not an e-mail: it has no headers of one.")
        senders = _addresses(mail.get("from", ""))
        fields: dict[str, Any] = {
            "id": _id(headers) or record.own_id,
            "subject": headers.get("subject", ""),
            "from": senders[0][1] if senders else "",
            "from_name": senders[0][0] if senders else "",
            "to": [address for _, address in _addresses(mail.get("to", ""))],
        }
        if date := _date(headers.get("date", "")):
            fields["date"] = date
        body = _Body()
        text = body.read(mail)
        answers = "in-reply-to" in headers or "references" in headers
        fields["text"] = own_text(
            text,
            is_reply=is_reply(fields["subject"], answers=answers),
            is_html=body.has_html,
        )
        found = [_Attachment(part) for part in _attached(mail)]
        about = {"headers": headers, "attachments": [each.described for each in found]}
        if self._attachments == "together":
            texts = [f"{each.name}:\n{text}" for each in found if (text := each.text)]
            fields["text"] = "\n\n".join([fields["text"], *texts])
        parts: tuple[DocumentPart, ...] = ()
        if self._attachments == "each" and (files := [each for each in found if each.is_file]):
            fields["file"], about["text"] = files[0].as_file, fields.pop("text")
            if len(files) > 1:
                parts = tuple(DocumentPart(each.name, {"file": each.as_file}) for each in files)
        return Document(fields, about, parts)


class _TooMuch(Exception):
    """Parts, or levels of them."""


class _Part(Message):
    """A message that counts what it holds while it is parsed."""

    depth = 0
    parts = 0
    whole: "_Part | None" = None

    def attach(self, payload: Any) -> None:  # noqa: ANN401 - as in its base
        whole = self.whole or self
        whole.parts += 1
        payload.depth, payload.whole = self.depth + 1, whole
        if whole.parts > MOST_PARTS or payload.depth > MOST_DEPTH:
            raise _TooMuch
        super().attach(payload)

    def get_boundary(self, failobj: Any = None) -> Any:  # noqa: ANN401 - as in its base
        return parameter(self, "boundary").rstrip() or failobj


class _Policy(Compat32):
    """Headers as text, however they were written, and of a bounded length."""

    def header_source_parse(self, sourcelines: Any) -> tuple[str, str]:  # noqa: ANN401
        name, value = super().header_source_parse(sourcelines)
        limit = _MIME_CHARS if name[:8].lower() == "content-" else _HEADER_CHARS
        raw = value[:limit].replace("\0", "").encode("utf-8", "surrogateescape")
        return name, _text(raw, "")


def _parsed(value: bytes) -> Message:
    lines = value.count(b"\n") + value.count(b"\r") - value.count(b"\r\n")
    if lines > MOST_LINES:
        raise _too_large(f"The mail has {lines:,} lines; at most {MOST_LINES:,} are taken.")
    try:
        return BytesParser(_Part, policy=_Policy()).parsebytes(value)
    except _TooMuch:
        detail = f"The mail has more than {MOST_PARTS} parts, or {MOST_DEPTH} levels of them."
        raise _too_large(detail) from None


@dataclass
class _Body:
    """The text of a mail, found among its parts; `has_html` is whether it was HTML."""

    has_html: bool = False

    def read(self, part: Message) -> str:
        """Plain text where there is some, else HTML as text."""
        kind = part.get_content_type()
        if part.is_multipart():
            return "" if kind.startswith("message/") else self._read_all(kind, _children(part))
        if _is_html(part):
            self.has_html = True
            return readable(_content(part), marks_quotes=True)
        # A multipart without its boundary is as it was written.
        is_text = kind == "text/plain" or kind.startswith("multipart/")
        return _content(part) if is_text and not _is_attached(part) else ""

    def _read_all(self, kind: str, parts: Sequence[Message]) -> str:
        found = (text for part in parts if (text := self.read(part)).strip())
        # The plainest comes first: RFC 2046, 5.1.4.
        return next(found, "") if kind == "multipart/alternative" else "\n\n".join(found)


def _attached(mail: Message) -> Iterator[Message]:
    """The parts that are files, but for pictures that the mail's HTML shows in its text."""
    parts = list(_leaves(mail))
    markup = "".join(_content(part) for part in parts if _is_html(part))
    shown = set(_CID.findall(markup))
    for part in parts:
        is_file = part.get_content_maintype() not in {"text", "multipart"} or _is_attached(part)
        if is_file and str(part.get("content-id", "")).strip().strip("<>") not in shown:
            yield part


class _Attachment:
    def __init__(self, part: Message) -> None:
        name = parameter(part, "filename", "content-disposition") or parameter(part, "name")
        self.name = "".join(filter(str.isprintable, _words(name)))[:_NAME_CHARS] or "unnamed"
        self._part = part
        self._data = _bytes(part)
        declared = bare_type(part.get_content_type())
        self.media_type = sniff(self._data) or declared
        self.is_file = self.media_type in MEDIA_TYPES

    @property
    def described(self) -> Mapping[str, Any]:
        return {"name": self.name, "media_type": self.media_type, "bytes": len(self._data)}

    @property
    def as_file(self) -> dict[str, Any]:
        return {"media_type": self.media_type, "data": self._data, "name": self.name}

    @property
    def text(self) -> str:
        """Empty where it is not text."""
        if self._part.get_content_maintype() != "text":
            return ""
        text = _content(self._part)
        return readable(text) if self._part.get_content_type() == "text/html" else text.strip()


def _children(part: Message) -> list[Message]:
    """Of a multipart: of anything else, what is asked for is decoded, in a charset of any kind."""
    children = part.get_payload()
    return [each for each in children if isinstance(each, Message)]


def _leaves(part: Message) -> Iterator[Message]:
    if not part.is_multipart():
        yield part
    elif part.get_content_maintype() != "message":
        for child in _children(part):
            yield from _leaves(child)


def _is_html(part: Message) -> bool:
    return part.get_content_type() == "text/html" and not _is_attached(part)


def _is_attached(part: Message) -> bool:
    has_name = parameter(part, "filename", "content-disposition") or parameter(part, "name")
    return bool(has_name) or part.get_content_disposition() == "attachment"


def _bytes(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _content(part: Message) -> str:
    return _text(_bytes(part), parameter(part, "charset"))


def _text(data: bytes, charset: str) -> str:
    found = decoded(data, charset)
    if found is None and charset:
        found = decoded(data, "")
    return data.decode("cp1252", "replace") if found is None else found


def _headers(mail: Message) -> dict[str, str]:
    """The first headers, by their names in lower case, decoded; the first of a name."""
    found: dict[str, str] = {}
    for name, value in mail.items():
        if len(found) == _MOST_HEADERS:
            break
        if name.isascii() and name.isprintable():
            found.setdefault(name.lower(), _words(value))
    return found


def _words(header: str) -> str:
    """A header on one line, its encoded words decoded (RFC 2047)."""
    line = " ".join(str(header).split())
    if "=?" not in line or not line.isascii():
        return line
    try:
        pieces = decode_header(line)
    except (HeaderParseError, binascii.Error, ValueError):
        return line
    return "".join(
        piece if isinstance(piece, str) else _text(piece, charset or "")
        for piece, charset in pieces
    ).strip()


def _addresses(header: str) -> list[tuple[str, str]]:
    """Names and addresses; comments may nest, and the parser follows them as deep."""
    line = str(header)
    if line.count("(") > _MOST_COMMENTS:
        return []
    found = getaddresses([line])[:_MOST_ADDRESSES]
    return [(_words(name), address) for name, address in found if address]


def _date(header: str) -> str | None:
    try:
        return parsedate_to_datetime(header).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _id(headers: Mapping[str, str]) -> str:
    found = headers.get("message-id", "").strip().strip("<>").strip()
    return found if len(found) <= _ID_CHARS and found.isprintable() else ""


_invalid = partial(InvalidEvent, DeadLetterReason.INVALID_EVENT)
_too_large = partial(InvalidEvent, DeadLetterReason.TOO_LARGE)
