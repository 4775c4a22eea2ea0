"""What is known of one partition between its committed offset and its next commit. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.config import Ordering
from pipeline.stream import ledger_codec
from pipeline.stream.intake import Load
from pipeline.stream.key_queues import KeyedQueue
from pipeline.stream.ledger import CommitPoint, OffsetLedger
from pipeline.stream.protocols import Committed
from pipeline.stream.records import Outcome, Outgoing, Received


@dataclass(frozen=True, slots=True)
class Held:
    """A record that is taken and not committed.

    Args:
        since: When it was taken, in seconds of some clock.
        size: Bytes that it takes in memory.
    """

    record: Received
    since: float
    size: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """A record that was started; handed back when it is done."""

    held: Held
    lane: bytes | None


@dataclass(frozen=True, slots=True)
class Result:
    """A record that is done and not committed."""

    record: Received
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit holds.

    Args:
        results: All that are done, in the order in which they were.
        committed: The offset, with the ledger after these results as its metadata.
    """

    results: tuple[Result, ...]
    committed: Committed

    @property
    def records(self) -> list[Outgoing]:
        """What is to be published."""
        return [record for result in self.results for record in result.outcome.records]

    def owner(self, index: int) -> int:
        """The index of the result that one of `records` belongs to."""
        for number, result in enumerate(self.results):
            index -= len(result.outcome.records)
            if index < 0:
                return number
        raise IndexError(index)


class Workload:
    """Ledger, lanes and results of one partition, kept in step.

    Args:
        start: The commit point it continues from.
        is_new: Whether nobody has committed that point yet.
        ordering: What runs one at a time, in order.
        limit: Unfinished records at most.
    """

    def __init__(self, start: CommitPoint, *, is_new: bool, ordering: Ordering, limit: int) -> None:
        self._ledger = OffsetLedger(start, limit=limit)
        self._lanes: KeyedQueue[Held] = KeyedQueue(ordering)
        self._held: dict[int, Held] = {}
        self._held_bytes = 0
        self._results: list[Result] = []
        self._committed_base = None if is_new else start.base

    @property
    def load(self) -> Load:
        """For the flow gates."""
        return Load(
            held=len(self._held),
            unfinished=self._ledger.taken,
            active=self._lanes.ready + self._lanes.running,
            held_bytes=self._held_bytes,
        )

    @property
    def position(self) -> int:
        """The offset that is expected next."""
        return self._ledger.position

    @property
    def base(self) -> int:
        """The first offset that is not committed, once nothing is held."""
        return self._ledger.base

    def lag(self, end: int) -> int:
        """Records that are not committed, where the log ends before `end`."""
        known = max(end, self._ledger.position)
        return self._ledger.commit_point().lag(known) + len(self._results)

    @property
    def in_flight(self) -> int:
        """Records that are taken and not committed."""
        return len(self._held)

    @property
    def done(self) -> int:
        """Results that wait for a commit."""
        return len(self._results)

    @property
    def oldest(self) -> Received | None:
        """The first record that is held."""
        held = next(iter(self._held.values()), None)
        return None if held is None else held.record

    @property
    def has_ready(self) -> bool:
        """Whether a record may be started."""
        return self._lanes.ready > 0

    @property
    def has_news(self) -> bool:
        """Whether a commit would say anything new."""
        return bool(self._results) or (self._ledger.base != self._committed_base and not self._held)

    def is_done(self, offset: int) -> bool:
        """Whether a record need not be worked on, whoever did it."""
        return self._ledger.is_done(offset)

    def take(self, record: Received, now: float) -> bool:
        """Let a record in; returns whether it has to be worked on. A tombstone has not.

        Raises:
            LedgerFull: Not before others are done.
            OffsetRegression: A later one came in before.
        """
        if not self._ledger.take(record.offset):
            return False
        if record.is_tombstone:
            self._ledger.finish(record.offset)
            return False
        held = Held(record, now, record.size)
        self._held[record.offset] = held
        self._held_bytes += held.size
        self._lanes.put(record.key, held)
        return True

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`."""
        self._ledger.advance(position)

    def start(self) -> Ticket:
        """Start the record whose turn it is.

        Raises:
            IndexError: None is ready.
        """
        lane, held = self._lanes.start()
        return Ticket(held, lane)

    def finish(self, ticket: Ticket, outcome: Outcome) -> None:
        """A started record came to its outcome."""
        self._lanes.finish(ticket.lane)
        self._ledger.finish(ticket.held.record.offset)
        self._results.append(Result(ticket.held.record, outcome))

    def batch(self) -> Batch:
        """What a commit would hold now: every result, because the ledger says they are done."""
        point = self._ledger.commit_point()
        return Batch(tuple(self._results), Committed(point.base, ledger_codec.encode(point)))

    def settle(self, batch: Batch) -> None:
        """The batch is committed."""
        del self._results[: len(batch.results)]
        self._committed_base = batch.committed.offset
        for result in batch.results:
            self._held_bytes -= self._held.pop(result.record.offset).size

    def replace(
        self, batch: Batch, indices: Sequence[int], substitute: Callable[[Result], Outcome]
    ) -> None:
        """Put other outcomes in the place of some that cannot be committed.

        Args:
            batch: What was to be committed; it was not.
            indices: Which of its `records` are at fault.
            substitute: The other outcome.
        """
        for number in sorted({batch.owner(index) for index in indices}):
            result = batch.results[number]
            self._results[number] = Result(result.record, substitute(result))
