"""Lists cases: what is open, what was resolved.

One case in full, for a person or a program.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError, UsageError
from pipeline.model.printable import on_one_line, printable, readable, shortened
from pipeline.model.records import Review
from pipeline.operators.arguments import Place, place_of
from pipeline.operators.desk import marks_of, record_at
from pipeline.operators.handled import HandledIndex, Newest, left_out
from pipeline.operators.review.item import ReviewItem, Selection, Unreadable, case_of

HEADINGS = ("Place", "Came", "Stage", "Event", "Key", "Doubts", "Resolved")
_SHOWN = 40
_EXAMPLES = 20
_DOUBTS = 10
"""Codes of a case that a table has room for."""


@dataclass(frozen=True, slots=True)
class Line:
    """A case in a list; without its event, which may be large.

    Args:
        place: `PARTITION:OFFSET` in the topic of reviews.
        key: As text; in hexadecimal where it is none.
        doubts: Their codes, each once.
        answers: Which of the tiers gave a usable answer.
        resolved: How often it was.
        resolved_at: When last.
    """

    place: str
    came_at: datetime
    stage: str
    event_id: str
    key: str
    doubts: Sequence[str]
    answers: Sequence[str]
    resolved: int
    resolved_at: datetime | None


@dataclass(slots=True)
class Listing:
    """What was found.

    Args:
        lines: The newest, the oldest of them first.
        matching: Cases that are meant, all in all.
        resolved: How many of them were.
        doubts: How many have which.
        unreadable_count: How many records are no cases.
        unreadable: What the first of them are, as sentences.
    """

    lines: Sequence[Line] = ()
    matching: int = 0
    resolved: int = 0
    doubts: Counter[str] = field(default_factory=Counter)
    unreadable_count: int = 0
    unreadable: list[str] = field(default_factory=list)


async def list_cases(
    settings: Settings,
    read: TopicReader,
    selection: Selection,
    *,
    limit: int,
    resolved: bool | None,
) -> Listing:
    """Find cases.

    Args:
        settings: How topics are called.
        read: Reads topics.
        selection: Which are meant.
        limit: How many are listed.
        resolved: Only those that were resolved, or were not; None for both.

    Raises:
        PipelineError: The brokers cannot be reached, or have no such topic.
    """
    names = TopicNames(settings.topics)
    marks = await marks_of(read, names.review, names.resolved)
    newest: Newest[Line] = Newest(limit)
    listing = Listing()
    async with read([names.review], start=selection.start) as records:
        async for record in records:
            try:
                case = case_of(record)
            except Unreadable as error:
                listing.unreadable_count += 1
                if len(listing.unreadable) < _EXAMPLES:
                    listing.unreadable.append(str(error))
                continue
            line = line_of(case, marks)
            if case not in selection or resolved not in {None, bool(line.resolved)}:
                continue
            listing.resolved += bool(line.resolved)
            listing.doubts.update(line.doubts)
            newest.add(line.came_at, place_of(record), line)
    listing.lines, listing.matching = newest.items(), newest.seen
    return listing


async def find(read: TopicReader, topic: str, place: Place) -> ReviewItem:
    """The case at a place.

    Raises:
        PipelineError: There is none (any more), or it is no case.
    """
    record = await record_at(read, topic, place)
    if record is None:
        raise PipelineError(f"There is no case at {place} (any more): see `pipeline review list`.")
    return case_of(record)


def line_of(case: ReviewItem, marks: HandledIndex) -> Line:
    """A case in a list."""
    record, review, mark = case.record, case.review, marks.of(case.record)
    answers = {"haiku": review.haiku_result, "sonnet": review.sonnet_result}
    return Line(
        place=str(place_of(record)),
        came_at=record.timestamp,
        stage=review.stage,
        event_id=review.event_id,
        key=on_one_line(record.key),
        doubts=tuple(dict.fromkeys(doubt.code for doubt in review.doubts)),
        answers=tuple(tier for tier, answer in answers.items() if answer is not None),
        resolved=0 if mark is None else mark.times,
        resolved_at=None if mark is None else mark.at,
    )


def rows(listing: Listing) -> Iterator[Sequence[str]]:
    """The table, under `HEADINGS`."""
    for line in listing.lines:
        yield (
            line.place,
            f"{line.came_at:%Y-%m-%d %H:%M:%S}",
            printable(line.stage)[:_SHOWN],
            printable(line.event_id)[:_SHOWN],
            line.key[:_SHOWN],
            printable(", ".join(line.doubts[:_DOUBTS]))[: _DOUBTS * _SHOWN],
            f"{line.resolved_at:%Y-%m-%d %H:%M}" if line.resolved_at is not None else "",
        )


def summary(listing: Listing) -> str:
    """What a table cannot say."""
    if not listing.matching:
        return "No cases match."
    doubts = ", ".join(
        f"{count:,} {printable(code)[:_SHOWN]}" for code, count in listing.doubts.most_common(50)
    )
    return (
        f"{listing.matching:,} cases, {listing.matching - listing.resolved:,} of them open"
        f" ({doubts}).{left_out(listing.matching, shown=len(listing.lines))}"
    )


SHOWN = 2000
"""Characters of a text of the event, unless all are asked for."""


def lines_of(case: ReviewItem, marks: HandledIndex, *, limit: int | None = SHOWN) -> Iterator[str]:
    """All there is to say of a case, a text of its event cut after `limit` characters."""
    yield from head(case, marks)
    yield from ("", "event", *readable(case.review.event, limit=limit, depth=1))
    yield from ("", "doubts", *doubts(case))
    yield from ("", "answers (* where they differ)", *answers(case))


def head(case: ReviewItem, marks: HandledIndex) -> Iterator[str]:
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


def doubts(case: ReviewItem) -> Iterator[str]:
    """Why neither answer was accepted."""
    for doubt in case.review.doubts:
        yield f"  {printable(doubt.code)}: {printable(doubt.detail)}"


def answers(case: ReviewItem) -> Iterator[str]:
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


def document_of(case: ReviewItem, marks: HandledIndex) -> dict[str, Any]:
    """All of it, for a program."""
    return asdict(line_of(case, marks)) | {
        "review": case.review.model_dump(mode="json", by_alias=True)
    }


def save_file(case: ReviewItem, path: Path) -> int:
    """Write the file that the event brings, to look at it.

    Returns:
        Its bytes.

    Raises:
        UsageError: It brings none, or `path` cannot be written.
    """
    file = case.review.event.get("file")
    data = file.get("data") if isinstance(file, dict) else None
    if not isinstance(data, str):
        raise UsageError("This event brings no file of its own.")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("The file of this event is not base64.") from None
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): name another.") from None
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
