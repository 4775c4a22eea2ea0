"""A dead letter, read from its record: why it is here, and where it came from.

Which dead letters are meant. Pure.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.kafka.reader import Start
from pipeline.operators.arguments import Place, Span, place_of
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Headers, Outgoing, Received

_OURS = "dlq-"
_DIGITS = 19
"""Of an offset, at most."""
REPLAYED_FROM = "replayed-from"
"""The header of a replayed record: where its dead letter is."""


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A record of `dead-letters`.

    A record that the pipeline did not write has no reason; it is shown, and cannot be replayed.

    Args:
        record: As it is in the topic.
        reason: A short code; empty where none is given. So are the other texts.
        detail: A sentence for a person.
        stage: Who could not handle it.
        topic: Where it was read.
        partition: Of that topic; None where it is not given. So is the offset.
        died_at: When it was put aside.
        attempts: Model calls that were made for it.
        version: Of the pipeline that put it aside.
    """

    record: Received
    reason: str
    detail: str
    stage: str
    topic: str
    partition: int | None
    offset: int | None
    died_at: datetime
    attempts: int | None
    version: str

    @property
    def original(self) -> str | None:
        """Where the record itself is, if it is not in the letter; None where it is.

        It was larger than any record that may be published, or could not be read.
        """
        texts = _texts(self.record.headers)
        if "dlq-original" not in texts:
            return None
        size, digest = texts.get("dlq-original-value-bytes"), texts.get("dlq-original-sha256")
        known = f", {size} bytes, SHA-256 {digest}" if size and digest else ""
        return (
            f"offset {self.offset} of partition {self.partition} of {self.topic}, for as long as "
            f"that topic keeps it{known}"
        )

    @property
    def own_headers(self) -> Headers:
        """The headers that the record had before it was put aside."""
        return tuple(header for header in self.record.headers if not header[0].startswith(_OURS))

    @property
    def replayed_from(self) -> str | None:
        """The dead letter whose replay this is what came of; None where it is none."""
        return _texts(self.record.headers).get(REPLAYED_FROM)

    def replay(self) -> Outgoing:
        """The record to put back on its topic: key, value and headers as they were.

        One header says where it comes from, so that a reader can tell a repetition.
        """
        place = f"{self.record.topic}/{self.record.partition}/{self.record.offset}"
        headers = (
            *(header for header in self.own_headers if header[0] != REPLAYED_FROM),
            (REPLAYED_FROM, place.encode()),
        )
        return Outgoing(self.topic, self.record.key, self.record.value, headers)


def letter_of(record: Received) -> DeadLetterRecord:
    """Read a record of `dead-letters`, whoever wrote it."""
    texts = _texts(record.headers)
    return DeadLetterRecord(
        record=record,
        reason=texts.get("dlq-reason", ""),
        detail=texts.get("dlq-detail", ""),
        stage=texts.get("dlq-stage", ""),
        topic=texts.get("dlq-topic", ""),
        partition=_number(texts.get("dlq-partition")),
        offset=_number(texts.get("dlq-offset")),
        died_at=_moment(texts.get("dlq-timestamp")) or record.timestamp,
        attempts=_number(texts.get("dlq-attempts")),
        version=texts.get("dlq-version", ""),
    )


def _texts(headers: Headers) -> dict[str, str]:
    """The last header of each name: what a publisher called the same came before."""
    return {name: content.decode(errors="replace") for name, content in headers if content}


def _number(text: str | None) -> int | None:
    if text is None or len(text) > _DIGITS or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # no time, or one that UTC has no place for
        return None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a dead letter must be to be meant; what is empty or None does not matter.

    Args:
        places: Where it may be.
        stages: Who could not handle it.
        reasons: Codes.
        topics: Where it came from.
        key: Its record's key.
        span: When it was put aside.
    """

    places: Collection[Place] = ()
    stages: Collection[str] = ()
    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    key: str | None = None
    span: Span = field(default_factory=Span)

    def __contains__(self, letter: DeadLetterRecord) -> bool:
        """Whether a dead letter is meant."""
        return (
            (not self.places or place_of(letter.record) in self.places)
            and (not self.stages or letter.stage in self.stages)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (self.key is None or letter.record.key == os.fsencode(self.key))
            and letter.died_at in self.span
        )

    def start(self, topic: str) -> Start:
        """Where reading may begin.

        A record is written after it was put aside, so its own timestamp is the later one.
        """
        if not self.places:
            return self.span.since or "beginning"
        first: dict[TopicPartition, int] = {}
        for partition, offset in self.places:
            where = TopicPartition(topic, partition)
            first[where] = min(offset, first.get(where, offset))
        return first

    def is_exhausted(self, found: int) -> bool:
        """Whether no more can come, as many as were found."""
        return bool(self.places) and found >= len(set(self.places))
