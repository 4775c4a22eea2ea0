"""What is on the topics after a run, in the audit's terms."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from typing import Any

import fastavro
import orjson

from tests.faults import poison
from tests.faults.audit import End, Ended, Hop, Move, Published
from tests.faults.poison import Harm
from tests.faults.reading import Record, open_transactions, read_each

_FRAME = 5
"""Bytes before what is framed: a zero and the schema's id."""
NOWHERE: poison.Place = ("", -1, -1)
"""Where a record says nothing of its source."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a run: its stages', and what follows them.

    Args:
        prefix: Before every topic and group, so that runs can share brokers.
        stages: The first has the events of the run; the others get hostile records alone.
        avro: The schema of what is framed; JSON is read without it.
    """

    prefix: str = ""
    stages: tuple[str, ...] = ("tickets",)
    avro: str | None = None

    @property
    def raw(self) -> str:
        """Where the run's events are published."""
        return self.raw_of(self.stages[0])

    def raw_of(self, stage: str) -> str:
        """Where a stage's events are published."""
        return f"{self.prefix}{stage}.raw"

    @property
    def escalations(self) -> str:
        """Where Haiku's doubts go."""
        return f"{self.prefix}escalations"

    @property
    def ends(self) -> dict[str, End]:
        """Where events end."""
        enriched = {f"{self.prefix}{stage}.enriched": End.ENRICHED for stage in self.stages}
        return {
            **enriched,
            f"{self.prefix}review": End.REVIEW,
            f"{self.prefix}dead-letters": End.DEAD_LETTER,
        }

    @property
    def inputs(self) -> list[str]:
        """What the pipeline reads."""
        return [*map(self.raw_of, self.stages), self.escalations]

    @property
    def outputs(self) -> list[str]:
        """Where transactions write."""
        return [self.escalations, *self.ends]

    @property
    def all(self) -> list[str]:
        """Every one."""
        return list(dict.fromkeys([*self.inputs, *self.outputs]))

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.prefix}pipeline.{stage}"


@dataclass(frozen=True, slots=True)
class Sorted:
    """Records in the audit's terms.

    Args:
        published: Every event.
        escalated: Every committed escalation.
        ended: Every committed end.
        written: By event, tier and epoch, when the committed outcome was written.
        decided: By event and tier, how many outcomes were committed.
        hostile: Where each hostile record that ended was delivered, and where it ended.
    """

    published: list[Published] = field(default_factory=list)
    escalated: list[Hop] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    written: dict[tuple[str, str, int], float] = field(default_factory=dict)
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    hostile: list[tuple[poison.Place, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found.

    Args:
        records: Committed ones.
        aborted: Records of transactions that were aborted: what readers were spared.
        open_transactions: Partitions whose readers still wait for one.
        harm: What the hostile records came to.
    """

    records: Sorted
    aborted: int
    open_transactions: tuple[str, ...]
    harm: Harm


def collect(servers: str, topics: Topics, moves: Sequence[Move] = ()) -> Evidence:
    """Read all topics from beginning to end."""
    delivered = poison.delivered(read_each(servers, topics.inputs))
    held_up = open_transactions(servers, topics.outputs)
    hostile = poison.sources(delivered)
    records = sort_records(read_each(servers, topics.all), topics, hostile, moves)
    committed = sum(1 for _ in read_each(servers, topics.outputs))
    everything = sum(1 for _ in read_each(servers, topics.outputs, committed=False))
    return Evidence(
        records=records,
        aborted=everything - committed,
        open_transactions=tuple(held_up),
        harm=poison.judge(delivered, records.hostile),
    )


def sort_records(
    records: Iterable[Record],
    topics: Topics,
    hostile: Mapping[poison.Place, poison.Place] | None = None,
    moves: Sequence[Move] = (),
) -> Sorted:
    """Separate events, escalations and ends, and what came of hostile records.

    Args:
        records: Of all topics.
        topics: Of the run.
        hostile: By the source that a record may state, where the hostile record was delivered.
        moves: Of the group of the raw topic, in their order.
    """
    found, hostile = Sorted(), hostile or {}

    def outcome(record: Record, event: str, tier: str) -> int:
        at = (record.topic, record.partition)
        epoch = sum(record.offset >= move.outputs.get(at, 0) for move in moves)
        found.written.setdefault((event, tier, epoch), record.written)
        found.decided[event, tier] += 1
        return epoch

    for record in records:
        if (record.topic, record.partition, record.offset) in hostile:
            continue
        end = topics.ends.get(record.topic)
        value = {} if end is End.DEAD_LETTER else _object(record.value, topics.avro)
        source = _source(value)
        if end is End.DEAD_LETTER:
            source = _source_of_dead_letter(record.headers)
            if source[0] == topics.escalations and source not in hostile:
                # The second tier gave up: the event is the one that the escalation is about.
                source = _source(_object(record.value))
        if source in hostile:
            if end is not None:
                found.hostile.append((hostile[source], end.value))
        elif end is not None:
            ended = _ended(record, end, value or _object(record.value), source)
            epoch = outcome(record, ended.event, "sonnet" if ended.escalated else "haiku")
            found.ended.append(replace(ended, epoch=epoch))
        elif record.topic == topics.escalations:
            epoch = outcome(record, str(value.get("event_id")), "haiku")
            found.escalated.append(Hop(source[1:], epoch))
        else:
            place = (record.partition, record.offset)
            found.published.append(Published(str(value.get("id")), record.key, place))
    return found


def _ended(record: Record, end: End, value: Mapping[str, Any], source: poison.Place) -> Ended:
    if end is End.DEAD_LETTER:
        # The value is the record's own, and the rest is in the headers.
        is_escalated = record.headers.get("dlq-stage") == b"escalations"
        event = str(value.get("event_id" if is_escalated else "id"))
    else:
        event = str(value.get("event_id"))
        is_escalated = end is End.REVIEW or value.get("decided_by") == "sonnet"
    place = (record.partition, record.offset)
    return Ended(event, source[1:], end, is_escalated, record.key, *place)


def _source(value: Mapping[str, Any]) -> poison.Place:
    try:
        source = value["source"]
        return str(source["topic"]), int(source["partition"]), int(source["offset"])
    except (KeyError, TypeError, ValueError):
        return NOWHERE


def _source_of_dead_letter(headers: Mapping[str, bytes]) -> poison.Place:
    try:
        topic = headers["dlq-topic"].decode()
        return topic, int(headers["dlq-partition"]), int(headers["dlq-offset"])
    except (KeyError, ValueError):
        return NOWHERE


@cache
def _parsed(schema: str) -> Any:  # noqa: ANN401 - as fastavro has it
    return fastavro.parse_schema(orjson.loads(schema))


def _object(value: bytes, avro: str | None = None) -> dict[str, Any]:
    if avro is not None and value[:1] == b"\x00":
        framed: Any = fastavro.schemaless_reader(BytesIO(value[_FRAME:]), _parsed(avro), None)
        return dict(framed)
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
