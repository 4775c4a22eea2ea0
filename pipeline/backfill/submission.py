"""One batch at the API: submitted once, found again, waited for, read.

Whether a batch that may have been submitted was: what the API's list says about it. Pure.

The list shows when a batch was made and how many requests it holds, and no custom ids. Those are
in its results, so a batch that may be ours is known for certain once it has ended.
"""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pipeline.backfill.asking import Results, is_of
from pipeline.backfill.context import Tools
from pipeline.backfill.job import Job, State
from pipeline.claude.message_batches import Batch, BatchFailed, BatchRequest, SubmissionUnknown
from pipeline.model.errors import PipelineError

SKEW = timedelta(minutes=10)
"""How far the clocks of this machine and of the API may be apart."""


@dataclass(frozen=True, slots=True)
class Found:
    """It was submitted, and this is its handle."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Nobody can tell yet: some may be ours and have not ended, or may yet show up."""

    waits_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """It was not submitted."""


Verdict = Found | Undecided | Absent


def candidates(listed: Iterable[Batch], job: Job, known: Collection[str]) -> list[Batch]:
    """Which of the listed batches may be the one.

    Args:
        listed: Batches of the workspace.
        job: The batch that is looked for.
        known: Handles of which it is known whose they are.
    """
    since = job.sending_since or job.claimed_at
    return [
        batch
        for batch in listed
        if batch.request_counts.total == job.requests
        and batch.created_at >= since - SKEW
        and batch.id not in known
    ]


def verdict(found: Iterable[Batch], ours: Mapping[str, bool], *, settled: bool) -> Verdict:
    """What the candidates come to.

    Args:
        found: The candidates.
        ours: Of those that ended, whether their results carry our custom ids.
        settled: Whether the list was read so late that a batch which was submitted is in it.
    """
    open_: list[str] = []
    for batch in found:
        if ours.get(batch.id):
            return Found(batch.id)
        if batch.id not in ours:
            open_.append(batch.id)
    return Undecided(tuple(open_)) if open_ or not settled else Absent()


HAND_IN_GRACE = 30.0
"""Seconds that a hand-in under way gets when everything else ends: one that is cut off has to be
looked for the next time."""
_LOOK_SECONDS = 5.0
"""Between looks for a batch that may have been submitted, at most."""


class BatchGone(PipelineError):
    """A batch that was submitted cannot be read."""


class Submission:
    """Brings batches from their claim to their results, and notes every step.

    Args:
        tools: What it needs.
        normal_lane: Whether the events of a batch that cannot be read go through the normal lane.
    """

    def __init__(self, tools: Tools, *, normal_lane: bool) -> None:
        self._tools = tools
        self._normal_lane = normal_lane
        self._opened = tools.clock()
        self._unclear: dict[bytes, float] = {}
        self.found_again = 0

    async def submit(self, job: Job, requests: Sequence[BatchRequest]) -> Job:
        """Hand a batch in; it is not left half done because something else has ended.

        Returns:
            It, with its handle; or still as one that may have been submitted.

        Raises:
            BatchFailed: The API takes no such batch.
            ProducerFenced: Somebody else has this backfill by now; nothing was sent.
        """
        return await _whole(self._hand_in(job, requests))

    async def look_for(self, job: Job) -> Job:
        """Find a batch that may have been submitted, or find that it was not."""
        tools = self._tools
        settled_at = max(self._opened, self._unclear.get(job.key, 0.0)) + tools.settings.settle
        since = (job.sending_since or job.claimed_at) - SKEW
        ours: dict[str, bool] = {}
        said: Undecided | None = None
        while True:
            tools.stop.check()
            is_settled = tools.clock() >= settled_at
            listed = [batch async for batch in tools.api.since(since)]
            found = candidates(listed, job, tools.journal.handles(but=job))
            for batch in found:
                if batch.has_ended and batch.id not in ours:
                    ours[batch.id] = await self._is_ours(batch, job)
            match verdict(found, ours, settled=is_settled):
                case Found(batch_id):
                    self.found_again += 1
                    job = job.submitted(batch_id, tools.now())
                    await tools.journal.save(job)
                    tools.watcher.happened(f"Found {batch_id}: it had been submitted.")
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
            await tools.stop.pause(min(_LOOK_SECONDS, tools.settings.poll_interval))

    async def wait_for(self, job: Job) -> Job:
        """Wait until a batch has ended."""
        assert job.batch_id is not None  # noqa: S101 - it is submitted
        tools = self._tools
        while True:
            tools.stop.check()
            try:
                batch = await tools.api.get(job.batch_id)
            except BatchFailed as error:
                if self._normal_lane:
                    return job.abandoned()
                raise self._gone(job, error) from error
            if batch.has_ended:
                counts = batch.request_counts
                tools.watcher.happened(
                    f"{batch.id} has ended: {counts.succeeded:,} answered, "
                    f"{counts.errored + counts.canceled + counts.expired:,} not."
                )
                return job.ended()
            await tools.stop.pause(tools.settings.poll_interval)

    async def results(self, job: Job) -> Results:
        """What a batch answered; nothing where it is not to be read.

        Raises:
            BatchGone: It cannot be read.
        """
        if job.batch_id is None or job.given_up:
            return {}
        try:
            async with aclosing(self._tools.api.results(job.batch_id)) as found:
                return {result.custom_id: result async for result in found}
        except BatchFailed as error:
            if self._normal_lane:
                return {}
            raise self._gone(job, error) from error

    async def _hand_in(self, job: Job, requests: Sequence[BatchRequest]) -> Job:
        tools = self._tools
        if not requests:
            return job.without_batch()

        async def permit() -> None:
            """Prove, right before it is sent, that nobody else has this backfill by now."""
            nonlocal job
            while True:
                tools.stop.check()
                began = tools.clock()
                job = job.sending(tools.now(), len(requests))
                await tools.journal.save(job)
                # Whoever takes over waits for twice as long before it hands the batch in itself.
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
        tools.watcher.happened(f"Handed in {batch.id}: {job.events:,} events.")
        return job

    async def _is_ours(self, batch: Batch, job: Job) -> bool:
        """Whether the first result of a batch carries our custom ids."""
        try:
            async with aclosing(self._tools.api.results(batch.id)) as results:
                async for result in results:
                    return is_of(result, job)
        except BatchFailed:
            # Its results are gone, for whomever they were.
            return False
        return False

    def _gone(self, job: Job, error: BatchFailed) -> BatchGone:
        return BatchGone(
            f"{job.batch_id}, with {job.events:,} events, cannot be read ({error}). Results are "
            "kept for 29 days, and only the workspace that handed it in sees it: use its API key, "
            "or start again with --normal-lane to have these events asked once more at full price."
        )


async def _whole(submit: Coroutine[Any, Any, Job]) -> Job:
    """Do not leave a hand-in half done because something else has ended."""
    task = asyncio.create_task(submit)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _ended(task, HAND_IN_GRACE)
        raise


async def _ended(task: asyncio.Task[Job], seconds: float) -> None:
    """Give a task its time, whoever else wants everything to end meanwhile, then end it."""
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
