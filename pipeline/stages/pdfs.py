"""PDF files: checked for damage, encryption and length before they are sent anywhere."""

import io
import logging

from pypdf import PdfReader
from pypdf.errors import PyPdfError
from pypdf.generic import ArrayObject, DictionaryObject, PdfObject

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.questions import Pdf

_READING_ERRORS = (
    ArithmeticError, AttributeError, LookupError, OSError, PyPdfError, RecursionError, TypeError,
    ValueError, NotImplementedError,
)  # fmt: skip
"""What pypdf raises for damaged files: its own errors, and those its parser runs into."""

# What it logs of a damaged file quotes the file.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def prepare_pdf(data: bytes, max_pages: int, *, field: str) -> Pdf:
    """Check a PDF file.

    Raises:
        Invalid: `bad_pdf` where it is damaged, encrypted or empty, `too_large` where it has too
            many pages.
    """
    try:
        pages = _count_pages(data, max_pages, field)
    except _READING_ERRORS:
        raise Invalid(
            DeadLetterReason.BAD_PDF, f"{field}: the PDF is damaged or cut off; it cannot be read."
        ) from None
    if pages == 0:
        raise Invalid(DeadLetterReason.BAD_PDF, f"{field}: the PDF has no pages.")
    if pages > max_pages:
        raise Invalid(
            DeadLetterReason.TOO_LARGE, f"{field}: the PDF has more than {max_pages} pages."
        )
    return Pdf(data)


def _count_pages(data: bytes, max_pages: int, field: str) -> int:
    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        raise Invalid(
            DeadLetterReason.BAD_PDF,
            f"{field}: the PDF is encrypted; send it without a password or restrictions.",
        )
    return _count_leaves(reader.root_object["/Pages"], max_pages)


def _count_leaves(root: PdfObject, max_pages: int) -> int:
    """Count pages by walking the tree: its own `/Count` may say anything.

    Stops as soon as there are too many, and never enters a node twice.
    """
    pages, seen, waiting = 0, set[int](), [root]
    while waiting and pages <= max_pages:
        node = waiting.pop().get_object()
        if not isinstance(node, DictionaryObject) or id(node) in seen:
            continue
        seen.add(id(node))
        kids = node.get("/Kids")
        children = kids.get_object() if kids is not None else None
        if isinstance(children, ArrayObject):
            waiting.extend(children)
        else:
            pages += 1
    return pages
