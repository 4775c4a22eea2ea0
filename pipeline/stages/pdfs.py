"""PDF files: checked for damage, encryption and length before they are sent anywhere.

The file is searched, not parsed. A parser follows what a file says of itself, and a few
kilobytes can make it work for hours; a search reads the bytes once, so its time is bounded by
the size of the file and by a budget for what is compressed in it. What a search cannot see, such
as a page tree that contradicts itself, the API finds when it opens the file.
"""

import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.questions import Pdf

_INFLATED_AT_MOST = 64 << 20
"""Bytes that all object streams of a file may come to; those of long reports take a few MB."""
_INDEX_AT_MOST = 1 << 20
"""Bytes of the index of one object stream: room for some 80,000 objects."""
_END_WITHIN = 2048
"""Bytes before the end of the file in which readers look for its end mark."""

_TOKEN = re.compile(
    rb"(?<![0-9])(?P<number>[0-9]{1,10})[ \t\r\n\0\f]{1,4}[0-9]{1,5}[ \t\r\n\0\f]{1,4}obj\b"
    rb"|(?P<page>/Type[ \t\r\n\0\f]{0,4}/Page(?![A-Za-z0-9#]))"
    rb"|(?P<objects>/Type[ \t\r\n\0\f]{0,4}/ObjStm\b)"
    rb"|(?P<encrypted>/Encrypt[ \t\r\n\0\f]{0,4}(?:<<|[0-9]))"
    rb"|(?P<stream>\bstream\r?\n)"
    rb"|(?P<end>\bendstream\b)"
)
_PAGE = re.compile(rb"/Type[ \t\r\n\0\f]{0,4}/Page(?![A-Za-z0-9#])")
_FIRST = re.compile(rb"/First[ \t\r\n\0\f]{1,4}([0-9]{1,9})")
_OTHER_CODING = re.compile(rb"/(?:Filter[ \t\r\n\0\f\[]{0,6}/(?!FlateDecode)|Predictor)")


class _Encrypted(Exception):
    """The file has an encryption dictionary."""


class _TooMuch(Exception):
    """The file holds more than the budget lets anybody look at."""


@dataclass(slots=True)
class _Search:
    """One pass over a file.

    Args:
        data: The file.
        pages: Numbers of the objects that are pages; later revisions of a page share its number.
        is_opaque: There are object streams in a coding that is not undone here.
    """

    data: bytes
    pages: set[int] = field(default_factory=set)
    is_opaque: bool = False
    _budget: int = _INFLATED_AT_MOST

    def run(self) -> None:
        number, began, holds_objects, in_stream = -1, 0, False, False
        for token in _TOKEN.finditer(self.data):
            kind = token.lastgroup
            if in_stream:
                in_stream = kind != "end"
            elif kind == "number":
                number, began, holds_objects = int(token["number"]), token.end(), False
            elif kind == "page":
                self.pages.add(number)
            elif kind == "objects":
                holds_objects = True
            elif kind == "encrypted":
                raise _Encrypted
            elif kind == "stream":
                if holds_objects:
                    self._look_into(self.data[began : token.start()], token.end())
                in_stream, holds_objects = True, False

    def _look_into(self, dictionary: bytes, start: int) -> None:
        """Find the pages of an object stream."""
        said = _FIRST.search(dictionary)
        if said is None or _OTHER_CODING.search(dictionary):
            self.is_opaque = True
            return
        first = int(said[1])
        if first > _INDEX_AT_MOST:
            raise _TooMuch
        content = self.data[start : self.data.find(b"endstream", start)]
        if b"/FlateDecode" in dictionary:
            content = self._inflated(content)
        numbers, offsets = _object_index(content[:first])
        for page in _PAGE.finditer(content, first):
            at = bisect_right(offsets, page.start() - first) - 1
            if at >= 0:
                self.pages.add(numbers[at])

    def _inflated(self, content: bytes) -> bytes:
        try:
            inflated = zlib.decompressobj().decompress(content, self._budget)
        except zlib.error:
            self.is_opaque = True
            return b""
        self._budget -= len(inflated)
        if self._budget <= 0:
            raise _TooMuch
        return inflated


def prepare_pdf(data: bytes, max_pages: int, *, field: str) -> Pdf:
    """Check a PDF file.

    Raises:
        Invalid: `bad_pdf` where it is damaged, encrypted or empty, `too_large` where it has too
            many pages.
    """
    if b"%%EOF" not in data[-_END_WITHIN:]:
        raise _bad(field, "the PDF is damaged or cut off: it has no end")
    search = _Search(data)
    try:
        search.run()
    except _Encrypted:
        raise _bad(
            field, "the PDF is encrypted; send it without a password or restrictions"
        ) from None
    except _TooMuch:
        raise Invalid(
            DeadLetterReason.TOO_LARGE, f"{field}: the PDF holds more than can be checked."
        ) from None
    if not search.pages and not search.is_opaque:
        raise _bad(field, "the PDF is damaged or empty: it has no pages")
    if len(search.pages) > max_pages:
        raise Invalid(
            DeadLetterReason.TOO_LARGE, f"{field}: the PDF has more than {max_pages} pages."
        )
    return Pdf(data)


def _bad(field: str, what: str) -> Invalid:
    return Invalid(DeadLetterReason.BAD_PDF, f"{field}: {what}.")


def _object_index(header: bytes) -> tuple[list[int], list[int]]:
    """Numbers and offsets of the objects of a stream, by offset."""
    pairs = sorted(zip(*[_integers(header)] * 2, strict=False), key=lambda pair: pair[1])
    return [number for number, _ in pairs], [offset for _, offset in pairs]


def _integers(header: bytes) -> Iterator[int]:
    return (int(digits) for digits in re.findall(rb"[0-9]{1,10}", header))
