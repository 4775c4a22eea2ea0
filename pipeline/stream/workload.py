"""One partition between its committed offset and its next commit: order, results, load. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pipeline.config import Ordering
from pipeline.stream.ledger import (
    LIMIT_WITH_PARKED,
    MOST_PARKED,
    CommitPoint,
    OffsetLedger,
    OffsetRegression,
    encode,
)
from pipeline.stream.protocols import Committed
from pipeline.stream.records import Outcome, Outgoing, Received
from pipeline.stream.tenants import Ready, Tenants


@dataclass(frozen=True, slots=True)
class Held:
    """A record that is taken and not committed."""

    record: Received
    since: float
    """When it was taken, in seconds of some clock."""
    size: int
    """Bytes that it takes in memory."""
    tenant: str = ""


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


class Left(Enum):
    """What is not to be worked on now, whatever it is."""

    LEFT = "left"
    """It stays in Kafka, or was taken before."""


_SLICE = 2_000
"""Records that are read again in one go, before what is new gets its turn."""
_TENANT_BYTES = 4 << 20
"""Of one tenant's records in a partition that wait: above it the rest is left in Kafka."""


@dataclass(slots=True)
class _CatchingUp:
    """Records are read again up to `until`; the `over` take none back any more."""

    position: int
    until: int
    over: set[bytes]
    records: int = 0


class Workload:
    """Ledger, order and results of one partition from a commit point on, kept in step.

    A lane is a queue of records that run one after the other. With the ordering `key` each key
    has a lane, and records without a key have none in common, as in Kafka itself; with
    `partition` all share one; with `none` each record is alone.

    A tenant of which enough wait here, or that may spend nothing more, is *parked*: the rest of its
    records stays in Kafka, so that they take no place of those that come behind them. Once fewer
    wait they are read again, from the first that was left. The order within a key stays, as long as
    all its records are of one tenant. With the ordering `partition` none is parked.

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
        tenants: Tenants | None = None,
        handles_tombstones: bool = False,
    ) -> None:
        self._tenants = tenants
        self._handles_tombstones = handles_tombstones
        self._parks = tenants is not None and tenants.parks and ordering != "partition"
        if tenants is not None:
            start, limit = replace(start, rule=tenants.rule), min(limit, LIMIT_WITH_PARKED)
        self._room = max(1, 3 * limit // 4)
        self.ledger = OffsetLedger(start, limit=limit)
        self.held: dict[int, Held] = {}
        self.ready = Ready(None if tenants is None else tenants.turns)
        self.running = 0
        self.results: list[Result] = []
        self.committed_base = None if is_new else start.base
        self._ordering = ordering
        self._cluster = cluster
        # A lane is here while one of its records is ready or running; the queue holds the rest.
        self._lanes: dict[bytes, deque[Held]] = {}
        self._held_bytes = 0
        self._waiting: Counter[str] = Counter()
        self._waiting_bytes: Counter[str] = Counter()
        self._names: dict[bytes, str] = {}
        self._catching_up: _CatchingUp | None = None

    @property
    def load(self) -> Load:
        return Load(
            held=len(self.held),
            unfinished=self.ledger.taken,
            active=self.ready.active + self.running,
            held_bytes=self._held_bytes,
        )

    @property
    def position(self) -> int:
        """The offset that is to be read next."""
        return self.ledger.position if self._catching_up is None else self._catching_up.position

    @property
    def oldest(self) -> Held | None:
        """Of what is not committed; None where nothing is held, or what stays in Kafka is older."""
        if self._tenants is None:
            return next(iter(self.held.values()), None)
        first = min(self.held, default=None)
        if first is None or any(each.offset < first for each in self.ledger.parked.values()):
            return None
        return self.held[first]

    @property
    def used_up(self) -> set[str]:
        """The tenants of whom something is here, or is left in Kafka, that may spend no more."""
        if self._tenants is None:
            return set()
        is_used_up = self._tenants.turns.waiting.is_used_up
        return set(filter(is_used_up, {*self._waiting, *self._names.values()}))

    @property
    def has_news(self) -> bool:
        """Whether a commit would say anything new."""
        return bool(self.results) or (not self.held and self.ledger.base != self.committed_base)

    def lag(self, end: int) -> int:
        """Records that are not committed, where the log ends before `end`."""
        known = max(end, self.ledger.position)
        return self.ledger.commit_point().lag(known) + len(self.results)

    def take(self, record: Received, now: float) -> Held | Left | None:
        """Let a record in; None where it is done with, as a tombstone is that is not handled.

        Raises:
            LedgerFull: Not before others are done.
            OffsetRegression: A later one came in before.
        """
        if self._catching_up is not None:
            if record.offset < self._catching_up.until:
                return self._take_back(record, now, self._catching_up)
            self._caught_up(self._catching_up, record.offset)
        tenant = "" if self._tenants is None else self._tenants.of(record)
        if self._parks and self._is_to_be_left(tenant, record.offset):
            self._names[who := Tenants.who(tenant)] = tenant
            self.ledger.pass_over(who, record.offset)
            return Left.LEFT
        if not self.ledger.take(record.offset):
            return None
        return self._hold(record, tenant, now)

    def advance(self, position: int) -> None:
        """Nothing will come in any more below `position`, of what is being read."""
        if self._catching_up is not None:
            if position < self._catching_up.until:
                return
            self._caught_up(self._catching_up, position)
        self.ledger.advance(position)

    def catch_up(self) -> int | None:
        """Begin to read again what was left in Kafka, if there is room: from which offset."""
        ledger = self.ledger
        if not ledger.parked or self._catching_up is not None or ledger.is_behind:
            return None
        over = {who for who in ledger.parked if not self._has_room(who)}
        begin = min(
            (each.offset for who, each in ledger.parked.items() if who not in over), default=None
        )
        if begin is None:
            return None
        self._catching_up = _CatchingUp(begin, ledger.position, over)
        return begin

    def ends_catching_up(self) -> bool:
        """Whether enough was read again; then what is new comes next."""
        catching_up = self._catching_up
        if catching_up is None:
            return False
        is_more = catching_up.position < catching_up.until and catching_up.records < _SLICE
        if is_more and self.ledger.parked.keys() - catching_up.over:
            return False
        self._caught_up(catching_up, catching_up.position)
        return True

    def _take_back(
        self, record: Received, now: float, catching_up: _CatchingUp
    ) -> Held | Left | None:
        if record.offset < catching_up.position:
            raise OffsetRegression(f"offset {record.offset} came after {catching_up.position - 1}")
        catching_up.position = record.offset + 1
        catching_up.records += 1
        tenant = "" if self._tenants is None else self._tenants.of(record)
        who = Tenants.who(tenant)
        parked = self.ledger.parked.get(who)
        if parked is None or record.offset < parked.offset or who in catching_up.over:
            return Left.LEFT
        self._names[who] = tenant
        is_room = self._waiting[tenant] < self._most_waiting(tenant)
        if not is_room or not self.ledger.take_back(who, record.offset):
            self.ledger.looked_through(who, record.offset)
            catching_up.over.add(who)
            return Left.LEFT
        return self._hold(record, tenant, now)

    def _caught_up(self, catching_up: _CatchingUp, position: int) -> None:
        """What was left below `position` was taken back, but for those that are over."""
        for who in self.ledger.parked.keys() - catching_up.over:
            self.ledger.looked_through(who, position)
        self._names = {who: self._names[who] for who in self.ledger.parked if who in self._names}
        self._catching_up = None

    def _is_to_be_left(self, tenant: str, offset: int) -> bool:
        ledger = self.ledger
        is_too_much = self._waiting[tenant] >= self._most_waiting(tenant)
        if not ledger.parked and not is_too_much:
            return False
        if ledger.is_unfinished(offset):
            # It had been taken before its tenant was parked.
            return False
        parked = ledger.parked.get(Tenants.who(tenant))
        if parked is not None:
            return offset >= parked.offset
        return is_too_much and not ledger.is_known(offset) and len(ledger.parked) < MOST_PARKED

    def _most_waiting(self, tenant: str) -> int:
        """Of a tenant here, at most: twice what all that wait leave of the room."""
        if self._tenants is not None and self._tenants.turns.waiting.is_used_up(tenant):
            return 0
        if self._waiting_bytes[tenant] > _TENANT_BYTES:
            return 0
        return max(1, 2 * (self._room - len(self.held) + self.running + len(self.results)))

    def _has_room(self, who: bytes) -> bool:
        tenant = self._names.get(who)
        if tenant is None:
            # Not known before one of its records was seen.
            return 2 * self.ledger.taken < self._room
        return self._waiting[tenant] < self._most_waiting(tenant) / 4

    def _hold(self, record: Received, tenant: str, now: float) -> Held | None:
        # Without a key it says nothing.
        is_handled = self._handles_tombstones and record.key is not None
        if record.is_tombstone and not is_handled:
            self.ledger.finish(record.offset)
            return None
        held = self.held[record.offset] = Held(record, now, record.size, tenant)
        self._held_bytes += held.size
        if self._parks:
            self._waiting[tenant] += 1
            self._waiting_bytes[tenant] += held.size
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
        lane, held = self.ready.popleft()
        self.running += 1
        if self._parks:
            self._waiting[held.tenant] -= 1
            self._waiting_bytes[held.tenant] -= held.size
            if not self._waiting[held.tenant]:
                del self._waiting[held.tenant], self._waiting_bytes[held.tenant]
        return lane, held

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
