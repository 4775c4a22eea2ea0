"""Publishes what came of a batch: outcomes, and how far they are, in one transaction each time."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from pipeline.backfill.asking import Results, Settled
from pipeline.backfill.job import Job, Tally
from pipeline.backfill.shelves import Shelf
from pipeline.backfill.tools import Tools
from pipeline.errors import PipelineError
from pipeline.stream.brokers import Unpublishable
from pipeline.stream.records import Received

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
            TakenOver: Another backfill of the stage has begun.
            TooManyDeadLetters: Something else than the events seems to be wrong.
            BrokerError: What was committed last is not known; to be attempted anew.
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
            self._asking.too_large(each, error.detail) if index in refused else each
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
        async for records in found:
            for received in records:
                if not job.holds(received.offset):
                    continue
                if portion and (len(portion) >= MAX_EVENTS or size + received.size > MAX_BYTES):
                    yield portion
                    portion, size = [], 0
                portion.append(received)
                size += received.size
    if portion:
        yield portion
