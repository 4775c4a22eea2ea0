"""TIFF files, as scanners and fax servers write them.

One page is a picture like any other. Several become a PDF file, since its pages are what the API
knows as pages: it sees each, and counts them as it counts those of any PDF file. Black and white
pages stay so, in the compression of fax machines, which takes a tenth of what a JPEG would.

Fax machines have twice as many dots across as down, so resolutions are kept.
"""

import io
from collections.abc import Iterator
from typing import Any

import pikepdf
from PIL import Image as Pillow

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Image, Pdf
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.pictures import (
    SEND_IN_ALL,
    PictureFile,
    PictureLimits,
    check_size,
    prepare_opened,
    refusals,
)

_KIND_TAG, _NO_PAGE = 254, 0b101
"""NewSubfileType: a smaller copy of another page, or a mask of one."""
_USUAL_DPI = (200.0, 200.0)
_DPI_WITHIN = (10.0, 10_000.0)
_ALIKE, _UNLIKE = 1.05, 4.0
"""How many times one resolution may be the other: below they are meant to be the same, and above
there is no such machine."""
_JPEG_QUALITIES = (80, 60, 40)
_SMALLEST_EDGE = 256


def prepare_tiff(
    data: bytes, limits: PictureLimits, max_pages: int, *, field: str
) -> tuple[Image, ...] | tuple[Pdf]:
    """Check a TIFF file and make it what is sent: a picture, or a PDF file of its pages.

    Equal input gives equal bytes. Refused is what cannot be decoded, has too many pages, or a page
    of too many pixels.
    """
    file = PictureFile("image/tiff", data)
    with (
        refusals(limits, field=field),
        Pillow.open(io.BytesIO(data), formats=["TIFF"]) as tiff,
    ):
        pages = _page_frames(tiff, max_pages, field)
        if len(pages) == 1:
            tiff.seek(pages[0])
            check_size(tiff.size, file, limits, field)
            return prepare_opened(_with_square_dots(tiff), file, limits, field=field)
        pdf = pikepdf.new()
        for frame in pages:
            tiff.seek(frame)
            check_size(tiff.size, file, limits, field)
            page = _pdf_page(tiff, limits.long_edge, SEND_IN_ALL // len(pages))
            with pikepdf.open(io.BytesIO(page)) as one:
                pdf.pages.extend(one.pages)
        written = io.BytesIO()
        pdf.save(written, deterministic_id=True)
        return (Pdf(written.getvalue()),)


def _page_frames(tiff: Pillow.Image, max_pages: int, field: str) -> list[int]:
    """Which frames are pages; of more than the limit no more is read than shows it."""
    pages = []
    for frame in range(2 * max_pages + 2):
        try:
            tiff.seek(frame)
        except EOFError:
            break
        if not _tags(tiff).get(_KIND_TAG, 0) & _NO_PAGE:
            pages.append(frame)
    if len(pages) > max_pages or frame > 2 * max_pages:
        detail = f"{field}: the TIFF has more than {max_pages} pages."
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail)
    # What calls itself nothing but a copy is still all there is.
    return pages or [0]


def _tags(tiff: Pillow.Image) -> Any:  # noqa: ANN401 - a mapping of Pillow's
    return getattr(tiff, "tag_v2", {})


def _resolution(tiff: Pillow.Image) -> tuple[float, float]:
    across, down = dpi = tuple(float(each) for each in tiff.info.get("dpi", _USUAL_DPI))
    least, most = _DPI_WITHIN
    is_usual = least <= min(dpi) and max(dpi) <= min(most, _UNLIKE * min(dpi))
    return (across, down) if is_usual else _USUAL_DPI


def _with_square_dots(tiff: Pillow.Image) -> Pillow.Image:
    across, down = _resolution(tiff)
    if max(across, down) / min(across, down) < _ALIKE:
        return tiff
    width, height = tiff.size
    finer = max(across, down)
    square = _plain(tiff).resize((round(width * finer / across), round(height * finer / down)))
    square.info.clear()
    return square


def _pdf_page(tiff: Pillow.Image, long_edge: int, most: int) -> bytes:
    """A PDF file of the page that is open, of at most so many bytes, or as small as it may be."""
    dpi = _resolution(tiff)
    page = _plain(tiff)
    if page.mode == "1":
        return _saved(page, dpi)
    scale = min(1.0, long_edge / max(page.size))
    saved = b""
    for edge in _smaller(max(page.size) * scale):
        for quality in _JPEG_QUALITIES:
            scaled = page.copy()
            scaled.thumbnail((edge, edge), Pillow.Resampling.LANCZOS)
            share = scaled.width / page.width
            saved = _saved(scaled, (dpi[0] * share, dpi[1] * share), quality=quality)
            if len(saved) <= most:
                return saved
    return saved


def _smaller(edge: float) -> Iterator[int]:
    while edge > _SMALLEST_EDGE:
        yield round(edge)
        edge /= 2
    yield max(1, round(edge))


def _plain(tiff: Pillow.Image) -> Pillow.Image:
    """The page in mode 1, L or RGB, transparency laid on paper."""
    tiff.load()
    if tiff.mode in {"1", "L", "RGB"}:
        return tiff.copy()
    if tiff.mode.startswith("I"):
        return tiff.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if tiff.has_transparency_data:
        clear = tiff.convert("RGBA")
        paper = Pillow.new("RGBA", clear.size, "white")
        return Pillow.alpha_composite(paper, clear).convert("RGB")
    return tiff.convert("RGB")


def _saved(page: Pillow.Image, dpi: tuple[float, float], **options: int) -> bytes:
    page.info.clear()
    file = io.BytesIO()
    page.save(file, "PDF", dpi=dpi, **options)
    return file.getvalue()
