"""Text from outside, made fit for a terminal. Pure.

A terminal takes some characters as commands: to move, to hide, to rename its window, to answer.
Others turn the direction of what follows. Content of records is third-party, so they are shown by
their escapes.
"""

import json
from collections.abc import Iterator

from pydantic import JsonValue

_INDENT = "  "
_ROW = 16
_SHORTENED = "... ({} more)"


def printable(text: str, *, keep: str = "") -> str:
    """Escape what is not printable, but for the characters in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        char if char in keep or char.isprintable() else json.dumps(char)[1:-1] for char in text
    )


def shortened(text: str, limit: int | None) -> str:
    """At most `limit` characters, and how many are left out; all of them without a limit."""
    if limit is None or len(text) <= limit:
        return text
    return text[:limit] + _SHORTENED.format(f"{len(text) - limit:,} characters")


def on_one_line(content: bytes | None, limit: int | None = None) -> str:
    """Bytes as text where they are UTF-8, else in hexadecimal; `-` where there are none."""
    if content is None:
        return "-"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return shortened(content.hex(" "), limit)
    return printable(shortened(text, limit))


def hex_dump(content: bytes, limit: int | None = None) -> Iterator[str]:
    """Lines of an offset, sixteen bytes in hexadecimal, and what of them is ASCII."""
    shown = content[:limit]
    for start in range(0, len(shown), _ROW):
        row = shown[start : start + _ROW]
        plain = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)  # noqa: PLR2004
        yield f"{start:08x}  {row.hex(' '):<47}  {plain}"
    if len(shown) < len(content):
        yield _SHORTENED.format(f"{len(content) - len(shown):,} bytes")


def readable(value: JsonValue, *, limit: int | None = None, depth: int = 0) -> Iterator[str]:
    """Lines that show a JSON value to a person: names, indented values, texts with their lines."""
    margin = _INDENT * depth
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _named(f"{margin}{printable(name)}:", inner, limit, depth)
        case list() if value:
            for inner in value:
                yield from _named(f"{margin}-", inner, limit, depth)
        case _:
            yield f"{margin}{_plain(value, limit)}"


def _named(head: str, value: JsonValue, limit: int | None, depth: int) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from readable(value, limit=limit, depth=depth + 1)
    elif isinstance(value, str) and "\n" in value.strip():
        yield head
        margin = _INDENT * (depth + 1)
        for line in shortened(value, limit).splitlines():
            yield f"{margin}| {printable(line)}"
    else:
        yield f"{head} {_plain(value, limit)}"


def _plain(value: JsonValue, limit: int | None) -> str:
    if isinstance(value, str):
        return printable(shortened(value, limit)) if value else '""'
    return printable(json.dumps(value, ensure_ascii=False))
