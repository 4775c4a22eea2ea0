"""Brings a backlog through message batches, from wherever the last attempt left it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from pipeline.backfill.chunks import Limits, Shelf, Slice, slices
from pipeline.backfill.context import Tools
from pipeline.backfill.job import Job, Run, State
from pipeline.backfill.journal import unfinished
from pipeline.backfill.reporting import Report, report_of
from pipeline.backfill.submission import Submission
from pipeline.backfill.topic import Publisher
from pipeline.claude.message_batches import BatchRequest

BATCH_BYTES = 100_000_000
"""Of a batch as it is sent, held in memory twice; the API takes 256 MB."""
GATE_SECONDS = 5.0
"""Between looks at a gate that is closed."""


@dataclass(slots=True)
class Backfill:
    """One attempt at a backfill.

    At most one batch is put together, and one is published, at a time, so that memory is bounded
    whatever the number of partitions.

    Args:
        stage: Whose events.
        source: The topic, or `file:` and the digest of a file.
        tools: What it needs.
        normal_lane: Whether what is in no batch, or in one that cannot be read, goes through the
            normal lane.
    """

    stage: str
    source: str
    tools: Tools
    normal_lane: bool = False
    _run: Run = field(init=False)
    _submission: Submission = field(init=False)
    _resumed: int = 0
    _assembling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._submission = Submission(self.tools, normal_lane=self.normal_lane)
        self._room = asyncio.Semaphore(self.tools.settings.batches_at_once)

    async def run(self, shelves: Sequence[Shelf], *, claims: bool) -> Report:
        """See every batch through, and claim what is in none.

        Args:
            shelves: The partitions of the backlog; fenced before the journal was read, if more
                may be claimed.
            claims: Whether it may.

        Raises:
            Stopped: Somebody wished so.
            ProducerFenced: Somebody else does the same now.
            BatchGone: A batch cannot be read any more.
            BrokerError: The brokers do not answer; to be attempted again.
        """
        journal = self.tools.journal
        jobs = journal.jobs(self.source)
        by_shelf = {
            shelf.number: [job for job in jobs if job.partition == shelf.number]
            for shelf in shelves
        }
        if claims:
            for shelf in shelves:
                await shelf.open(by_shelf[shelf.number])
        self._resumed = len(unfinished(jobs))
        await self._begin(sum(shelf.waiting for shelf in shelves) if claims else 0)
        self._tell()
        async with asyncio.TaskGroup() as group:
            for shelf in shelves:
                pending = unfinished(by_shelf[shelf.number])
                group.create_task(self._see_to(shelf, pending, claims=claims))
        if claims and self._run.ended_at is None:
            self._run = self._run.model_copy(update={"ended_at": self.tools.now()})
            await journal.save(self._run)
        self._tell()
        return self.report()

    def report(self) -> Report:
        """How far it is."""
        return report_of(
            self._run,
            self.tools.journal.jobs(self.source),
            resumed=self._resumed,
            found_again=self._submission.found_again,
        )

    async def _begin(self, waiting: int) -> None:
        """Go on with the backfill that was under way, or begin one."""
        known = self.tools.journal.run(self.source)
        if known is not None and (known.ended_at is None or not waiting):
            self._run = known
            return
        self._run = Run(
            stage=self.stage,
            source=self.source,
            run=self.tools.new_nonce(),
            events=waiting,
            started_at=self.tools.now(),
        )
        await self.tools.journal.save(self._run)

    async def _see_to(self, shelf: Shelf, pending: Sequence[Job], *, claims: bool) -> None:
        """One shelf: its batches are submitted, and published, in the order of its events."""
        queue: asyncio.Queue[asyncio.Task[Job] | None] = asyncio.Queue()
        publisher = Publisher(self.tools)

        async def publish_in_order() -> None:
            while (task := await queue.get()) is not None:
                job = await task
                async with self._publishing:
                    await self._publish(publisher, shelf, job)
                self._room.release()

        async with asyncio.TaskGroup() as group:
            group.create_task(publish_in_order())
            for job in pending:
                await self._free_room()
                queue.put_nowait(group.create_task(self._see_through(shelf, job)))
            if claims:
                async with aclosing(self._claims(shelf)) as claimed:
                    async for job in claimed:
                        queue.put_nowait(group.create_task(self._see_through(shelf, job)))
                # Nothing of this partition is claimed any more: its consumer may start.
                await shelf.close()
            queue.put_nowait(None)

    async def _claims(self, shelf: Shelf) -> AsyncGenerator[Job, None]:
        """Claim what waits, batch by batch, and hand it in."""
        settings = self.tools.settings
        limits = Limits(settings.batch_events, BATCH_BYTES)
        await self._may_claim()
        await self._assembling.acquire()
        try:
            parts = slices(shelf, self.tools.asking.requests, limits, self.tools.new_nonce)
            async with aclosing(parts):
                async for part in parts:
                    job = self._job_of(shelf, part)
                    await shelf.claim(part.offsets, job)
                    self._tell()
                    job = await self._submission.submit(job, part.requests)
                    part.requests.clear()
                    self._tell()
                    self._assembling.release()
                    try:
                        yield job
                        await self._may_claim()
                    finally:
                        await self._assembling.acquire()
        finally:
            self._assembling.release()
        # Room was made for a batch that did not come.
        self._room.release()

    def _job_of(self, shelf: Shelf, part: Slice) -> Job:
        return Job(
            stage=self.stage,
            source=self.source,
            partition=shelf.number,
            first=part.offsets[0],
            next=part.offsets[-1] + 1,
            spans=tuple(part.spans),
            events=len(part.offsets),
            nonce=part.nonce,
            run=self._run.run,
            claimed_at=self.tools.now(),
        )

    async def _may_claim(self) -> None:
        """Wait until there is room for another batch, and nothing speaks against handing it in."""
        await self._free_room()
        said: str | None = None
        while (because := self.tools.paused_reason()) is not None:
            if because != said:
                self.tools.watcher.happened(f"Nothing is submitted for now: {because}")
                said = because
            await self.tools.stop.pause(GATE_SECONDS)

    async def _free_room(self) -> None:
        self.tools.stop.check()
        stopped = asyncio.ensure_future(self.tools.stop.event.wait())
        free = asyncio.ensure_future(self._room.acquire())
        try:
            await asyncio.wait({stopped, free}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not free.done():
                free.cancel()
        self.tools.stop.check()

    async def _see_through(self, shelf: Shelf, job: Job) -> Job:
        """Bring a batch to where its results can be published."""
        while True:
            if self.normal_lane and job.state is State.CLAIMED:
                return job.abandoned()
            match job.state:
                case State.CLAIMED:
                    async with self._assembling:
                        requests = await self._rebuilt(shelf, job)
                        job = await self._submission.submit(job, requests)
                case State.SENDING:
                    job = await self._submission.look_for(job)
                case State.SUBMITTED:
                    job = await self._submission.wait_for(job)
                case _:
                    return job

    async def _rebuilt(self, shelf: Shelf, job: Job) -> list[BatchRequest]:
        """The requests of a batch that was claimed by an earlier attempt."""
        requests: list[BatchRequest] = []
        async with aclosing(shelf.read(job.first, job.next)) as found:
            async for received in found:
                if job.holds(received.offset):
                    requests += await self.tools.asking.requests(received, job.prefix)
        return requests

    async def _publish(self, publisher: Publisher, shelf: Shelf, job: Job) -> None:
        results = await self._submission.results(job)
        async with aclosing(publisher.publish(shelf, job, results)) as steps:
            async for _ in steps:
                self._tell()
                self.tools.stop.check()

    def _tell(self) -> None:
        self.tools.watcher.changed(self.report())
