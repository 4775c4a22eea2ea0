"""HTML mail, read as the text that a person sees.

Styles, scripts, embedded data and what is hidden cost tokens, and hide instructions from people
that a model reads. lxml parses in a time that grows with the text; the standard library's parser
takes seconds for some 400 kB.
"""

import re
from collections.abc import Mapping

from lxml import etree

LOOKS_LIKE_HTML = re.compile(
    r"<(?:!doctype html|html|head|body|div|p|br|table|tr|td|span|style|img|a href|font)[\s/>]",
    re.IGNORECASE,
)
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{1024,}>?")
"""Embedded data, mostly. The parser compares each attribute of a tag with all others."""
_ANY_TAG = re.compile(r"<[A-Za-z/!?][^<>]*>")
_MAX_DEPTH = 256
_FED_BYTES = 4096
_UNSEEN = frozenset({"style", "script", "head", "title", "template", "noscript", "svg", "object"})
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])", re.IGNORECASE
)
_BREAKS = frozenset({
    "p", "div", "br", "tr", "li", "table", "ul", "ol", "blockquote", "hr", "section", "article",
    "header", "footer", "pre", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_QUOTE, _END_OF_QUOTE = "\x02", "\x03"
_NO_MARKS = dict.fromkeys(map(ord, (_QUOTE, _END_OF_QUOTE)))
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\s*\n\s*")


def readable(text: str, *, marks_quotes: bool = False) -> str:
    """The text that a person sees of HTML.

    Blocks and rows become lines, cells are separated by a space. A tag of more than 1,024
    characters is left out, not what it encloses. Time and memory grow with the text alone. With
    `marks_quotes`, lines that a mail client quotes begin with `> `.
    """
    reader = _Reader(marks_quotes=marks_quotes)
    parser = etree.HTMLParser(
        target=reader, huge_tree=True, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    try:
        # Bit by bit: what the reader raises is raised after what was fed.
        markup = _LONG_TAG.sub("", text).encode(errors="replace")
        for at in range(0, len(markup), _FED_BYTES):
            parser.feed(markup[at : at + _FED_BYTES])
        parser.close()
    except _TooDeep:
        return _ANY_TAG.sub(" ", text)
    except etree.XMLSyntaxError:  # it is empty but for markup
        pass
    seen = _BLANK_LINES.sub("\n", _SPACES.sub(" ", "".join(reader.pieces))).strip()
    return _quoted(seen) if marks_quotes else seen


def _quoted(seen: str) -> str:
    lines, depth = [], 0
    for line in seen.split("\n"):
        words = line.replace(_QUOTE, "").replace(_END_OF_QUOTE, "").strip()
        depth += line.count(_QUOTE)
        if words:
            lines.append(f"> {words}" if depth > 0 else words)
        depth -= line.count(_END_OF_QUOTE)
    return "\n".join(lines)


def _is_quote(attributes: Mapping[str, str]) -> bool:
    """Whether a blockquote is one: clients also write it where a person indented a paragraph."""
    kind, name = attributes.get("type") or "", attributes.get("class") or ""
    return kind.lower() == "cite" or "quote" in name.lower()


class _TooDeep(Exception):
    """So deep is no mail, and the parser looks for what an end tag closes through all of it."""


class _Reader:
    """What lxml reports to; start and end of elements are balanced, whatever the text is like."""

    def __init__(self, *, marks_quotes: bool) -> None:
        self.pieces: list[str] = []
        self._marks_quotes = marks_quotes
        self._quotes: list[bool] = []
        self._depth = 0
        self._hidden = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _TooDeep
        is_hidden = "hidden" in attributes or _HIDDEN.search(attributes.get("style") or "")
        if self._hidden or tag in _UNSEEN or is_hidden:
            self._hidden += 1
        elif tag in _BREAKS:
            self.pieces.append("\n")
            if self._marks_quotes and tag == "blockquote":
                self._quotes.append(_is_quote(attributes))
                self.pieces.append(_QUOTE if self._quotes[-1] else "")
        elif tag in _CELLS:
            self.pieces.append(" ")

    def end(self, tag: str) -> None:
        self._depth -= 1
        if self._hidden:
            self._hidden -= 1
        elif tag in _BREAKS:
            if self._marks_quotes and tag == "blockquote":
                self.pieces.append(_END_OF_QUOTE if self._quotes.pop() else "")
            self.pieces.append("\n")

    def data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data.translate(_NO_MARKS) if self._marks_quotes else data)

    def close(self) -> None:
        pass
