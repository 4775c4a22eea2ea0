"""What a backfill needs of the outside, and how it is stopped."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pipeline.backfill.asking import Asking, Result
from pipeline.backfill.journal import Journal
from pipeline.backfill.reporting import Watcher
from pipeline.claude.message_batches import Batch, BatchRequest
from pipeline.config import BackfillSettings
from pipeline.model.errors import PipelineError
from pipeline.stream.dead_letter_breaker import DeadLetterWindow


class Stopped(PipelineError):
    """Somebody stopped it; it can be started again."""


class Stop:
    """Somebody's wish that it ends, heeded between steps.

    Args:
        event: Set when there is one.
    """

    def __init__(self, event: asyncio.Event) -> None:
        self.event = event

    def check(self) -> None:
        """End here if there is one.

        Raises:
            Stopped: There is.
        """
        if self.event.is_set():
            raise Stopped("Stopped; start it again and it goes on where it was.")

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until there is one."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return


class Api(Protocol):
    """The batch endpoints; `pipeline.claude.message_batches.Batches` is the real one."""

    async def submit(
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
        """The batches that were submitted since."""
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
        closed_because: Why nothing should be submitted now; None where it may.
        now: The time, aware.
        clock: Seconds that do not go back.
        new_nonce: Makes a short word of hexadecimal digits that never comes twice.
        dead_letters: Ends it when too much ends as a dead letter.
        watcher: Receives what happens.
        stop: Heeded between steps.
    """

    journal: Journal
    api: Api
    asking: Asking
    settings: BackfillSettings
    paused_reason: Callable[[], str | None]
    now: Callable[[], datetime]
    clock: Callable[[], float]
    new_nonce: Callable[[], str]
    dead_letters: DeadLetterWindow
    watcher: Watcher
    stop: Stop
