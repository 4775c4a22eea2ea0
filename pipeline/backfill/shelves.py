"""Where a backlog lies: the partitions of a topic, or a file. Each is a shelf."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from pipeline.backfill.job import Job
from pipeline.stream.records import Received


class Shelf(Protocol):
    """One partition of a backlog, read in order, and claimed from in order."""

    @property
    def number(self) -> int:
        """Of the partition."""
        ...

    async def fence(self) -> None:
        """From here on no other process can claim from it; what one left open is settled.

        To be called before the journal is read, or what is read is not final.

        Raises:
            BrokerError: The brokers do not answer, or refuse.
        """
        ...

    async def open(self, jobs: Sequence[Job]) -> None:
        """Find what no batch holds yet; fence it first.

        Args:
            jobs: The batches of this shelf.

        Raises:
            PipelineError: It cannot be claimed from.
        """
        ...

    @property
    def waiting(self) -> int:
        """About how many events can still be claimed."""
        ...

    def unclaimed(self) -> AsyncGenerator[Sequence[Received], None]:
        """The events that were there when it was opened and that nobody has done or claimed."""
        ...

    def is_done(self, offset: int) -> bool:
        """Whether an event was done before it could be claimed."""
        ...

    async def claim(self, offsets: Sequence[int], job: Job) -> None:
        """Commit that these events are a batch's, together with the batch's record.

        Raises:
            TakenOver: Somebody else consumes here.
            BrokerError: Whether they are is not known, or they are not.
        """
        ...

    def read(self, begin: int, end: int) -> AsyncGenerator[Sequence[Received], None]:
        """The events of a stretch, again."""
        ...

    async def close(self) -> None:
        """Let go of what it takes to claim."""
        ...
