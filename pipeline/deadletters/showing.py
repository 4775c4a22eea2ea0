"""One dead letter in full, for a person or a program."""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pipeline.deadletters.letter import Letter
from pipeline.deadletters.listing import line_of
from pipeline.desk.marks import Marks
from pipeline.printable import hex_dump, on_one_line, printable

_CODE_SHOWN = 80
"""Characters of a code or a hash."""
SHOWN = 4096
"""Bytes of a value, unless all are asked for."""


def lines_of(letter: Letter, marks: Marks, *, limit: int | None = SHOWN) -> Iterator[str]:
    """What there is to say of a dead letter, and its value as text or in hexadecimal.

    Args:
        letter: The dead letter.
        marks: What was replayed.
        limit: Bytes of the value, and of each header, at most.
    """
    line, record = line_of(letter, marks), letter.record
    topic, partition, offset = line.source
    source = f"{printable(topic)} {partition}:{offset}" if topic else "-"
    yield f"place      {line.place}"
    yield f"put aside  {line.died_at.isoformat()}, by {printable(line.version) or 'a stranger'}"
    yield f"stage      {printable(line.stage)}"
    yield f"reason     {printable(line.reason)}"
    yield f"detail     {printable(line.detail)}"
    yield f"from       {source}"
    yield f"calls      {'-' if line.attempts is None else line.attempts}"
    for name, text in letter.about_original.items():
        what = printable(name) or "not in this letter"
        yield f"original   {what}: {printable(text[:_CODE_SHOWN])}"
    if line.replayed_at is not None:
        yield f"replayed   {line.replayed_at.isoformat()} ({line.replayed} times)"
    if line.replayed_from is not None:
        yield f"before     {printable(line.replayed_from)} (replayed, and failed again)"
    yield f"key        {on_one_line(record.key, limit)}"
    for name, content in letter.own_headers:
        yield f"header     {printable(name)}: {on_one_line(content, limit)}"
    yield f"value      {line.size:,} bytes"
    yield from _value(record.value, limit)


def document_of(letter: Letter, marks: Marks) -> dict[str, Any]:
    """The same for a program; bytes in base64."""
    record, line = letter.record, asdict(line_of(letter, marks))
    topic, partition, offset = line.pop("source")
    return line | {
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "key": _encoded(record.key),
        "headers": [[name, _encoded(content)] for name, content in letter.own_headers],
        "value": _encoded(record.value),
    }


def _value(value: bytes | None, limit: int | None) -> Iterator[str]:
    if not value:
        return
    try:
        text = value.decode()
    except UnicodeDecodeError:
        yield from hex_dump(value, limit)
        return
    shown = text if limit is None else text[:limit]
    for row in shown.splitlines():
        yield printable(row, keep="\t")
    if len(shown) < len(text):
        yield f"... ({len(text) - len(shown):,} characters more)"


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
