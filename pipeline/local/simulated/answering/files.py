"""Text from images and PDF files: recognised in threads, kept by content."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from PIL import Image, ImageOps
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pipeline.local.simulated.answering.content import FileText
from pipeline.local.simulated.answering.quality import measure
from pipeline.local.simulated.errors import invalid
from pipeline.local.simulated.media import MAX_PDF_PAGES, PDF, Media
from pipeline.local.simulated.tokens import pdf_tokens

_LONG_EDGE = 1200
"""Pixels; smaller is faster, and letters of printed pages stay readable."""
_MAX_PAGES = 5
"""Pages that are read; the rest counts but is not looked at."""
_KEPT = 512
_ENGINE = {
    # One thread a reader: several readers share the cores better than one that takes them all.
    "intra_op_num_threads": 1,
    "inter_op_num_threads": 1,
    # Lines of a batch are padded to the longest; one at a time costs two thirds of it.
    "rec_batch_num": 1,
    "det_limit_type": "max",
    "det_limit_side_len": 736,
}
_BROKEN_PDF = (PyPdfError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError)
"""What pypdf raises on files that are none."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _OpenedPdf:
    text: str
    pages: int
    pictures: tuple[bytes, ...] = ()


class FileReader:
    """Reads files, each content once.

    Args:
        threads: Files read at once.
    """

    def __init__(self, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="simulated-reader")
        self._kept: OrderedDict[bytes, asyncio.Future[FileText]] = OrderedDict()
        self._engine: Any = None

    async def read(self, media: Media) -> FileText:
        """The text of a file.

        Raises:
            ApiError: 400, where the file is broken, encrypted or too long.
        """
        key = media.digest
        known = self._kept.get(key)
        if known is None or known.cancelled():
            work = self._read_pdf if media.media_type == PDF else self._read_image
            known = asyncio.get_running_loop().run_in_executor(self._pool, work, media)
            self._kept[key] = known
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        # A caller that goes away must not take the work from the others who wait for it.
        return await asyncio.shield(known)

    async def run(self, work: Callable[[], T]) -> T:
        """Do something slow in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def pdf_tokens(self, media: Media) -> int:
        """What a PDF file counts; slow, to be called outside the event loop.

        Raises:
            ApiError: 400, where the file is broken, encrypted or too long.
        """
        opened = _open_pdf(media.data, f"{media.path}.source.base64")
        return pdf_tokens(opened.text, opened.pages)

    def close(self) -> None:
        """Stop; what is being read is finished, what waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read_pdf(self, media: Media) -> FileText:
        opened = _open_pdf(media.data, f"{media.path}.source.base64")
        if opened.text or not opened.pictures:
            return FileText(opened.text, 1.0 if opened.text else 0.0)
        read = [self._recognise(picture, media.path) for picture in opened.pictures]
        text = "\n".join(part.text for part in read)
        return FileText(text, min(part.legibility for part in read))

    def _read_image(self, media: Media) -> FileText:
        return self._recognise(media.data, media.path)

    def _recognise(self, data: bytes, path: str) -> FileText:
        try:
            with Image.open(io.BytesIO(data)) as image:
                long_edge = max(image.size)
                upright = ImageOps.exif_transpose(image)
                upright.thumbnail((_LONG_EDGE, _LONG_EDGE))
                flat = Image.new("RGB", upright.size, "white")
                mask = upright.convert("RGBA")
                flat.paste(mask, mask=mask.getchannel("A"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise invalid(f"{path}.source.base64", "Could not process image") from error
        return self._ocr(flat, long_edge)

    def _ocr(self, image: Image.Image, long_edge: int) -> FileText:
        import numpy  # noqa: PLC0415 - of the extra `local`, and slow to import

        if self._engine is None:
            from rapidocr_onnxruntime import RapidOCR  # noqa: PLC0415 - the same

            self._engine = RapidOCR(**_ENGINE)
        boxes, _ = self._engine(numpy.asarray(image)[:, :, ::-1], use_cls=False)
        quality = measure(numpy.asarray(image.convert("L")), long_edge)
        return replace(lines_of(boxes or []), defects=quality.defects)


@lru_cache(maxsize=8)
def _open_pdf(data: bytes, path: str) -> _OpenedPdf:
    try:
        pdf = PdfReader(io.BytesIO(data))
        if pdf.is_encrypted:
            raise invalid(path, "The PDF specified is password protected.")
        pages = len(pdf.pages)
        if pages > MAX_PDF_PAGES:
            raise invalid(path, f"A maximum of {MAX_PDF_PAGES} PDF pages may be provided.")
        read = pdf.pages[:_MAX_PAGES]
        text = "\n".join(page.extract_text(extraction_mode="layout") for page in read).strip()
        if text:
            return _OpenedPdf(text, pages)
        pictures = [image.data for page in read for image in page.images]
        return _OpenedPdf("", pages, tuple(pictures[:_MAX_PAGES]))
    except _BROKEN_PDF as error:
        raise invalid(path, "The PDF specified was not valid.") from error


def lines_of(boxes: list[Any]) -> FileText:
    """Lines from recognised boxes: `[corners, text, score]`.

    Boxes whose middles are at the same height are one line; wide gaps become two blanks or more.
    """
    if not boxes:
        return FileText("", 0.0)
    parts = sorted(
        (
            (
                sum(point[1] for point in corners) / 4,
                min(point[0] for point in corners),
                max(point[0] for point in corners),
                max(point[1] for point in corners) - min(point[1] for point in corners),
                str(text),
            )
            for corners, text, _ in boxes
        ),
    )
    rows: list[list[tuple[float, float, float, float, str]]] = []
    for part in parts:
        row = rows[-1] if rows else None
        if row is not None and part[0] - row[-1][0] < 0.5 * max(part[3], row[-1][3]):
            row.append(part)
        else:
            rows.append([part])
    lines = []
    for row in rows:
        line, end = "", 0.0
        for _, left, right, height, text in sorted(row, key=lambda part: part[1]):
            gap = (
                "" if not line else " " * max(1, min(20, round((left - end) / (height or 1) * 1.5)))
            )
            line += gap + text
            end = right
        lines.append(line)
    scores = [float(score) for _, _, score in boxes]
    return FileText("\n".join(lines), sum(scores) / len(scores))
