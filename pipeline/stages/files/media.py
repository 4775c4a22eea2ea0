"""What a file is: by its bytes, unless it was declared to be something else.

Some kinds are sent as they are; others are made images, a PDF file or text first.

A declared type that says nothing (`application/octet-stream`, none at all) leaves it to the bytes.
One that names another kind than the bytes show means that two things were mixed up: it is refused.
"""

import re
import tomllib
from pathlib import Path
from typing import Final, Literal, get_args

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import ImageType
from pipeline.model.records import DeadLetterReason

PDF: Final = "application/pdf"
TIFF: Final = "image/tiff"
PictureType = Literal[ImageType, "image/avif", "image/bmp", "image/heic", "image/tiff"]
TextType = Literal[
    "text/html",
    "application/rtf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.presentation",
]
"""What is sent as the text in it."""
MediaType = Literal[PictureType, TextType, "application/pdf"]
PICTURE_TYPES: frozenset[str] = frozenset(get_args(PictureType))
TEXT_TYPES: frozenset[str] = frozenset(get_args(TextType))
MEDIA_TYPES: frozenset[str] = PICTURE_TYPES | TEXT_TYPES | {PDF}
HTML: Final = "text/html"
RTF: Final = "application/rtf"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX: Final = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_PDF_HEADER_WITHIN = 1024
"""Bytes before the header that viewers read over: PDF 1.7, implementation note 13."""
_ATTACHED = (b"/EmbeddedFile", b"#2Fxml", b"#2fxml")
_NAMES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_ALIASES: dict[str, str] = {
    alias: name for name, aliases in _NAMES["aliases"].items() for alias in aliases
}
_SAYS_NOTHING = frozenset(_NAMES["says_nothing"])
"""What clients, gateways and object stores write where they do not know."""


_BY_MAGIC: tuple[tuple[re.Pattern[bytes], MediaType], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TIFF),
    # Two letters may begin anything: the length of one of BMP's headers follows.
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "image/bmp"),
    (re.compile(rb"\{\\rtf"), RTF),
)
_HEIC_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
})  # fmt: skip
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:(?:<\?xml[^>]{0,200}\?>|<!--(?:(?!-->)[\s\S]){0,500}-->)\s*){0,5}"
    rb"<(?:!doctype\s+html|html|head|body|title|meta|div|p|table|center|font|h[1-6]|span|br)(?=[\s/>])",
    re.IGNORECASE,
)
_HTML_WITHIN = 4096
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAIN_PARTS: dict[bytes, MediaType] = {
    b"word/document": DOCX,
    b"xl/workbook.xml": XLSX,
    b"ppt/presentation": PPTX,
}
_ODF_NAMES_ITSELF = 30
"""Where the file `mimetype` begins, which is the first of an OpenDocument file, not compressed."""


def sniff(data: bytes) -> MediaType | None:
    for magic, media_type in _BY_MAGIC:
        if magic.match(data):
            return media_type
    if data[4:8] == b"ftyp":
        return _sniff_heif(data)
    if data.startswith(_ZIP):
        return _sniff_zip(data)
    if data.find(b"%PDF-", 0, _PDF_HEADER_WITHIN + len(b"%PDF-")) >= 0:
        return PDF
    return HTML if _HTML.match(data, 0, _HTML_WITHIN) else None


def _sniff_heif(data: bytes) -> MediaType | None:
    """By the brands of an ISO base media file: its own, then those that it is compatible with."""
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "image/avif"
        if brand in _HEIC_BRANDS:
            return "image/heic"
    return None


def _sniff_zip(data: bytes) -> MediaType | None:
    """By the names in it, of which the file's own list is the last: what is embedded lies before.

    Nothing is unpacked here, so a bomb is as cheap as any other file.
    """
    if data.startswith(b"mimetype", _ODF_NAMES_ITSELF):
        begin = _ODF_NAMES_ITSELF + len(b"mimetype")
        for name in get_args(TextType):
            if data.startswith(name.encode(), begin):
                found: MediaType = name
                return found
        return None
    places = {data.rfind(part): media_type for part, media_type in _MAIN_PARTS.items()}
    return places[max(places)] if max(places) >= 0 else None


_NOT_TAKEN = (
    ("EncryptedPackage", "it is encrypted with a password; send it without one"),
    ("WordDocument", "a Word file from before 2007 (.doc); save it as .docx or send it as PDF"),
    ("Workbook", "an Excel file from before 2007 (.xls); save it as .xlsx or send it as PDF"),
    ("PowerPoint Document", "a PowerPoint file from before 2007 (.ppt); send it as PDF"),
    ("__nameid_version1.0", "an Outlook message (.msg); send it as text, its files as events"),
)


def _way_out(data: bytes) -> str | None:
    """What to do with a file of a known kind that is not taken."""
    if data.startswith(_OLE):
        # The names in such a file are UTF-16.
        kinds = (said for name, said in _NOT_TAKEN if name.encode("utf-16-le") in data)
        return next(kinds, "an Office file from before 2007; send it as PDF")
    if data.startswith(_ZIP):
        if b"xl/workbook.bin" in data:
            return "a binary Excel file (.xlsb); save it as .xlsx or send it as PDF"
        return "an archive; send each file in it as an event of its own"
    return None


def bare_type(content_type: str) -> str:
    """Reduce a content type to type and subtype, lower case, without parameters or alias."""
    bare = content_type.partition(";")[0].strip().strip("\"'.").lower()
    return _ALIASES.get(bare, bare)


def says_nothing(content_type: str) -> bool:
    """Whether a content type leaves open what the content is."""
    return bare_type(content_type) in _SAYS_NOTHING


def checked_type(data: bytes, declared: str, *, field: str) -> MediaType:
    """What a file is by its bytes; an InvalidEvent says that it was declared to be something else.

    `declared` is its content type, empty where there is none; `field` is where it is.
    """
    said, found = bare_type(declared), sniff(data)
    types = ", ".join(sorted(MEDIA_TYPES))
    if found is not None and said in _SAYS_NOTHING:
        return found
    if found is None and (way_out := _way_out(data)) is not None:
        detail = f"{way_out}."
    elif said in _SAYS_NOTHING:
        detail = f"what it begins like is not taken; the types are {types}."
    elif said not in MEDIA_TYPES:
        detail = f"this type is not taken; the types are {types}."
    elif found == said:
        return found
    elif found is None:
        detail = f"declared as {said}, but it does not begin like one."
    else:
        detail = (
            f"declared as {said}, but it begins like {found}; declare it as that or, where "
            "nothing is known of a file, as application/octet-stream."
        )
    raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {detail}")


def may_have_attachments(data: bytes) -> bool:
    """Whether files may be attached to a PDF file: a search that takes a millisecond at most.

    The dictionary of an attached file is never compressed or encrypted, as its content may be, and
    PDF/A-3, which e-invoices are, has it say what it is.
    """
    return any(mark in data for mark in _ATTACHED)
