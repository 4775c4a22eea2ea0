"""One case in full, for a person or a program."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.desk.marks import Marks
from pipeline.errors import WrongUse
from pipeline.events import Review
from pipeline.printable import on_one_line, printable, readable, shortened
from pipeline.review.case import Case
from pipeline.review.listing import line_of

SHOWN = 2000
"""Characters of a text of the event, unless all are asked for."""


def lines_of(case: Case, marks: Marks, *, limit: int | None = SHOWN) -> Iterator[str]:
    """All there is to say of a case, a text of its event cut after `limit` characters."""
    yield from head(case, marks)
    yield from ("", "event", *readable(case.review.event, limit=limit, depth=1))
    yield from ("", "doubts", *doubts(case))
    yield from ("", "answers (* where they differ)", *answers(case))


def head(case: Case, marks: Marks) -> Iterator[str]:
    """Where the case is, and what there is to say of it in a line each."""
    line, review = line_of(case, marks), case.review
    source = review.source
    yield f"place      {line.place}"
    yield f"came       {line.came_at.isoformat()}"
    if line.resolved_at is not None:
        yield f"resolved   {line.resolved_at.isoformat()} ({line.resolved} times)"
    yield f"stage      {printable(review.stage)}"
    yield f"event      {printable(review.event_id)}"
    yield f"key        {on_one_line(case.record.key, SHOWN)}"
    yield f"from       {printable(source.topic)} {source.partition}:{source.offset}"
    yield f"asked      {printable(review.model)}, {review.usage.calls} calls, {_cost(review)}"


def doubts(case: Case) -> Iterator[str]:
    """Why neither answer was accepted."""
    for doubt in case.review.doubts:
        yield f"  {printable(doubt.code)}: {printable(doubt.detail)}"


def answers(case: Case) -> Iterator[str]:
    """What both said, field by field; a star marks where they differ."""
    said = {
        tier: result
        for tier, result in (
            ("haiku", case.review.haiku_result),
            ("sonnet", case.review.sonnet_result),
        )
        if result is not None
    }
    for tier in ("haiku", "sonnet"):
        if tier not in said:
            yield f"  {tier} gave no usable answer"
    for name in dict.fromkeys(name for result in said.values() for name in result):
        cells = {tier: _cell(result, name) for tier, result in said.items()}
        if len(set(cells.values())) == 1:
            yield f"  {printable(name)}: {next(iter(cells.values()))}"
            continue
        yield f"* {printable(name)}"
        for tier, cell in cells.items():
            yield f"    {tier + ':':<8}{cell}"


def document_of(case: Case, marks: Marks) -> dict[str, Any]:
    """All of it, for a program."""
    return asdict(line_of(case, marks)) | {
        "review": case.review.model_dump(mode="json", by_alias=True)
    }


def save_file(case: Case, path: Path) -> int:
    """Write the file that the event brings, to look at it.

    Returns:
        Its bytes.

    Raises:
        WrongUse: It brings none, or `path` cannot be written.
    """
    file = case.review.event.get("file")
    data = file.get("data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise WrongUse("This event brings no file of its own.")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise WrongUse("The file of this event is not base64.") from None
    try:
        path.write_bytes(content)
    except OSError as error:
        raise WrongUse(f"{path} cannot be written ({error.strerror}): name another.") from None
    return len(content)


def _cell(result: dict[str, JsonValue], name: str) -> str:
    if name not in result:
        return "-"
    value = result[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(shortened(text, SHOWN))


def _cost(review: Review) -> str:
    cost = review.usage.cost_usd
    return "at an unknown price" if cost is None else f"${cost:f}"
