"""The story of one event: what the topics hold of an id or a key, and where the event is now.

Topics are read once, from a time on, outside any group. Records belong together by the raw record
that they name as their source. What is held in memory is the newest `limit` records that match,
each with texts that are cut, and where review items and dead letters were handled.
"""

import asyncio
import heapq
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import get_args

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicMissing, TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.printable import printable
from pipeline.operators.forget import holding_payloads
from pipeline.operators.handled import HandledIndex, read_handled
from pipeline.operators.selection import NoSuchRecord, Place, place_of, record_at
from pipeline.operators.story_entries import Entry, Kind, entry_of
from pipeline.stream.records import Received

LONGEST_WANTED = 1000
"""Characters of an id or key that is looked for."""
_SOURCES = 20
"""Raw records that are older than where reading began, and are read one by one."""
_AT_ONCE = 100
"""Records after which others in the process have their turn, and the time is looked at."""
_PLAIN = re.compile(r"[A-Za-z0-9_.:@#-]+")
"""What no usual writer of JSON escapes."""
_BELONGS = re.compile(r"(?P<topic>.+)/(?P<partition>[0-9]{1,9})/(?P<offset>[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Passage:
    """An event in a stage: where it is now, and what its answers cost until then."""

    source: str | None
    stage: str | None
    event_id: str | None
    where: str
    calls: int | None
    cost_usd: str | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Story:
    """What was found, the oldest first; `since` and `topics` are what was read.

    `complete` is false where the time for reading was over before the topics were.
    """

    wanted: str
    since: datetime | None
    topics: Sequence[str]
    read: int
    complete: bool
    matching: int
    passages: Sequence[Passage]
    entries: Sequence[Entry]

    def sentences(self) -> Iterator[str]:
        """How far was read, and what that leaves open."""
        begin = "the beginning" if self.since is None else f"{self.since:%Y-%m-%d %H:%M} UTC"
        yield f"{self.read:,} records of {len(self.topics)} topics were read, from {begin} on."
        if not self.complete:
            yield "The time was over before all were read: begin later, to read less."
        if not self.entries:
            yield "Nothing was found of it there. It may be older, or known by another id or key."
        elif self.matching > len(self.entries):
            left_out = self.matching - len(self.entries)
            yield f"{left_out:,} older records that match are left out."

    def lines(self) -> Iterator[str]:
        """All of it for a terminal, with nothing that a terminal takes as a command."""
        for each in self.passages:
            about = f"{each.stage or '-'} {each.event_id or ''}".rstrip()
            cost = "" if each.cost_usd is None else f"; {each.calls} calls, {each.cost_usd} USD"
            trace = "" if each.trace_id is None else f"; trace {each.trace_id}"
            yield printable(f"{about}: {each.where}{cost}{trace}")
        for entry in self.entries:
            yield ""
            title = f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.kind}  {entry.topic} {entry.place}"
            yield printable(f"{title}  key {entry.key}")
            for name, value in facts_of(entry):
                yield printable(f"  {name}: {value}")
            for name, text in entry.texts.items():
                yield f"  {name}:"
                yield from (f"    {printable(line)}" for line in text.split("\n"))


def facts_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """What a record says in short, by what it is called."""
    if entry.decided_by is not None:
        yield "decided by", entry.decided_by
    if entry.model is not None:
        yield "model", entry.model
    if entry.calls is not None:
        cost = "unknown cost" if entry.cost_usd is None else f"{entry.cost_usd} USD"
        yield "so far", f"{entry.calls} calls, {cost}"
    for doubt in entry.doubts:
        yield "doubt", doubt
    if entry.said:
        yield "says", entry.said
    if entry.handled_at is not None:
        yield "handled", f"{entry.handled_at:%Y-%m-%d %H:%M:%S}"


async def look_up(
    settings: Settings,
    read: TopicReader,
    existing: Collection[str],
    wanted: str,
    *,
    since: datetime | None,
    limit: int = 100,
    seconds: float | None = None,
    on_read: Callable[[int], None] = lambda _: None,
) -> Story:
    """Look for an event by its id, its record's key, or `TOPIC/PARTITION/OFFSET` of the raw record.

    Reads the topics of all stages among the `existing` ones from `since` on, for at most `seconds`.
    A raw event is known by its key or its field `id`; one whose id a mapping makes is found by its
    id once something came of it.

    Raises:
        UsageError: Nothing can be called that.
        TopicMissing: None of the pipeline's topics exists.
        PipelineError: The brokers do not answer.
    """
    if not 0 < len(wanted) <= LONGEST_WANTED:
        raise UsageError(f"Give an id or a key of 1 to {LONGEST_WANTED:,} characters.")
    names = TopicNames.under(settings)
    topics = [name for name in holding_payloads(settings, existing) if name != names.feedback]
    if not topics:
        raise TopicMissing("None of the pipeline's topics exists: see topics.prefix.")
    search = _Search(names, wanted, limit)
    count, complete = 0, True
    deadline = asyncio.timeout(seconds)
    try:
        async with (
            deadline,
            read(topics, start="beginning" if since is None else since) as records,
        ):
            async for record in records:
                search.take(record)
                count += 1
                on_read(1)
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
    except TimeoutError:
        if not deadline.expired():
            raise
        complete = False
    for topic, place in search.missing_sources(topics):
        try:
            search.add_raw(await record_at(read, topic, place, what="record", command="lookup"))
        except NoSuchRecord:  # its topic does not have it any more
            continue
    entries = await _with_handled(search.entries(), names, read, existing)
    return Story(
        wanted, since, topics, count, complete, search.matching, _passages(entries), entries
    )


class _Search:
    def __init__(self, names: TopicNames, wanted: str, limit: int) -> None:
        self.matching = 0
        self._names, self._wanted, self._limit = names, wanted, limit
        self._bytes = wanted.encode(errors="surrogateescape")
        self._is_plain = _PLAIN.fullmatch(wanted) is not None
        self._kept: list[tuple[datetime, str, Place, Entry]] = []

    def entries(self) -> list[Entry]:
        """By time; what came in the same millisecond in the order in which events go."""
        order = get_args(Kind)
        found = sorted(
            self._kept, key=lambda kept: (kept[0], order.index(kept[3].kind), *kept[1:3])
        )
        return [entry for *_, entry in found]

    def take(self, record: Received) -> None:
        if not self._may_match(record):
            return
        entry = entry_of(record, self._names)
        # The parts of an event have its id with a number.
        whole = (entry.event_id or "").rpartition("#")[0]
        if record.key == self._bytes or self._wanted in {entry.event_id, whole, entry.source}:
            self._add(record, entry)

    def add_raw(self, record: Received) -> None:
        self._add(record, entry_of(record, self._names))

    def missing_sources(self, topics: Collection[str]) -> list[tuple[str, Place]]:
        """Of what was found; only on topics of raw events, whatever a record says."""
        have = {f"{entry.topic}/{entry.place.replace(':', '/')}" for entry in self.entries()}
        found: dict[tuple[str, Place], None] = {}
        for entry in self.entries():
            named = _BELONGS.fullmatch(entry.source or "")
            if named is None or entry.source in have:
                continue
            topic = named["topic"]
            if topic in topics and self._names.readers_of(topic):
                place = Place(int(named["partition"]), int(named["offset"]))
                found[topic, place] = None
        return list(found)[-_SOURCES:]

    def _may_match(self, record: Received) -> bool:
        value = record.value or b""
        if record.key == self._bytes or self._bytes in value:
            return True
        # What JSON writes in another way has a backslash.
        if not self._is_plain and b"\\" in value:
            return True
        named = any(name == "ce_id" and self._bytes in (id_ or b"") for name, id_ in record.headers)
        return named or _BELONGS.fullmatch(self._wanted) is not None

    def _add(self, record: Received, entry: Entry) -> None:
        self.matching += 1
        heapq.heappush(self._kept, (entry.at, entry.topic, place_of(record), entry))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)


async def _with_handled(
    entries: Sequence[Entry], names: TopicNames, read: TopicReader, existing: Collection[str]
) -> list[Entry]:
    """With when review items and dead letters were handled, where any was found."""
    topics: Mapping[Kind, tuple[str, str]] = {
        "review": (names.review, names.resolved),
        "dead letter": (names.dead_letters, names.replayed),
    }
    handled: dict[Kind, HandledIndex] = {}
    for kind, (topic, marks) in topics.items():
        if marks in existing and any(entry.kind == kind for entry in entries):
            handled[kind] = await read_handled(read, topic, marks)
    found = []
    for entry in entries:
        partition, offset = map(int, entry.place.split(":"))
        index = handled.get(entry.kind)
        mark = None if index is None else index.at(Place(partition, offset), entry.at)
        found.append(entry if mark is None else replace(entry, handled_at=mark.at))
    return found


def _passages(entries: Sequence[Entry]) -> list[Passage]:
    """Where each event is, by its raw record, stage and id."""
    groups: dict[tuple[str | None, str | None, str | None], list[Entry]] = {}
    raws = [entry for entry in entries if entry.kind == "raw"]
    for entry in entries:
        if entry.kind not in {"raw", "drawn answer", "verdict"}:
            groups.setdefault((entry.source, entry.stage, entry.event_id), []).append(entry)
    # Results that are not envelopes say the event's id in their headers, and no source.
    reached = {source or event_id for source, _, event_id in groups}
    for raw in raws:
        if reached.isdisjoint({raw.source, raw.event_id}):
            groups[raw.source, None, raw.event_id] = [raw]
    traces = {raw.source: raw.trace_id for raw in raws}
    found = []
    for (source, stage, event_id), those in groups.items():
        priced = [each for each in those if each.calls is not None]
        last = max(priced, key=lambda each: each.calls or 0, default=None)
        trace = next((each.trace_id for each in those if each.trace_id), traces.get(source))
        found.append(
            Passage(
                *(source, stage, event_id, _where(those)),
                calls=None if last is None else last.calls,
                cost_usd=None if last is None else last.cost_usd,
                trace_id=trace,
            )
        )
    return found


def _where(entries: Sequence[Entry]) -> str:
    of = {entry.kind: entry for entry in entries}  # the last of each kind
    match {kind: entry for kind, entry in of.items() if entry.handled_at is None}:
        case {"review": item}:
            return f"waits for a person: review item {item.place}"
        case {"dead letter": letter}:
            return f"dead letter {letter.place}"
        case {"result": result}:
            return f"published in {result.topic} {result.place}"
    match of:
        case {"dead letter": letter}:
            said = f"dead letter {letter.place}, replayed or settled {_minute(letter.handled_at)}"
        case {"review": item}:
            said = f"review item {item.place}, settled {_minute(item.handled_at)}"
        case {"escalation": escalation}:
            said = f"in escalation: {escalation.topic} {escalation.place}"
        case _:
            said = "waiting, in work, or passed over: nothing that came of it was found"
    return said


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
