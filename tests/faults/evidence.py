"""What is on the topics after a run, in the audit's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
class Evidence:
    """What was found.

    Args:
        published: Every event.
        escalated: The source of every committed escalation.
        ended: Every committed end.
        written: By event and tier, when the committed outcome was written.
        aborted: Records of transactions that were aborted: what readers were spared.
        open_transactions: Partitions whose readers still wait for one.
    """

    published: tuple[Published, ...]
    escalated: tuple[Place, ...]
    ended: tuple[Ended, ...]
    written: dict[tuple[str, str], float]
    aborted: int
    open_transactions: tuple[str, ...]


def collect(servers: str, topics: Topics) -> Evidence:
    """Read all topics from beginning to end."""
    held_up = open_transactions(servers, topics.outputs)
    records = read_all(servers, topics.all)
    everything = read_all(servers, topics.outputs, committed=False)
    published, escalated, ended = [], [], []
    written: dict[tuple[str, str], float] = {}
    for record in records:
        value = _object(record.value)
        if record.topic == topics.raw:
            place = (record.partition, record.offset)
            published.append(Published(str(value.get("id")), record.key, place))
            continue
        if record.topic == topics.escalations:
            escalated.append(_source(value))
            written.setdefault((str(value.get("event_id")), "haiku"), record.written)
            continue
        end = _ended(record, topics.ends[record.topic], value)
        ended.append(end)
        written.setdefault((end.event, "sonnet" if end.escalated else "haiku"), record.written)
    return Evidence(
        published=tuple(published),
        escalated=tuple(escalated),
        ended=tuple(ended),
        written=written,
        aborted=len(everything) - (len(records) - len(published)),
        open_transactions=tuple(held_up),
    )


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
