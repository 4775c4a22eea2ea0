"""What people may have to be notified of: a condition holds until it ends."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pipeline.kafka.reader import TopicReader
from pipeline.model.records import DeadLetterReason
from pipeline.operators.certificates import StageStatus
from pipeline.operators.dead_letters import dead_letter_of
from pipeline.operators.handled import HandledIndex, read_handled
from pipeline.operators.selection import place_of
from pipeline.stream.protocols import TopicPartition

_OVERLAP = timedelta(minutes=5)
"""Read again at each look: a transaction may commit records that are older than others seen."""
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds. `title` names it: while it is the same, it is the same condition."""

    title: str
    text: str
    since: datetime
    link: str | None = None


class Source(Protocol):
    """A kind of condition. Others may be added to those of `pipeline.app`."""

    async def conditions(self, now: datetime) -> Sequence[Condition]:
        """All that hold now; raises `PipelineError` where that cannot be known at present."""
        ...


class DeadLetterKinds:
    """Kinds of dead letters, by stage and reason, that came up within a time.

    Args:
        read: Reads topics.
        topic: That of the dead letters.
        stages: Those that there are; what others call themselves is not repeated.
        within: Without one of a kind, after which the kind has ended.
    """

    def __init__(
        self, read: TopicReader, topic: str, stages: Sequence[str], within: timedelta
    ) -> None:
        self._read = read
        self._topic = topic
        self._stages = frozenset(stages)
        self._within = within
        self._seen_until: datetime | None = None
        self._kinds: dict[tuple[str, str], tuple[datetime, datetime, str]] = {}

    async def conditions(self, now: datetime) -> Sequence[Condition]:
        begin = now - self._within
        start = begin if self._seen_until is None else max(begin, self._seen_until - _OVERLAP)
        async with self._read([self._topic], start=start) as records:
            async for record in records:
                about = dead_letter_of(record).about
                stage = about.stage if about.stage in self._stages else _OTHER
                reason = about.reason if about.reason in _REASONS else _OTHER
                first, last, _ = self._kinds.get((stage, reason), (record.timestamp,) * 2 + ("",))
                times = min(first, record.timestamp), max(last, record.timestamp)
                self._kinds[stage, reason] = (*times, str(place_of(record)))
        self._seen_until = now
        self._kinds = {kind: seen for kind, seen in self._kinds.items() if seen[1] > begin}
        return [
            Condition(
                f"Dead letters of {stage}: {reason}",
                f"The last one so far is {place}. Look at it with `pipeline dead-letters show "
                f"{place}`, list them with `pipeline dead-letters list --stage {stage} --reason "
                f"{reason}`.",
                first,
            )
            for (stage, reason), (first, _, place) in sorted(self._kinds.items())
        ]


_REASONS = frozenset(reason.value for reason in DeadLetterReason)


class ReviewAge:
    """Cases that wait for a person longer than they should.

    Of each partition only its oldest open case is looked at, and all are resumed from there, so a
    look at a queue that is worked off in time reads one record a partition.

    Args:
        read: Reads topics.
        topic, handled_topic: That of the cases, and of those that were settled.
        partitions: Those of `topic`.
        limit: The age.
        link: Where people settle them.
    """

    title = "Cases wait too long"

    def __init__(
        self,
        read: TopicReader,
        topic: str,
        handled_topic: str,
        partitions: Callable[[], Awaitable[Sequence[TopicPartition]]],
        *,
        limit: timedelta,
        link: str | None = None,
    ) -> None:
        self._read = read
        self._topic = topic
        self._handled_topic = handled_topic
        self._partitions = partitions
        self._limit = limit
        self._link = link
        self._resume: dict[TopicPartition, int] = {}

    async def conditions(self, now: datetime) -> Sequence[Condition]:
        self._handled: HandledIndex | None = None
        found = [await self._oldest(each, now - self._limit) for each in await self._partitions()]
        oldest = min((each for each in found if each is not None), default=None)
        if oldest is None:
            return []
        hours = self._limit.total_seconds() / 3600
        return [
            Condition(
                self.title,
                f"The oldest of them has waited since {oldest:%Y-%m-%d %H:%M} UTC, longer than "
                f"{hours:g} h: `pipeline desk`, or `pipeline review list --open`.",
                oldest + self._limit,
                self._link,
            )
        ]

    async def _oldest(self, partition: TopicPartition, before: datetime) -> datetime | None:
        """When the oldest open case of a partition came, if it was before that time."""
        start = {partition: self._resume.get(partition, 0)}
        async with self._read([self._topic], start=start) as records:
            async for record in records:
                if record.timestamp > before:
                    return None
                if self._handled is None:
                    self._handled = await read_handled(self._read, self._topic, self._handled_topic)
                if self._handled.of(record) is None:
                    return record.timestamp
                self._resume[partition] = record.offset + 1
        return None


class StaleCertificates:
    """Certificates that say nothing any more of what is published, of each stage that has one.

    Args:
        statuses: What is certified now, by the settings that are there then.
    """

    def __init__(self, statuses: Callable[[], Awaitable[Sequence[StageStatus]]]) -> None:
        self._statuses = statuses
        self._since: dict[str, datetime] = {}

    async def conditions(self, now: datetime) -> Sequence[Condition]:
        stale = {}
        for status in await self._statuses():
            stage, state, _, why = status.row()
            if state == "stale":
                stale[stage] = (why, now if status.alarm is None else status.alarm.at)
        self._since = {stage: self._since.get(stage, at) for stage, (_, at) in stale.items()}
        return [
            Condition(
                f"The certificate of {stage} is stale",
                f"{why}. What to do is in `pipeline trust status` and, of an alarm, in the runbook "
                "under PipelineCertificateAlarm.",
                self._since[stage],
            )
            for stage, (why, _) in sorted(stale.items())
        ]
