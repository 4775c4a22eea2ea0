"""Lists dead letters: those that are meant, the newest of them in full.

One dead letter in full, for a person or a program.
"""

import base64
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.model.printable import hex_dump, on_one_line, printable
from pipeline.operators.arguments import Place, place_of
from pipeline.operators.dead_letters.record import DeadLetterRecord, Selection, letter_of
from pipeline.operators.desk import marks_of, record_at
from pipeline.operators.handled import HandledIndex, Newest, left_out
from pipeline.stream.records import Received

HEADINGS = ("Place", "Put aside", "Stage", "Reason", "From", "Key", "Bytes", "Replayed")
_SHOWN = 40
"""Characters of what a record brings, in a column; a topic has 249 at most, and few so many."""
_REASONS = 20
"""Reasons that are counted one by one: the pipeline has fewer, anybody else may have any number."""


@dataclass(frozen=True, slots=True)
class Line:
    """A dead letter in a list; without its value, which may be large.

    Args:
        place: `PARTITION:OFFSET` in the topic of dead letters.
        source: Where its record was: topic, partition and offset.
        key: As text; in hexadecimal where it is none.
        size: Bytes of the value.
        replayed: How often it was replayed.
        replayed_at: When last.
        replayed_from: The dead letter that it was before, if it was replayed and failed again.
    """

    place: str
    died_at: datetime
    stage: str
    reason: str
    detail: str
    source: tuple[str, int | None, int | None]
    key: str
    size: int
    attempts: int | None
    version: str
    replayed: int
    replayed_at: datetime | None
    replayed_from: str | None


@dataclass(slots=True)
class Listing:
    """What was found.

    Args:
        lines: The newest, the oldest of them first.
        matching: Dead letters that are meant, all in all.
        replayed: How many of them were replayed.
        reasons: How many have which reason.
    """

    lines: Sequence[Line] = ()
    matching: int = 0
    replayed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def letters(
    read: TopicReader, topic: str, selection: Selection
) -> AsyncIterator[AsyncIterator[DeadLetterRecord]]:
    """The dead letters that are meant, those of one partition in order."""
    async with read([topic], start=selection.start(topic)) as records:
        yield _matching(records, selection)


async def list_letters(
    settings: Settings,
    read: TopicReader,
    selection: Selection,
    *,
    limit: int,
    replayed: bool | None,
) -> Listing:
    """Find dead letters.

    Args:
        settings: How topics are called.
        read: Reads topics.
        selection: Which are meant.
        limit: How many are listed.
        replayed: Only those that were replayed, or were not; None for both.

    Raises:
        PipelineError: The brokers cannot be reached, or have no such topic.
    """
    names = TopicNames(settings.topics)
    marks = await marks_of(read, names.dead_letters, names.replayed)
    newest: Newest[Line] = Newest(limit)
    listing = Listing()
    async with letters(read, names.dead_letters, selection) as found:
        async for letter in found:
            line = line_of(letter, marks)
            if replayed not in {None, bool(line.replayed)}:
                continue
            listing.replayed += bool(line.replayed)
            listing.reasons[_reason_of(line, listing)] += 1
            newest.add(line.died_at, place_of(letter.record), line)
    listing.lines, listing.matching = newest.items(), newest.seen
    return listing


async def find(read: TopicReader, topic: str, place: Place) -> DeadLetterRecord:
    """The dead letter at a place.

    Raises:
        PipelineError: There is none (any more).
    """
    record = await record_at(read, topic, place)
    if record is None:
        raise PipelineError(
            f"There is no dead letter at {place} (any more): see `pipeline dead-letters list`."
        )
    return letter_of(record)


def line_of(letter: DeadLetterRecord, marks: HandledIndex) -> Line:
    """A dead letter in a list."""
    record, mark = letter.record, marks.of(letter.record)
    return Line(
        place=str(place_of(record)),
        died_at=letter.died_at,
        stage=letter.stage,
        reason=letter.reason,
        detail=letter.detail,
        source=(letter.topic, letter.partition, letter.offset),
        key=on_one_line(record.key),
        size=len(record.value or b""),
        attempts=letter.attempts,
        version=letter.version,
        replayed=0 if mark is None else mark.times,
        replayed_at=None if mark is None else mark.at,
        replayed_from=letter.replayed_from,
    )


def _reason_of(line: Line, listing: Listing) -> str:
    known = line.reason in listing.reasons or len(listing.reasons) < _REASONS
    return line.reason[:_SHOWN] if known else "of other reasons"


def rows(listing: Listing) -> Iterator[Sequence[str]]:
    """The table, under `HEADINGS`."""
    for line in listing.lines:
        topic, partition, offset = line.source
        yield (
            line.place,
            f"{line.died_at:%Y-%m-%d %H:%M:%S}",
            printable(line.stage[:_SHOWN]),
            printable(line.reason[:_SHOWN]),
            printable(f"{topic[:_SHOWN]} {partition}:{offset}" if topic else ""),
            line.key[:_SHOWN],
            f"{line.size:,}",
            f"{line.replayed_at:%Y-%m-%d %H:%M}" if line.replayed_at is not None else "",
        )


def summary(listing: Listing) -> str:
    """What a table cannot say."""
    if not listing.matching:
        return "No dead letters match."
    reasons = ", ".join(
        f"{count:,} {printable(reason) or 'without a reason'}"
        for reason, count in listing.reasons.most_common()
    )
    return (
        f"{listing.matching:,} dead letters ({reasons}), {listing.replayed:,} of them replayed."
        f"{left_out(listing.matching, shown=len(listing.lines))}"
    )


async def _matching(
    records: AsyncIterator[Received], selection: Selection
) -> AsyncIterator[DeadLetterRecord]:
    found = 0
    async for record in records:
        letter = letter_of(record)
        if letter in selection:
            yield letter
            found += 1
            if selection.is_exhausted(found):
                return


SHOWN = 4096
"""Bytes of a value, unless all are asked for."""


def lines_of(
    letter: DeadLetterRecord, marks: HandledIndex, *, limit: int | None = SHOWN
) -> Iterator[str]:
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
    if line.replayed_at is not None:
        yield f"replayed   {line.replayed_at.isoformat()} ({line.replayed} times)"
    if line.replayed_from is not None:
        yield f"before     {printable(line.replayed_from)} (replayed, and failed again)"
    yield f"key        {on_one_line(record.key, limit)}"
    for name, content in letter.own_headers:
        yield f"header     {printable(name)}: {on_one_line(content, limit)}"
    if letter.original is not None:
        yield f"original   not in this dead letter: {printable(letter.original)}"
    yield f"value      {line.size:,} bytes"
    yield from _value(record.value, limit)


def document_of(letter: DeadLetterRecord, marks: HandledIndex) -> dict[str, Any]:
    """The same for a program; bytes in base64."""
    record, line = letter.record, asdict(line_of(letter, marks))
    topic, partition, offset = line.pop("source")
    return line | {
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "original": letter.original,
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
