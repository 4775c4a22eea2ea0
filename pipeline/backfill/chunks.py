"""Cuts what waits on a shelf into batches.

Where a backlog lies: the partitions of a topic, or a file. Each is a shelf.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.backfill.job import Job, prefix_of
from pipeline.claude.message_batches import MAX_REQUESTS, BatchRequest
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

    def unclaimed(self) -> AsyncGenerator[Received, None]:
        """The events that were there when it was opened and that nobody has done or claimed."""
        ...

    def is_done(self, offset: int) -> bool:
        """Whether an event was done before it could be claimed."""
        ...

    async def claim(self, offsets: Sequence[int], job: Job) -> None:
        """Commit that these events are a batch's, together with the batch's record.

        Raises:
            ProducerFenced: Somebody else consumes here.
            BrokerError: Whether they are is not known, or they are not.
        """
        ...

    def read(self, begin: int, end: int) -> AsyncGenerator[Received, None]:
        """The events of a stretch, again."""
        ...

    async def close(self) -> None:
        """Let go of what it takes to claim."""
        ...


Build = Callable[[Received, str], Awaitable[list[BatchRequest]]]
"""Makes the requests about an event, with custom ids that begin with a prefix."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a batch holds: events, and bytes as it is sent."""

    events: int
    bytes: int


@dataclass(slots=True)
class Slice:
    """The events of a batch that is not claimed yet.

    Args:
        nonce: The batch's own.
    """

    nonce: str
    offsets: list[int] = field(default_factory=list)
    requests: list[BatchRequest] = field(default_factory=list, repr=False)
    spans: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0
    _is_broken: bool = True

    def prefix(self, partition: int) -> str:
        """Of its custom ids."""
        return prefix_of(self.nonce, partition)

    def fits(self, requests: list[BatchRequest], limits: Limits) -> bool:
        """Whether an event goes in as well; the first one always does."""
        if not self.offsets:
            return True
        size = self.size + sum(request.size for request in requests)
        return (
            len(self.offsets) < limits.events
            and len(self.requests) + len(requests) <= MAX_REQUESTS
            and size <= limits.bytes
        )

    def add(self, offset: int, requests: list[BatchRequest]) -> None:
        """Put an event in."""
        self.offsets.append(offset)
        self.requests += requests
        self.size += sum(request.size for request in requests)
        if self._is_broken:
            self.spans.append((offset, offset + 1))
            self._is_broken = False
        else:
            self.spans[-1] = (self.spans[-1][0], offset + 1)

    def skip(self) -> None:
        """What comes next was done before, or is no event."""
        self._is_broken = True


async def slices(
    shelf: Shelf, build: Build, limits: Limits, new_nonce: Callable[[], str]
) -> AsyncGenerator[Slice, None]:
    """The batches of what waits on a shelf, in order; each is to be claimed before the next."""
    part = Slice(new_nonce())
    async with aclosing(shelf.unclaimed()) as unclaimed:
        async for received in unclaimed:
            if received.is_tombstone or shelf.is_done(received.offset):
                part.skip()
                continue
            requests = await build(received, part.prefix(shelf.number))
            if not part.fits(requests, limits):
                yield part
                part = Slice(new_nonce())
                requests = await build(received, part.prefix(shelf.number))
            part.add(received.offset, requests)
    if part.offsets:
        yield part
