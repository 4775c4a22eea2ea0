"""Which records were handled: read from a compacted topic, and what is written to it. Pure.

A mark is a record `Handled` under the key `TOPIC/PARTITION/OFFSET`. A topic of marks holds any
number of them; the metadata of a committed offset would hold a thousand gaps.

A record that is no mark costs itself: it is left out and counted. If its key is that of a mark,
what it is about counts as handled, once, until somebody says `--again`: nothing is done twice for
a mark that another version wrote or that was damaged.

Keeps the newest of many things, so that a long topic fits into memory. Pure.
"""

import heapq
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from pipeline.model.records import EPOCH, Handled, Unusable, read_record
from pipeline.operators.arguments import Place, place_of
from pipeline.stream.records import Headers, Outgoing, Received

_HEADERS: Headers = (("content-type", b"application/json"),)
_KEY = re.compile(rb"(?P<topic>.+)/(?P<partition>[0-9]{1,9})/(?P<offset>[0-9]{1,18})", re.DOTALL)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a record that was handled.

    Args:
        stamp: Milliseconds since 1970, the record's own timestamp; None where the mark could not
            be read, so that it is about whatever is in the place.
        at: When it was handled last.
        times: How often.
        by: Who did, the last time.
    """

    stamp: int | None
    at: datetime
    times: int
    by: str


class HandledIndex:
    """Which records of one topic were handled.

    Args:
        topic: Whose records.
        name: The topic of the marks.
    """

    def __init__(self, topic: str, name: str) -> None:
        self._topic = topic
        self._name = name
        self._marks: dict[Place, Mark] = {}
        self._unusable = 0
        self._first_unusable: Place | None = None

    @property
    def unusable(self) -> int:
        """How many records were no marks."""
        return self._unusable

    def __len__(self) -> int:
        return len(self._marks)

    def partitions(self) -> set[int]:
        """In which partitions records were handled."""
        return {place.partition for place in self._marks}

    def read(self, record: Received) -> None:
        """Take a record of the topic of marks in; a later one about the same place holds."""
        if record.value is None:
            self._forget(record.key)
            return
        try:
            handled = read_record(Handled, record.value)
        except Unusable:
            self._keep_unusable(record)
            return
        if handled.topic == self._topic:
            self._keep(handled)

    def warn(self) -> None:
        """Say once, after all were read, what could not be used."""
        if self._unusable:
            _log.warning(
                "%d records of %s are no marks that this version can read, the first at %s: they "
                "were left out, and what they are about by their keys counts as done (--again does "
                "it again). Find out who may write to that topic.",
                self._unusable,
                self._name,
                self._first_unusable,
            )

    def of(self, record: Received) -> Mark | None:
        """The mark of a record; None if it was never handled."""
        mark = self._marks.get(place_of(record))
        if mark is None or mark.stamp not in {None, _stamp(record.timestamp)}:
            return None
        return mark

    def next(self, record: Received, *, to: str, at: datetime, by: str) -> Handled:
        """What is to be written when `by` handles a record now."""
        earlier = self.of(record)
        return Handled(
            schema_="handled/1",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            to=to,
            at=at,
            times=1 if earlier is None else earlier.times + 1,
            by=by,
        )

    def written(self, marks: Iterable[Handled]) -> None:
        """These are committed."""
        for handled in marks:
            self._keep(handled)

    def outgoing(self, handled: Handled) -> Outgoing:
        """A mark as a record."""
        key = self._key(Place(handled.partition, handled.offset))
        return Outgoing(self._name, key, handled.model_dump_json(by_alias=True).encode(), _HEADERS)

    def obsolete(self, begins: Mapping[int, int]) -> list[Place]:
        """Marks of records that have left their topic.

        Args:
            begins: The first offset of each partition.
        """
        return [place for place in self._marks if place.offset < begins.get(place.partition, 0)]

    def tombstone(self, place: Place) -> Outgoing:
        """The record that removes a mark."""
        return Outgoing(self._name, self._key(place), None, ())

    def removed(self, places: Iterable[Place]) -> None:
        """The tombstones of these are committed."""
        for place in places:
            self._marks.pop(place, None)

    def _keep(self, handled: Handled) -> None:
        place = Place(handled.partition, handled.offset)
        self._marks[place] = Mark(_stamp(handled.timestamp), handled.at, handled.times, handled.by)

    def _key(self, place: Place) -> bytes:
        return f"{self._topic}/{place.partition}/{place.offset}".encode()

    def _keep_unusable(self, record: Received) -> None:
        self._unusable += 1
        self._first_unusable = self._first_unusable or place_of(record)
        place = self._place_of(record.key)
        if place is not None:
            # One that was read before it says more.
            self._marks.setdefault(place, Mark(None, record.timestamp, 1, ""))

    def _forget(self, key: bytes | None) -> None:
        place = self._place_of(key)
        if place is not None:
            self._marks.pop(place, None)

    def _place_of(self, key: bytes | None) -> Place | None:
        """What a key of this topic's marks is about; None for any other key."""
        found = _KEY.fullmatch(key or b"")
        if found is None or found["topic"] != self._topic.encode():
            return None
        return Place(int(found["partition"]), int(found["offset"]))


def _stamp(moment: datetime) -> int:
    """In Kafka's own precision, and that of what is published: milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


T = TypeVar("T")


class Newest(Generic[T]):
    """The last `limit` of what it was given, by time; `seen` is how many it was given.

    Args:
        limit: How many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[tuple[datetime, Place, T]] = []
        self.seen = 0

    def add(self, moment: datetime, place: Place, item: T) -> None:
        """Let one in; the oldest goes where there are too many. No place comes twice."""
        self.seen += 1
        heapq.heappush(self._kept, (moment, place, item))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    def items(self) -> list[T]:
        """What is kept, the oldest first."""
        return [item for _, _, item in sorted(self._kept, key=lambda entry: entry[:2])]


def left_out(found: int, *, shown: int) -> str:
    """A sentence to append if more were found than are shown."""
    return f" The newest {shown:,} are shown; --limit shows more." if found > shown else ""
