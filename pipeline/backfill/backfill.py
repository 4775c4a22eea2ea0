"""Brings a backlog through message batches, from wherever the last attempt left it."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pipeline.backfill.asking import Asking, Result, Results, is_of
from pipeline.backfill.job import Job, Run, State
from pipeline.backfill.journal import Journal, unfinished
from pipeline.backfill.lookup import SKEW, Absent, Found, Undecided, candidates, verdict
from pipeline.backfill.progress import Report, Watcher, report_of
from pipeline.backfill.publishing import Publisher
from pipeline.backfill.shelves import Shelf
from pipeline.backfill.slices import Limits, Slice, slices
from pipeline.claude.batches import Batch, BatchFailed, BatchRequest, HandInUnclear
from pipeline.errors import PipelineError
from pipeline.settings import BackfillSettings

GATE_SECONDS = 5.0
"""Between looks at a gate that is closed."""
HAND_IN_GRACE = 30.0
"""Seconds that a hand-in under way gets when everything else ends: one that is cut off has to be
looked for the next time."""
_LOOK_SECONDS = 5.0
"""Between looks for a batch that may have been handed in, at most."""


class Stopped(PipelineError):
    """Somebody stopped it; it can be started again."""


class BatchGone(PipelineError):
    """A batch that was handed in cannot be read."""


class Api(Protocol):
    """The batch endpoints; `pipeline.claude.batches.Batches` is the real one."""

    async def hand_in(
        self,
        requests: Iterable[BatchRequest],
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Batch:
        """Hand a batch in; `before` is awaited right before each sending."""
        ...

    async def get(self, batch_id: str) -> Batch:
        """How far a batch is."""
        ...

    def since(self, moment: datetime) -> AsyncIterator[Batch]:
        """The batches that were handed in since."""
        ...

    def results(self, batch_id: str) -> AsyncGenerator[Result, None]:
        """The results of a batch that has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a backfill needs.

    Args:
        journal: Opened and read.
        api: The batch endpoints.
        asking: Makes requests, and outcomes of results.
        settings: Sizes and pauses.
        closed_because: Why nothing should be handed in now; None where it may.
        now: The time, aware.
        clock: Seconds that do not go back.
        new_nonce: Makes a short word of hexadecimal digits that never comes twice.
        watcher: Told of what happens.
    """

    journal: Journal
    api: Api
    asking: Asking
    settings: BackfillSettings
    closed_because: Callable[[], str | None]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    new_nonce: Callable[[], str]
    watcher: Watcher


@dataclass(slots=True)
class Backfill:
    """One attempt at a backfill.

    At most one batch is put together, and one is published, at a time, so that memory is bounded
    whatever the number of partitions.

    Args:
        stage: Whose events.
        source: The topic, or `file:` and the digest of a file.
        tools: What it needs.
        stop: Set to end after the step that is under way.
        normal_lane: Whether what is in no batch, or in one that cannot be read, goes through the
            normal lane.
    """

    stage: str
    source: str
    tools: Tools
    stop: asyncio.Event
    normal_lane: bool = False
    _run: Run = field(init=False)
    _opened: float = field(init=False)
    _resumed: int = 0
    _found_again: int = 0
    _unclear: dict[bytes, float] = field(default_factory=dict)
    _assembling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._opened = self.tools.clock()
        self._room = asyncio.Semaphore(self.tools.settings.batches_at_once)

    async def run(self, shelves: Sequence[Shelf], *, claims: bool) -> Report:
        """See every batch through, and claim what is in none.

        Args:
            shelves: The partitions of the backlog; fenced before the journal was read, if more
                may be claimed.
            claims: Whether it may.

        Raises:
            Stopped: `stop` was set.
            TakenOver: Somebody else does the same now.
            BatchGone: A batch cannot be read any more.
            BrokerError: The brokers do not answer; to be attempted anew.
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
        if claims:
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
            found_again=self._found_again,
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
        """One shelf: its batches are handed in, and published, in the order of its events."""
        queue: asyncio.Queue[asyncio.Task[Job] | None] = asyncio.Queue()
        publisher = Publisher(self.tools.journal, self.tools.asking, self.tools.now)

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
        limits = Limits(settings.batch_events, settings.batch_bytes)
        await self._may_claim()
        await self._assembling.acquire()
        try:
            parts = slices(shelf, self.tools.asking.requests, limits, self.tools.new_nonce)
            async with aclosing(parts):
                async for part in parts:
                    job = self._job_of(shelf, part)
                    await shelf.claim(part.offsets, job)
                    self._tell()
                    job = await _whole(self._hand_in(job, part.requests))
                    part.requests.clear()
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
        while (because := self.tools.closed_because()) is not None:
            if because != said:
                self.tools.watcher.happened(f"Nothing is handed in for now: {because}")
                said = because
            await self._pause(GATE_SECONDS)

    async def _free_room(self) -> None:
        self._check()
        stopped = asyncio.ensure_future(self.stop.wait())
        free = asyncio.ensure_future(self._room.acquire())
        try:
            await asyncio.wait({stopped, free}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not free.done():
                free.cancel()
        self._check()

    async def _see_through(self, shelf: Shelf, job: Job) -> Job:
        """Bring a batch to where its results can be published."""
        while True:
            if self.normal_lane and job.state is State.CLAIMED:
                return job.abandoned()
            match job.state:
                case State.CLAIMED:
                    async with self._assembling:
                        requests = await self._rebuilt(shelf, job)
                        job = await _whole(self._hand_in(job, requests))
                case State.SENDING:
                    job = await self._look_for(job)
                case State.SUBMITTED:
                    job = await self._wait_for(job)
                case _:
                    return job

    async def _rebuilt(self, shelf: Shelf, job: Job) -> list[BatchRequest]:
        """The requests of a batch that was claimed by an earlier attempt."""
        requests: list[BatchRequest] = []
        async with aclosing(shelf.read(job.first, job.next)) as found:
            async for records in found:
                for received in records:
                    if job.holds(received.offset):
                        requests += await self.tools.asking.requests(received, job.prefix)
        return requests

    async def _hand_in(self, job: Job, requests: Sequence[BatchRequest]) -> Job:
        """Hand a batch in.

        Returns:
            It, with its handle; or still as one that may have been handed in.

        Raises:
            BatchFailed: The API takes no such batch.
        """
        tools = self.tools
        if not requests:
            return job.without_batch()

        async def permit() -> None:
            """Prove, right before it is sent, that nobody else has this backfill by now."""
            nonlocal job
            while True:
                self._check()
                began = tools.clock()
                job = job.sending(tools.now(), len(requests))
                await tools.journal.save(job)
                # Whoever takes over waits for twice as long before it hands the batch in itself.
                if tools.clock() - began <= tools.settings.settle / 2:
                    return

        try:
            batch = await tools.api.hand_in(requests, before=permit)
        except HandInUnclear as error:
            self._unclear[job.key] = tools.clock()
            tools.watcher.happened(f"{error} It is looked for.")
            return job
        except BatchFailed:
            if job.state is State.SENDING:
                await tools.journal.save(job.not_sent())
            raise
        job = job.submitted(batch.id, tools.now())
        await tools.journal.save(job)
        tools.watcher.happened(f"Handed in {batch.id}: {job.events:,} events.")
        self._tell()
        return job

    async def _look_for(self, job: Job) -> Job:
        """Find a batch that may have been handed in, or find that it was not."""
        tools = self.tools
        settled_at = max(self._opened, self._unclear.get(job.key, 0.0)) + tools.settings.settle
        since = (job.sending_since or job.claimed_at) - SKEW
        ours: dict[str, bool] = {}
        said: Undecided | None = None
        while True:
            self._check()
            is_settled = tools.clock() >= settled_at
            listed = [batch async for batch in tools.api.since(since)]
            found = candidates(listed, job, tools.journal.handles(but=job))
            for batch in found:
                if batch.has_ended and batch.id not in ours:
                    ours[batch.id] = await self._is_ours(batch, job)
            match verdict(found, ours, settled=is_settled):
                case Found(batch_id):
                    self._found_again += 1
                    job = job.submitted(batch_id, tools.now())
                    await tools.journal.save(job)
                    tools.watcher.happened(f"Found {batch_id}: it had been handed in.")
                    return job
                case Absent():
                    # With no doubt left, it is as if nothing had been sent.
                    return job.not_sent()
                case Undecided() as undecided:
                    if undecided != said and undecided.waits_for:
                        tools.watcher.happened(
                            f"{', '.join(undecided.waits_for)} may be a batch of ours whose "
                            "handle was lost; its results will tell."
                        )
                    said = undecided
            await self._pause(min(_LOOK_SECONDS, tools.settings.poll_interval))

    async def _is_ours(self, batch: Batch, job: Job) -> bool:
        """Whether the first result of a batch carries our custom ids."""
        try:
            async with aclosing(self.tools.api.results(batch.id)) as results:
                async for result in results:
                    return is_of(result, job)
        except BatchFailed:
            # Its results are gone, for whomever they were.
            return False
        return False

    async def _wait_for(self, job: Job) -> Job:
        """Wait until a batch has ended."""
        assert job.batch_id is not None  # noqa: S101 - it is submitted
        while True:
            self._check()
            try:
                batch = await self.tools.api.get(job.batch_id)
            except BatchFailed as error:
                if self.normal_lane:
                    return job.abandoned()
                raise self._gone(job, error) from error
            if batch.has_ended:
                counts = batch.request_counts
                self.tools.watcher.happened(
                    f"{batch.id} has ended: {counts.succeeded:,} answered, "
                    f"{counts.errored + counts.canceled + counts.expired:,} not."
                )
                return job.ended()
            await self._pause(self.tools.settings.poll_interval)

    async def _publish(self, publisher: Publisher, shelf: Shelf, job: Job) -> None:
        results = await self._results(job)
        async with aclosing(publisher.publish(shelf, job, results)) as steps:
            async for _ in steps:
                self._tell()
                self._check()

    async def _results(self, job: Job) -> Results:
        if job.batch_id is None or job.given_up:
            return {}
        try:
            async with aclosing(self.tools.api.results(job.batch_id)) as found:
                return {result.custom_id: result async for result in found}
        except BatchFailed as error:
            if self.normal_lane:
                return {}
            raise self._gone(job, error) from error

    def _gone(self, job: Job, error: BatchFailed) -> BatchGone:
        return BatchGone(
            f"{job.batch_id}, with {job.events:,} events, cannot be read ({error}). Results are "
            "kept for 29 days, and only the workspace that handed it in sees it: use its API key, "
            "or start again with --normal-lane to have these events asked once more at full price."
        )

    def _tell(self) -> None:
        self.tools.watcher.changed(self.report())

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped("Stopped; start it again and it goes on where it was.")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return


async def _whole(hand_in: Coroutine[Any, Any, Job]) -> Job:
    """Do not leave a hand-in half done because something else has ended."""
    task = asyncio.ensure_future(hand_in)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=HAND_IN_GRACE)
        task.cancel()
        await asyncio.wait({task})
        raise
