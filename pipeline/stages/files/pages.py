"""The pages of a PDF file: shown small, to see where documents begin, and cut into files.

A page is shown by the beginning and the end of its text, where titles and page numbers stand, or
as a picture of a fifth of the tokens that the page itself takes. PDFium draws it, of the extra
`split`; what it cannot draw is said to be no more than that.
"""

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pikepdf

from pipeline.model.questions import Image, Pdf, Text
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
