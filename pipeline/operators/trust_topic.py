"""Reading the topic `trust`: answers that were drawn, with what people said of each.

The topic is compacted, but late: until then an answer or a verdict may be there several times, and
the last one of a key holds. What is held in memory is what people wrote, and the answers that it is
about; answers that nobody labelled pass by.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipeline.config import Settings
from pipeline.kafka.reader import Start, TopicReader, read_topics
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Unusable, read_record
from pipeline.stream.records import Received
from pipeline.trust.records import AnswerLabel, LabelledAnswer, SampledAnswer

ANSWER, LABEL = b"answer/", b"label/"
"""What the keys of either begin with."""
TrustRecord = SampledAnswer | AnswerLabel
_log = logging.getLogger(__name__)


class Follower(Protocol):
    """Follows the topic: what is in it first, then what comes; `MemoryFollower` is the fake."""

    def __call__(self) -> AsyncGenerator[TrustRecord, None]:
        """Follow it, until closed; raises `PipelineError` without the topic or the brokers."""
        ...


def parse(record: Received) -> TrustRecord | None:
    """What a record of the topic is; None of a tombstone, and of what is something else.

    Certificates have records of their own there, under other keys.
    """
    key, value = record.key or b"", record.value
    if value is None:
        return None
    try:
        if key.startswith(ANSWER):
            return read_record(SampledAnswer, value)
        return read_record(AnswerLabel, value) if key.startswith(LABEL) else None
    except Unusable as error:
        where = f"{record.partition}:{record.offset}"
        _log.warning("The record %s of %s is left out: %s.", where, record.topic, error)
        return None


async def follow_trust(
    settings: Settings, *, start: datetime | None = None
) -> AsyncGenerator[TrustRecord, None]:
    """Answers and verdicts as they are committed, from `start`, else from the first; no end.

    An answer or verdict may come again, and then replaces the earlier one of its key. Close it when
    done (`contextlib.aclosing`).
    """
    topic = TopicNames.under(settings).trust
    begin: Start = "beginning" if start is None else start
    async with read_topics(settings.kafka, [topic], start=begin, end="never") as records:
        async for record in records:
            if (found := parse(record)) is not None:
                yield found


@dataclass(slots=True)
class LabelIndex:
    """The verdicts that hold, by the answers that they are about."""

    _labels: dict[bytes, AnswerLabel] = field(default_factory=dict)
    _of: dict[tuple[str, str], dict[bytes, AnswerLabel]] = field(default_factory=dict)

    def take(self, record: Received) -> None:
        """Take a record whose key is that of a verdict; a later one of the key holds."""
        key = record.key or b""
        if (before := self._labels.pop(key, None)) is not None:
            self._of[before.stage, before.event_id].pop(key)
        label = parse(record)
        if isinstance(label, AnswerLabel):
            self._labels[key] = label
            self._of.setdefault((label.stage, label.event_id), {})[key] = label

    def on(self, answer: SampledAnswer) -> list[AnswerLabel]:
        """The verdicts on an answer, the earliest first.

        One that is older is about another answer to the event, which was published before.
        """
        found = self._of.get((answer.stage, answer.event_id), {}).values()
        about = (label for label in found if label.at >= answer.published_at)
        return sorted(about, key=lambda label: (label.at, label.person))

    def __len__(self) -> int:
        return len(self._labels)


async def read_labels(read: TopicReader, topic: str) -> LabelIndex:
    """All verdicts that hold."""
    found = LabelIndex()
    async with read([topic]) as records:
        async for record in records:
            if (record.key or b"").startswith(LABEL):
                found.take(record)
    return found


async def labelled_answers(
    read: TopicReader,
    topic: str,
    *,
    stages: Iterable[str] = (),
    is_wanted: Callable[[SampledAnswer], bool] = lambda _: True,
) -> list[LabelledAnswer]:
    """Every drawn answer that has a verdict, in the order of their publication.

    `stages` are those meant, all if none; `is_wanted` leaves out answers, e.g. of another tier.
    """
    labels, chosen = await read_labels(read, topic), frozenset(stages)
    answers: dict[bytes, SampledAnswer] = {}
    async with read([topic]) as records:
        async for record in records:
            key = record.key or b""
            if not key.startswith(ANSWER):
                continue
            answers.pop(key, None)
            answer = parse(record)
            if (
                isinstance(answer, SampledAnswer)
                and (not chosen or answer.stage in chosen)
                and labels.on(answer)
                and is_wanted(answer)
            ):
                answers[key] = answer
    ordered = sorted(answers.values(), key=lambda each: (each.published_at, each.event_id))
    found = [LabelledAnswer(each, labels.on(each)) for each in ordered]
    return [each for each in found if each.labels]
