"""The smallest PDF writer that carries a text layer: one base font in two weights, no images.

The bytes depend on nothing but the sheets: no compression, no clock, no random identifier.
"""

import hashlib
from collections.abc import Sequence

from rendering.sheet import Area, Ink, Mark, Sheet, Stroke, Text, text_width

_FONTS = (b"Helvetica", b"Helvetica-Bold")


def to_pdf(sheets: Sequence[Sheet], title: str) -> bytes:
    """Write a PDF 1.4 file, one page a sheet.

    Raises:
        UnicodeEncodeError: A letter is not in WinAnsi, the encoding of the base fonts.
    """
    pages = range(4 + len(_FONTS), 4 + len(_FONTS) + 2 * len(sheets), 2)
    kids = " ".join(f"{number} 0 R" for number in pages)
    fonts = " ".join(f"/F{index} {4 + index} 0 R" for index in range(len(_FONTS)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(sheets)} /Kids [{kids}] >>".encode(),
        b"<< /Title (" + _escaped(title) + b") /Producer (haiku-pipeline samples) >>",
        *(
            b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>" % font
            for font in _FONTS
        ),
    ]
    for number, sheet in zip(pages, sheets, strict=True):
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {sheet.width:g} {sheet.height:g}] "
            f"/Resources << /Font << {fonts} >> >> /Contents {number + 1} 0 R >>"
        )
        content = b"\n".join(_operators(mark, sheet.height) for mark in sheet.marks)
        stream = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
        objects += [page.encode(), stream]
    return _file(objects)


def _file(objects: Sequence[bytes]) -> bytes:
    body = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    identifier = hashlib.sha256(body).hexdigest()[:32].encode()
    trailer = b"<< /Size %d /Root 1 0 R /Info 3 0 R /ID [<%s> <%s>] >>" % (
        size,
        identifier,
        identifier,
    )
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    body += b"trailer\n%s\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)
    return bytes(body)


def _operators(mark: Mark, height: float) -> bytes:
    match mark:
        case Text():
            left = mark.x - _SHIFT[mark.align] * text_width(mark.text, mark.size)
            place = f"/F{int(mark.bold)} {mark.size:g} Tf {left:.2f} {height - mark.y:.2f} Td"
            shown = b"(" + _escaped(mark.text) + b") Tj"
            return f"BT {_colour(mark.ink)} rg {place} ".encode() + shown + b" ET"
        case Stroke():
            first, *others = (f"{x:.2f} {height - y:.2f}" for x, y in mark.points)
            path = " ".join([f"{first} m", *(f"{point} l" for point in others)])
            return f"{_colour(mark.ink)} RG {mark.width:g} w {path} S".encode()
        case Area():
            bottom = height - mark.y - mark.height
            corner = f"{mark.x:.2f} {bottom:.2f} {mark.width:.2f} {mark.height:.2f}"
            return f"{_colour(mark.ink)} rg {corner} re f".encode()


_SHIFT = {"left": 0.0, "center": 0.5, "right": 1.0}


def _colour(ink: Ink) -> str:
    return " ".join(f"{part / 255:.3f}" for part in ink)


def _escaped(text: str) -> bytes:
    raw = text.encode("cp1252")
    return raw.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
