"""Which records a person means: a time, or a place in a topic; and reading them."""

import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader, read_topics
from pipeline.model.errors import PipelineError, UsageError
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received

_AGO = re.compile(r"(?P<count>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PLACE = re.compile(r"(?P<partition>[0-9]{1,9}):(?P<offset>[0-9]{1,18})")
T = TypeVar("T")


class NoSuchRecord(PipelineError):
    """There is no record at a place, or no more."""


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
        None if since is None else moment(since, now), None if until is None else moment(until, now)
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
    """The record at a place; `NoSuchRecord` where there is none (any more)."""
    start = {TopicPartition(topic, place.partition): place.offset}
    async with read([topic], start=start) as records:
        async for record in records:
            if place_of(record) == place:
                return record
            break
    raise NoSuchRecord(f"There is no {what} at {place} (any more): see `pipeline {command} list`.")


async def batched(
    items: AsyncIterable[T], size_of: Callable[[T], int], *, count: int, size: int
) -> AsyncGenerator[list[T], None]:
    """Cut a stream into pieces of at most `count` items and `size` bytes, or of one item."""
    batch: list[T] = []
    held = 0
    async for item in items:
        if batch and (len(batch) >= count or held + size_of(item) > size):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size_of(item)
    if batch:
        yield batch
