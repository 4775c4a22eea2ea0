"""PDF files: opened as viewers open them, their pages counted, made what the API takes.

The library is pikepdf 10.18 (qpdf), measured beside pypdfium2 5.15 (PDFium): neither refuses one of
107 whole files of five programs, and of 422 damaged copies of them pikepdf refuses 26 and PDFium
97. On the worst of 26 hostile files of up to 8 MB pikepdf takes 12 s and 2 GiB, PDFium 2 s and 0.5
GiB; so they are parsed in `decoder_server` alone, which limits both. pikepdf also writes what it
read, which the API's rule "no passwords/encryption" asks for.
"""

import io
import re
from collections.abc import Iterator

import pikepdf

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Pdf
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.xml import MOST_BYTES

_ENCRYPT, _IGNORED = b"/Encrypt", b"/EncrypX"
_ENCRYPT_NAME = re.compile(rb"/Encrypt(?![A-Za-z])")
_HYBRID = re.compile(rb"trailer\s*(<<.*/XRefStm\s+\d.*)>>\s*startxref\s+(\d{1,10})\s", re.DOTALL)
_LONGEST_TRAILER = 4_096
_EARLIER_TABLE = re.compile(rb"/Prev\s+\d+")
_NO_MORE = object()
"""Ends a level of the page tree, in which a page may be null."""
_MOST_ATTACHED = 20
"""Of a file: e-invoices come with delivery notes and pictures, some dozens at most."""
_MOST_NODES = 200
_FAULTS = (
    pikepdf.PdfError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What pikepdf raises where a file is not built as PDF files are."""


def prepare_pdf(data: bytes, max_pages: int, *, field: str, attached: bool = False) -> Pdf:
    """Check a PDF file and make it what is sent; if `attached`, with the XML that is attached.

    A sound file is sent as it is, one that had to be repaired is sent repaired, and one that is
    encrypted and opens without a password is sent without the encryption. Equal input gives equal
    bytes. Refused is what is too damaged, needs a password, has no pages or too many.
    """
    data = _with_hidden_objects(data)
    try:
        return _prepared(data, max_pages, field, attached=attached)
    except pikepdf.PasswordError:
        pass
    except _FAULTS:
        raise _bad(field, "the PDF is too damaged to be opened") from None
    try:
        return _prepared(_with_open_document(data, field), max_pages, field)
    except _FAULTS:
        raise _needs_password(field) from None


def _with_hidden_objects(data: bytes) -> bytes:
    """A hybrid-reference file (PDF 1.7, 7.5.8.4) in which qpdf finds all objects; else the same.

    Its table calls free what only its cross-reference stream has, so that old viewers do without.
    qpdf believes the table, so the stream is named once more, by a table that says nothing else.
    """
    begin = data.rfind(b"trailer")
    found = _HYBRID.match(data[begin : begin + _LONGEST_TRAILER]) if begin >= 0 else None
    if found is None:
        return data
    names, table = _EARLIER_TABLE.sub(b"", found[1]), found[2]
    place = len(data) + 1 - max(0, data.find(b"%PDF-"))  # qpdf counts from there
    update = b"\nxref\n0 0\ntrailer\n%b/Prev %b>>\nstartxref\n%d\n%%%%EOF\n"
    return data + update % (names, table, place)


def _open(data: bytes) -> pikepdf.Pdf:
    # What pages inherit is of no interest here, and to collect it builds all pages.
    return pikepdf.open(io.BytesIO(data), inherit_page_attributes=False)


def _prepared(data: bytes, max_pages: int, field: str, *, attached: bool = False) -> Pdf:
    with _open(data) as pdf:
        pages = sum(1 for _ in zip(_pages(pdf), range(max_pages + 1), strict=False))
        if pages == 0:
            raise _bad(field, "the PDF is damaged or empty: it has no pages")
        if pages > max_pages:
            detail = f"{field}: the PDF has more than {max_pages} pages."
            raise InvalidEvent(DeadLetterReason.TOO_LARGE, detail)
        needs_repair = pdf.is_encrypted or pdf.get_warnings()
        files = _attached_xml(pdf) if attached else ()
        if not needs_repair:
            return Pdf(data, files)
        # As it was understood, without encryption; streams are copied, not decoded.
        written = io.BytesIO()
        pdf.save(
            written,
            compress_streams=False,
            stream_decode_level=pikepdf.StreamDecodeLevel.none,
            encryption=False,
            fix_metadata_version=False,
            deterministic_id=True,
        )
        return Pdf(written.getvalue(), files)


def _attached_xml(pdf: pikepdf.Pdf) -> tuple[bytes, ...]:
    """The XML files that are attached, each once; what cannot be read of them is left out.

    `pdf.attachments` ended the process on files of the public corpus, so the name tree (PDF 1.7,
    7.9.6) and the list of associated files (PDF 2.0, 14.13) are read here.
    """
    found: dict[bytes, None] = {}
    seen: set[tuple[int, int]] = set()
    for specification, _ in zip(_specifications(pdf), range(_MOST_ATTACHED), strict=False):
        try:
            streams = specification.get("/EF", pikepdf.Dictionary())
            stream = streams.get("/UF", streams.get("/F"))
            if not isinstance(stream, pikepdf.Stream) or stream.objgen in seen:
                continue
            seen.add(stream.objgen)
            name = str(specification.get("/UF", specification.get("/F", "")))
            if not name.lower().endswith(".xml") and "xml" not in str(stream.get("/Subtype", "")):
                continue
            content = stream.read_bytes()
        except _FAULTS:
            continue
        if len(content) <= MOST_BYTES:
            found[content] = None
    return tuple(found)


def _specifications(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Dictionary]:
    names = pdf.Root.get("/Names")
    nodes = [names.get("/EmbeddedFiles")] if isinstance(names, pikepdf.Dictionary) else []
    entries = [pdf.Root.get("/AF")]
    for _ in range(_MOST_NODES):
        if not nodes:
            break
        if isinstance(node := nodes.pop(), pikepdf.Dictionary):
            entries.append(node.get("/Names"))
            if isinstance(kids := node.get("/Kids"), pikepdf.Array):
                nodes += (kid for kid, _ in zip(kids, range(_MOST_NODES), strict=False))
    for entry in entries:
        if isinstance(entry, pikepdf.Array):
            yield from (each for each in entry if isinstance(each, pikepdf.Dictionary))


def _pages(pdf: pikepdf.Pdf) -> Iterator[pikepdf.Object]:
    """The pages of the tree, as far as they are asked for.

    `pdf.pages` would build all of them, a million where one page is named a million times; and it
    refuses trees that are deep or have loops, which viewers show.
    """
    seen: set[tuple[int, int]] = set()
    levels = [iter([pdf.Root.get("/Pages")])]
    while levels:
        node = next(levels[-1], _NO_MORE)
        if node is _NO_MORE:
            levels.pop()
        elif not isinstance(node, pikepdf.Dictionary):
            continue
        elif not isinstance(kids := node.get("/Kids"), pikepdf.Array):
            yield node
        elif not node.is_indirect or node.objgen not in seen:
            seen.add(node.objgen)
            levels.append(iter(kids))


def _with_open_document(data: bytes, field: str) -> bytes:
    """A file whose password is for its attachments alone, without mention of an encryption.

    Such a file says that streams and strings of the document are not encrypted (PDF 2.0, 7.6.6),
    and viewers show it. qpdf wants the password all the same, so it must not see the name.
    """
    unmarked = _ENCRYPT_NAME.sub(_IGNORED, data)
    with _open(unmarked) as pdf:
        rules, identity = pdf.trailer.get(_IGNORED.decode()), pikepdf.Name.Identity
        if not isinstance(rules, pikepdf.Dictionary):
            raise _needs_password(field)
        is_open = all(rules.get(part, identity) == identity for part in ("/StmF", "/StrF"))
        if not is_open or int(rules.get("/V", 0)) < 4:  # noqa: PLR2004 - older ones cannot be
            raise _needs_password(field)
    return unmarked


def _needs_password(field: str) -> InvalidEvent:
    return _bad(field, "the PDF is encrypted and needs a password; send it without one")


def _bad(field: str, what: str) -> InvalidEvent:
    return InvalidEvent(DeadLetterReason.BAD_PDF, f"{field}: {what}.")
