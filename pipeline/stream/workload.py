"""One partition between its committed offset and its next commit: order, results, load. Pure."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.config import Ordering
from pipeline.stream.ledger import CommitPoint, OffsetLedger, encode
from pipeline.stream.protocols import Committed
from pipeline.stream.records import Outcome, Outgoing, Received


@dataclass(frozen=True, slots=True)
class Held:
    """A record that is taken and not committed."""

    record: Received
    since: float
    """When it was taken, in seconds of some clock."""
    size: int
    """Bytes that it takes in memory."""


@dataclass(frozen=True, slots=True)
class Result:
    """A record that is done and not committed."""

    record: Received
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit holds: results in the order in which they came, and what is published.

    The metadata of the offset is the ledger after these results.
    """

    results: tuple[Result, ...]
    records: list[Outgoing]
    committed: Committed


@dataclass(frozen=True, slots=True)
class Load:
    """What a partition holds, for the limits of intake.

    What an earlier owner left `unfinished` counts when it comes in again: it must be let in, or it
    never gets done. `active` records run, or could if there were a slot.
    """

    held: int = 0
    unfinished: int = 0
    active: int = 0
    held_bytes: int = 0


CROWD = 16
"""Records of one tenant in a partition that count as active while they wait: with more than these
it holds up only itself, and what comes behind them is let in all the same."""
_TENANTS_KEPT = 1000
TenantOf = Callable[[Received], str]


def tenant_reader(source: str | None) -> TenantOf | None:
    """Whose a record is, by the setting `stream.tenant_from`; empty where it does not say."""
    if source is None:
        return None
    kind, _, name = source.partition(":")

    def by_header(record: Received) -> str:
        values = (value for key, value in record.headers if key == name)
        return (next(values, None) or b"").decode(errors="replace")

    def by_key(record: Received) -> str:
        before, found, _ = (record.key or b"").decode(errors="replace").partition(name)
        return before if found else ""

    return by_header if kind == "header" else by_key


class Ready:
    """What may run next: the tenants take turns, and of each the oldest goes first.

    Start-time fair queueing, each record counting as much: the time of a tenant moves on with each
    of its records, and the one furthest behind goes next. Without tenants it is one queue.
    """

    def __init__(self, tenant_of: TenantOf | None = None) -> None:
        self._tenant_of = tenant_of
        self._queues: dict[str, deque[tuple[bytes | None, Held]]] = {}
        self._times: dict[str, int] = {}
        self._now = 0
        self._size = 0
        self.crowded = 0
        """How many are beyond the first `CROWD` of their tenant."""

    def __len__(self) -> int:
        return self._size

    def append(self, lane: bytes | None, held: Held) -> None:
        tenant = "" if self._tenant_of is None else self._tenant_of(held.record)
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
            # One that was idle starts at the present.
            self._times[tenant] = max(self._times.get(tenant, 0), self._now)
        queue.append((lane, held))
        self._size += 1
        self.crowded += self._tenant_of is not None and len(queue) > CROWD

    def popleft(self) -> tuple[bytes | None, Held]:
        """Take what is next; `IndexError` where there is nothing."""
        if not self._queues:
            raise IndexError("nothing is ready")
        tenant = min(self._queues, key=self._times.__getitem__)
        queue = self._queues[tenant]
        self._now = self._times[tenant]
        self._times[tenant] += 1
        self._size -= 1
        self.crowded -= self._tenant_of is not None and len(queue) > CROWD
        first = queue.popleft()
        if not queue:
            del self._queues[tenant]
            if len(self._times) > _TENANTS_KEPT:
                self._times = {each: self._times[each] for each in self._queues}
        return first


class Workload:
    """Ledger, order and results of one partition from a commit point on, kept in step.

    A lane is a queue of records that run one after the other. With the ordering `key` each key
    has a lane, and records without a key have none in common, as in Kafka itself; with
    `partition` all share one; with `none` each record is alone.

    Attributes:
        held: Records that are taken and not committed, by offset, the oldest first.
        ready: Those that may run next: one of a lane that has none running.
        results: What is done and waits for a commit.
        committed_base: None where nothing was ever committed.
    """

    def __init__(
        self,
        start: CommitPoint,
        *,
        is_new: bool,
        ordering: Ordering,
        limit: int,
        cluster: str = "",
        tenant_of: TenantOf | None = None,
    ) -> None:
        self.ledger = OffsetLedger(start, limit=limit)
        self.held: dict[int, Held] = {}
        self.ready = Ready(tenant_of)
        self.running = 0
        self.results: list[Result] = []
        self.committed_base = None if is_new else start.base
        self._ordering = ordering
        self._cluster = cluster
        # A lane is here while one of its records is ready or running; the queue holds the rest.
        self._lanes: dict[bytes, deque[Held]] = {}
        self._held_bytes = 0

    @property
    def load(self) -> Load:
        return Load(
            held=len(self.held),
            unfinished=self.ledger.taken,
            active=len(self.ready) - self.ready.crowded + self.running,
            held_bytes=self._held_bytes,
        )

    @property
    def has_news(self) -> bool:
        """Whether a commit would say anything new."""
        return bool(self.results) or (not self.held and self.ledger.base != self.committed_base)

    def lag(self, end: int) -> int:
        """Records that are not committed, where the log ends before `end`."""
        known = max(end, self.ledger.position)
        return self.ledger.commit_point().lag(known) + len(self.results)

    def take(self, record: Received, now: float) -> Held | None:
        """Let a record in; None where it need not be worked on. A tombstone need not.

        Raises:
            LedgerFull: Not before others are done.
            OffsetRegression: A later one came in before.
        """
        if not self.ledger.take(record.offset):
            return None
        if record.is_tombstone:
            self.ledger.finish(record.offset)
            return None
        held = self.held[record.offset] = Held(record, now, record.size)
        self._held_bytes += held.size
        lane = record.key
        if self._ordering != "key":
            lane = b"" if self._ordering == "partition" else None
        if lane is not None and lane in self._lanes:
            self._lanes[lane].append(held)
            return held
        if lane is not None:
            self._lanes[lane] = deque()
        self.ready.append(lane, held)
        return held

    def start(self) -> tuple[bytes | None, Held]:
        """Start what is next: its lane, for `finish`, and the record."""
        started = self.ready.popleft()
        self.running += 1
        return started

    def finish(self, lane: bytes | None, record: Received, outcome: Outcome) -> None:
        """A record that was started in that lane came to its outcome: its lane's next is ready."""
        self.running -= 1
        self.ledger.finish(record.offset)
        self.results.append(Result(record, outcome))
        if lane is None:
            return
        if waiting := self._lanes[lane]:
            self.ready.append(lane, waiting.popleft())
        else:
            del self._lanes[lane]

    def batch(self) -> Batch:
        """What a commit would hold now: every result, because the ledger says they are done."""
        point = self.ledger.commit_point()
        return Batch(
            tuple(self.results),
            [record for result in self.results for record in result.outcome.records],
            Committed(point.base, encode(point, self._cluster)),
        )

    def settle(self, batch: Batch) -> None:
        """The batch is committed."""
        del self.results[: len(batch.results)]
        self.committed_base = batch.committed.offset
        for result in batch.results:
            self._held_bytes -= self.held.pop(result.record.offset).size

    def replace(
        self, batch: Batch, indices: Sequence[int], substitute: Callable[[Result], Outcome]
    ) -> None:
        """Put other outcomes in the place of those that cannot be committed.

        `indices` are those of the batch's `records` that are at fault; it was not committed.
        """
        owners = [
            number for number, result in enumerate(batch.results) for _ in result.outcome.records
        ]
        for number in sorted({owners[index] for index in indices}):
            result = batch.results[number]
            self.results[number] = Result(result.record, substitute(result))
