"""Which dead letters are meant. Pure."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.deadletters.letter import Letter
from pipeline.desk.moments import Span
from pipeline.desk.place import Place, place_of
from pipeline.stream.brokers import TopicPartition
from pipeline.stream.reader import Start


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

    def __contains__(self, letter: Letter) -> bool:
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
