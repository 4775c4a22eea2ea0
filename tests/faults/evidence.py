"""What is on the topics after a run, in the audit's terms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.faults.audit import End, Ended, Place, Published
from tests.faults.reading import Record, open_transactions, read_all

NOWHERE: Place = (-1, -1)
"""Where a record says nothing of its source."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a run: one stage, and what follows it.

    Args:
        prefix: Before every topic and group, so that runs can share brokers.
    """

    prefix: str = ""

    @property
    def raw(self) -> str:
        """Where events are published."""
        return f"{self.prefix}tickets.raw"

    @property
    def escalations(self) -> str:
        """Where Haiku's doubts go."""
        return f"{self.prefix}escalations"

    @property
    def ends(self) -> dict[str, End]:
        """Where events end."""
        return {
            f"{self.prefix}tickets.enriched": End.ENRICHED,
            f"{self.prefix}review": End.REVIEW,
            f"{self.prefix}dead-letters": End.DEAD_LETTER,
        }

    @property
    def outputs(self) -> list[str]:
        """Where transactions write."""
        return [self.escalations, *self.ends]

    @property
    def all(self) -> list[str]:
        """Every one."""
        return [self.raw, *self.outputs]

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.prefix}pipeline.{stage}"


@dataclass(frozen=True, slots=True)
class Sorted:
    """Records in the audit's terms.

    Args:
        published: Every event.
        escalated: The source of every committed escalation.
        ended: Every committed end.
        written: By event and tier, when the committed outcome was written.
    """

    published: list[Published] = field(default_factory=list)
    escalated: list[Place] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    written: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found.

    Args:
        records: Committed ones.
        aborted: Records of transactions that were aborted: what readers were spared.
        open_transactions: Partitions whose readers still wait for one.
    """

    records: Sorted
    aborted: int
    open_transactions: tuple[str, ...]


def collect(servers: str, topics: Topics) -> Evidence:
    """Read all topics from beginning to end."""
    held_up = open_transactions(servers, topics.outputs)
    committed = read_all(servers, topics.outputs)
    everything = read_all(servers, topics.outputs, committed=False)
    return Evidence(
        records=sort_records([*read_all(servers, [topics.raw]), *committed], topics),
        aborted=len(everything) - len(committed),
        open_transactions=tuple(held_up),
    )


def sort_records(records: Iterable[Record], topics: Topics) -> Sorted:
    """Tell events, escalations and ends apart."""
    found = Sorted()
    for record in records:
        value = _object(record.value)
        if record.topic == topics.raw:
            place = (record.partition, record.offset)
            found.published.append(Published(str(value.get("id")), record.key, place))
        elif record.topic == topics.escalations:
            found.escalated.append(_source(value))
            found.written.setdefault((str(value.get("event_id")), "haiku"), record.written)
        else:
            ended = _ended(record, topics.ends[record.topic], value)
            found.ended.append(ended)
            hop = "sonnet" if ended.escalated else "haiku"
            found.written.setdefault((ended.event, hop), record.written)
    return found


def _ended(record: Record, end: End, value: Mapping[str, Any]) -> Ended:
    if end is End.DEAD_LETTER:
        # The value is the raw event's own, and the rest is in the headers.
        event, source = str(value.get("id")), _source_of_dead_letter(record.headers)
        is_escalated = record.headers.get("dlq-stage") == b"escalations"
    else:
        event, source = str(value.get("event_id")), _source(value)
        is_escalated = end is End.REVIEW or value.get("decided_by") == "sonnet"
    return Ended(event, source, end, is_escalated, record.key, record.partition, record.offset)


def _source(value: Mapping[str, Any]) -> Place:
    try:
        return int(value["source"]["partition"]), int(value["source"]["offset"])
    except (KeyError, TypeError, ValueError):
        return NOWHERE


def _source_of_dead_letter(headers: Mapping[str, bytes]) -> Place:
    try:
        return int(headers["dlq-partition"]), int(headers["dlq-offset"])
    except (KeyError, ValueError):
        return NOWHERE


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def after_last(records: Sequence[Record], partitions: int) -> list[int]:
    """The offset after the last record of each partition; transactions' markers do not count."""
    after = [0] * partitions
    for record in records:
        after[record.partition] = max(after[record.partition], record.offset + 1)
    return after
