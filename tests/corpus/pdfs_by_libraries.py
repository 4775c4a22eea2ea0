"""PDFs by Python's own libraries: pikepdf, pypdf, Pillow; and some written by hand."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pikepdf
from pikepdf import AttachedFileSpec, Dictionary, Name, NumberTree, ObjectStreamMode, Pdf
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import FreeText

from tests.corpus.made import Made, saved, written
from tests.corpus.pdfs_by_reportlab import drawn

_VERSIONS = ("1.3", "1.4", "1.5", "1.6", "1.7", "2.0")
_LOCKS: tuple[tuple[Literal[2, 3, 4, 6], bool], ...] = (
    (2, False),
    (3, False),
    (4, False),
    (4, True),
    (6, False),
    (6, True),
)
"""Revision of the encryption, and whether metadata is encrypted, too."""
_MODES = (ObjectStreamMode.disable, ObjectStreamMode.preserve, ObjectStreamMode.generate)


def by_pikepdf(folder: Path) -> Iterator[Made]:
    """Ways to write a file, then what lies in it."""
    base = drawn(3)
    for name, options in _ways().items():
        yield _pikepdf(name, base, 3, **options)
    for (name, change), mode in itertools.product(_CHANGES.items(), (_MODES[0], _MODES[2])):
        with Pdf.open(io.BytesIO(base)) as pdf:
            change(pdf)
            file = io.BytesIO()
            pdf.save(file, object_stream_mode=mode)
            yield _made("pikepdf", f"{name}-{mode.name}", file.getvalue(), len(pdf.pages))


def _ways() -> dict[str, dict[str, Any]]:
    """Options of writing, by a name for them."""
    ways: dict[str, dict[str, Any]] = {}
    for version, linear in itertools.product(_VERSIONS, (False, True)):
        ways[f"version-{version}-{linear}"] = {"force_version": version, "linearize": linear}
    for mode, qdf, small in itertools.product(_MODES, (False, True), (False, True)):
        options = {"object_stream_mode": mode, "qdf": qdf, "compress_streams": small}
        ways[f"{mode.name}-{qdf}-{small}"] = options
    for (revision, metadata), mode in itertools.product(_LOCKS, (_MODES[1], _MODES[2])):
        lock = pikepdf.Encryption(
            owner="owner", user="", R=revision, aes=revision >= 4, metadata=metadata
        )
        options = {"encryption": lock, "object_stream_mode": mode}
        ways[f"owner-password-{revision}-{metadata}-{mode.name}"] = options
    return ways


def _pikepdf(name: str, base: bytes, pages: int, **options: Any) -> Made:  # noqa: ANN401 - pikepdf's
    file = io.BytesIO()
    with Pdf.open(io.BytesIO(base)) as pdf:
        pdf.save(file, **options)
    return _made("pikepdf", name, file.getvalue(), pages)


def _made(program: str, name: str, data: bytes, pages: int) -> Made:
    return Made(program, f"{program}-{name}.pdf", data, "application/pdf", pages)


def _attach(pdf: Pdf) -> None:
    for name, data in (("many.pdf", drawn(120)), ("data.xml", b"<Type/Page>" * 50)):
        pdf.attachments[name] = AttachedFileSpec(pdf, data, mime_type="application/pdf")


def _attach_encrypted(pdf: Pdf) -> None:
    file = io.BytesIO()
    with Pdf.open(io.BytesIO(drawn(2))) as inner:
        inner.save(file, encryption=pikepdf.Encryption(owner="o", user="secret"))
    pdf.attachments["locked.pdf"] = AttachedFileSpec(pdf, file.getvalue())


def _portfolio(pdf: Pdf) -> None:
    _attach(pdf)
    pdf.Root.Collection = Dictionary(Type=Name.Collection, View=Name.T)


def _labels(pdf: Pdf) -> None:
    labels = NumberTree.new(pdf)
    labels[0] = Dictionary(S=Name.r, St=1)
    labels[1] = Dictionary(S=Name.D, P="A-")
    pdf.Root.PageLabels = labels.obj


def _turn(pdf: Pdf) -> None:
    for number, page in enumerate(pdf.pages):
        page.rotate(90 * (number + 1), relative=True)


def _drop_a_page(pdf: Pdf) -> None:
    del pdf.pages[1]


def _repeat_pages(pdf: Pdf) -> None:
    pdf.pages.extend([*pdf.pages, pdf.pages[0]])


def _deep_tree(pdf: Pdf) -> None:
    """A page tree with a node for each page, whose media box the root holds."""
    kids = []
    for page in list(pdf.pages):
        node = pdf.make_indirect(Dictionary(Type=Name.Pages, Count=1, Kids=[page.obj]))
        page.obj.Parent = node
        kids.append(node)
    root = pdf.make_indirect(
        Dictionary(Type=Name.Pages, Count=3, Kids=kids, MediaBox=[0, 0, 595, 842])
    )
    for node in kids:
        node.Parent = root
    pdf.Root.Pages = root


def _archive(pdf: Pdf) -> None:
    with pdf.open_metadata() as metadata:
        metadata["dc:title"] = "Invoice 4711"
        metadata["pdfaid:part"] = "3"
        metadata["pdfaid:conformance"] = "B"


def _script(pdf: Pdf) -> None:
    pdf.Root.OpenAction = Dictionary(S=Name.JavaScript, JS="app.alert('/Type /Page');")
    pdf.Root.Lang = "de-DE"


def _crop(pdf: Pdf) -> None:
    for page in pdf.pages:
        page.cropbox = pikepdf.Rectangle(50, 50, 400, 400)
        page.obj.UserUnit = 2


_CHANGES = {
    "attachments": _attach,
    "attachment-locked": _attach_encrypted,
    "portfolio": _portfolio,
    "labels": _labels,
    "turned": _turn,
    "fewer": _drop_a_page,
    "repeated": _repeat_pages,
    "deep": _deep_tree,
    "archive": _archive,
    "script": _script,
    "cropped": _crop,
}


def by_pypdf(folder: Path) -> Iterator[Made]:
    """Merged, changed and continued files."""
    for pages in (1, 2, 5, 40):
        writer = PdfWriter()
        for _ in range(pages):
            writer.add_blank_page(width=200, height=300)
        yield _pypdf(f"blank-{pages}", writer, pages)
    for header in ("%PDF-1.3", "%PDF-1.4", "%PDF-1.5", "%PDF-1.7", "%PDF-2.0"):
        writer = _of(drawn(2))
        writer.pdf_header = header
        yield _pypdf(f"header-{header[5:]}", writer, 2)
    for algorithm in ("RC4-40", "RC4-128"):
        writer = _of(drawn(2))
        writer.encrypt("", "owner", algorithm=algorithm)
        yield _pypdf(f"owner-password-{algorithm}", writer, 2)
    writer = _of(drawn(1), drawn(2), drawn(3))
    writer.add_outline_item(title="Invoice", page_number=2)
    yield _pypdf("merged", writer, 6)
    writer = _of(drawn(2))
    writer.add_attachment("a.pdf", drawn(101))
    yield _pypdf("attachment", writer, 2)
    writer = _of(drawn(2))
    writer.add_annotation(0, FreeText(text="paid", rect=(50, 550, 200, 650)))
    yield _pypdf("annotated", writer, 2)
    for angle in (90, 180, 270):
        writer = _of(drawn(2))
        for page in writer.pages:
            page.rotate(angle)
        yield _pypdf(f"turned-{angle}", writer, 2)
    for level in (0, 9):
        writer = _of(drawn(2))
        for page in writer.pages:
            page.compress_content_streams(level)
        yield _pypdf(f"level-{level}", writer, 2)
    for times in (1, 2, 5):
        yield _made("pypdf", f"continued-{times}", _continued(drawn(2), times), 2)


def _of(*files: bytes) -> PdfWriter:
    writer = PdfWriter()
    for file in files:
        writer.append(io.BytesIO(file))
    return writer


def _pypdf(name: str, writer: PdfWriter, pages: int) -> Made:
    file = io.BytesIO()
    writer.write(file)
    return _made("pypdf", name, file.getvalue(), pages)


def _continued(data: bytes, times: int) -> bytes:
    """Updated without being written again: each time the page is once more in the file."""
    for _ in range(times):
        writer = PdfWriter(PdfReader(io.BytesIO(data)), incremental=True)
        writer.pages[0].rotate(90)
        file = io.BytesIO()
        writer.write(file)
        data = file.getvalue()
    return data


def by_pillow(folder: Path) -> Iterator[Made]:
    """Scans: a picture a page."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        yield _made("pillow", f"scan-{mode}", saved(written(mode=mode), "PDF"), 1)
    for pages in (2, 5, 30):
        rest = [written((100, 140)) for _ in range(pages - 1)]
        data = saved(written(), "PDF", save_all=True, append_images=rest, resolution=200)
        yield _made("pillow", f"scans-{pages}", data, pages)
    data = saved(written(), "PDF", title="Rechnung ü", author="ACME", producer="a scanner")
    yield _made("pillow", "titled", data, 1)


def by_hand(folder: Path) -> Iterator[Made]:
    """What other writers do and these libraries do not."""
    for name, data in {
        "plain": _handmade(),
        "binary-comment": _handmade(comment=b"%\xe2\xe3\xcf\xd3\n"),
        "no-eol-before-endstream": _handmade(before_endstream=b""),
        "crlf": _handmade(eol=b"\r\n"),
        "cr": _handmade(eol=b"\r"),
        "junk-before": b"\r\n\r\nContent-Type: application/pdf\r\n\r\n" + _handmade(),
        "byte-order-mark": b"\xef\xbb\xbf" + _handmade(),
        "junk-after": _handmade() + b"\0" * 500,
        "no-eol-at-the-end": _handmade().rstrip(),
        "wrong-startxref": _handmade(startxref=7),
        "length-elsewhere": _handmade(length=b"5 0 R"),
        "names-with-escapes": _handmade(page=b"/Type /#50age"),
    }.items():
        yield _made("hand", name, data, 1)


def _handmade(
    *,
    comment: bytes = b"",
    eol: bytes = b"\n",
    before_endstream: bytes = b"\n",
    startxref: int | None = None,
    length: bytes | None = None,
    page: bytes = b"/Type /Page",
) -> bytes:
    content = b"BT /F1 12 Tf 50 700 Td (Invoice 4711) Tj ET"
    said = length or b"%d" % len(content)
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 595 842] >>",
        b"<< %b /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 6 0 R >> >> >>" % page,
        b"<< /Length %b >>\nstream\r\n%b%bendstream" % (said, content, before_endstream),
        b"%d" % len(content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body, offsets = b"%PDF-1.4" + eol + comment, []
    for number, content_of in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj%b%b%bendobj%b" % (number, eol, content_of, eol, eol)
    table = b"xref%b0 7%b0000000000 65535 f\r\n" % (eol, eol)
    table += b"".join(b"%010d 00000 n\r\n" % offset for offset in offsets)
    trailer = b"trailer%b<< /Root 1 0 R /Size 7 >>%b" % (eol, eol)
    at = len(body) if startxref is None else startxref
    return body + table + trailer + b"startxref%b%d%b%%%%EOF%b" % (eol, at, eol, eol)
