"""The pages of a PDF file: shown small, to see where documents begin, and cut into files.

A page is shown by the beginning and the end of its text, where titles and page numbers stand, or
as a picture of a fifth of the tokens that the page itself takes. PDFium draws it, of the extra
`split`; what it cannot draw is said to be no more than that.

For a person a page of any file is drawn as large as they want it (extra `desk`): a picture made
here, which holds nothing of the file but what is seen.
"""

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pikepdf
from PIL import Image as Pillow

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, Pdf, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.decoding import Pages, Prepared

_LONG_EDGE = 800
"""Pixels: of a sheet of A4 68 dots an inch, at which print of ten points is still read."""
_JPEG_QUALITY = 60
_TEXT_FROM = 80
"""Characters below which a page is a picture with little else: the stamp of a scanner, say."""
_SHOWN_OF_BEGINNING, _SHOWN_OF_END = 700, 200
_MOST_TEXT = 200_000
_TEXT_SECONDS = 1.0
_TO_OTHER_PAGES = ("/Annots", "/B", "/StructParents")
_NOT_SHOWN = "(this page cannot be shown)"
_PICTURE_FOLLOWS = "(the next picture)"


def name_of(page: int) -> str:
    """What a page is called where it is shown; counted from 1."""
    return f"page {page}"


def show_pages(data: bytes) -> Prepared:
    """What shows each page of a sound PDF file: a text under its name, and a picture if need be."""
    import pypdfium2  # noqa: PLC0415 - an extra

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            pages = len(pdf.pages)
        return tuple(Text(name_of(page), _NOT_SHOWN) for page in range(1, pages + 1))
    shown: list[Image | Text] = []
    for at in range(len(document)):
        try:
            found = _shown(document[at])
        except pypdfium2.PdfiumError:
            found = _NOT_SHOWN
        if isinstance(found, Image):
            shown += [Text(name_of(at + 1), _PICTURE_FOLLOWS), found]
        else:
            shown.append(Text(name_of(at + 1), found))
    return tuple(shown)


def _shown(page: Any) -> str | Image:  # noqa: ANN401 - of a library without types
    text = page.get_textpage().get_text_range().replace("\r\n", "\n").strip()
    if len(text) >= _TEXT_FROM:
        if len(text) <= _SHOWN_OF_BEGINNING + _SHOWN_OF_END:
            return str(text)
        return f"{text[:_SHOWN_OF_BEGINNING]}\n[...]\n{text[-_SHOWN_OF_END:]}"
    scale = _LONG_EDGE / max(1.0, *page.get_size())
    picture = page.render(scale=scale, grayscale=True).to_pil()
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return Image("image/jpeg", file.getvalue())


PAGES = "pages"
"""The name under which the number of pages is, before the picture of one of them."""
_DRAWN_QUALITY = 85


def text_layer(data: bytes) -> str:
    """What is printed on the pages of a sound PDF file as text; empty where not all can be read.

    It is read by PDFium, of the extra `split`: without that, and of more than can be read within a
    second, it is empty.
    """
    try:
        import pypdfium2  # noqa: PLC0415 - an extra
    except ImportError:
        return ""
    until, pages, size = time.monotonic() + _TEXT_SECONDS, [], 0
    try:
        document = pypdfium2.PdfDocument(data)
        for page in document:
            pages.append(page.get_textpage().get_text_range())
            size += len(pages[-1])
            if size > _MOST_TEXT or time.monotonic() > until:
                return ""
    except pypdfium2.PdfiumError:
        return ""
    return "\n".join(pages)


def draw_page(prepared: Prepared, page: int, long_edge: int, field: str) -> Prepared:
    """How many pages there are, and a picture of one, counted from 1; of a text the text.

    Of a picture that is sent in parts each is a page. Raises `InvalidEvent`.
    """
    first = prepared[0]
    if isinstance(first, Text):
        return prepared
    pages = _page_count(first, field) if isinstance(first, Pdf) else len(prepared)
    if not 1 <= page <= pages:
        detail = f"{field}: there is no page {page}; there are {pages}."
        raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
    shown = prepared[page - 1] if not isinstance(first, Pdf) else first
    picture = _drawn(shown.data, page, long_edge, field) if isinstance(shown, Pdf) else None
    if picture is None and isinstance(shown, Image):
        picture = Pillow.open(io.BytesIO(shown.data)).convert("RGB")
    if picture is None:
        raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {_NOT_SHOWN}")
    picture.thumbnail((long_edge, long_edge), Pillow.Resampling.LANCZOS)
    picture.info.clear()
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_DRAWN_QUALITY)
    return Text(PAGES, str(pages)), Image("image/jpeg", file.getvalue())


def _pdfium_document(data: bytes, field: str) -> Any:  # noqa: ANN401 - of a library without types
    try:
        import pypdfium2  # noqa: PLC0415 - an extra
    except ImportError:
        needed = "pages of PDF files need the extra desk: pip install 'haiku-pipeline[desk]'."
        raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {needed}") from None
    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError:
        raise InvalidEvent(DeadLetterReason.BAD_PDF, f"{field}: {_NOT_SHOWN}") from None


def _page_count(pdf: Pdf, field: str) -> int:
    return len(_pdfium_document(pdf.data, field))


def _drawn(data: bytes, page: int, long_edge: int, field: str) -> Pillow.Image:
    document = _pdfium_document(data, field)
    # What is filled in on a form is drawn as well.
    document.init_forms()
    shown = document[page - 1]
    scale = long_edge / max(1.0, *shown.get_size())
    picture: Pillow.Image = shown.render(scale=scale).to_pil().convert("RGB")
    return picture


def cut_pdf(data: bytes, parts: Iterable[Pages]) -> Iterator[Pdf]:
    """A file of each run of pages, which holds nothing of the other pages; equal ones are equal."""
    with pikepdf.open(io.BytesIO(data)) as whole:
        # Notes and filled-in fields become part of their page: as what they are they name others.
        whole.flatten_annotations()
        for page in whole.pages:
            for name in _TO_OTHER_PAGES:
                if name in page:
                    del page[name]
        # Scanners list the pictures of all pages at each.
        whole.remove_unreferenced_resources()
        for first, last in parts:
            with pikepdf.new() as part:
                part.pages.extend(whole.pages[first - 1 : last])
                written = io.BytesIO()
                part.save(written, deterministic_id=True)
            yield Pdf(written.getvalue())
