"""What is on the topics after a run, in the audit's terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from tests.faults.audit import End, Ended, Published
from tests.faults.reading import Record, open_transactions, read_all


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
        escalations: The event of every committed escalation.
        ended: Every committed end.
        written: By event and tier, when the committed outcome was written.
        aborted: Records of transactions that were aborted: what readers were spared.
        open_transactions: Partitions whose readers still wait for one.
    """

    published: tuple[Published, ...]
    escalations: tuple[str, ...]
    ended: tuple[Ended, ...]
    written: dict[tuple[str, str], float]
    aborted: int
    open_transactions: tuple[str, ...]


def collect(servers: str, topics: Topics) -> Evidence:
    """Read all topics from beginning to end."""
    held_up = open_transactions(servers, topics.outputs)
    records = read_all(servers, topics.all)
    everything = read_all(servers, topics.outputs, committed=False)
    published, escalations, ended = [], [], []
    written: dict[tuple[str, str], float] = {}
    for record in records:
        event, is_escalated = _event_of(record, topics)
        if record.topic == topics.raw:
            published.append(Published(event, record.key, record.partition, record.offset))
            continue
        if record.topic == topics.escalations:
            escalations.append(event)
            hop = "haiku"
        else:
            end = topics.ends[record.topic]
            ended.append(
                Ended(event, end, is_escalated, record.key, record.partition, record.offset)
            )
            hop = "sonnet" if is_escalated else "haiku"
        written.setdefault((event, hop), record.written)
    return Evidence(
        published=tuple(published),
        escalations=tuple(escalations),
        ended=tuple(ended),
        written=written,
        aborted=len(everything) - (len(records) - len(published)),
        open_transactions=tuple(held_up),
    )


def _event_of(record: Record, topics: Topics) -> tuple[str, bool]:
    """The id of a record's event, and whether it took the way over Sonnet."""
    try:
        value = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return "", False
    if not isinstance(value, dict):
        return "", False
    if record.topic in {topics.raw, f"{topics.prefix}dead-letters"}:
        return str(value.get("id", "")), record.headers.get("dlq-stage") == b"escalations"
    is_review = record.topic == f"{topics.prefix}review"
    return str(value.get("event_id", "")), is_review or value.get("decided_by") == "sonnet"


def after_last(records: Sequence[Record], partitions: int) -> list[int]:
    """The offset after the last record of each partition; transactions' markers do not count."""
    after = [0] * partitions
    for record in records:
        after[record.partition] = max(after[record.partition], record.offset + 1)
    return after
