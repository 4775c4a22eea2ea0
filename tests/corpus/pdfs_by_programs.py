"""PDFs by programs: Ghostscript, qpdf, LibreOffice, Chromium, cairo."""

import asyncio
import base64
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.browser import chromium
from tests.corpus.made import Made, program, run, saved, written
from tests.corpus.pdfs_by_reportlab import drawn

_WORDS = "Invoice 4711 · Rechnung · 請求書 合計 119.00 · 发票 · 청구서 · Счёт · الفاتورة"


def _read(path: Path, maker: str, pages: int | None) -> Made:
    return Made(maker, f"{maker}-{path.name}", path.read_bytes(), "application/pdf", pages)


def by_ghostscript(folder: Path) -> Iterator[Made]:
    """Two files written again in every way that its device for PDFs knows."""
    gs = program("gs")
    sources = {"text": (drawn(3), 3), "form": (drawn(1, lambda c, n: c.acroForm.checkbox()), 1)}
    for (name, (data, pages)), (way, options) in itertools.product(sources.items(), _GS.items()):
        source, made = folder / f"{name}.source", folder / f"{name}-{way}.pdf"
        source.write_bytes(data)
        device = () if "-sDEVICE" in " ".join(options) else ("-sDEVICE=pdfwrite",)
        batch = (gs, "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", *device, *options)
        run([*batch, f"-sOutputFile={made}", str(source)])
        yield _read(made, "ghostscript", pages)


_GS: dict[str, Sequence[str]] = {
    **{f"level-{v}": (f"-dCompatibilityLevel={v}",) for v in (1.3, 1.4, 1.5, 1.6, 1.7, 2.0)},
    **{
        f"settings-{v}": (f"-dPDFSETTINGS=/{v}",)
        for v in ("screen", "ebook", "printer", "prepress", "default")
    },
    **{f"archive-{v}": (f"-dPDFA={v}", "-dPDFACompatibilityPolicy=1") for v in (1, 2, 3)},
    "linear": ("-dFastWebView=true",),
    "plain": ("-dCompressPages=false", "-dCompressFonts=false"),
    "ascii": ("-dASCII85EncodePages=true",),
    "grey": ("-sColorConversionStrategy=Gray",),
    "cmyk": ("-sColorConversionStrategy=CMYK",),
    "no-fonts": ("-dEmbedAllFonts=false", "-dSubsetFonts=false"),
    "outlines": ("-dNoOutputFonts",),
    "no-objects": ("-dWriteObjStms=false", "-dWriteXRefStm=false"),
    "owner-password": ("-sOwnerPassword=owner", "-dEncryptionR=3", "-dKeyLength=128"),
    "scan-grey": ("-sDEVICE=pdfimage8", "-r50"),
    "scan-rgb": ("-sDEVICE=pdfimage24", "-r50"),
    "scan-cmyk": ("-sDEVICE=pdfimage32", "-r50"),
}


def by_qpdf(folder: Path) -> Iterator[Made]:
    """A file in all of its structures."""
    qpdf = program("qpdf")
    source, other = folder / "source", folder / "other"
    source.write_bytes(drawn(3))
    other.write_bytes(drawn(2, pdfVersion=(1, 3)))
    objects = [f"--object-streams={mode}" for mode in ("disable", "preserve", "generate")]
    streams = [f"--stream-data={mode}" for mode in ("compress", "preserve", "uncompress")]
    ways: list[tuple[tuple[str, ...], int]]
    ways = [(way, 3) for way in itertools.product(objects, streams)]
    ways += [((*way, "--linearize"), 3) for way, _ in ways]
    ways += [((f"--force-version={v}",), 3) for v in ("1.3", "1.4", "1.5", "1.6", "1.7", "2.0")]
    for bits in ("40", "128", "256"):
        lock = ("--allow-weak-crypto", "--encrypt", "", "owner", bits, "--")
        ways += [(lock, 3), ((*lock, "--linearize"), 3), ((*lock, objects[2]), 3)]
    ways += [
        (("--encrypt", "", "owner", "128", "--use-aes=y", "--print=none", "--"), 3),
        (("--encrypt", "", "owner", "256", "--cleartext-metadata", "--"), 3),
        (("--qdf",), 3),
        (("--qdf", "--newline-before-endstream"), 3),
        (("--recompress-flate", "--compression-level=9"), 3),
        (("--rotate=+90:1",), 3),
        (("--rotate=180",), 3),
        (("--deterministic-id",), 3),
        (("--static-id", "--coalesce-contents"), 3),
        (("--normalize-content=y",), 3),
        (("--preserve-unreferenced",), 3),
        (("--flatten-annotations=all",), 3),
        (("--add-attachment", str(other), "--mimetype=application/pdf", "--"), 3),
        (("--add-attachment", str(other), "--", objects[2]), 3),
        (("--overlay", str(other), "--"), 3),
        (("--underlay", str(other), "--"), 3),
        (("--pages", str(source), "1-2", str(other), "--"), 4),
        (("--pages", str(source), "3,1,1", "--"), 3),
        (("--pages", str(other), "z-1", "--", "--linearize"), 2),
        (("--collate", "--pages", str(source), str(other), "--"), 5),
        (("--split-pages=0",), 3),
    ]
    for number, (options, pages) in enumerate(ways):
        made = folder / f"{number}.pdf"
        run([qpdf, str(source), *options, str(made)], accepted=(0, 3))
        yield _read(made, "qpdf", pages)


def by_libreoffice(folder: Path) -> Iterator[Made]:
    """Letters, tables and drawings, converted in three runs: a start takes seconds."""
    soffice = program("soffice", "libreoffice")
    runs = {
        "pdf": ("pdf", _documents(16)),
        "archive": ('pdf:writer_pdf_Export:{"SelectPdfVersion":{"type":"long","value":"2"}}', _letters(8)),  # noqa: E501
        "tagged": ('pdf:writer_pdf_Export:{"UseTaggedPDF":{"type":"boolean","value":"true"},"SelectPdfVersion":{"type":"long","value":"17"}}', _letters(8)),  # noqa: E501
    }  # fmt: skip
    for name, (conversion, documents) in runs.items():
        given, made = folder / f"{name}-in", folder / name
        given.mkdir()
        for file, content in documents.items():
            (given / file).write_bytes(content)
        profile = f"-env:UserInstallation=file://{folder}/profile"
        paths = sorted(str(path) for path in given.iterdir())
        run([soffice, profile, "--headless", "--convert-to", conversion, "--outdir", str(made), *paths])  # noqa: E501  # fmt: skip
        for path in sorted(made.glob("*.pdf")):
            yield Made("libreoffice", f"libreoffice-{name}-{path.name}", path.read_bytes(), "application/pdf")  # noqa: E501  # fmt: skip


def _letters(count: int) -> dict[str, bytes]:
    lines = [f"<p>{_WORDS} {row}</p>" for row in range(60)]
    return {
        f"letter{n}.html": f"<meta charset=utf-8><h1>{n}</h1>{''.join(lines[: 5 * n])}".encode()
        for n in range(1, count + 1)
    }


def _documents(count: int) -> dict[str, bytes]:
    picture = base64.b64encode(saved(written(), "PNG")).decode()
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' width='300' height='300'><text y='50'>{_WORDS}</text></svg>"  # noqa: E501  # fmt: skip
    rtf = r"{\rtf1\ansi Invoice 4711\page Total 119.00\page End}"
    others = {
        "page.svg": drawing.encode(),
        "page.png": saved(written(), "PNG"),
        "page.jpg": saved(written(), "JPEG"),
        "page.rtf": rtf.encode(),
        "picture.html": f"<img src='data:image/png;base64,{picture}'>".encode(),
    }
    for n in range(1, count + 1):
        rows = "\n".join(f"{row},{_WORDS},{row * 7}.00" for row in range(6 * n))
        others[f"table{n}.csv" if n % 2 else f"text{n}.txt"] = rows.encode()
    return others


def by_chromium(folder: Path) -> Iterator[Made]:
    """Pages printed by one browser, with the options that its dialogue has."""
    program(*chromium._PROGRAMS)
    yield from asyncio.run(_printed(folder))


async def _printed(folder: Path) -> list[Made]:
    table = "".join(f"<tr><td>{row}<td>{_WORDS}" for row in range(120))
    (folder / "page.html").write_text(
        f"<meta charset=utf-8><title>Invoice</title><style>h2{{page-break-before:always}}</style>"
        f"<h1>{_WORDS}</h1><form><input value=ACME><input type=checkbox checked></form>"
        f"<svg width=200 height=100><circle cx=50 cy=50 r=40 opacity=.4 /></svg>"
        f"<canvas width=50 height=50></canvas><h2>Positions</h2><table>{table}</table>",
        encoding="utf-8",
    )
    async with chromium.chromium() as browser:
        page = await browser.open((folder / "page.html").as_uri())
        made = [await page.printed(**options) for options in _DIALOGUE]
    return [
        Made("chromium", f"chromium-{number}.pdf", data, "application/pdf")
        for number, data in enumerate(made)
    ]


_FLAGS = ("landscape", "printBackground", "generateTaggedPDF", "generateDocumentOutline")
_DIALOGUE: tuple[Mapping[str, object], ...] = (
    *(
        dict(zip(_FLAGS, chosen, strict=True))
        for chosen in itertools.product((False, True), repeat=len(_FLAGS))
    ),
    *({"scale": scale} for scale in (0.5, 0.8, 1.5, 2)),
    *(
        {"paperWidth": width, "paperHeight": height}
        for width, height in ((3, 20), (5.8, 8.3), (11.7, 16.5), (33, 46))
    ),
    *({"pageRanges": pages} for pages in ("1", "2", "1-2")),
    *({"marginTop": margin, "marginLeft": margin} for margin in (0, 1)),
    {"displayHeaderFooter": True, "footerTemplate": "<span class=pageNumber></span>"},
)


def by_cairo(folder: Path) -> Iterator[Made]:
    """Pages drawn again by Poppler on cairo."""
    cairo, source = program("pdftocairo"), folder / "source"
    source.write_bytes(drawn(3))
    ways: dict[str, tuple[Sequence[str], int]] = {
        "plain": ((), 3),
        "first": (("-l", "1"), 1),
        "rest": (("-f", "2"), 2),
        "odd": (("-o",), 2),
        "original": (("-origpagesizes",), 3),
        "a3": (("-paper", "A3", "-expand"), 3),
        "small": (("-paperw", "200", "-paperh", "300"), 3),
        "cropped": (("-nocenter", "-nocrop"), 3),
    }
    for name, (options, pages) in ways.items():
        made = folder / f"{name}.pdf"
        run([cairo, "-pdf", *options, str(source), str(made)])
        yield _read(made, "cairo", pages)
