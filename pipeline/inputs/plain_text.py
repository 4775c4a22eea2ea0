"""Plain text: the whole value is the event's text, in the charset that is declared or shows.

Which charset a text has cannot be known from its bytes alone. What is not declared and not UTF-8 is
refused rather than guessed; of an e-mail, whose writers cannot be asked, it is Windows-1252.
"""

import codecs
from collections.abc import Iterator
from email.message import Message
from encodings import aliases, normalize_encoding

from pipeline.inputs.records import Document, InputRecord
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.raw_events import CONTENT_TYPE, header_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WITHOUT_ALIAS = {"windows_874": "cp874", "cp874": "cp874", "koi8_u": "koi8_u", "koi8_t": "koi8_t"}
_LONGEST_TYPE = 1000
_NO_CHARSETS = frozenset({
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec",
    "mbcs", "utf_7",
})  # fmt: skip
_SUPERSETS = {
    "latin_1": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254", "ascii": "utf_8",
    "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932",
}  # fmt: skip
"""What is written where these are declared: https://encoding.spec.whatwg.org/#names-and-labels."""


class PlainText:
    """Reads text: `{"id": ..., "text": ...}`."""

    async def read(self, record: InputRecord) -> Document | None:
        if record.value is None:
            return None
        charset = declared_charset(header_of(record.headers, CONTENT_TYPE) or b"")
        text = decoded(record.value, charset)
        if text is None:
            said = "what its content-type says" if charset else "UTF-8"
            detail = f"The text is not {said}; declare it, as in text/plain; charset=windows-1252."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
        return Document({"id": record.own_id, "text": text})


def declared_charset(content_type: bytes) -> str:
    """The charset that a content type names; empty where it names none."""
    if b"charset" not in content_type[:_LONGEST_TYPE].lower():
        return ""
    header = Message()
    header["content-type"] = " ".join(content_type[:_LONGEST_TYPE].decode("latin-1").split())
    return parameter(header, "charset")


def parameter(part: Message, name: str, header: str = "content-type") -> str:
    """A parameter of a MIME header, whichever way it is encoded; empty where it is missing."""
    try:
        found = part.get_param(name, "", header)
    except TypeError:  # the library cannot sort pieces of which some have no number
        return ""
    if isinstance(found, tuple):
        charset, _, encoded = found
        data = encoded.encode("latin-1", "replace")
        return decoded(data, charset or "") or data.decode("latin-1")
    return str(found)


def decoded(data: bytes, charset: str) -> str | None:
    """Text by its byte order mark, else by the charset, else as UTF-8; None where none fits.

    A charset that is not known counts as none.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            data, charset = data[len(mark) :], marked
            break
    for codec in _codecs(charset):
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    return None


def _codecs(charset: str) -> Iterator[str]:
    name = normalize_encoding(charset[:64]).lower() if charset.isascii() else ""
    # Of a finite list: Python remembers every name that was looked up in vain.
    codec = aliases.aliases.get(name) or _WITHOUT_ALIAS.get(name) or _BY_NAME.get(name)
    if codec is None or codec in _NO_CHARSETS:
        yield "utf_8"
        return
    if codec in _SUPERSETS:
        yield _SUPERSETS[codec]
    yield codec


_BY_NAME = {name: name for name in aliases.aliases.values()}
