"""What a file is, by its first bytes, whatever anybody says it is."""

from typing import Final, Literal, get_args

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.questions import ImageType

PDF: Final = "application/pdf"
MediaType = Literal[ImageType, "application/pdf"]
MEDIA_TYPES: frozenset[str] = frozenset({*get_args(ImageType), PDF})

_PDF_HEADER_WITHIN = 1024
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "application/x-pdf": PDF}


def sniff(data: bytes) -> MediaType | None:
    """Tell a file's type from its magic bytes; None where it is none that is taken."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    # Readers accept some bytes before the header, so what has it there is a PDF to them.
    if b"%PDF-" in data[:_PDF_HEADER_WITHIN]:
        return PDF
    return None


def bare_type(content_type: str) -> str:
    """Reduce a content type to type and subtype, lower case, without its parameters."""
    bare = content_type.partition(";")[0].strip().lower()
    return _ALIASES.get(bare, bare)


def checked_type(data: bytes, declared: str, *, field: str) -> MediaType:
    """Tell what a file is, provided that it is what it was declared to be.

    Raises:
        Invalid: `unsupported_media`.
    """
    said, found = bare_type(declared), sniff(data)
    if said not in MEDIA_TYPES:
        raise Invalid(
            DeadLetterReason.UNSUPPORTED_MEDIA,
            f"{field}: this type is not taken; the types are {', '.join(sorted(MEDIA_TYPES))}.",
        )
    if found != said:
        known = f"it begins like {found}" if found else "it does not begin like one"
        raise Invalid(
            DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: declared as {said}, but {known}."
        )
    return found
