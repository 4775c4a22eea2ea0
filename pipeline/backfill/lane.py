"""Brings a backlog through message batches, from wherever the last attempt left it.

Each batch is submitted once, found again if the answer to its submission was lost, waited for and
read; every step is in the journal before it has an effect.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.backfill.journal import Job, Journal, Run, State, Tally, unfinished
from pipeline.backfill.outcomes import BatchStage, Results, Settled
from pipeline.backfill.partitions import BacklogPartition, Chunk, chunks
from pipeline.backfill.progress import Report, Watcher, report_of
from pipeline.claude.message_batches import (
    Batch,
    Batches,
    BatchFailed,
    BatchRequest,
    SubmissionUnknown,
)
from pipeline.config import BackfillSettings
from pipeline.model.errors import PipelineError
from pipeline.operators.selection import batched
from pipeline.stream.dead_letter_breaker import DeadLetterBreaker
from pipeline.stream.protocols import Unpublishable

BATCH_BYTES = 100_000_000  # of a batch as it is sent, held in memory twice; the API takes 256 MB
SKEW = timedelta(minutes=10)  # how far the clocks of this machine and of the API may be apart
SUBMISSION_GRACE = 30.0
"""Seconds that a submission under way gets when everything else ends: one that is cut off has to be
looked for the next time."""
MAX_EVENTS = 500  # in one transaction
MAX_BYTES = 8 << 20  # of the events in one transaction; a larger one goes alone
_GATE_SECONDS = 5.0  # between looks at why nothing may be submitted
_LOOK_SECONDS = 5.0  # between looks for a batch that may have been submitted, at most


class Stopped(PipelineError):
    """It was stopped; it can be started again."""


class BatchGone(PipelineError):
    """A batch that was submitted cannot be read."""


class TooManyDeadLetters(PipelineError):
    """More end as dead letters than the events alone can be at fault for."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a backfill needs of the outside."""

    journal: Journal  # opened and read
    api: Batches
    stage: BatchStage  # makes requests, and outcomes of results
    settings: BackfillSettings
    paused_reason: Callable[[], str | None]  # why nothing should be submitted now, if anything
    now: Callable[[], datetime]  # the time, aware
    clock: Callable[[], float]  # seconds that do not go back
    new_nonce: Callable[[], str]  # a short word of hexadecimal digits that never comes twice
    dead_letters: DeadLetterBreaker  # ends it when too much ends as a dead letter
    watcher: Watcher
    stop: asyncio.Event  # set when it shall end, which it does between steps

    def check_stopped(self) -> None:
        """Raise `Stopped` if it shall end."""
        if self.stop.is_set():
            raise Stopped("Stopped; start it again and it goes on where it was.")

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until it shall end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop.wait()


class Backfill:
    """One attempt at a backfill of `source`: a topic, or `file:` and the digest of a file.

    At most one batch is put together, and one is published, at a time, so that memory is bounded.
    With `normal_lane`, what is in no batch, or in one that cannot be read, goes through that.
    """

    def __init__(self, stage: str, source: str, tools: Tools, *, normal_lane: bool = False) -> None:
        self._stage = stage
        self._source = source
        self._tools = tools
        self._normal_lane = normal_lane
        self._submission = Submission(tools, normal_lane=normal_lane)
        self._run: Run
        self._resumed = 0
        self._tombstones = 0
        self._assembling = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._room = asyncio.Semaphore(tools.settings.batches_at_once)

    async def run(self, partitions: Sequence[BacklogPartition], *, claims: bool) -> Report:
        """See every batch through, and, if `claims`, claim what is in none.

        The partitions were fenced before the journal was read then.

        Raises:
            Stopped: It was asked to stop.
            ProducerFenced: Another process does the same now.
            BatchGone: A batch cannot be read any more.
            TooManyDeadLetters: Something else than the events seems to be wrong.
            BrokerError: What was committed last is not known; to be attempted again.
        """
        tools, journal = self._tools, self._tools.journal
        jobs = journal.jobs(self._source)
        by_partition = {
            each.number: [job for job in jobs if job.partition == each.number]
            for each in partitions
        }
        waiting = 0
        if claims:
            for each in partitions:
                await each.open(by_partition[each.number])
                waiting += each.waiting
        self._resumed = len(unfinished(jobs))
        known = journal.run(self._source)
        if known is not None and (known.ended_at is None or not waiting):
            self._run = known
        else:
            self._run = Run(
                stage=self._stage,
                source=self._source,
                run=tools.new_nonce(),
                events=waiting,
                started_at=tools.now(),
            )
            await journal.save(self._run)
        self._report()
        async with asyncio.TaskGroup() as group:
            for each in partitions:
                pending = unfinished(by_partition[each.number])
                group.create_task(self._see_to(each, pending, claims=claims))
        if claims and self._run.ended_at is None:
            self._run = self._run.model_copy(update={"ended_at": tools.now()})
            await journal.save(self._run)
        return self._report()

    def _report(self) -> Report:
        report = report_of(
            self._run,
            self._tools.journal.jobs(self._source),
            resumed=self._resumed,
            found_again=self._submission.found_again,
            tombstones=self._tombstones,
        )
        self._tools.watcher.changed(report)
        return report

    async def _see_to(
        self, partition: BacklogPartition, pending: Sequence[Job], *, claims: bool
    ) -> None:
        """One partition: its batches are submitted, and published, in the order of its events."""
        queue: asyncio.Queue[asyncio.Task[Job] | None] = asyncio.Queue()

        async def publish_in_order() -> None:
            while (task := await queue.get()) is not None:
                job = await task
                async with self._publishing:
                    await self._publish(partition, job)
                self._room.release()

        async with asyncio.TaskGroup() as group:
            group.create_task(publish_in_order())
            for job in pending:
                await self._take_room()
                queue.put_nowait(group.create_task(self._see_through(partition, job)))
            if claims:
                async with aclosing(self._claims(partition)) as claimed:
                    async for job in claimed:
                        queue.put_nowait(group.create_task(self._see_through(partition, job)))
                # Nothing of this partition is claimed any more: its consumer may start.
                await partition.close()
            queue.put_nowait(None)

    async def _publish(self, partition: BacklogPartition, job: Job) -> None:
        """Publish what is left of a batch, its events in their order.

        Outcomes, and how far they are, go out in one transaction each time.
        """
        tools = self._tools
        results = await self._submission.results(job)
        left = partition.read(max(job.first, job.published_to), job.next)
        parts = batched(left, lambda each: each.size, count=MAX_EVENTS, size=MAX_BYTES)
        async with aclosing(left), aclosing(parts):
            async for part in parts:
                portion = [received for received in part if job.holds(received.offset)]
                if not portion:
                    continue
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(tools.stage.settle(received, job, results))
                        for received in portion
                    ]
                settled = [task.result() for task in tasks]
                job = await self._commit(job, portion[-1].offset + 1, settled)
                for _, outcome, _ in settled:
                    tools.dead_letters.completed(outcome)
                if (alarm := tools.dead_letters.alarm) is not None:
                    raise TooManyDeadLetters(
                        f"Ended, since {alarm.because}; look at them (`pipeline dead-letters "
                        "list`), fix the cause, then start this again."
                    )
                self._report()
                tools.check_stopped()
        await tools.journal.save(job.published(tools.now()))
        self._report()
        tools.check_stopped()

    async def _commit(self, job: Job, to: int, settled: Sequence[Settled]) -> Job:
        tools = self._tools
        while True:
            next_ = job.progressed(to, sum((tally for _, _, tally in settled), Tally()))
            records = [record for _, outcome, _ in settled for record in outcome.records]
            try:
                await tools.journal.save(next_, records)
            except Unpublishable as error:
                # Dead letters for what the brokers will not take; it ends if not even those go.
                owners = [at for at, (_, outcome, _) in enumerate(settled) for _ in outcome.records]
                refused = {owners[index] for index in error.indices if index < len(owners)}
                replaced = [
                    tools.stage.abridged(each, error.detail) if at in refused else each
                    for at, each in enumerate(settled)
                ]
                if replaced == list(settled):
                    raise
                settled = replaced
                if error.is_session_lost:
                    await tools.journal.reopen()
            else:
                return next_

    async def _claims(self, partition: BacklogPartition) -> AsyncGenerator[Job, None]:
        """Claim what waits, batch by batch, and submit it."""
        tools = self._tools
        await self._may_claim()
        await self._assembling.acquire()
        try:
            parts = chunks(
                partition,
                tools.stage.requests,
                tools.new_nonce,
                max_events=tools.settings.batch_events,
                max_bytes=BATCH_BYTES,
                on_tombstone=self._skip_tombstone,
            )
            async with aclosing(parts):
                async for chunk in parts:
                    job = await self._claim(partition, chunk)
                    chunk.requests.clear()
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

    async def _claim(self, partition: BacklogPartition, chunk: Chunk) -> Job:
        job = Job(
            stage=self._stage,
            source=self._source,
            partition=partition.number,
            first=chunk.offsets[0],
            next=chunk.offsets[-1] + 1,
            spans=tuple(chunk.spans),
            events=len(chunk.offsets),
            nonce=chunk.nonce,
            run=self._run.run,
            claimed_at=self._tools.now(),
        )
        await partition.claim(chunk.offsets, job)
        self._report()
        job = await self._submission.submit(job, chunk.requests)
        self._report()
        return job

    def _skip_tombstone(self) -> None:
        self._tombstones += 1
        stage = self._tools.stage
        stage.observer.tombstone(stage.stage.name)

    async def _may_claim(self) -> None:
        """Wait until there is room for another batch, and no reason against submitting it."""
        await self._take_room()
        noted: str | None = None
        while (because := self._tools.paused_reason()) is not None:
            if because != noted:
                self._tools.watcher.happened(f"Nothing is submitted for now: {because}")
                noted = because
            await self._tools.pause(_GATE_SECONDS)

    async def _take_room(self) -> None:
        self._tools.check_stopped()
        stopped = asyncio.ensure_future(self._tools.stop.wait())
        free = asyncio.ensure_future(self._room.acquire())
        try:
            await asyncio.wait({stopped, free}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not free.done():
                free.cancel()
        self._tools.check_stopped()

    async def _see_through(self, partition: BacklogPartition, job: Job) -> Job:
        """Bring a batch to where its results can be published."""
        while True:
            match job.state:
                case State.CLAIMED if self._normal_lane:
                    return job.abandoned()
                case State.CLAIMED:
                    async with self._assembling:
                        job = await self._submission.submit(job, await self._built(partition, job))
                case State.SENDING:
                    job = await self._submission.look_for(job)
                case State.SUBMITTED:
                    job = await self._submission.wait_for(job)
                case _:
                    return job

    async def _built(self, partition: BacklogPartition, job: Job) -> list[BatchRequest]:
        """The requests of a batch that was claimed by an earlier attempt."""
        requests: list[BatchRequest] = []
        async with aclosing(partition.read(job.first, job.next)) as found:
            async for received in found:
                if job.holds(received.offset):
                    requests += await self._tools.stage.requests(received, job.prefix)
        return requests


def candidates(listed: Iterable[Batch], job: Job, known: Collection[str]) -> list[Batch]:
    """Which of the listed batches may be the one that is looked for. Pure.

    The list shows when a batch was made and how many requests it holds, and no custom ids. Those
    are in its results, so a batch that may be ours is known for certain once it has ended.

    `known` are handles of which it is known whose they are.
    """
    since = job.sending_since or job.claimed_at
    return [
        batch
        for batch in listed
        if batch.request_counts.total == job.requests
        and batch.created_at >= since - SKEW
        and batch.id not in known
    ]


class Submission:
    """Brings batches from their claim to their results, and notes every step."""

    def __init__(self, tools: Tools, *, normal_lane: bool) -> None:
        self._tools = tools
        self._normal_lane = normal_lane
        self._opened = tools.clock()
        self._unclear: dict[bytes, float] = {}
        self.found_again = 0

    async def submit(self, job: Job, requests: Sequence[BatchRequest]) -> Job:
        """Submit a batch, to the end even if something else has ended.

        Returns it with its handle, or still as one that may have been submitted. `BatchFailed` if
        the API takes no such batch, `ProducerFenced` if another process has this backfill by now.
        """
        task = asyncio.create_task(self._submit(job, requests))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await _ended(task, SUBMISSION_GRACE)
            raise

    async def _submit(self, job: Job, requests: Sequence[BatchRequest]) -> Job:
        tools = self._tools
        if not requests:
            return job.without_batch()

        async def permit() -> None:
            """Prove, right before it is sent, that no other process has this backfill by now."""
            nonlocal job
            while True:
                tools.check_stopped()
                began = tools.clock()
                job = job.sending(tools.now(), len(requests))
                await tools.journal.save(job)
                # A successor waits for twice as long before it submits the batch itself.
                if tools.clock() - began <= tools.settings.settle / 2:
                    return

        try:
            batch = await tools.api.submit(requests, before=permit)
        except SubmissionUnknown as error:
            self._unclear[job.key] = tools.clock()
            tools.watcher.happened(f"{error} It is looked for.")
            return job
        except BatchFailed:
            if job.state is State.SENDING:
                await tools.journal.save(job.not_sent())
            raise
        job = job.submitted(batch.id, tools.now())
        await tools.journal.save(job)
        tools.watcher.happened(f"Submitted {batch.id}: {job.events:,} events.")
        return job

    async def look_for(self, job: Job) -> Job:
        """Find a batch that may have been submitted, or find that it was not."""
        tools = self._tools
        settled_at = max(self._opened, self._unclear.get(job.key, 0.0)) + tools.settings.settle
        since = (job.sending_since or job.claimed_at) - SKEW
        ours: dict[str, bool] = {}  # of the candidates that ended, whether their results are ours
        noted: list[str] = []
        while True:
            tools.check_stopped()
            # Whether the list is read so late that a batch which was submitted is in it.
            is_settled = tools.clock() >= settled_at
            listed = [batch async for batch in tools.api.since(since)]
            found = candidates(listed, job, tools.journal.handles(but=job))
            for batch in found:
                if batch.has_ended and batch.id not in ours:
                    ours[batch.id] = await self._is_ours(batch, job)
            if (mine := next((each.id for each in found if ours.get(each.id)), None)) is not None:
                self.found_again += 1
                job = job.submitted(mine, tools.now())
                await tools.journal.save(job)
                tools.watcher.happened(f"Found {mine}: it had been submitted.")
                return job
            # Some that have not ended may be ours, and others may yet show up.
            undecided = [batch.id for batch in found if batch.id not in ours]
            if is_settled and not undecided:
                return job.not_sent()
            if undecided and undecided != noted:
                tools.watcher.happened(
                    f"{', '.join(undecided)} may be a batch of ours whose handle was lost; its "
                    "results will show."
                )
            noted = undecided
            await tools.pause(min(_LOOK_SECONDS, tools.settings.poll_interval))

    async def wait_for(self, job: Job) -> Job:
        """Wait until a batch has ended."""
        assert job.batch_id is not None  # noqa: S101 - it is submitted
        tools = self._tools
        while True:
            tools.check_stopped()
            try:
                batch = await tools.api.get(job.batch_id)
            except BatchFailed as error:
                if self._normal_lane:
                    return job.abandoned()
                raise _gone(job, error) from error
            if batch.has_ended:
                counts = batch.request_counts
                tools.watcher.happened(
                    f"{batch.id} has ended: {counts.succeeded:,} answered, "
                    f"{counts.errored + counts.canceled + counts.expired:,} not."
                )
                return job.ended()
            await tools.pause(tools.settings.poll_interval)

    async def results(self, job: Job) -> Results:
        """What a batch answered; nothing where it is not to be read."""
        if job.batch_id is None or job.given_up:
            return {}
        try:
            async with aclosing(self._tools.api.results(job.batch_id)) as found:
                return {result.custom_id: result async for result in found}
        except BatchFailed as error:
            if self._normal_lane:
                return {}
            raise _gone(job, error) from error

    async def _is_ours(self, batch: Batch, job: Job) -> bool:
        """Whether the first result of a batch carries our custom ids."""
        with contextlib.suppress(BatchFailed):  # its results are gone, whosever they were
            async with aclosing(self._tools.api.results(batch.id)) as results:
                async for result in results:
                    return result.custom_id.startswith(job.prefix)
        return False


def _gone(job: Job, error: BatchFailed) -> BatchGone:
    return BatchGone(
        f"{job.batch_id}, with {job.events:,} events, cannot be read ({error}). Results are "
        "kept for 29 days, and only the workspace that submitted it sees it: use its API key, "
        "or start again with --normal-lane to have these events asked once more at full price."
    )


async def _ended(task: asyncio.Task[Job], seconds: float) -> None:
    """Give a task its time, even if more cancellations come meanwhile, then end it."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    while not task.done():
        if now() >= deadline:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=max(1.0, deadline - now()))
    if not task.cancelled():
        # What it raised is what everything ends for, or comes of it.
        task.exception()
