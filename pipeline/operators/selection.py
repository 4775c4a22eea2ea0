"""Which records a person means: a time, a place in a topic, the newest of many; and reading one."""

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader, read_topics
from pipeline.model.errors import PipelineError, UsageError
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PLACE = re.compile(r"(?P<partition>[0-9]{1,9}):(?P<offset>[0-9]{1,18})")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, until before `until`; None where it is open."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        begun = self.since is None or moment >= self.since
        return begun and (self.until is None or moment < self.until)


def span(since: str | None, until: str | None, now: datetime) -> Span:
    """Read both ends, each of which may be missing; raises as `moment`."""
    return Span(
        None if since is None else moment(since, now),
        None if until is None else moment(until, now),
    )


def moment(text: str, now: datetime) -> datetime:
    """Read `2026-11-22T10:00`, with or without a zone (else UTC), or `90m`, `2d`; `UsageError`."""
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago["unit"]]: int(ago["count"])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time: write 2026-11-22T10:00 (UTC), 2026-11-22T10:00+01:00, or how "
            "long ago: 90s, 15m, 2h, 7d."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Place(NamedTuple):
    """A partition and an offset of a topic that is known."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


def place_of(record: Received) -> Place:
    return Place(record.partition, record.offset)


def parse_place(text: str) -> Place:
    """Read `PARTITION:OFFSET`; `UsageError` if it is something else."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not PARTITION:OFFSET, such as 3:1841; `list` prints them.")
    return Place(int(found["partition"]), int(found["offset"]))


def topic_reader(settings: Settings) -> TopicReader:
    return partial(read_topics, settings.kafka)


async def record_at(
    read: TopicReader, topic: str, place: Place, *, what: str, command: str
) -> Received:
    """The record at a place; `PipelineError` where there is none (any more)."""
    start = {TopicPartition(topic, place.partition): place.offset}
    async with read([topic], start=start) as records:
        async for record in records:
            if place_of(record) == place:
                return record
            break
    raise PipelineError(f"There is no {what} at {place} (any more): see `pipeline {command} list`.")


class Newest(Generic[T]):
    """The last `limit` of all that were `seen`, by time, so that a long topic fits into memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[tuple[datetime, Place, T]] = []
        self.seen = 0

    def add(self, moment: datetime, place: Place, item: T) -> None:
        self.seen += 1
        heapq.heappush(self._kept, (moment, place, item))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    def items(self) -> Sequence[T]:
        return [item for _, _, item in sorted(self._kept, key=lambda entry: entry[:2])]


def left_out(found: int, *, shown: int) -> str:
    """A sentence to append if more were found than are shown."""
    return f" The newest {shown:,} are shown; --limit shows more." if found > shown else ""
