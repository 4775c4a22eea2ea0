"""Lists dead letters: those that are meant, the newest of them in full."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.deadletters.letter import Letter, letter_of
from pipeline.deadletters.selection import Selection
from pipeline.desk.finding import record_at
from pipeline.desk.marks import Marks
from pipeline.desk.newest import Newest, left_out
from pipeline.desk.place import Place, place_of
from pipeline.desk.wiring import marks_of
from pipeline.errors import PipelineError
from pipeline.printable import on_one_line, printable
from pipeline.settings import Settings
from pipeline.stream.reader import Reading
from pipeline.stream.records import Received
from pipeline.stream.topics import TopicNames

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
    read: Reading, topic: str, selection: Selection
) -> AsyncIterator[AsyncIterator[Letter]]:
    """The dead letters that are meant, those of one partition in order."""
    async with read([topic], start=selection.start(topic)) as records:
        yield _matching(records, selection)


async def list_letters(
    settings: Settings, read: Reading, selection: Selection, *, limit: int, replayed: bool | None
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


async def find(read: Reading, topic: str, place: Place) -> Letter:
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


def line_of(letter: Letter, marks: Marks) -> Line:
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
) -> AsyncIterator[Letter]:
    found = 0
    async for record in records:
        letter = letter_of(record)
        if letter in selection:
            yield letter
            found += 1
            if selection.is_exhausted(found):
                return
