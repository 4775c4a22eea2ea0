"""XML that anybody may have sent, parsed within bounds.

A document type declaration is refused before the parser sees it: without one there are no entities
but the five of XML, so nothing is expanded and nothing is fetched. What is large is refused by its
size and by the number of its tags and attributes, which is what a tree takes memory for. lxml was
taken because it is there already, parses outside the interpreter's lock and bounds depth (256) and
text by itself.
"""

import codecs
import re
from typing import Any, Final

from lxml import etree

XML: Final = "application/xml"
MOST_BYTES = 8 << 20
MOST_NODES = 300_000
"""Tags, and attributes: a tree of so many takes up to some 60 MB."""
_NAMES = frozenset({XML, "text/xml", "application/x-xml"})
_ENCODINGS = frozenset({
    "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "latin1", "windows-1252",
    "utf-16", "utf-16le", "utf-16be",
})  # fmt: skip
"""Python knows more, some of them slow on purpose-made input."""
_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_BEGINNINGS = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
_DECLARATION = re.compile(r"\s*<\?xml\s[^<>]{0,256}\?>")
_DECLARED = re.compile(rb"<\?xml\s[^<>]{0,128}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_BINARY = frozenset({"AttachmentBinaryObject", "EmbeddedDocumentBinaryObject"})
"""Elements of UN/CEFACT and UBL that hold a file in base64."""

Element = Any  # lxml has no types


class XmlRefused(Exception):
    """It is not well-formed, or breaks a limit; the message quotes nothing of it."""


def is_xml_type(media_type: str) -> bool:
    """Whether a bare media type is XML's, such as `application/xml`."""
    return media_type in _NAMES or media_type.endswith("+xml")


def begins_like_xml(data: bytes) -> bool:
    begin = data[:256]
    for mark in _BOMS:
        begin = begin.removeprefix(mark)
    return begin.lstrip(b"\0 \t\r\n").startswith(b"<")


def parse_xml(data: bytes | str) -> Element:
    """The root element, without comments and processing instructions.

    Raises:
        XmlRefused: It has a DTD, breaks a limit, or is not well-formed.
    """
    if len(data) > MOST_BYTES:
        raise XmlRefused(f"it has more than {MOST_BYTES:,} bytes")
    text = data if isinstance(data, str) else _decoded(data)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise XmlRefused("it has a document type declaration (DTD), which is never read")
    if max(text.count("<"), text.count("=")) > MOST_NODES:
        raise XmlRefused(f"it has more than {MOST_NODES:,} tags or attributes")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        collect_ids=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        encoded = _DECLARATION.sub("", text.lstrip("\ufeff"), count=1).lstrip().encode()
        return etree.fromstring(encoded, parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError):  # its message may quote the document
        raise XmlRefused("it is not well-formed XML") from None


def without_files(root: Element) -> str:
    """The document as text, less the files within it, which say nothing as base64."""
    for element in root.iter(etree.Element):
        if etree.QName(element).localname in _BINARY:
            element.text = ""
    text: str = etree.tostring(root, encoding="unicode")
    return text


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    if encoding is None:
        encoding = _BEGINNINGS.get(data[:2])
    if encoding is None:
        declared = _DECLARED.match(data.lstrip())
        encoding = "utf-8" if declared is None else declared[1].decode("ascii").lower()
        if encoding not in _ENCODINGS:
            raise XmlRefused("it declares an encoding that is not taken; send UTF-8")
        if encoding.startswith("utf-16"):
            raise XmlRefused("it declares UTF-16 and is not in it")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise XmlRefused(f"it is not in {encoding.upper()}, its encoding") from None
