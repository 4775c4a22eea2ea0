"""What became of the events: counted from what is on the topics, and from nothing else. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
class Move:
    """The group of the raw topic was moved while no member ran. What follows is another epoch.

    Args:
        name: What moved it.
        to: Where reading goes on, by partition of the raw topic; the others stay where they are.
        outputs: Where what is written afterwards begins, by topic and partition.
    """

    name: str
    to: Mapping[int, int]
    outputs: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Hop:
    """A committed escalation: where it says that its event came from, and when it was written.

    Args:
        source: Where the event is in the raw topic.
        epoch: How many moves of the group came before it.
    """

    source: Place
    epoch: int = 0


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
        epoch: How many moves of the group came before it.
    """

    event: str
    source: Place
    end: End
    escalated: bool
    key: str
    partition: int
    offset: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, by event, and how many ended where.

    Args:
        published: Raw records.
        ended: Committed records of output topics.
        ends: These, by end.
        escalated: Different events that took the way over Sonnet.
        again: Results beyond an event's first, each of which a move of the group asked for.
        skipped: Events that ended nowhere, since the group was moved past them.
        lost: Other events that ended nowhere, or not again after a move that asked for it.
        duplicated: Events that ended, or were escalated, more often than they were asked for.
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
    again: int
    skipped: int
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
    published: Sequence[Published],
    escalated: Sequence[Hop],
    ended: Sequence[Ended],
    moves: Sequence[Move] = (),
) -> Findings:
    """Hold what came out against what went in.

    Args:
        published: Every record of the raw topic.
        escalated: Every committed record of the topic `escalations`.
        ended: Every committed record of the topics where events end.
        moves: Of the group, in their order.
    """
    sent = {record.place: record for record in published}
    decided = Counter((record.source, record.epoch) for record in ended if not record.escalated)
    decided.update((hop.source, hop.epoch) for hop in escalated)
    hops = Counter(hop.source for hop in escalated)
    answered = Counter(record.source for record in ended if record.escalated)
    lost, twice, skipped, again = set(), set(), 0, 0
    for place in sent:
        times = [decided[place, epoch] for epoch in range(len(moves) + 1)]
        is_due, is_twice = _due_and_twice(place, times, moves)
        if is_twice or answered[place] > hops[place]:
            twice.add(place)
        elif is_due or answered[place] < hops[place]:
            lost.add(place)
        skipped += not any(times) and place not in lost | twice
        again += max(0, sum(times) - 1)
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
        again=again,
        skipped=skipped,
        lost=events(lost),
        duplicated=events(twice),
        out_of_order=tuple(sorted(_out_of_order(ended))),
        dead_lettered=tuple(sorted(r.event for r in ended if r.end is End.DEAD_LETTER)),
        foreign=tuple(sorted(foreign)),
        published_twice=tuple(sorted(event for event, n in ids.items() if n > 1)),
    )


def _due_and_twice(place: Place, times: Sequence[int], moves: Sequence[Move]) -> tuple[bool, bool]:
    """Whether an event is still to be decided at the end, and was where it was not to be.

    Args:
        place: Where it is.
        times: How often it was decided in each epoch.
        moves: Between the epochs. One to or below an event asks for it, one past it does not.
    """
    partition, offset = place
    is_due, is_twice = True, False
    for epoch, decided in enumerate(times):
        if epoch:
            moved_to = moves[epoch - 1].to.get(partition)
            is_due = is_due if moved_to is None else offset >= moved_to
        is_twice |= decided > is_due
        is_due &= not decided
    return is_due, is_twice


def _is_of(ended: Ended, published: Published | None) -> bool:
    return published is not None and (published.event, published.key) == (ended.event, ended.key)


def _out_of_order(ended: Sequence[Ended]) -> set[str]:
    """Events that follow a later one of their key in the output partition.

    A key that comes out on two partitions has no order at all: then all but those on the first
    of them count. After a move the order begins again.
    """
    by_key: dict[tuple[str, int], list[Ended]] = defaultdict(list)
    for record in ended:
        if record.end is End.ENRICHED and not record.escalated:
            by_key[record.key, record.epoch].append(record)
    found = set()
    for records in by_key.values():
        records.sort(key=lambda record: (record.partition, record.offset))
        latest = (-1, -1)
        for record in records:
            if record.partition != records[0].partition or record.source < latest:
                found.add(record.event)
            latest = max(latest, record.source)
    return found
