"""What became of the events: counted from what is on the topics, and from nothing else. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

Place = tuple[int, int]
"""Partition and offset of a raw record: what an event is known by. Its id would not do, for the
publisher, too, may repeat itself when a broker dies."""


class End(StrEnum):
    """Where an event can end."""

    ENRICHED = "enriched"
    REVIEW = "review"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Published:
    """A record of the raw topic."""

    event: str
    key: str
    place: Place


@dataclass(frozen=True, slots=True)
class Ended:
    """A committed record of an output topic.

    Args:
        event: The id of the event it came from; empty if that is unknown.
        source: Where it says that the event came from.
        end: Which end it is.
        escalated: Whether it took the way over Sonnet.
        key: The record's key.
        partition: Of the output topic.
        offset: In that partition.
    """

    event: str
    source: Place
    end: End
    escalated: bool
    key: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, by event, and how many ended where.

    Args:
        published: Raw records.
        ended: Committed records of output topics.
        ends: These, by end.
        escalated: Different events that took the way over Sonnet.
        lost: Events that ended nowhere.
        duplicated: Events that ended more than once, or were escalated more than once.
        out_of_order: Events that were decided by Haiku and came out before an earlier one of
            their key that Haiku decided, too.
        dead_lettered: Events that became dead letters: none was at fault.
        foreign: Records that came from no published event, or do not have its id and key.
        published_twice: Events that the publisher sent twice: for the pipeline they are two.
    """

    published: int
    ended: int
    ends: dict[str, int]
    escalated: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    out_of_order: tuple[str, ...]
    dead_lettered: tuple[str, ...]
    foreign: tuple[str, ...]
    published_twice: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that was promised was kept, and anything was proven at all."""
        wrong = (
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.dead_lettered,
            self.foreign,
        )
        return self.published > 0 and not any(wrong)


def audit(
    published: Sequence[Published], escalated: Iterable[Place], ended: Sequence[Ended]
) -> Findings:
    """Hold what came out against what went in.

    Args:
        published: Every record of the raw topic.
        escalated: The source of every committed record of the topic `escalations`.
        ended: Every committed record of the topics where events end.
    """
    sent = {record.place: record for record in published}
    arrived = Counter(record.source for record in ended)
    hops = Counter(escalated)
    twice = {at for counts in (arrived, hops) for at, n in counts.items() if n > 1} & sent.keys()
    foreign = {f"escalation of {at}" for at in hops.keys() - sent.keys()}
    foreign |= {r.event for r in ended if not _is_of(r, sent.get(r.source))}
    ids = Counter(record.event for record in published)

    def events(places: Iterable[Place]) -> tuple[str, ...]:
        return tuple(sorted(sent[at].event for at in places))

    return Findings(
        published=len(sent),
        ended=len(ended),
        ends=dict(Counter(record.end.value for record in ended)),
        escalated=len(hops),
        lost=events(sent.keys() - arrived.keys()),
        duplicated=events(twice),
        out_of_order=tuple(sorted(_out_of_order(ended))),
        dead_lettered=tuple(sorted(r.event for r in ended if r.end is End.DEAD_LETTER)),
        foreign=tuple(sorted(foreign)),
        published_twice=tuple(sorted(event for event, n in ids.items() if n > 1)),
    )


def _is_of(ended: Ended, published: Published | None) -> bool:
    return published is not None and (published.event, published.key) == (ended.event, ended.key)


def _out_of_order(ended: Sequence[Ended]) -> set[str]:
    """Events that follow a later one of their key in the output partition.

    A key that comes out on two partitions has no order at all: then all but those on the first
    of them count.
    """
    by_key: dict[str, list[Ended]] = defaultdict(list)
    for record in ended:
        if record.end is End.ENRICHED and not record.escalated:
            by_key[record.key].append(record)
    found = set()
    for records in by_key.values():
        records.sort(key=lambda record: (record.partition, record.offset))
        latest = (-1, -1)
        for record in records:
            if record.partition != records[0].partition or record.source < latest:
                found.add(record.event)
            latest = max(latest, record.source)
    return found
