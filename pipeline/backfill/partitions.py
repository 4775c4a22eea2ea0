"""Where a backlog lies: the partitions of a topic, or a file; and how it is cut into batches."""

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pipeline.backfill.journal import Job, Journal, prefix_of
from pipeline.claude.message_batches import MAX_REQUESTS, BatchRequest
from pipeline.kafka.reader import TopicReader
from pipeline.kafka.writer import commit_with_retry
from pipeline.model.errors import PipelineError, UsageError
from pipeline.operators.files import usable
from pipeline.operators.publish import STANDARD_INPUT, Item, count_items, read_items
from pipeline.stream import ledger
from pipeline.stream.ledger import CommitPoint, OffsetLedger
from pipeline.stream.protocols import Committed, OffsetReader, PartitionWriter, TopicPartition
from pipeline.stream.records import Received

_BLOCK = 1 << 20
_MAX_NAME = 200


class LogTruncated(PipelineError):
    """The log of a partition ends before what is committed of it."""


@dataclass(slots=True)
class TopicBacklog:
    """One partition of a stage's raw topic: what the stage's consumer group has not done.

    It claims under the transactional id of the stage's own consumer, and commits to the stage's
    own group: whichever of the two starts later fences the other, and what one has taken the
    other never sees.
    """

    partition: TopicPartition
    journal: Journal  # where batches are noted
    new_session: Callable[[TopicPartition], PartitionWriter]  # of the partition's transactional id
    offsets: OffsetReader  # reads what the group committed
    read_topics: TopicReader
    _session: PartitionWriter | None = None
    _ledger: OffsetLedger = field(default_factory=lambda: OffsetLedger(CommitPoint(0, 0), limit=1))
    _end: int = 0

    @property
    def number(self) -> int:
        return self.partition.partition

    async def fence(self) -> None:
        """From here on no other process can claim from it; what one left open is settled.

        To be called before the journal is read, or what is read is not final.
        """
        self._session = self.new_session(self.partition)
        await self._session.start()

    async def open(self, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - the offsets say it
        """Find what no batch of `jobs` holds yet, after `fence`.

        Raises:
            LogTruncated: The log is another one than the offsets are of.
            LedgerUnreadable: So is its cluster, where the batches name other offsets, too; or
                another program commits there.
        """
        committed = await self.offsets.committed(self.partition)
        bounds = await self.offsets.bounds(self.partition)
        if committed is None:
            start = CommitPoint(bounds.begin, bounds.begin)
        else:
            start = ledger.decode(committed.offset, committed.metadata, self.offsets.cluster)
        if start.high > bounds.end:
            raise LogTruncated(
                f"{self.partition} ends at {bounds.end}, and all below {start.high} was seen: it "
                "was created again, or lost its end. Start `pipeline run` once, which starts from "
                "its beginning, or say from where: `pipeline offsets reset`."
            )
        if start.parked:
            raise ledger.LedgerUnreadable(
                f"In {self.partition} events of {len(start.parked)} tenants are left for later, "
                f"whose they are `pipeline run` alone knows: let it do them first."
            )
        # Room for what was inherited and for what is taken and, with the claim, finished at once.
        self._ledger = OffsetLedger(start, limit=len(start.unfinished) + 1)
        self._ledger.advance(bounds.begin)
        self._end = bounds.end

    @property
    def waiting(self) -> int:
        """About how many events can be claimed: offsets that are not done."""
        return self._ledger.commit_point().lag(self._end)

    def unclaimed(self) -> AsyncGenerator[Received, None]:
        """From the committed offset to where the log ended; some may be done already."""
        return self.read(self._ledger.position, self._end)

    def is_done(self, offset: int) -> bool:
        return self._ledger.is_done(offset)

    async def claim(self, offsets: Sequence[int], job: Job) -> None:
        """Commit that these events are a batch's, together with the batch's record.

        Raises:
            ProducerFenced: Another program consumes here.
            BrokerError: Whether they are is not known, or they are not.
        """
        if self._session is None:
            raise RuntimeError("a partition is fenced before it is claimed from")
        for offset in offsets:
            self._ledger.take(offset)
            self._ledger.finish(offset)
        self._ledger.advance(job.next)
        point = self._ledger.commit_point()
        await commit_with_retry(
            self._session,
            [self.journal.record_of(job)],
            Committed(point.base, ledger.encode(point, self.offsets.cluster)),
            if_fenced=f"Another process consumes {self.partition} now, `pipeline run {job.stage}` "
            "or another backfill: stop it and start this again, which goes on from here.",
        )
        self.journal.note(job)

    async def read(self, begin: int, end: int) -> AsyncGenerator[Received, None]:
        of = self.partition
        async with self.read_topics([of.topic], start={of: begin}, end={of: end}) as records:
            async for record in records:
                yield record

    async def close(self) -> None:
        """Release what it takes to claim; the stage's consumer may start then."""
        if self._session is not None:
            await self._session.close()
            self._session = None


@dataclass(slots=True)
class FileBacklog:
    """All events of a file, or of a folder of files: an event is known by its position in it.

    It is known by what it contains: a copy of it is the same file. `UsageError` if unreadable.
    """

    path: Path  # JSON Lines, a file, or a folder
    journal: Journal  # where batches are noted
    key_field: str  # the field of a JSON event that becomes the record's key
    now: Callable[[], datetime]  # the time, aware
    number: int = 0
    _count: int = field(init=False)
    _modified: datetime = field(init=False)
    _position: int = 0
    _open: dict[int, Generator[Item, None, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._count = count_items([self.path]) or 0
        self._modified = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    async def fence(self) -> None:
        """Nothing to do: all is claimed under the journal's own id."""

    async def open(self, jobs: Sequence[Job]) -> None:
        self._position = max((job.next for job in jobs), default=0)

    @property
    def waiting(self) -> int:
        return max(0, self._count - self._position)

    def unclaimed(self) -> AsyncGenerator[Received, None]:
        return self.read(self._position, self._count)

    def is_done(self, offset: int) -> bool:
        return offset < self._position

    async def claim(self, offsets: Sequence[int], job: Job) -> None:  # noqa: ARG002 - by `next`
        await self.journal.save(job)
        self._position = job.next

    async def read(self, begin: int, end: int) -> AsyncGenerator[Received, None]:
        # Reading on from where the last reading ended need not start at the beginning again.
        items = self._open.pop(begin, None) or self._items_from(begin)
        position = begin
        try:
            # A line of a file on this machine is read faster than a thread is asked to.
            for item in islice(items, max(0, end - begin)):
                yield Received(
                    topic=f"file:{self.path.name[:_MAX_NAME]}",
                    partition=0,
                    offset=position,
                    key=item.key,
                    value=item.value,
                    headers=item.headers,
                    timestamp=self._modified,
                    received_at=self.now(),
                )
                position += 1
            if position >= end:
                self._open[position] = items
        finally:
            if self._open.get(position) is not items:
                items.close()

    async def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _items_from(self, begin: int) -> Generator[Item, None, None]:
        yield from islice(read_items([self.path], key_field=self.key_field), begin, None)


BacklogPartition = TopicBacklog | FileBacklog  # read in order, and claimed from in order


@dataclass(slots=True)
class Chunk:
    """The events of a batch that is not claimed yet."""

    nonce: str
    offsets: list[int] = field(default_factory=list)
    requests: list[BatchRequest] = field(default_factory=list, repr=False)
    spans: list[tuple[int, int]] = field(default_factory=list)


async def chunks(
    partition: BacklogPartition,
    build: Callable[[Received, str], Awaitable[list[BatchRequest]]],
    new_nonce: Callable[[], str],
    *,
    max_events: int,
    max_bytes: int,
    on_tombstone: Callable[[], None],
) -> AsyncGenerator[Chunk, None]:
    """What waits in an opened partition, cut into batches, in order; claim each before the next.

    `build` makes the requests about an event, with custom ids that begin with a prefix. A batch has
    at most `max_bytes` as it is sent, unless a single event has more.
    """
    chunk, size, is_adjacent = Chunk(new_nonce()), 0, False
    async with aclosing(partition.unclaimed()) as unclaimed:
        async for received in unclaimed:
            is_done = partition.is_done(received.offset)
            if is_done or received.is_tombstone:
                if not is_done:
                    on_tombstone()
                is_adjacent = False
                continue
            requests = await build(received, prefix_of(chunk.nonce, partition.number))
            more = sum(request.size for request in requests)
            if chunk.offsets and (
                len(chunk.offsets) >= max_events
                or len(chunk.requests) + len(requests) > MAX_REQUESTS
                or size + more > max_bytes
            ):
                yield chunk
                chunk, size, is_adjacent = Chunk(new_nonce()), 0, False
                requests = await build(received, prefix_of(chunk.nonce, partition.number))
                more = sum(request.size for request in requests)
            begin = chunk.spans.pop()[0] if is_adjacent else received.offset
            chunk.spans.append((begin, received.offset + 1))
            is_adjacent = True
            chunk.offsets.append(received.offset)
            chunk.requests += requests
            size += more
    if chunk.offsets:
        yield chunk


def digest_of(path: Path) -> str:
    """Hex digest of a file, or of a folder's files and their names; `UsageError` if unreadable."""
    if path == STANDARD_INPUT:
        raise UsageError("A backfill reads its file again when it resumes: name one, not `-`.")
    digest = hashlib.blake2b(digest_size=16)
    is_folder = path.is_dir()
    with usable(path, "read", otherwise="name a file that can."):
        for each in sorted(p for p in path.rglob("*") if p.is_file()) if is_folder else [path]:
            if is_folder:
                name = str(each.relative_to(path)).encode()
                digest.update(b"%d:%b:%d:" % (len(name), name, each.stat().st_size))
            with each.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()
