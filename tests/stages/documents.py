"""Documents, TIFF files and stacks of pages for tests, made by hand where they are hostile."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

import pikepdf
from PIL import Image, ImageDraw

_WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_SLIDE = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)


def archive(files: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as into:
        for name, content in files.items():
            stored = name == "mimetype"
            into.writestr(name, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(body: str, before: str = "", **parts: str) -> bytes:
    """A Word document; `parts` are headers, footers and notes, each with its paragraphs."""
    others = {f"word/{name}.xml": f"<w:hdr {_WORD}>{text}</w:hdr>" for name, text in parts.items()}
    main = f"{before}<w:document {_WORD}><w:body>{body}</w:body></w:document>"
    return archive({"[Content_Types].xml": "<Types/>", **others, "word/document.xml": main})


def pptx(slides: Mapping[str, str], order: Sequence[str]) -> bytes:
    """Slides by the names of their files, shown in some order."""
    relations = "".join(f'<R Id="{name}" Target="slides/{name}.xml"/>' for name in slides)
    ids = "".join(f'<p:sldId id="256" r:id="{name}"/>' for name in order)
    show = f"<p:presentation {_SLIDE}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>"
    shown = {name: f"<p:sld {_SLIDE}>{xml}</p:sld>" for name, xml in slides.items()}
    return archive({
        "[Content_Types].xml": "<Types/>",
        "ppt/presentation.xml": show,
        "ppt/_rels/presentation.xml.rels": f"<Relationships>{relations}</Relationships>",
        **{f"ppt/slides/{name}.xml": xml for name, xml in shown.items()},
    })  # fmt: skip


def open_document(body: str, kind: str = "text", manifest: str = "<m/>") -> bytes:
    return archive({
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": f"<office:document-content {_ODF}>{body}</office:document-content>",
        "META-INF/manifest.xml": manifest,
    })  # fmt: skip


def tiff(pages: Sequence[Image.Image], **options: object) -> bytes:
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=list(pages[1:]), **options)
    return buffer.getvalue()


def page(text: str = "", mode: str = "1", size: tuple[int, int] = (200, 280)) -> Image.Image:
    paper = Image.new(mode, size, "white" if mode == "RGB" else 255)
    ImageDraw.Draw(paper).text((10, 10), text, fill=0)
    return paper


def tiff_of_many(pages: int, width: int = 8, height: int = 8, next_of_last: int = 0) -> bytes:
    """Pages that share one strip of pixels, as few bytes as they can take."""
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 1), (259, 3, 1), (262, 3, 0),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 8),
    ]  # fmt: skip
    length = 2 + 12 * len(tags) + 4
    body, at = b"II*\0" + struct.pack("<I", 16) + bytes(8), 16
    for number in range(pages):
        at += length
        entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
        following = at if number + 1 < pages else next_of_last
        body += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return body


def written(text: str) -> bytes:
    """The content of a PDF page of some lines."""
    lines = " ".join(f"({line}) Tj T*" for line in text.split("\n"))
    return b"BT /F1 12 Tf 14 TL 50 750 Td " + lines.encode() + b" ET"


def stack(*texts: str) -> bytes:
    """A PDF file with a page for each text, in a font that all share."""
    with pikepdf.new() as pdf:
        font = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
            )
        )
        for text in texts:
            made = pdf.add_blank_page(page_size=(595, 842))
            made.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
            made.Contents = pdf.make_stream(written(text))
        buffer = io.BytesIO()
        pdf.save(buffer, deterministic_id=True)
    return buffer.getvalue()
