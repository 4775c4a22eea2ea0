"""The compacted topic: one record for each batch, written with what it is about."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from pipeline.backfill.job import SCHEMA, Job, Kept, Run, State, is_key_of_job, run_key
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.writer import commit_with_retry
from pipeline.model.errors import PipelineError
from pipeline.model.records import Unusable, read_record
from pipeline.stream.protocols import PartitionWriter
from pipeline.stream.records import Headers, Outgoing, Received

_log = logging.getLogger(__name__)
_HEADERS: Headers = (("content-type", b"application/json"),)


class JournalUnreadable(PipelineError):
    """A batch of this very backfill cannot be read: going on could submit its events twice."""


class Journal:
    """The batches of one stage, and those of the others as far as their handles go.

    Its session's transactional id belongs to the stage: opening it fences every other backfill of
    the stage and settles what it left open, and only then is the topic read.

    Args:
        topic: What the compacted topic is called.
        stage: Whose backfills.
        new_session: Makes a session of the id of the stage.
        read: Reads the topic.
    """

    def __init__(
        self,
        topic: str,
        stage: str,
        *,
        new_session: Callable[[], PartitionWriter],
        read: TopicReader,
    ) -> None:
        self._topic = topic
        self._stage = stage
        self._new_session = new_session
        self._read_topics = read
        self._session: PartitionWriter | None = None
        self._lock = asyncio.Lock()
        self._kept: dict[bytes, Kept] = {}
        self._unusable = 0

    async def open(self) -> None:
        """Fence whoever did this before, so that what is read then is final.

        Raises:
            BrokerError: The brokers do not answer, or refuse.
        """
        await self._open_session()

    async def read(self) -> None:
        """Read every record; one that is none of this topic's is left out, with a warning.

        Raises:
            JournalUnreadable: One is of a batch of this stage, and cannot be read.
            PipelineError: The brokers do not answer.
        """
        self._kept.clear()
        self._unusable = 0
        async with self._read_topics([self._topic], end="written") as records:
            async for record in records:
                self._keep(record)
        if self._unusable:
            _log.warning(
                "%d records of %s are none that a backfill writes and were left out: find out who "
                "may write to that topic",
                self._unusable,
                self._topic,
            )

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def jobs(self, source: str) -> list[Job]:
        """The batches of a source, in the order of their partitions and offsets."""
        found = [
            kept
            for kept in self._kept.values()
            if isinstance(kept, Job) and (kept.stage, kept.source) == (self._stage, source)
        ]
        return sorted(found, key=lambda job: (job.partition, job.first))

    def unfinished_elsewhere(self, source: str) -> list[str]:
        """Other sources of the stage whose batches are not all published."""
        return sorted({
            kept.source
            for kept in self._kept.values()
            if isinstance(kept, Job)
            and kept.stage == self._stage
            and kept.source != source
            and kept.state is not State.PUBLISHED
        })  # fmt: skip

    def run(self, source: str) -> Run | None:
        """The latest backfill of a source."""
        found = self._kept.get(run_key(self._stage, source))
        return found if isinstance(found, Run) else None

    def handles(self, but: Job) -> frozenset[str]:
        """The handles of all batches of all stages, without that of one."""
        return frozenset(
            kept.batch_id
            for key, kept in self._kept.items()
            if isinstance(kept, Job) and kept.batch_id is not None and key != but.key
        )

    def record_of(self, kept: Job | Run) -> Outgoing:
        """What is written for a batch or a backfill."""
        value = kept.model_dump_json(by_alias=True).encode()
        return Outgoing(self._topic, kept.key, value, _HEADERS)

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
            await self._commit([*also, self.record_of(kept)])
            self.note(kept)

    async def reopen(self) -> None:
        """Make another session after one that is of no more use."""
        async with self._lock:
            await self.close()
            await self._open_session()

    async def _open_session(self) -> None:
        session = self._new_session()
        try:
            await session.start()
        except BaseException:
            await session.close()
            raise
        self._session = session

    async def _commit(self, records: Sequence[Outgoing]) -> None:
        if self._session is None:
            raise RuntimeError("a journal is opened before it is written to")
        await commit_with_retry(
            self._session,
            records,
            None,
            if_fenced=f"Another backfill of {self._stage} has begun, so this one ends; the other "
            "goes on where this one was.",
        )

    def _keep(self, record: Received) -> None:
        key = record.key or b""
        if record.value is None:
            self._kept.pop(key, None)
            return
        kinds: tuple[type[Job] | type[Run], ...] = (Job, Run)
        for kind in kinds:
            try:
                kept = read_record(kind, record.value)
            except Unusable:
                continue
            # Under another key it would stand for a batch that it is not.
            if kept.schema_ == SCHEMA and kept.key == key:
                self._kept[key] = kept
                return
        if is_key_of_job(key, self._stage):
            raise JournalUnreadable(
                f"The record at {record.topic}/{record.partition} offset {record.offset} has the "
                f"key of a batch of {self._stage} and is none of {SCHEMA}: use the version of the "
                "pipeline that wrote it, or put a tombstone under its key if nobody did."
            )
        self._unusable += 1


def unfinished(jobs: Iterable[Job]) -> list[Job]:
    """Those that are not published."""
    return [job for job in jobs if job.state is not State.PUBLISHED]
