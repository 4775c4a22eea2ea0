"""PDFs by ReportLab: drawn page by page, with what its canvas and its layout engine offer."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reportlab.lib import colors, pagesizes, pdfencrypt
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table, TableStyle

from tests.corpus.made import Made, written

PROGRAM = "reportlab"
Drawing = Callable[[Any, int], None]
_CJK = {
    "HeiseiMin-W3": "請求書 合計",
    "STSong-Light": "发票 总计",
    "HYSMyeongJo-Medium": "청구서 합계",
}
_SIZES = {
    "a3": pagesizes.A3,
    "a4": pagesizes.A4,
    "a4-across": pagesizes.landscape(pagesizes.A4),
    "a5": pagesizes.A5,
    "letter": pagesizes.LETTER,
    "legal": pagesizes.LEGAL,
    "receipt": (200, 3000),
    "stamp": (72, 72),
}


def drawn(pages: int = 1, draw: Drawing | None = None, **options: Any) -> bytes:  # noqa: ANN401
    """A PDF of some pages.

    Args:
        pages: How many.
        draw: Draws on the canvas, given it and the number of the page.
        options: The canvas's own.
    """
    file = io.BytesIO()
    canvas = Canvas(file, **options)
    for number in range(1, pages + 1):
        (draw or text)(canvas, number)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def text(canvas: Any, number: int) -> None:  # noqa: ANN401 - ReportLab has no types
    """A few lines of an invoice."""
    canvas.setFont("Helvetica", 11)
    for row in range(12):
        canvas.drawString(60, 700 - 16 * row, f"Page {number}, position {row}: {row * 7}.00 EUR")


def by_reportlab(folder: Path) -> Iterator[Made]:
    """About fifty."""
    for pages in (1, 2, 3, 7, 20, 99, 100):
        yield _made(f"{pages}-pages", drawn(pages), pages)
    for name, size in _SIZES.items():
        yield _made(f"size-{name}", drawn(pagesize=size))
    for minor in range(3, 8):
        yield _made(f"version-1.{minor}", drawn(pdfVersion=(1, minor)))
    for compressed in (0, 1):
        yield _made(f"compression-{compressed}", drawn(2, pageCompression=compressed), 2)
    for strength in (40, 128):
        owner = pdfencrypt.StandardEncryption("", ownerPassword="owner", strength=strength)
        yield _made(f"owner-password-{strength}", drawn(3, encrypt=owner), 3)
    for name, draw in _DRAWINGS.items():
        yield _made(name, drawn(2, draw), 2)
    for font, words in _CJK.items():
        pdfmetrics.registerFont(UnicodeCIDFont(font))
        yield _made(f"font-{font}", drawn(1, _in_font(font, words)))
    for mode in ("RGB", "L", "1", "CMYK", "P", "RGBA", "LA"):
        yield _made(f"scan-{mode}", drawn(2, _scan(mode)), 2)
    for rows in (5, 60, 200):
        yield _made(f"table-of-{rows}", _table(rows), None)


def _made(name: str, data: bytes, pages: int | None = 1) -> Made:
    return Made(PROGRAM, f"reportlab-{name}.pdf", data, "application/pdf", pages)


def _in_font(font: str, words: str) -> Drawing:
    def draw(canvas: Any, number: int) -> None:  # noqa: ANN401
        canvas.setFont(font, 24)
        canvas.drawString(60, 700, f"{words} {number}")

    return draw


def _scan(mode: str) -> Drawing:
    def draw(canvas: Any, number: int) -> None:  # noqa: ANN401
        picture = ImageReader(written((100 + number, 140), mode))
        canvas.drawImage(picture, 0, 0, 595, 842, mask="auto")

    return draw


def _form(canvas: Any, number: int) -> None:  # noqa: ANN401
    form = canvas.acroForm
    form.textfield(name=f"name{number}", x=60, y=600, value="ACME", width=200)
    form.checkbox(name=f"paid{number}", x=60, y=560, checked=True)
    form.choice(name=f"kind{number}", x=60, y=500, options=["a", "b"], value="a")


def _outline(canvas: Any, number: int) -> None:  # noqa: ANN401
    text(canvas, number)
    canvas.bookmarkPage(f"p{number}")
    canvas.addOutlineEntry(f"Page {number} /Type /Page", f"p{number}", 0)
    canvas.addPageLabel(number - 1, style="ROMAN_LOWER", start=number)


def _links(canvas: Any, number: int) -> None:  # noqa: ANN401
    text(canvas, number)
    canvas.linkURL("https://example.org/Encrypt", (60, 600, 200, 620))
    canvas.setTitle("invoice (endstream) ü")


def _turned(canvas: Any, number: int) -> None:  # noqa: ANN401
    canvas.setPageRotation(90 * number)
    text(canvas, number)


def _see_through(canvas: Any, number: int) -> None:  # noqa: ANN401
    canvas.setFillAlpha(0.4)
    canvas.setFillColor(colors.CMYKColor(0.2, 0.8, 0, 0.1))
    canvas.circle(200, 400, 50 + number, fill=1)
    canvas.linearGradient(0, 0, 300, 300, (colors.red, colors.blue))


def _blank(canvas: Any, number: int) -> None:  # noqa: ANN401
    del canvas, number


_DRAWINGS: dict[str, Drawing] = {
    "form": _form,
    "outline": _outline,
    "links": _links,
    "turned": _turned,
    "see-through": _see_through,
    "blank": _blank,
}


def _table(rows: int) -> bytes:
    file = io.BytesIO()
    cells = [[str(row), "bolts", f"{row}.00"] for row in range(rows)]
    grid = TableStyle([("GRID", (0, 0), (-1, -1), 0.5, colors.grey)])
    heading = Paragraph("Invoice 4711", getSampleStyleSheet()["Title"])
    SimpleDocTemplate(file).build([heading, Table(cells, style=grid)])
    return file.getvalue()
