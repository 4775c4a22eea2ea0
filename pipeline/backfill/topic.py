"""The backlog of a topic: what a stage's consumer group has not done."""

from collections.abc import AsyncGenerator, Callable, Sequence

from pipeline.backfill.committing import commit
from pipeline.backfill.job import Job
from pipeline.backfill.journal import Journal
from pipeline.errors import PipelineError
from pipeline.stream import ledger_codec
from pipeline.stream.brokers import (
    Committed,
    OffsetReader,
    Session,
    TopicPartition,
)
from pipeline.stream.ledger import CommitPoint, OffsetLedger
from pipeline.stream.ranges import RangeReader
from pipeline.stream.records import Received


class LogCutShort(PipelineError):
    """The log of a partition ends before what is committed of it."""


class TopicShelf:
    """One partition of a stage's raw topic.

    It claims under the transactional id of the stage's own consumer, and commits to the stage's
    own group: whichever of the two starts later fences the other, and what one has taken the
    other never sees.

    Args:
        partition: Which one.
        journal: Where batches are noted.
        new_session: Makes a session of the partition's own transactional id.
        offsets: Reads what the group committed.
        ranges: Reads the log.
    """

    def __init__(
        self,
        partition: TopicPartition,
        journal: Journal,
        *,
        new_session: Callable[[TopicPartition], Session],
        offsets: OffsetReader,
        ranges: RangeReader,
    ) -> None:
        self._partition = partition
        self._journal = journal
        self._new_session = new_session
        self._offsets = offsets
        self._ranges = ranges
        self._session: Session | None = None
        self._ledger = OffsetLedger(CommitPoint(0, 0), limit=1)
        self._start = CommitPoint(0, 0)
        self._end = 0

    @property
    def number(self) -> int:
        """Of the partition."""
        return self._partition.partition

    async def fence(self) -> None:
        """Fence the stage's consumer, and other backfills."""
        self._session = self._new_session(self._partition)
        await self._session.start()

    async def open(self, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - the offsets tell
        """See what the stage's consumer had done."""
        committed = await self._offsets.committed(self._partition)
        bounds = await self._offsets.bounds(self._partition)
        if committed is None:
            self._start = CommitPoint(bounds.begin, bounds.begin)
        else:
            self._start = ledger_codec.decode(committed.offset, committed.metadata)
        if self._start.base > bounds.end:
            raise LogCutShort(
                f"{self._partition} ends at {bounds.end}, before the committed offset "
                f"{self._start.base}: it was made anew, or lost its end. Start `pipeline run` "
                "once, which begins it anew, or reset the group."
            )
        # Everything that is taken is finished at once, with the claim.
        self._ledger = OffsetLedger(self._start, limit=ledger_limit(self._start))
        self._ledger.advance(bounds.begin)
        self._end = bounds.end

    @property
    def waiting(self) -> int:
        """Offsets that are not done; some may be no events."""
        done_above = self._start.high - self._start.base - len(self._start.unfinished)
        return max(0, self._end - self._ledger.position - done_above)

    async def unclaimed(self) -> AsyncGenerator[Sequence[Received], None]:
        """From the committed offset to where the log ended."""
        async for records in self._ranges.read(self._partition, self._ledger.position, self._end):
            yield records

    def is_done(self, offset: int) -> bool:
        """By the committed ledger."""
        return self._ledger.is_done(offset)

    async def claim(self, offsets: Sequence[int], job: Job) -> None:
        """One transaction: the offsets, and the record of the batch."""
        for offset in offsets:
            self._ledger.take(offset)
            self._ledger.finish(offset)
        self._ledger.advance(job.next)
        point = self._ledger.commit_point()
        committed = Committed(point.base, ledger_codec.encode(point))
        await self._commit(job, committed)
        self._journal.note(job)

    async def read(self, begin: int, end: int) -> AsyncGenerator[Sequence[Received], None]:
        """From the log."""
        async for records in self._ranges.read(self._partition, begin, end):
            yield records

    async def close(self) -> None:
        """From here on the stage's consumer may start."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _commit(self, job: Job, committed: Committed) -> None:
        if self._session is None:
            raise RuntimeError("a shelf is opened before it is claimed from")
        await commit(
            self._session,
            [self._journal.record_of(job)],
            committed,
            taken_over=f"Somebody else consumes {self._partition} now, `pipeline run {job.stage}` "
            "or another backfill: stop it and start this again, which goes on from here.",
        )


def ledger_limit(start: CommitPoint) -> int:
    """Room for what was inherited and for what is taken and finished at once."""
    return len(start.unfinished) + 1
