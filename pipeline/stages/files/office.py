"""Office documents and HTML, read as the text that a person sees in them.

The files of Word, PowerPoint and OpenDocument are archives of XML, of which the text is taken in
its order: paragraphs become lines, cells are separated by a bar. Headers and footers are read with
it, because the letterhead of an invoice stands there; hidden and deleted text is not, since what
people do not see should not steer a model. Excel's files and RTF are read by openpyxl and striprtf,
of the extra `office`.

An archive is looked at before anything in it is unpacked: how many files, how large by its own
list, at which reading stops whatever follows. Its XML declares no document type, in any program, so
one that does is refused, and with it entities of all kinds.
"""

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from importlib import import_module
from typing import Any, Final

from lxml import etree

from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.files.html_mail import readable
from pipeline.stages.files.media import DOCX, HTML, PPTX, RTF, XLSX, TextType

_MOST_FILES = 5_000
_MOST_BYTES = 128 << 20
"""Of all files in an archive together, unpacked."""
_MOST_XML = 64 << 20
_MOST_CELLS = 1_000_000
"""Looked at, the empty ones between others included."""
_MOST_DEEP = 256
_READ_AT_ONCE = 64 << 10
_CELL = " | "
_BEFORE_BAR = re.compile(r" {2,}\| ")
_ENCRYPTED = 0x1
"""Of an archive's flags."""
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"\x00<", b"<\x00")
_UNCOMPUTED = re.compile(rb"<f[ />][^<]*(?:</f>)?\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE)
_NO_EXTRA = "needs the extra office: pip install 'haiku-pipeline[office]', or send it as PDF"


def document_text(data: bytes, media_type: TextType, max_chars: int, *, field: str) -> Text:
    """The text of a file, `document`, of at most so many characters.

    Refused is what is damaged, encrypted, too large unpacked, or needs what is not installed.
    """
    try:
        text = _text_of(data, media_type, max_chars)
    except _Refused as refused:
        raise InvalidEvent(refused.reason, f"{field}: {refused}.") from None
    except (zipfile.BadZipFile, etree.LxmlError, EOFError, KeyError, NotImplementedError):
        detail = "the document is damaged or cut off; it cannot be read."
        raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {detail}") from None
    if len(text) > max_chars:
        raise InvalidEvent(DeadLetterReason.TOO_LARGE, f"{field}: {_too_long(max_chars)}.")
    if not text.strip():
        detail = "the document has no text; if it holds pictures, send it as PDF."
        raise InvalidEvent(DeadLetterReason.UNSUPPORTED_MEDIA, f"{field}: {detail}")
    return Text("document", text)


class _Refused(Exception):
    def __init__(
        self, why: str, reason: DeadLetterReason = DeadLetterReason.UNSUPPORTED_MEDIA
    ) -> None:
        super().__init__(why)
        self.reason = reason


def _too_long(max_chars: int) -> str:
    return f"the document has more than {max_chars:,} characters of text"


def _text_of(data: bytes, media_type: TextType, max_chars: int) -> str:
    if media_type == HTML:
        return readable(_decoded(data))
    if media_type == RTF:
        return _rtf(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check(archive)
        if media_type == XLSX:
            return _cells(data, archive, max_chars)
        dialect = {DOCX: _WORD, PPTX: _POWERPOINT}.get(media_type, _OPEN_DOCUMENT)
        texts: dict[str, None] = {}  # sections have headers of their own, mostly the same
        left = max_chars
        for name in dialect.parts(archive):
            reader = _Reader(dialect, left)
            text = reader.read(archive, name)
            left -= len(text) if text not in texts else 0
            texts[text] = None
        return "\n".join(filter(None, texts))


def _decoded(page: bytes) -> str:
    """HTML as text: its own word about its encoding is taken where it is one, else UTF-8."""
    if page.startswith(_UTF_16[:2]):
        return page.decode("utf-16", errors="replace")
    found = _CHARSET.search(page, 0, 4096)
    for charset in ([found[1].decode("ascii", "replace")] if found else []) + ["utf-8", "cp1252"]:
        try:
            return page.decode(charset).removeprefix("\ufeff")
        except (LookupError, UnicodeDecodeError):
            continue
    return page.decode("latin-1")


def _rtf(data: bytes) -> str:
    try:
        striprtf = import_module("striprtf.striprtf")
    except ImportError:
        raise _Refused(f"RTF {_NO_EXTRA}") from None
    return str(striprtf.rtf_to_text(data.decode("latin-1"), errors="replace")).strip()


def _check(archive: zipfile.ZipFile) -> None:
    """Refuse an archive by its list, and what its XML files begin with or declare."""
    files = archive.infolist()
    large = DeadLetterReason.TOO_LARGE
    if len(files) > _MOST_FILES or sum(file.file_size for file in files) > _MOST_BYTES:
        most = f"{_MOST_FILES:,} files or {_MOST_BYTES >> 20} MiB"
        raise _Refused(f"unpacked, the document has more than {most}", large)
    if any(file.flag_bits & _ENCRYPTED for file in files):
        raise _Refused("it is encrypted with a password; send it without one")
    if "META-INF/manifest.xml" in archive.NameToInfo:
        manifest = archive.read("META-INF/manifest.xml")
        if b"encryption-data" in manifest:
            raise _Refused("it is encrypted with a password; send it without one")
    for file in files:
        if file.filename.endswith((".xml", ".rels")):
            if file.file_size > _MOST_XML:
                raise _Refused(f"unpacked, it has more than {_MOST_XML >> 20} MiB of text", large)
            _check_xml(archive, file)


def _check_xml(archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> None:
    before = b""
    for chunk in _chunks(archive, file.filename):
        if not before and chunk.startswith(_UTF_16):
            raise _Refused("its XML is not UTF-8; save it again, or send it as PDF")
        if _DECLARATION.search(before + chunk):
            raise _Refused("its XML declares a document type, which no Office document does")
        before = chunk[-16:]


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as part:
        while chunk := part.read(_READ_AT_ONCE):
            yield chunk


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What the elements of a format mean, by their names without namespace."""

    lines: frozenset[str]
    rows: frozenset[str]
    cells: frozenset[str]
    texts: frozenset[str] | None  # None where text may stand in any element
    instead: Mapping[str, str]
    unseen: frozenset[str]

    def parts(self, archive: zipfile.ZipFile) -> Sequence[str]:
        """The files that hold what a person sees, in the order of the document."""
        names = archive.NameToInfo
        if self is _WORD:
            [main] = [name for name in names if re.fullmatch(r"word/document\d*\.xml", name)][:1]
            around = [
                sorted(name for name in names if re.fullmatch(rf"word/{kind}\d*\.xml", name))
                for kind in ("header", "footnotes", "endnotes", "footer")
            ]
            return [*around[0], main, *around[1], *around[2], *around[3]]
        if self is _POWERPOINT:
            return _slides(archive)
        return ["content.xml"]


_WORD: Final = _Dialect(
    lines=frozenset({"p"}),
    rows=frozenset({"tr"}),
    cells=frozenset({"tc"}),
    texts=frozenset({"t"}),
    instead={"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"},
    # The fallback repeats what stands before it, for programs that do not know that.
    unseen=frozenset({"del", "moveFrom", "Fallback", "instrText"}),
)
_POWERPOINT: Final = _Dialect(
    lines=frozenset({"p"}),
    rows=frozenset({"tr"}),
    cells=frozenset({"tc"}),
    texts=frozenset({"t"}),
    instead={"br": "\n", "tab": "\t"},
    unseen=frozenset({"Fallback"}),
)
_OPEN_DOCUMENT: Final = _Dialect(
    lines=frozenset({"p", "h"}),
    rows=frozenset({"table-row"}),
    cells=frozenset({"table-cell", "covered-table-cell"}),
    texts=None,
    instead={"tab": "\t", "line-break": "\n", "s": " "},
    unseen=frozenset(
        {"tracked-changes", "annotation", "annotation-end", "notes", "font-face-decls"}
    ),
)
_PRESENTATION = "ppt/presentation.xml"


def _slides(archive: zipfile.ZipFile) -> Sequence[str]:
    """The slides in the order in which they are shown, without those that are not."""
    relations = etree.fromstring(archive.read("ppt/_rels/presentation.xml.rels"), _parser())
    targets = {each.get("Id"): str(each.get("Target")) for each in relations}
    shown = []
    for each in etree.fromstring(archive.read(_PRESENTATION), _parser()).iter("{*}sldId"):
        ids = (value for name, value in each.items() if name.endswith("}id"))
        target = targets[next(ids)]
        shown.append(posixpath.normpath(posixpath.join("/ppt", target)).lstrip("/"))
    return shown


def _parser(target: object = None) -> Any:  # noqa: ANN401 - of a library without types
    return etree.XMLParser(
        target=target, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )


class _Reader:
    """Takes the text of XML files; what lxml reports to."""

    def __init__(self, dialect: _Dialect, max_chars: int) -> None:
        self._dialect = dialect
        self._max_chars = max_chars
        self._pieces: list[str] = []
        self._length = 0
        self._unseen = 0
        self._inside: list[str] = []
        self._hidden_at = 0  # how deep the run is that is hidden; 0 where none is

    def read(self, archive: zipfile.ZipFile, name: str) -> str:
        parser = _parser(self)
        for chunk in _chunks(archive, name):
            parser.feed(chunk)
        parser.close()
        text = _BEFORE_BAR.sub(_CELL, "".join(self._pieces))
        lines = (line.strip(" \t|") for line in text.split("\n"))
        return "\n".join(filter(None, lines))

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name, dialect = tag.rpartition("}")[2], self._dialect
        self._inside.append(name)
        if len(self._inside) > _MOST_DEEP:
            raise _Refused(f"its XML is nested more than {_MOST_DEEP} levels deep")
        if name in dialect.unseen or (name == "sld" and attributes.get("show") == "0"):
            self._unseen += 1
        if name == "vanish" and "r" in self._inside and not _is_off(attributes):
            self._hidden_at = len(self._inside) - self._inside[::-1].index("r")
        if (instead := dialect.instead.get(name)) is not None and "tabs" not in self._inside:
            self._add(instead)

    def end(self, tag: str) -> None:
        name, dialect = tag.rpartition("}")[2], self._dialect
        in_cell = not dialect.cells.isdisjoint(self._inside[:-1])
        if name in dialect.lines:
            self._add(" " if in_cell else "\n")
        elif name in dialect.cells:
            self._add(_CELL)
        elif name in dialect.rows:
            self._add("\n")
        if name in dialect.unseen:
            self._unseen -= 1
        if self._hidden_at == len(self._inside):
            self._hidden_at = 0
        self._inside.pop()

    def data(self, text: str) -> None:
        texts = self._dialect.texts
        if texts is None and self._dialect.lines.isdisjoint(self._inside):
            return
        if texts is None or self._inside[-1] in texts:
            self._add(text if texts is not None else re.sub(r"\s+", " ", text))

    def close(self) -> None:
        pass

    def _add(self, text: str) -> None:
        if self._unseen or self._hidden_at:
            return
        self._pieces.append(text)
        self._length += len(text) if text.strip() else 0
        if self._length > self._max_chars:
            raise _Refused(_too_long(self._max_chars), DeadLetterReason.TOO_LARGE)


def _is_off(attributes: Mapping[str, str]) -> bool:
    return any(value in {"0", "false", "off"} for value in attributes.values())


def _cells(data: bytes, archive: zipfile.ZipFile, max_chars: int) -> str:
    try:
        import openpyxl  # noqa: PLC0415 - an extra
    except ImportError:
        raise _Refused(f"an Excel workbook {_NO_EXTRA}") from None
    for name in archive.NameToInfo:
        if name.startswith("xl/worksheets/") and _UNCOMPUTED.search(archive.read(name)):
            raise _Refused(
                "its formulas have no values, since no program computed them; open and save it "
                "with one that does, or send it as PDF"
            )
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    lines: list[str] = []
    length = looked_at = 0
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            continue
        lines.append(f"# {sheet.title}")
        for row in sheet.iter_rows():
            looked_at += 1 + len(row)
            if looked_at > _MOST_CELLS:
                raise _Refused(
                    f"the workbook spans more than {_MOST_CELLS:,} cells",
                    DeadLetterReason.TOO_LARGE,
                )
            shown = _CELL.join(_shown(cell.value, str(cell.number_format or "")) for cell in row)
            if line := shown.strip(" |"):
                lines.append(line)
                length += len(line)
            if length > max_chars:
                raise _Refused(_too_long(max_chars), DeadLetterReason.TOO_LARGE)
    return "\n".join(lines)


def _shown(value: object, number_format: str) -> str:
    """A cell as it is read: what it is counts, not how its column rounds it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        is_share = number_format.rstrip().endswith("%")
        return f"{value * 100:.12g}%" if is_share else f"{value:.15g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
    text = value.isoformat() if isinstance(value, date | time) else str(value)
    return " ".join(text.split())
