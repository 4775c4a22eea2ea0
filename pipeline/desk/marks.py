"""Which records were handled: read from a compacted topic, and what is written to it. Pure.

A mark is a record `Handled` under the key `TOPIC/PARTITION/OFFSET`. A topic of marks holds any
number of them; the metadata of a committed offset would hold a thousand gaps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from pipeline.desk.place import Place, place_of
from pipeline.errors import PipelineError
from pipeline.events import Handled
from pipeline.stream.records import Headers, Outgoing, Received

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADERS: Headers = (("content-type", b"application/json"),)


class MarkUnreadable(PipelineError):
    """A record in a topic of marks is not a mark that this version can read."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a record that was handled.

    Args:
        stamp: Milliseconds since 1970, the record's own timestamp.
        at: When it was handled last.
        times: How often.
        by: Who did, the last time.
    """

    stamp: int
    at: datetime
    times: int
    by: str


class Marks:
    """Which records of one topic were handled.

    Args:
        topic: Whose records.
        name: The topic of the marks.
    """

    def __init__(self, topic: str, name: str) -> None:
        self._topic = topic
        self._name = name
        self._marks: dict[Place, Mark] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def partitions(self) -> set[int]:
        """In which partitions records were handled."""
        return {place.partition for place in self._marks}

    def read(self, record: Received) -> None:
        """Take a record of the topic of marks in; a later one about the same place holds.

        Raises:
            MarkUnreadable: It is no mark. Going on without it could do something twice.
        """
        if record.value is None:
            self._forget(record.key)
            return
        try:
            handled = Handled.model_validate_json(record.value)
        except ValidationError as error:
            raise MarkUnreadable(
                f"The record {place_of(record)} of {self._name} is no mark of this version "
                f"({error.error_count()} faults): find out who wrote it before anything is done."
            ) from None
        if handled.topic == self._topic:
            self._keep(handled)

    def of(self, record: Received) -> Mark | None:
        """The mark of a record; None if it was never handled."""
        mark = self._marks.get(place_of(record))
        return mark if mark is not None and mark.stamp == _stamp(record.timestamp) else None

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

    def _forget(self, key: bytes | None) -> None:
        where, _, offset = (key or b"").decode(errors="replace").rpartition("/")
        topic, _, partition = where.rpartition("/")
        if topic == self._topic and partition.isdecimal() and offset.isdecimal():
            self._marks.pop(Place(int(partition), int(offset)), None)


def _stamp(moment: datetime) -> int:
    """In Kafka's own precision, and that of what is published: milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
