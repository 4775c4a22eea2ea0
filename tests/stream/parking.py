"""A partition in memory that one process after the other takes over, for tests of parking."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

from pipeline.stream.ledger import CommitPoint, LedgerFull, decode
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.stream.tenants import Tenants
from pipeline.stream.workload import Held, Workload

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DONE = Outcome(Disposition.ENRICHED, ())


def record(offset: int, key: str, size: int = 10) -> Received:
    return Received("in", 0, offset, key.encode(), b"x" * size, (), NOW, NOW)


@dataclass
class Broke:
    """Tenants that may spend nothing more."""

    names: set[str] = field(default_factory=set)

    def __contains__(self, tenant: object) -> bool:
        return tenant in self.names

    def is_used_up(self, tenant: str) -> bool:
        return tenant in self.names


class Partition:
    """A log, and what one process after the other makes of it."""

    def __init__(self, keys: list[str], *, limit: int = 1000, gaps: int = 1) -> None:
        self.log = {number * gaps: record(number * gaps, key) for number, key in enumerate(keys)}
        self.end = len(keys) * gaps
        self.limit = limit
        self.broke = Broke()
        self.committed = CommitPoint(0, 0)
        self.published: list[int] = []
        self.reads = 0
        self.start()

    def start(self) -> None:
        """A process takes it over from what is committed."""
        tenants = Tenants.by("key_prefix:/")
        assert tenants is not None
        tenants.turns.waiting = self.broke
        self.workload = Workload(
            self.committed, is_new=False, ordering="key", limit=self.limit, tenants=tenants
        )
        self.running: list[tuple[bytes | None, Held]] = []

    def read(self, most: int = 1) -> None:
        made = self.workload
        for _ in range(most):
            offset = made.position
            while offset not in self.log:
                if offset >= self.end:
                    made.advance(self.end)
                    return
                offset += 1
            try:
                made.take(self.log[offset], 0.0)
            except LedgerFull:
                return
            self.reads += 1
            made.ends_catching_up()

    def run(self) -> None:
        while self.workload.ready.turn < inf:
            self.running.append(self.workload.start())

    def finish(self, which: int = 0) -> None:
        lane, held = self.running.pop(which % len(self.running))
        self.workload.finish(lane, held.record, DONE)

    def commit(self) -> None:
        batch = self.workload.batch()
        self.workload.settle(batch)
        self.published += [result.record.offset for result in batch.results]
        offset, metadata = batch.committed.offset, batch.committed.metadata
        self.committed = decode(offset, metadata)

    def step(self, step: str, number: int) -> None:
        match step:
            case "read":
                self.read(number)
            case "run":
                self.run()
            case "finish" if self.running:
                self.finish(number)
            case "commit":
                self.commit()
            case "kill":
                self.start()
            case "catch up":
                self.workload.catch_up()
            case "change":
                self.broke.names = {name for at, name in enumerate("abc") if number & 1 << at}

    def go_on(self) -> None:
        """Until nothing more happens."""
        while True:
            before = len(self.published), self.workload.position, self.reads
            self.workload.catch_up()
            self.read(10)
            self.run()
            while self.running:
                self.finish()
            self.commit()
            if before == (len(self.published), self.workload.position, self.reads):
                return
