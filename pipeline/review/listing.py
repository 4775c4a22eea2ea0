"""Lists cases: what is open, what was resolved."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.desk.finding import record_at
from pipeline.desk.marks import Marks
from pipeline.desk.newest import Newest, left_out
from pipeline.desk.place import Place, place_of
from pipeline.desk.wiring import marks_of
from pipeline.errors import PipelineError
from pipeline.printable import on_one_line, printable
from pipeline.review.case import Case, Selection, Unreadable, case_of
from pipeline.settings import Settings
from pipeline.stream.reader import Reading
from pipeline.stream.topics import TopicNames

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
    settings: Settings, read: Reading, selection: Selection, *, limit: int, resolved: bool | None
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


async def find(read: Reading, topic: str, place: Place) -> Case:
    """The case at a place.

    Raises:
        PipelineError: There is none (any more), or it is no case.
    """
    record = await record_at(read, topic, place)
    if record is None:
        raise PipelineError(f"There is no case at {place} (any more): see `pipeline review list`.")
    return case_of(record)


def line_of(case: Case, marks: Marks) -> Line:
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
