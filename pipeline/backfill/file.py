"""The backlog of a file, or of a folder of files: an event is known by its position in it."""

import hashlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pipeline.backfill.job import Job
from pipeline.backfill.journal import Journal
from pipeline.model.errors import UsageError
from pipeline.operators.publish import STANDARD_INPUT, Item, count_items, read_items
from pipeline.stream.records import Received

_BLOCK = 1 << 20
_MAX_NAME = 200


class FileShelf:
    """All events of a file. It is known by what it contains: a copy of it is the same file.

    Args:
        path: JSON Lines, a file, or a folder.
        journal: Where batches are noted.
        key_field: The field of a JSON event that becomes the record's key.
        now: The time, aware.

    Raises:
        UsageError: It cannot be read.
    """

    number = 0

    def __init__(
        self, path: Path, journal: Journal, *, key_field: str, now: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._journal = journal
        self._key_field = key_field
        self._now = now
        self._count = count_items([path]) or 0
        self._modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        self._position = 0
        self._open: dict[int, Generator[Item, None, None]] = {}
        self.name = f"file:{path.name[:_MAX_NAME]}"

    async def fence(self) -> None:
        """Nothing to do: all is claimed under the journal's own id."""

    async def open(self, jobs: Sequence[Job]) -> None:
        """Go on after what the batches hold."""
        self._position = max((job.next for job in jobs), default=0)

    @property
    def waiting(self) -> int:
        """Events that no batch holds."""
        return max(0, self._count - self._position)

    def unclaimed(self) -> AsyncGenerator[Received, None]:
        """What comes after the last batch."""
        return self.read(self._position, self._count)

    def is_done(self, offset: int) -> bool:
        """Whether a batch holds it."""
        return offset < self._position

    async def claim(self, offsets: Sequence[int], job: Job) -> None:  # noqa: ARG002 - by `next`
        """The record of the batch says it all."""
        await self._journal.save(job)
        self._position = job.next

    async def read(self, begin: int, end: int) -> AsyncGenerator[Received, None]:
        """The events at these positions."""
        # Reading on from where the last reading ended need not start at the beginning again.
        items = self._open.pop(begin, None) or self._items_from(begin)
        position = begin
        try:
            # A line of a file on this machine is read faster than a thread is asked to.
            for item in islice(items, max(0, end - begin)):
                yield self._received(position, item)
                position += 1
            if position >= end:
                self._open[position] = items
        finally:
            if self._open.get(position) is not items:
                items.close()

    async def close(self) -> None:
        """Close the file."""
        while self._open:
            self._open.popitem()[1].close()

    def _items_from(self, begin: int) -> Generator[Item, None, None]:
        yield from islice(read_items([self._path], key_field=self._key_field), begin, None)

    def _received(self, position: int, item: Item) -> Received:
        return Received(
            topic=self.name,
            partition=0,
            offset=position,
            key=item.key,
            value=item.value,
            headers=item.headers,
            timestamp=self._modified,
            received_at=self._now(),
        )


def digest_of(path: Path) -> str:
    """Hex digest of what a file contains; of a folder, of all of its files and their names.

    Raises:
        UsageError: It cannot be read, or not twice.
    """
    if path == STANDARD_INPUT:
        raise UsageError("A backfill reads its file again when it resumes: name one, not `-`.")
    digest = hashlib.blake2b(digest_size=16)
    try:
        if not path.is_dir():
            _add(digest, path)
            return digest.hexdigest()
        for each in sorted(p for p in path.rglob("*") if p.is_file()):
            name = str(each.relative_to(path)).encode()
            digest.update(b"%d:%b:%d:" % (len(name), name, each.stat().st_size))
            _add(digest, each)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): name a file that can."
        ) from error
    return digest.hexdigest()


def _add(digest: "hashlib.blake2b", path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
