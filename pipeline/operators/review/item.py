"""A case for a person, read from its record in `review`."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field

from pipeline.kafka.reader import Start
from pipeline.model.errors import PipelineError
from pipeline.model.records import Review, Unusable, read_record
from pipeline.operators.arguments import Span
from pipeline.stream.records import Received


class Unreadable(PipelineError):
    """A record in `review` is not a case that this version can read."""


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """What neither model could settle.

    Args:
        record: As it is in the topic.
        review: What is in it.
    """

    record: Received
    review: Review


def case_of(record: Received) -> ReviewItem:
    """Read a record of `review`.

    Raises:
        Unreadable: It is something else.
    """
    try:
        return ReviewItem(record, read_record(Review, record.value))
    except Unusable as error:
        raise Unreadable(
            f"The record {record.partition}:{record.offset} of {record.topic} is no case that "
            f"this version can read: {error}."
        ) from None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a case must be to be meant; what is empty or None does not matter. Pure.

    Args:
        stages: Whose event it is.
        doubts: Codes, one of which it has.
        key: Its record's key.
        span: When it came.
    """

    stages: Collection[str] = ()
    doubts: Collection[str] = ()
    key: str | None = None
    span: Span = field(default_factory=Span)

    def __contains__(self, case: ReviewItem) -> bool:
        """Whether a case is meant."""
        codes = {doubt.code for doubt in case.review.doubts}
        return (
            (not self.stages or case.review.stage in self.stages)
            and (not self.doubts or not codes.isdisjoint(self.doubts))
            and (self.key is None or case.record.key == os.fsencode(self.key))
            and case.record.timestamp in self.span
        )

    @property
    def start(self) -> Start:
        """Where reading may begin."""
        return self.span.since or "beginning"
