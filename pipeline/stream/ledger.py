"""What is done in a partition, although it was not done in order.

The ledger is the pure core of the stream: it does no I/O, and all its numbers are offsets.
"""

from collections import deque
from dataclasses import dataclass

MAX_SPAN = 1 << 26
"""Offsets between the first unfinished record and the last taken one, at most. Beyond it a
partition waits for its straggler, because the commit metadata could no longer hold the ledger
(`pipeline.stream.ledger_codec` does the arithmetic)."""


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """What one commit says about a partition.

    Args:
        base: The offset to commit: everything below it is done, and it is not done itself.
        high: Everything below it was looked at: whatever is not in `unfinished` is done, or is
            no record at all (a transaction marker, or removed by compaction).
        unfinished: The offsets from `base` to `high` that are not done, ascending. The first is
            `base`; where there is none, `high` is `base`.
    """

    base: int
    high: int
    unfinished: tuple[int, ...] = ()

    @property
    def done_above(self) -> int:
        """How many offsets above `base` are done."""
        return self.high - self.base - len(self.unfinished)

    def lag(self, end: int, *, begin: int = 0) -> int:
        """How many offsets are not done of a log that reaches from `begin` to before `end`.

        Records that retention removed are not waited for, and what a log that was created again
        does not hold yet is no lag. Markers of transactions count as long as they are not passed.
        """
        held_back = sum(begin <= offset < end for offset in self.unfinished)
        return held_back + max(0, end - max(begin, self.high))


class OffsetRegression(ValueError):
    """A record came whose offset was passed already: the log behind the partition is another one.

    That happens when a topic was deleted and created again, or lost its end.
    """


class LedgerFull(ValueError):
    """A record cannot be taken before earlier ones of its partition are done."""


class OffsetLedger:
    """Which records of a partition are taken and which are done.

    A record is *taken* when it comes in and *finished* when its result is ready to be committed;
    in between it is unfinished. A ledger that was restored also knows records that its previous
    owner had not finished; they count as unfinished until they come in again.

    Args:
        start: The commit point it continues from.
        limit: Unfinished records at most.
    """

    def __init__(self, start: CommitPoint, *, limit: int) -> None:
        self._limit = limit
        self._high = max(start.base, start.high)
        self._position = start.base
        # In ascending order at all times: what is inherited comes first, and what is taken
        # later lies above it. So the first key is the base.
        self._unfinished: dict[int, bool] = dict.fromkeys(start.unfinished, False)
        self._inherited = deque(start.unfinished)

    @property
    def base(self) -> int:
        """The first offset that is not done; everything below it is."""
        return next(iter(self._unfinished), max(self._high, self._position))

    @property
    def position(self) -> int:
        """The offset that is expected next: everything below it has come in."""
        return self._position

    @property
    def taken(self) -> int:
        """How many records have come in and are not done."""
        return len(self._unfinished) - len(self._inherited)

    def is_done(self, offset: int) -> bool:
        """Whether a record is done, as far as is known; what lies ahead is not."""
        return offset < self._high and offset not in self._unfinished

    def fits(self, offset: int) -> bool:
        """Whether this record may be taken now; what is inherited always may."""
        if offset < self._high:
            return True
        if len(self._unfinished) < self._limit and offset - self.base <= MAX_SPAN:
            return True
        # Taking it would show that inherited ones below it are gone: `advance` drops them.
        kept = [known for known, is_taken in self._unfinished.items() if is_taken]
        return not kept or (len(kept) < self._limit and offset - kept[0] <= MAX_SPAN)

    def take(self, offset: int) -> bool:
        """Let a record in.

        Returns:
            Whether it has to be worked on; if not, it was done before.

        Raises:
            OffsetRegression: A later record came in before.
            LedgerFull: It does not fit; it may be offered again later.
        """
        if offset < self._position:
            raise OffsetRegression(f"offset {offset} came after {self._position - 1}")
        if not self.fits(offset):
            raise LedgerFull(f"offset {offset} does not fit: {len(self._unfinished)} unfinished")
        self.advance(offset)
        self._position = offset + 1
        if self._inherited and self._inherited[0] == offset:
            self._inherited.popleft()
        elif offset < self._high:
            return False
        self._unfinished[offset] = True
        self._high = max(self._high, offset + 1)
        return True

    def finish(self, offset: int) -> None:
        """A record that was taken is done.

        Raises:
            KeyError: It was not taken, or is done already.
        """
        if not self._unfinished[offset]:
            raise KeyError(offset)
        del self._unfinished[offset]

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`.

        What an earlier owner had left unfinished there has left the log since (retention,
        compaction), and the offsets that never were records need not be waited for.
        """
        while self._inherited and self._inherited[0] < position:
            del self._unfinished[self._inherited.popleft()]
        self._position = max(self._position, position)

    def commit_point(self) -> CommitPoint:
        """What a commit would say now."""
        base = self.base
        if not self._unfinished:
            return CommitPoint(base, base)
        unfinished = tuple(self._unfinished)
        high = max(self._high, self._position)
        # What is unfinished at the very end need not be said: to the next owner it is new.
        end = len(unfinished)
        while end and unfinished[end - 1] == high - 1:
            end -= 1
            high -= 1
        if end == 0:
            return CommitPoint(base, base)
        return CommitPoint(base, high, unfinished[:end])
