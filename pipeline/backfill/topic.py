"""The backlog of a topic: what a stage's consumer group has not done.

Publishes what came of a batch: outcomes, and how far they are, in one transaction each time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from pipeline.backfill.asking import Results, Settled
from pipeline.backfill.chunks import Shelf
from pipeline.backfill.context import Tools
from pipeline.backfill.job import Job, Tally
from pipeline.backfill.journal import Journal
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.writer import commit_with_retry
from pipeline.model.errors import PipelineError
from pipeline.stream import ledger
from pipeline.stream.ledger import CommitPoint, OffsetLedger
from pipeline.stream.protocols import (
    Committed,
    OffsetReader,
    PartitionWriter,
    TopicPartition,
    Unpublishable,
)
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
        read: Reads the log.
    """

    def __init__(
        self,
        partition: TopicPartition,
        journal: Journal,
        *,
        new_session: Callable[[TopicPartition], PartitionWriter],
        offsets: OffsetReader,
        read: TopicReader,
    ) -> None:
        self._partition = partition
        self._journal = journal
        self._new_session = new_session
        self._offsets = offsets
        self._read_topics = read
        self._session: PartitionWriter | None = None
        self._ledger = OffsetLedger(CommitPoint(0, 0), limit=1)
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
            start = CommitPoint(bounds.begin, bounds.begin)
        else:
            start = ledger.decode(committed.offset, committed.metadata)
        if start.base > bounds.end:
            raise LogCutShort(
                f"{self._partition} ends at {bounds.end}, before the committed offset "
                f"{start.base}: it was created again, or lost its end. Start `pipeline run` "
                "once, which starts from its beginning, or reset the group."
            )
        # Everything that is taken is finished at once, with the claim.
        self._ledger = OffsetLedger(start, limit=ledger_limit(start))
        self._ledger.advance(bounds.begin)
        self._end = bounds.end

    @property
    def waiting(self) -> int:
        """Offsets that are not done; some may be no events."""
        return self._ledger.commit_point().lag(self._end)

    def unclaimed(self) -> AsyncGenerator[Received, None]:
        """From the committed offset to where the log ended."""
        return self.read(self._ledger.position, self._end)

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
        committed = Committed(point.base, ledger.encode(point))
        await self._commit(job, committed)
        self._journal.note(job)

    async def read(self, begin: int, end: int) -> AsyncGenerator[Received, None]:
        """From the log."""
        partition = self._partition
        stretch = self._read_topics(
            [partition.topic], start={partition: begin}, end={partition: end}
        )
        async with stretch as records:
            async for record in records:
                yield record

    async def close(self) -> None:
        """From here on the stage's consumer may start."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _commit(self, job: Job, committed: Committed) -> None:
        if self._session is None:
            raise RuntimeError("a shelf is opened before it is claimed from")
        await commit_with_retry(
            self._session,
            [self._journal.record_of(job)],
            committed,
            if_fenced=f"Somebody else consumes {self._partition} now, `pipeline run {job.stage}` "
            "or another backfill: stop it and start this again, which goes on from here.",
        )


def ledger_limit(start: CommitPoint) -> int:
    """Room for what was inherited and for what is taken and finished at once."""
    return len(start.unfinished) + 1


MAX_EVENTS = 500
"""In one transaction."""
MAX_BYTES = 8 << 20
"""Of the events in one transaction; a larger one goes alone."""


class TooManyDeadLetters(PipelineError):
    """More end as dead letters than the events alone can be at fault for."""


class Publisher:
    """Publishes batches, the events of each in their order.

    Args:
        tools: What it needs.
    """

    def __init__(self, tools: Tools) -> None:
        self._journal = tools.journal
        self._asking = tools.asking
        self._now = tools.now
        self._dead_letters = tools.dead_letters

    async def publish(self, shelf: Shelf, job: Job, results: Results) -> AsyncGenerator[Job, None]:
        """Publish what is left of a batch; yields it after every transaction.

        Raises:
            ProducerFenced: Another backfill of the stage has begun.
            TooManyDeadLetters: Something else than the events seems to be wrong.
            BrokerError: What was committed last is not known; to be attempted again.
        """
        async with aclosing(_portions(shelf, job)) as portions:
            async for portion in portions:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self._asking.settle(received, job, results))
                        for received in portion
                    ]
                settled = [task.result() for task in tasks]
                job = await self._commit(job, portion[-1].offset + 1, settled)
                self._watch_dead_letters(settled)
                yield job
        job = job.published(self._now())
        await self._journal.save(job)
        yield job

    async def _commit(self, job: Job, to: int, settled: Sequence[Settled]) -> Job:
        settled = list(settled)
        while True:
            next_ = job.progressed(to, sum((each.tally() for each in settled), Tally()))
            records = [record for each in settled for record in each.outcome.records]
            try:
                await self._journal.save(next_, records)
            except Unpublishable as error:
                settled = self._without(settled, error)
                if error.is_session_lost:
                    await self._journal.reopen()
            else:
                return next_

    def _watch_dead_letters(self, settled: Sequence[Settled]) -> None:
        for each in settled:
            self._dead_letters.add(each.outcome)
        alarm = self._dead_letters.alarm
        if alarm is not None:
            raise TooManyDeadLetters(
                f"Ended, since {alarm.because}; look at them (`pipeline dead-letters list`), fix "
                "the cause, then start this again."
            )

    def _without(self, settled: Sequence[Settled], error: Unpublishable) -> list[Settled]:
        """The same, with dead letters for what the brokers will not take.

        Raises:
            Unpublishable: Not even those.
        """
        owners = [index for index, each in enumerate(settled) for _ in each.outcome.records]
        refused = {owners[index] for index in error.indices if index < len(owners)}
        replaced = [
            self._asking.smaller(each, error.detail) if index in refused else each
            for index, each in enumerate(settled)
        ]
        if replaced == list(settled):
            raise error
        return replaced


async def _portions(shelf: Shelf, job: Job) -> AsyncGenerator[Sequence[Received], None]:
    """The events of a batch that are not published, as many at a time as a transaction takes."""
    portion: list[Received] = []
    size = 0
    async with aclosing(shelf.read(max(job.first, job.published_to), job.next)) as found:
        async for received in found:
            if not job.holds(received.offset):
                continue
            if portion and (len(portion) >= MAX_EVENTS or size + received.size > MAX_BYTES):
                yield portion
                portion, size = [], 0
            portion.append(received)
            size += received.size
    if portion:
        yield portion
