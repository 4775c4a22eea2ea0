"""The log of one partition, with transactions."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from pipeline.stream.brokers import Committed, LogBounds, TopicPartition
from pipeline.stream.records import Outgoing


class TransactionState(Enum):
    """What readers see of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False, slots=True)
class Transaction:
    """Records and offsets that become visible together, or never."""

    state: TransactionState = TransactionState.OPEN
    logs: "dict[PartitionLog, None]" = field(default_factory=dict)
    offsets: dict[tuple[str, TopicPartition], Committed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One offset of a log: a record, or without one the marker that ends a transaction."""

    offset: int
    written_at: float
    record: Outgoing | None
    transaction: Transaction | None


class PartitionLog:
    """Appended to at the end, trimmed at the beginning, thinned out by compaction."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._begin = 0
        self._end = 0
        self._open: dict[Transaction, int] = {}

    @property
    def bounds(self) -> LogBounds:
        """The first offset, and the one after the last that committed readers may see."""
        return LogBounds(self._begin, self.stable_end)

    @property
    def end(self) -> int:
        """The offset after the last, whatever became of it."""
        return self._end

    @property
    def stable_end(self) -> int:
        """Where the first open transaction begins: committed readers see nothing from there."""
        return min(self._open.values(), default=self._end)

    def append(self, record: Outgoing, now: float, transaction: Transaction | None = None) -> int:
        """Write a record; returns its offset."""
        if transaction is not None:
            transaction.logs[self] = None
            self._open.setdefault(transaction, self._end)
        return self._write(record, now, transaction)

    def end_transaction(self, transaction: Transaction, now: float) -> None:
        """Write the marker: what belongs to it is visible, or void, from now on."""
        del self._open[transaction]
        self._write(None, now, transaction)

    def read(self, position: int, limit: int) -> tuple[Sequence[Entry], int]:
        """What a committed reader sees from a position on.

        Returns:
            At most `limit` records, and the position after them.
        """
        end = self.stable_end
        found: list[Entry] = []
        start = bisect_left(self._entries, position, key=lambda entry: entry.offset)
        for entry in self._entries[start:]:
            if entry.offset >= end:
                break
            if len(found) == limit:
                return found, entry.offset
            transaction = entry.transaction
            is_void = transaction is not None and transaction.state is TransactionState.ABORTED
            if entry.record is not None and not is_void:
                found.append(entry)
        return found, max(position, end)

    def trim(self, begin: int) -> None:
        """Retention: nothing below `begin` is left."""
        self._begin = max(self._begin, begin)
        self._entries = [entry for entry in self._entries if entry.offset >= begin]

    def remove(self, offset: int) -> None:
        """Compaction: the record is gone, its offset stays unused."""
        self._entries = [entry for entry in self._entries if entry.offset != offset]

    def _write(self, record: Outgoing | None, now: float, transaction: Transaction | None) -> int:
        offset = self._end
        self._entries.append(Entry(offset, now, record, transaction))
        self._end += 1
        return offset
