"""Dead letters for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.cascade.publishing import dead_letter
from pipeline.config import KafkaSettings
from pipeline.kafka.writer import Writer
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stream.records import Headers, Outgoing, Received

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def raw(
    number: int = 0,
    *,
    topic: str = "tickets.raw",
    value: bytes | None = None,
    key: bytes | None = b"customer",
    headers: Headers = (("traceparent", b"00-abc"),),
) -> Received:
    """A record that could not be handled."""
    content = b'{"id": "x-%d"}' % number if value is None else value
    return Received(topic, 1, number, key, content, headers, NOON, NOON)


def buried(
    record: Received,
    *,
    into: str = "dead-letters",
    reason: DeadLetterReason = DeadLetterReason.INVALID_EVENT,
    stage: str = "tickets",
    at: datetime = NOON,
) -> Outgoing:
    """What the pipeline writes for it."""
    outcome = dead_letter(record, into, InvalidEvent(reason, "body: missing"), stage=stage, now=at)
    return outcome.records[0]


def as_read(outgoing: Outgoing, *, partition: int = 0, offset: int = 0) -> Received:
    """A record as a reader gets it."""
    return Received(
        outgoing.topic,
        partition,
        offset,
        outgoing.key,
        outgoing.value,
        outgoing.headers,
        NOON,
        NOON,
    )


async def write(kafka: KafkaSettings, records: Sequence[Outgoing]) -> None:
    """Put records on real brokers."""
    async with Writer(kafka, max_record_bytes=16 << 20) as writer:
        for record in records:
            await writer.write(record)
