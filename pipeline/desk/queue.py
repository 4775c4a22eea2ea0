"""The review items that wait, as small entries that are kept current; no event is held here.

The topics of review items and of their marks are read once, then followed. What a page of the
queue needs is in the index; the record itself is read when a person opens it.
"""

import asyncio
import heapq
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, Protocol

import structlog
from aiokafka.errors import KafkaError
from pydantic import JsonValue

from pipeline.kafka.reader import TopicReader
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.model.records import Review
from pipeline.operators.handled import HandledIndex
from pipeline.operators.review import Unreadable, review_item_of
from pipeline.operators.selection import Place, place_of
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received

MOST_ENTRIES = 50_000
"""Entries that are held, of about half a kilobyte; what comes beyond is counted, and read again
once half of these are settled."""
_ID_CHARS = 100
_MOST_CODES = 20
_LARGE_BYTES = 100_000
"""Of a record: a larger one is parsed in a thread."""
_AT_ONCE = 20
"""Records that are parsed before others have a turn: some milliseconds."""
_AMOUNTS = ("due", "gross", "total", "amount")
"""Fields of a result that say what it is worth, the first that is there."""
_NO_VALUE = Decimal("-Infinity")
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
Order = Literal["oldest", "newest", "value", "doubts"]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A review item that waits for a person, without its event."""

    place: Place
    stage: str
    event_id: str
    came_at: datetime
    value: Decimal | None
    currency: str
    doubts: tuple[str, ...]  # codes, each once


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries, in which order; what is empty does not matter. One doubt is enough."""

    stages: Collection[str] = ()
    doubts: Collection[str] = ()
    order: Order = "oldest"

    def __contains__(self, entry: Waiting) -> bool:
        return (not self.stages or entry.stage in self.stages) and (
            not self.doubts or not set(self.doubts).isdisjoint(entry.doubts)
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """Some of the entries, how many match, and how many of all are of a stage and have a doubt."""

    entries: Sequence[Waiting]
    matching: int
    stages: Counter[str]
    doubts: Counter[str]


@dataclass(eq=False)
class ReviewQueue:
    """The index, of `most` entries: a pure fold over the records of both topics, in any order."""

    names: TopicNames
    most: int = MOST_ENTRIES
    unreadable: int = field(default=0, init=False)
    left_out: int = field(default=0, init=False)
    _handled: HandledIndex = field(init=False)
    _entries: dict[Place, Waiting] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._handled = HandledIndex(self.names.review, self.names.resolved)

    def __len__(self) -> int:
        return len(self._entries)

    def at(self, place: Place) -> Waiting | None:
        return self._entries.get(place)

    def mark(self, record: Received) -> None:
        """Take in a record of the marks: what a person has settled waits no more."""
        place = self._handled.read(record)
        entry = None if place is None else self._entries.get(place)
        if entry is not None and self._handled.at(entry.place, entry.came_at) is not None:
            del self._entries[entry.place]

    def is_handled(self, record: Received) -> bool:
        return self._handled.of(record) is not None

    def add(self, entry: Waiting | None) -> None:
        """Take in what is known of a review item; None of a record that is not one."""
        if entry is None:
            self.unreadable += 1
        elif entry.place in self._entries or len(self._entries) < self.most:
            self._entries[entry.place] = entry
        else:
            self.left_out += 1

    def remove(self, place: Place) -> None:
        """Leave out what is settled, or gone from the topic."""
        self._entries.pop(place, None)

    def is_short(self) -> bool:
        """Whether there is room again for what was left out."""
        return self.left_out > 0 and len(self._entries) <= self.most // 2

    def select(
        self, wanted: Wanted, *, start: int, limit: int, without: Collection[Place] = ()
    ) -> Selected:
        """Entries from the one at `start` on, at most `limit`, leaving out some places."""
        stages, doubts, matching = Counter[str](), Counter[str](), []
        for entry in self._entries.values():
            if entry.place in without:
                continue
            stages[entry.stage] += 1
            doubts.update(entry.doubts)
            if entry in wanted:
                matching.append(entry)
        first = heapq.nsmallest(start + limit, matching, key=_KEYS[wanted.order])
        return Selected(first[start:], len(matching), stages, doubts)


def _by_age(entry: Waiting) -> tuple[float, Place]:
    return entry.came_at.timestamp(), entry.place


_KEYS: dict[Order, Callable[[Waiting], tuple[object, ...]]] = {
    "oldest": _by_age,
    "newest": lambda entry: (-entry.came_at.timestamp(), entry.place),
    "value": lambda entry: (-(_NO_VALUE if entry.value is None else entry.value), *_by_age(entry)),
    "doubts": lambda entry: (-len(entry.doubts), *_by_age(entry)),
}


def waiting_of(record: Received) -> Waiting | None:
    """What the index holds of a record; None where it is no review item."""
    try:
        review = review_item_of(record).review
    except Unreadable:
        return None
    value, currency = worth_of(review)
    codes = dict.fromkeys(doubt.code for doubt in review.doubts)
    return Waiting(
        place=place_of(record),
        stage=sys.intern(review.stage),
        event_id=review.event_id[:_ID_CHARS],
        came_at=record.timestamp,
        value=value,
        currency=sys.intern(currency),
        doubts=tuple(sys.intern(code[:_ID_CHARS]) for code in list(codes)[:_MOST_CODES]),
    )


def worth_of(review: Review) -> tuple[Decimal | None, str]:
    """What an event is about in money, by Sonnet's answer or else Haiku's; and its currency."""
    for result in (review.sonnet_result, review.haiku_result):
        for name in _AMOUNTS:
            amount = _amount((result or {}).get(name))
            if result is not None and amount is not None:
                currency = result.get("currency")
                return amount, currency[:_ID_CHARS] if isinstance(currency, str) else ""
    return None, ""


def _amount(value: JsonValue) -> Decimal | None:
    if not isinstance(value, str) or len(value) > _ID_CHARS:
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


class FindPartitions(Protocol):
    """Which partitions topics have now."""

    def __call__(self, topics: Sequence[str]) -> Awaitable[Sequence[TopicPartition]]:
        """Raises `PipelineError` without a topic or the brokers."""
        ...


@dataclass(eq=False)
class QueueReader:
    """Loads a queue and keeps it current for as long as `run` runs; brokers may come and go.

    `problem` says why it is not current now.
    """

    queue: ReviewQueue
    read: TopicReader
    partitions: FindPartitions
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    problem: str | None = field(default=None, init=False)
    loaded: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _positions: dict[TopicPartition, int] = field(default_factory=dict, init=False)
    _since_pause: int = field(default=0, init=False)

    async def run(self) -> None:
        """Load, then follow, for ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._load()
                self.problem, pause = None, _FIRST_PAUSE
                self.loaded.set()
                await self._follow()
            except (PipelineError, KafkaError) as error:
                self.problem = str(error)
                log.warning("review_queue_not_current", because=self.problem)
                await self.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def _topics(self) -> Sequence[str]:
        # Marks first: what is settled needs no room.
        return self.queue.names.resolved, self.queue.names.review

    async def _load(self) -> None:
        """Read what there is, from where the last attempt came to."""
        for topic in self._topics:
            for partition in await self.partitions([topic]):
                self._positions.setdefault(partition, 0)
            start = {each: at for each, at in self._positions.items() if each.topic == topic}
            async with self.read([topic], start=start) as records:
                async for record in records:
                    await self._take(record)

    async def _follow(self) -> None:
        start = dict(self._positions)
        async with self.read(self._topics, start=start, end="never") as records:
            async for record in records:
                await self._take(record)
                if self.queue.is_short():
                    self._positions = {}
                    self.queue.left_out = 0
                    return

    async def _take(self, record: Received) -> None:
        if record.topic == self.queue.names.resolved:
            self.queue.mark(record)
        elif not self.queue.is_handled(record):
            large = len(record.value or b"") > _LARGE_BYTES
            read = asyncio.to_thread(waiting_of, record) if large else None
            entry = waiting_of(record) if read is None else await read
            # A mark may have come meanwhile.
            if not self.queue.is_handled(record):
                self.queue.add(entry)
        self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        self._since_pause += 1
        if self._since_pause % _AT_ONCE == 0:
            await asyncio.sleep(0)
