"""What a file is: by its first bytes, unless it was declared to be something else.

A declared type that says nothing (`application/octet-stream`, none at all) leaves it to the bytes.
One that names another kind than the bytes show means that two things were mixed up: it is refused.
"""

import tomllib
from pathlib import Path
from typing import Final, Literal, get_args

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import ImageType
from pipeline.model.records import DeadLetterReason

PDF: Final = "application/pdf"
MediaType = Literal[ImageType, "application/pdf"]
MEDIA_TYPES: frozenset[str] = frozenset({*get_args(ImageType), PDF})
_PDF_HEADER_WITHIN = 1024
"""Bytes before the header that viewers read over: PDF 1.7, implementation note 13."""
_ATTACHED = (b"/EmbeddedFile", b"#2Fxml", b"#2fxml")
_NAMES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_ALIASES: dict[str, str] = {
    alias: name for name, aliases in _NAMES["aliases"].items() for alias in aliases
}
_SAYS_NOTHING = frozenset(_NAMES["says_nothing"])
"""What clients, gateways and object stores write where they do not know."""


def sniff(data: bytes) -> MediaType | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.find(b"%PDF-", 0, _PDF_HEADER_WITHIN + len(b"%PDF-")) >= 0:
        return PDF
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
    if said in _SAYS_NOTHING:
        if found is not None:
            return found
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
