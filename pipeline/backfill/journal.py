"""The compacted topic: one record for each batch, which says how far the batch is.

A record is written in one transaction with what it is about.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline.kafka.reader import TopicReader
from pipeline.kafka.writer import commit_with_retry
from pipeline.model.errors import PipelineError
from pipeline.model.records import (
    Count,
    Money,
    Offset,
    PartitionNumber,
    Timestamp,
    Unusable,
    added,
    counted,
    read_record,
)
from pipeline.stream.protocols import PartitionWriter
from pipeline.stream.records import Headers, Outgoing, Received

SCHEMA = "backfills/1"
_HEADERS: Headers = (("content-type", b"application/json"),)
_log = logging.getLogger(__name__)


class State(StrEnum):
    """How far a batch is. It only goes on, but for a submission that did not come about."""

    CLAIMED = "claimed"  # its events belong to nothing else; nothing was sent
    SENDING = "sending"  # it may have been submitted, or not
    SUBMITTED = "submitted"  # the API has it, and its handle is known
    ENDED = "ended"  # its results are being published, or there are none to wait for
    PUBLISHED = "published"  # every event of it came to its end


class InvalidTransition(ValueError):
    """A batch cannot go from its state to that one."""


class Kept(BaseModel):
    """What the values of the topic share; a later version may write more fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Tally(Kept):
    """What became of events."""

    enriched: Count = 0
    escalated: Count = 0
    dead_letters: Count = 0
    returned: Count = 0  # without an answer in the batch, and asked in the normal lane
    passed_over: Count = 0  # no events of the stage, by its filter
    gone: Count = 0  # their record had left the log before they could be published
    batch_usd: Money | None = Decimal(0)  # cost of the batches' answers; None if not known
    normal_usd: Money | None = Decimal(0)  # cost of the normal lane

    @property
    def published(self) -> int:
        return self.enriched + self.escalated + self.dead_letters

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            enriched=counted(self.enriched, other.enriched),
            escalated=counted(self.escalated, other.escalated),
            dead_letters=counted(self.dead_letters, other.dead_letters),
            returned=counted(self.returned, other.returned),
            passed_over=counted(self.passed_over, other.passed_over),
            gone=counted(self.gone, other.gone),
            batch_usd=added(self.batch_usd, other.batch_usd),
            normal_usd=added(self.normal_usd, other.normal_usd),
        )


class Job(Kept):
    """One batch: which events it holds, and how far it is."""

    schema_: str = Field(SCHEMA, alias="schema")
    stage: str
    source: str  # the topic, or `file:` and the digest of a file
    partition: PartitionNumber  # of the topic; 0 for a file
    first: Offset  # of its first event; in a file, its position
    next: Offset  # everything of the partition below it was claimed
    # Which offsets from `first` to `next` are its own: first and one after the last of each
    # stretch. What lies between was done before it was claimed.
    spans: tuple[tuple[Offset, Offset], ...]
    events: Count  # how many it holds
    nonce: str  # begins the custom ids of its requests, and of no other batch
    run: str  # the backfill that claimed it
    state: State = State.CLAIMED
    claimed_at: Timestamp
    requests: Count = 0  # how many were submitted, or may have been
    sending_since: Timestamp | None = None  # when it may have been submitted first
    batch_id: str | None = None
    submitted_at: Timestamp | None = None
    published_to: Offset = 0  # its events below it are published
    published_at: Timestamp | None = None
    given_up: bool = False  # its batch is not waited for: its events go through the normal lane
    tally: Tally = Tally()

    @property
    def key(self) -> bytes:
        return f"{self.stage}/{self.source}/{self.partition}/{self.first}/{self.nonce}".encode()

    @property
    def prefix(self) -> str:
        """What the custom ids of its requests begin with."""
        return prefix_of(self.nonce, self.partition)

    def holds(self, offset: int) -> bool:
        """Whether the event at an offset is one of its own."""
        return any(begin <= offset < end for begin, end in self.spans)

    def sending(self, now: datetime, requests: int) -> Self:
        """It is about to be sent; from here on it may have been."""
        self._check(State.CLAIMED, State.SENDING)
        return self._with(
            state=State.SENDING, requests=requests, sending_since=self.sending_since or now
        )

    def not_sent(self) -> Self:
        """It was not taken, beyond doubt."""
        self._check(State.SENDING)
        return self._with(state=State.CLAIMED, sending_since=None)

    def submitted(self, batch_id: str, now: datetime) -> Self:
        """The API has taken it."""
        self._check(State.SENDING)
        return self._with(state=State.SUBMITTED, batch_id=batch_id, submitted_at=now)

    def ended(self) -> Self:
        """Its results can be published."""
        self._check(State.SUBMITTED)
        return self._with(state=State.ENDED, published_to=self.first)

    def without_batch(self) -> Self:
        """There is nothing to submit: no event of it makes a request."""
        self._check(State.CLAIMED)
        return self._with(state=State.ENDED, published_to=self.first, requests=0)

    def abandoned(self) -> Self:
        """Its batch is not to be waited for; its events go through the normal lane."""
        self._check(State.CLAIMED, State.SUBMITTED, State.ENDED)
        return self._with(
            state=State.ENDED, published_to=max(self.first, self.published_to), given_up=True
        )

    def progressed(self, to: int, more: Tally) -> Self:
        """The outcomes of its events below `to` go out with the record that says so."""
        self._check(State.ENDED)
        if not self.published_to <= to <= self.next:
            raise InvalidTransition(f"published to {to} after {self.published_to}, of {self.next}")
        return self._with(published_to=to, tally=self.tally + more)

    def published(self, now: datetime) -> Self:
        self._check(State.ENDED)
        gone = max(0, self.events - self.tally.published)
        return self._with(
            state=State.PUBLISHED,
            published_to=self.next,
            published_at=now,
            spans=(),
            tally=self.tally + Tally(gone=gone),
        )

    def _check(self, *states: State) -> None:
        if self.state not in states:
            raise InvalidTransition(f"a batch that is {self.state} is not {' or '.join(states)}")

    def _with(self, **changes: object) -> Self:
        return self.model_copy(update=changes)


class Run(Kept):
    """One backfill of one source, over however many starts of the program."""

    schema_: str = Field(SCHEMA, alias="schema")
    stage: str
    source: str
    run: str  # its id, in each of its batches
    events: Count | None  # what there was to do when it began; None if that was not known
    started_at: Timestamp
    ended_at: Timestamp | None = None  # when it had done all of it

    @property
    def key(self) -> bytes:
        """Of its records in the topic: the latest backfill of a source."""
        return f"{self.stage}/{self.source}".encode()


def prefix_of(nonce: str, partition: int) -> str:
    """What the custom ids of a batch begin with, and those of no other."""
    return f"{nonce}-{partition}-"


def custom_id(prefix: str, offset: int, digest: str) -> str:
    """The id of a request: which batch, which event, which question; 64 characters at most."""
    return f"{prefix}{offset}-{digest[:16]}"


def unfinished(jobs: Iterable[Job]) -> list[Job]:
    """Those that are not published."""
    return [job for job in jobs if job.state is not State.PUBLISHED]


class JournalUnreadable(PipelineError):
    """A batch of this very backfill cannot be read: going on could submit its events twice."""


@dataclass(slots=True)
class Journal:
    """The batches of one stage, and those of the others as far as their handles go.

    Its session's transactional id belongs to the stage: opening it fences every other backfill of
    the stage and settles what it left open, and only then is the topic read.
    """

    topic: str  # what the compacted topic is called
    stage: str  # whose backfills
    new_session: Callable[[], PartitionWriter]  # of the id of the stage
    read_topics: TopicReader
    _session: PartitionWriter | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: dict[bytes, Kept] = field(default_factory=dict)

    async def open(self) -> None:
        """Fence earlier backfills of the stage, so that what is read then is final."""
        self._session = self.new_session()
        await self._session.start()

    async def read(self) -> None:
        """Read every record; `JournalUnreadable` if one of a batch of this stage is damaged.

        One that does not belong to this topic is left out, with a warning.
        """
        self._kept.clear()
        unusable = 0
        async with self.read_topics([self.topic], end="written") as records:
            async for record in records:
                unusable += not self._keep(record)
        if unusable:
            _log.warning(
                "%d records of %s were not written by a backfill and are left out: find out who "
                "may write to that topic",
                unusable,
                self.topic,
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def jobs(self, source: str) -> list[Job]:
        """The batches of a source, in the order of their partitions and offsets."""
        found = [job for job in self._jobs() if (job.stage, job.source) == (self.stage, source)]
        return sorted(found, key=lambda job: (job.partition, job.first))

    def unfinished_elsewhere(self, source: str) -> list[str]:
        """Other sources of the stage whose batches are not all published."""
        jobs = unfinished(job for job in self._jobs() if job.stage == self.stage)
        return sorted({job.source for job in jobs} - {source})

    def run(self, source: str) -> Run | None:
        """The latest backfill of a source."""
        found = self._kept.get(f"{self.stage}/{source}".encode())
        return found if isinstance(found, Run) else None

    def handles(self, but: Job) -> frozenset[str]:
        """The handles of all batches of all stages, without that of one."""
        jobs = (job for job in self._jobs() if job.key != but.key)
        return frozenset(job.batch_id for job in jobs if job.batch_id is not None)

    def _jobs(self) -> Iterable[Job]:
        return (kept for kept in self._kept.values() if isinstance(kept, Job))

    def record_of(self, kept: Job | Run) -> Outgoing:
        value = kept.model_dump_json(by_alias=True).encode()
        return Outgoing(self.topic, kept.key, value, _HEADERS)

    def note(self, kept: Job | Run) -> None:
        """Its record was committed by another session."""
        self._kept[kept.key] = kept

    async def save(self, kept: Job | Run, also: Sequence[Outgoing] = ()) -> None:
        """Commit a record, and what it is about, in one transaction.

        Raises:
            ProducerFenced: Another backfill of the stage has begun.
            Unpublishable: Some of `also` are larger than the brokers take; nothing was committed.
            BrokerError: Whether it was committed is not known, or it was not.
        """
        async with self._lock:
            if self._session is None:
                raise RuntimeError("a journal is opened before it is written to")
            await commit_with_retry(
                self._session,
                [*also, self.record_of(kept)],
                None,
                if_fenced=f"Another backfill of {self.stage} has begun, so this one ends; the "
                "other goes on where this one was.",
            )
            self.note(kept)

    async def reopen(self) -> None:
        """Make another session after one that is of no more use."""
        async with self._lock:
            await self.close()
            await self.open()

    def _keep(self, record: Received) -> bool:
        """Keep what a record says; whether it is one of a backfill."""
        key = record.key or b""
        if record.value is None:
            self._kept.pop(key, None)
            return True
        kinds: tuple[type[Job] | type[Run], ...] = (Job, Run)
        for kind in kinds:
            try:
                kept = read_record(kind, record.value)
            except Unusable:
                continue
            # Under another key it would stand for a batch that it is not.
            if kept.schema_ == SCHEMA and kept.key == key:
                self._kept[key] = kept
                return True
        # A source may hold slashes of its own: `file:...`, or a topic with a prefix.
        of_stage = re.escape(self.stage.encode())
        if re.fullmatch(rb"%b/.*/\d+/\d+/[^/]*" % of_stage, key, re.DOTALL):
            raise JournalUnreadable(
                f"The record at {record.topic}/{record.partition} offset {record.offset} has the "
                f"key of a batch of {self.stage} and is not {SCHEMA}: use the version of the "
                "pipeline that wrote it, or put a tombstone under its key if none did."
            )
        return False
