"""What operators do with dead letters: list, show, replay each once, take them out of Kafka."""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pipeline.cascade.reading import REPLAYED_FOR
from pipeline.config import Settings
from pipeline.kafka.reader import Start, TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.printable import hex_dump, on_one_line, printable
from pipeline.operators.files import usable
from pipeline.operators.handled import (
    Action,
    Done,
    HandledEntry,
    HandledIndex,
    IdempotentPublisher,
    read_handled,
)
from pipeline.operators.listing import COLUMN, Listing, handled_cell
from pipeline.operators.selection import Place, Span, batched, place_of, record_at
from pipeline.stages.files.media import sniff
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Headers, Outgoing, Received

REPLAYED_FROM = "replayed-from"  # the header of a replayed record: where its dead letter is
SHOWN = 4096  # bytes of a value, unless all are asked for
_PREFIX = "dlq-"
_DIGITS = 19  # of an offset, at most
_BATCH_RECORDS = 500
_BATCH_BYTES = 8 << 20
_REFUSALS = 20
_TOPIC_CHARACTERS = 249


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a dead letter, without its value, which may be large.

    Texts are empty, numbers None where they are not given.
    """

    place: str  # `PARTITION:OFFSET` in the topic of dead letters
    died_at: datetime
    stage: str  # that could not handle it
    reason: str
    detail: str
    source: tuple[str, int | None, int | None]  # topic, partition and offset of its record
    key: str  # in hexadecimal where it is not UTF-8
    size: int  # bytes of the value
    attempts: int | None  # model calls that were made for it
    version: str  # of the pipeline that put it aside
    replayed: int  # how often it was
    replayed_at: datetime | None  # the last time
    forgotten: bool  # a person had its key forgotten: it is not replayed any more
    replayed_from: str | None  # the dead letter that it was before, if it failed again


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A record of `dead-letters`, as it is in the topic, and what its headers say about it.

    One that the pipeline did not write has no reason; it is shown, and cannot be replayed.
    """

    record: Received
    about: Line  # without what was replayed: see `line_of`
    original: str | None  # where the record is, if it was too large to be carried, or unreadable

    @property
    def topic(self) -> str:
        """Where its record was read, and goes back to."""
        return self.about.source[0]

    @property
    def own_headers(self) -> Headers:
        """The headers that the record had before it was put aside."""
        return tuple(each for each in self.record.headers if not each[0].startswith(_PREFIX))

    def replay(self, *, is_shared: bool = False) -> Outgoing:
        """The record to put back on its topic: key, value and headers as they were.

        One header says where it comes from, so that a reader can recognise a repetition. Where the
        topic `is_shared` by several stages another one says whose record it is now.
        """
        place = f"{self.record.topic}/{self.record.partition}/{self.record.offset}"
        headers = (
            *(each for each in self.own_headers if each[0] not in {REPLAYED_FROM, REPLAYED_FOR}),
            (REPLAYED_FROM, place.encode()),
            *([(REPLAYED_FOR, self.about.stage.encode())] if is_shared else []),
        )
        return Outgoing(self.topic, self.record.key, self.record.value, headers)


def dead_letter_of(record: Received) -> DeadLetterRecord:
    # The last header of each name: what a publisher called the same came before.
    texts = {name: value.decode(errors="replace") for name, value in record.headers if value}
    topic = texts.get("dlq-topic", "")
    partition, offset = _number(texts.get("dlq-partition")), _number(texts.get("dlq-offset"))
    original = None
    if "dlq-original" in texts:
        size, digest = texts.get("dlq-original-value-bytes"), texts.get("dlq-original-sha256")
        known = f", {size} bytes, SHA-256 {digest}" if size and digest else ""
        original = (
            f"offset {offset} of partition {partition} of {topic}, for as long as "
            f"that topic keeps it{known}"
        )
    died_at = record.timestamp
    with suppress(ValueError, OverflowError):  # not a time, or one that UTC has no place for
        found = datetime.fromisoformat(texts.get("dlq-timestamp", ""))
        died_at = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    about = Line(
        place=str(place_of(record)),
        died_at=died_at,
        stage=texts.get("dlq-stage", ""),
        reason=texts.get("dlq-reason", ""),
        detail=texts.get("dlq-detail", ""),
        source=(topic, partition, offset),
        key=on_one_line(record.key),
        size=len(record.value or b""),
        attempts=_number(texts.get("dlq-attempts")),
        version=texts.get("dlq-version", ""),
        replayed=0,
        replayed_at=None,
        forgotten=False,
        replayed_from=texts.get(REPLAYED_FROM),
    )
    return DeadLetterRecord(record, about, original)


def line_of(dead_letter: DeadLetterRecord, handled: HandledIndex) -> Line:
    entry = handled.of(dead_letter.record)
    if entry is None:
        return dead_letter.about
    return replace(
        dead_letter.about,
        replayed=entry.times,
        replayed_at=entry.at,
        forgotten=entry.is_forgotten,
    )


def _number(text: str | None) -> int | None:
    if text is None or len(text) > _DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is empty or None does not matter."""

    places: Collection[Place] = ()
    stages: Collection[str] = ()
    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    key: str | None = None
    span: Span = field(default_factory=Span)

    def __contains__(self, dead_letter: DeadLetterRecord) -> bool:
        return (
            (not self.places or place_of(dead_letter.record) in self.places)
            and (not self.stages or dead_letter.about.stage in self.stages)
            and (not self.reasons or dead_letter.about.reason in self.reasons)
            and (not self.topics or dead_letter.topic in self.topics)
            and (self.key is None or dead_letter.record.key == os.fsencode(self.key))
            and dead_letter.about.died_at in self.span
        )

    def start(self, topic: str) -> Start:
        if not self.places:
            # A record is written after it was put aside, so its own timestamp is the later one.
            return self.span.since or "beginning"
        return {
            TopicPartition(topic, partition): offset
            for partition, offset in sorted(self.places, reverse=True)  # the first one of each last
        }


async def select(
    read: TopicReader, topic: str, selection: Selection
) -> AsyncGenerator[DeadLetterRecord, None]:
    """The dead letters that are meant, those of one partition in order; close it at the end."""
    left = len(set(selection.places))
    async with read([topic], start=selection.start(topic)) as records:
        async for record in records:
            dead_letter = dead_letter_of(record)
            if dead_letter in selection:
                yield dead_letter
                left -= 1
                if left == 0:
                    return


async def find(
    names: TopicNames, read: TopicReader, place: Place
) -> tuple[DeadLetterRecord, HandledIndex]:
    """The dead letter at a place, and what was replayed; `PipelineError` if it is not there."""
    topic = names.dead_letters
    handled = await read_handled(read, topic, names.replayed)
    record = await record_at(read, topic, place, what="dead letter", command="dead-letters")
    return dead_letter_of(record), handled


class DeadLetterListing(Listing[Line]):
    what = "dead letters"
    headings = ("Place", "Put aside", "Stage", "Reason", "From", "Key", "Bytes", "Replayed")
    handled_as, codes_as = "replayed", "reasons"

    def row(self, line: Line) -> Sequence[str]:
        topic, partition, offset = line.source
        return (
            line.place,
            f"{line.died_at:%Y-%m-%d %H:%M:%S}",
            printable(line.stage[:COLUMN]),
            printable(line.reason[:COLUMN]),
            printable(f"{topic[:COLUMN]} {partition}:{offset}" if topic else ""),
            line.key[:COLUMN],
            f"{line.size:,}",
            handled_cell(line.replayed_at, is_forgotten=line.forgotten),
        )

    def _sentence(self) -> str:
        return (
            f"{self.matching:,} dead letters ({self._counts()}), {self.handled:,} of them replayed "
            f"or forgotten.{self._left_out()}"
        )


async def list_dead_letters(
    settings: Settings,
    read: TopicReader,
    selection: Selection,
    *,
    limit: int,
    replayed: bool | None,
) -> DeadLetterListing:
    """Find dead letters, of which `limit` are listed; with `replayed`, those that were, or not."""
    names = TopicNames.under(settings)
    handled = await read_handled(read, names.dead_letters, names.replayed)
    listing = DeadLetterListing(limit, handled=replayed)
    async with aclosing(select(read, names.dead_letters, selection)) as found:
        async for each in found:
            line = line_of(each, handled)
            place = place_of(each.record)
            listing.add(line, line.died_at, place, times=line.replayed, codes=[line.reason])
    return listing


def lines_of(
    dead_letter: DeadLetterRecord, handled: HandledIndex, *, limit: int | None = SHOWN
) -> Iterator[str]:
    """All there is to say of a dead letter; `limit` bytes of each header and of its value."""
    line, record = line_of(dead_letter, handled), dead_letter.record
    topic, partition, offset = line.source
    source = f"{printable(topic)} {partition}:{offset}" if topic else "-"
    yield f"place      {line.place}"
    writer = printable(line.version) or "another program"
    yield f"put aside  {line.died_at.isoformat()}, by {writer}"
    yield f"stage      {printable(line.stage)}"
    yield f"reason     {printable(line.reason)}"
    yield f"detail     {printable(line.detail)}"
    yield f"from       {source}"
    yield f"calls      {'-' if line.attempts is None else line.attempts}"
    if line.replayed_at is not None:
        at = line.replayed_at.isoformat()
        yield f"forgotten  {at}" if line.forgotten else f"replayed   {at} ({line.replayed} times)"
    if line.replayed_from is not None:
        yield f"before     {printable(line.replayed_from)} (replayed, and failed again)"
    yield f"key        {on_one_line(record.key, limit)}"
    for name, content in dead_letter.own_headers:
        yield f"header     {printable(name)}: {on_one_line(content, limit)}"
    if dead_letter.original is not None:
        yield f"original   not in this dead letter: {printable(dead_letter.original)}"
    yield f"value      {line.size:,} bytes"
    yield from value_lines(record.value, limit)


def value_lines(value: bytes | None, limit: int | None = SHOWN) -> Iterator[str]:
    """A value as text, else in hexadecimal; printable, `limit` characters of it."""
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


def document_of(dead_letter: DeadLetterRecord, handled: HandledIndex) -> dict[str, Any]:
    """The same for a program; bytes in base64."""
    record, line = dead_letter.record, asdict(line_of(dead_letter, handled))
    topic, partition, offset = line.pop("source")
    return line | {
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "original": dead_letter.original,
        "key": _encoded(record.key),
        "headers": [[name, _encoded(content)] for name, content in dead_letter.own_headers],
        "value": _encoded(record.value),
    }


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


async def export(
    settings: Settings,
    read: TopicReader,
    selection: Selection,
    take: Callable[[Mapping[str, Any], DeadLetterRecord], None],
    *,
    limit: int | None,
) -> int:
    """Call `take` with each dead letter that is meant, and its document; returns how many."""
    names = TopicNames.under(settings)
    handled = await read_handled(read, names.dead_letters, names.replayed)
    taken = 0
    async with aclosing(select(read, names.dead_letters, selection)) as found:
        async for dead_letter in found:
            take(document_of(dead_letter, handled), dead_letter)
            taken += 1
            if taken == limit:
                break
    return taken


def folder(path: Path) -> Callable[[Mapping[str, Any], DeadLetterRecord], None]:
    """Writes each dead letter as its bare value, and what is known of it beside as JSON.

    The folder is made where it is missing; `UsageError` where it cannot be written to.
    """

    def write(document: Mapping[str, Any], dead_letter: DeadLetterRecord) -> None:
        record = dead_letter.record
        # Nothing in the names comes from the record itself.
        stem = f"{record.partition}-{record.offset}"
        about = {name: known for name, known in document.items() if name != "value"}
        with usable(path, "written to", otherwise="name another folder."):
            (path / f"{stem}{_suffix(record.value)}").write_bytes(record.value or b"")
            (path / f"{stem}.about.json").write_bytes(
                orjson.dumps(about, option=orjson.OPT_INDENT_2)
            )

    with usable(path, "a folder", otherwise="name another."):
        path.mkdir(parents=True, exist_ok=True)
    return write


def _suffix(value: bytes | None) -> str:
    """By what the value is, whatever a header says."""
    if (found := sniff(value or b"")) is not None:
        return "." + found.rsplit("/", 1)[1]
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return ".bin"
    return ".txt"


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What shall be replayed: `rate` a second at most; `again` what was replayed before, too."""

    selection: Selection
    rate: float
    limit: int | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A dead letter that cannot be replayed."""

    place: str
    because: str


@dataclass(slots=True)
class Replayed:
    """What came of a replay, or would come: how many went where; the first of the refusals."""

    dry_run: bool = False
    replayed: int = 0
    topics: Counter[str] = field(default_factory=Counter)
    done_before: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, record: Received, because: str) -> None:
        self.refused += 1
        if len(self.refusals) < _REFUSALS:
            self.refusals.append(Refusal(str(place_of(record)), because))

    def sentence(self) -> str:
        went = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(self.topics.items()))
        return (
            f"{self.replayed:,} {'would be replayed' if self.dry_run else 'replayed'}"
            f"{f' ({went})' if went else ''}, {self.done_before:,} were before, "
            f"{self.refused:,} refused"
        )


async def replay(
    settings: Settings,
    read: TopicReader,
    request: ReplayRequest,
    publisher: IdempotentPublisher | None,
    *,
    on_done: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Put the dead letters that are there now back, in the order of each partition.

    Without a publisher only what would be done is found out. Raises `ProducerFenced` where another
    process began to replay, else `PipelineError`.
    """
    names, result = TopicNames.under(settings), Replayed(dry_run=publisher is None)
    clock = asyncio.get_running_loop().time
    size = max(1, min(_BATCH_RECORDS, int(request.rate)))
    due = clock()
    if publisher is None:
        entry_of = (await read_handled(read, names.dead_letters, names.replayed)).of
    else:
        entry_of = publisher.entry
    async with aclosing(select(read, names.dead_letters, request.selection)) as found:
        chosen = _replayable(found, settings, request, entry_of, result)
        batches = batched(chosen, lambda each: each.record.size, count=size, size=_BATCH_BYTES)
        async for batch in batches:
            actions = [
                Action(
                    each.record,
                    each.replay(is_shared=len(names.readers_of(each.topic)) > 1),
                    again=request.again,
                )
                for each in batch
            ]
            if publisher is None:
                done = Done(tuple(actions), (), ())
            else:
                await asyncio.sleep(max(0.0, due - clock()))
                due = max(due, clock()) + len(batch) / request.rate
                done = await publisher.publish(actions)
            result.replayed += len(done.done)
            result.done_before += len(done.done_before)
            result.topics.update(
                action.outgoing.topic for action in done.done if action.outgoing is not None
            )
            for action, because in done.refused:
                result.refuse(action.record, because)
            on_done(len(done.done))
    return result


async def _replayable(
    found: AsyncIterator[DeadLetterRecord],
    settings: Settings,
    request: ReplayRequest,
    entry_of: Callable[[Received], HandledEntry | None],
    result: Replayed,
) -> AsyncIterator[DeadLetterRecord]:
    """Those that can and shall be replayed; the others are counted."""
    names, chosen = TopicNames.under(settings), 0
    async for dead_letter in found:
        entry = entry_of(dead_letter.record)
        if entry is not None and (entry.is_forgotten or not request.again):
            result.done_before += 1
        elif (because := _why_not(dead_letter, names)) is not None:
            result.refuse(dead_letter.record, because)
        else:
            yield dead_letter
            chosen += 1
            if chosen == request.limit:
                return


def _why_not(dead_letter: DeadLetterRecord, names: TopicNames) -> str | None:
    # Only to what the pipeline reads: the topic is in a header, which every writer to
    # `dead-letters` can set.
    readers = names.readers_of(dead_letter.topic)
    if not dead_letter.topic:
        return "it has no header dlq-topic, so the pipeline did not write it"
    if not readers and dead_letter.topic not in {names.escalations, names.feedback}:
        return f"the pipeline does not read its topic {dead_letter.topic[:_TOPIC_CHARACTERS]!r}"
    if readers and dead_letter.about.stage not in readers:
        # They had the record themselves. It would wait for nobody, and count as replayed.
        return (
            f"of the stages that read its topic, {', '.join(readers)}, none is its own: have its "
            "own read that topic again, and replay then"
        )
    if dead_letter.record.unread is not None:
        return dead_letter.record.unread.because
    if dead_letter.original is not None:
        return (
            f"it does not hold the record: fetch that from {dead_letter.original}, and publish it "
            "again in a form that is taken"
        )
    return None
