"""A seeded history of several processes on the broker in memory, and the audit of what came of it.

One history is one seed: which faults, which disruptions, in which order. Nothing in it depends on
the machine, so a seed that fails once fails always: `run_history(seed)` shows it again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from pipeline.config import Delivery, Ordering, StreamSettings
from pipeline.model.errors import Unavailable
from pipeline.model.records import EPOCH
from pipeline.stream import ledger
from pipeline.stream.engine import Engine
from pipeline.stream.ledger import OffsetLedger
from pipeline.stream.protocols import Brokers, TopicPartition
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from pipeline.stream.tenants import Tenants
from pipeline.testing import Fault, MemoryBroker, MemoryBrokers, run_in_virtual_time
from pipeline.testing.memory_broker import TransactionState
from pipeline.trust.sampling import Lottery

GROUP = "pipeline.stage"
SESSION_TIMEOUT = 1.0
REBALANCE_TIMEOUT = 2.0
_SLOW_SHARE, _AWAY_SHARE = 0.2, 0.05
LOTTERY = Lottery(0.3)
PATIENCE = 120.0
"""Virtual seconds after the last disruption in which everything must be committed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the handler."""

    process: str
    generation: int
    is_owner: bool
    was_committed: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """What a history came to."""

    published: int
    lost: int
    duplicated: int
    out_of_order: int
    calls: int
    needless_calls: tuple[str, ...]
    misdrawn: int = 0
    """Drawn answers that are not there just as often as their results."""

    @property
    def repeated(self) -> int:
        """Calls beyond one for each event."""
        return self.calls - self.published

    def faults(self, delivery: Delivery) -> list[str]:
        """What must not be, in words."""
        found = []
        if self.lost:
            found.append(f"{self.lost} lost")
        if delivery == "exactly_once" and self.duplicated:
            found.append(f"{self.duplicated} duplicated")
        if delivery == "exactly_once" and self.out_of_order:
            found.append(f"{self.out_of_order} out of order")
        if delivery == "exactly_once" and self.misdrawn:
            found.append(f"{self.misdrawn} drawn answers lost or doubled")
        return found + list(self.needless_calls)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a seed decides before anything runs."""

    delivery: Delivery
    ordering: Ordering
    partitions: int
    has_transactions: bool
    keys: int
    events: int
    processes: int
    latency: float
    call_seconds: float
    transaction_timeout: float
    loss: float
    refusal: float
    settings: StreamSettings
    commit_count: int

    @classmethod
    def of(cls, random: Random, delivery: Delivery) -> "Scenario":
        """A small one: small histories find what large ones find, only sooner."""
        return cls(
            delivery=delivery,
            ordering=random.choice(["key", "key", "key", "partition"]),
            partitions=random.randint(1, 4),
            has_transactions=random.random() < 0.3,
            keys=random.randint(1, 8),
            events=random.randint(5, 40),
            processes=random.randint(1, 3),
            latency=random.choice([0.0, 0.005, 0.05]),
            call_seconds=random.choice([0.02, 0.2, 0.8]),
            transaction_timeout=random.choice([1.5, 60.0]),
            loss=random.choice([0.0, 0.01, 0.1]),
            refusal=random.choice([0.0, 0.05]),
            settings=StreamSettings(
                max_unfinished=random.choice([1, 3, 20, 1000]),
                max_in_flight=random.choice([1, 4, 64]),
                commit_interval=random.choice([0.01, 0.1]),
                drain_budget=random.choice([0.01, 0.3, 1.0]),
                dead_letter_ratio=1.0,
            ),
            commit_count=random.choice([1, 5, 500]),
        )


class SeededFaults:
    """Latency for all, loss and refusal for some, until it is calm."""

    def __init__(self, random: Random, scenario: Scenario) -> None:
        self._random = random
        self._scenario = scenario
        self.is_calm = False

    def next(self, process: str, request: str) -> Fault:
        random, scenario = self._random, self._scenario
        before = random.random() * scenario.latency
        after = random.random() * scenario.latency
        if self.is_calm:
            return Fault(before, after)
        if random.random() < scenario.loss:
            return Fault(before, after, loss=random.choice(["request", "response"]))
        is_refused = random.random() < scenario.refusal and request in {
            "write", "add_offset", "end", "init", "fetch_offset"
        }  # fmt: skip
        return Fault(before, after, is_refused=is_refused)


@dataclass(eq=False)
class Process:
    """One running engine."""

    name: str
    brokers: MemoryBrokers
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


@dataclass(frozen=True, eq=False)
class Whims:
    """Tenants that may spend nothing for now."""

    names: Set[str] = frozenset()

    def __contains__(self, tenant: object) -> bool:
        return tenant in self.names

    def is_used_up(self, tenant: str) -> bool:
        return tenant in self.names


def is_drawn(value: bytes | None) -> bool:
    """Whether an answer is in the sample, by lot as always."""
    return LOTTERY.is_drawn("stage", (value or b"").decode(), EPOCH)


BreakSessions = Callable[[MemoryBrokers], Brokers]


class History:
    """Runs one scenario and keeps books."""

    def __init__(
        self,
        seed: int,
        delivery: Delivery = "exactly_once",
        *,
        ordering: Ordering | None = None,
        break_sessions: BreakSessions | None = None,
        has_tenants: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.scenario = Scenario.of(self.random, delivery)
        # Draws of its own: a seed without tenants is the same history as ever.
        self._whims = Random(seed) if has_tenants else None
        self._is_decoded = seed % 2 == 1
        self._waiting = Whims()
        self._ordering = ordering or self.scenario.ordering
        self._break_sessions = break_sessions
        self.broker = MemoryBroker()
        self.broker.create_topic("in", self.scenario.partitions)
        self.broker.create_topic("out", 2)
        self.broker.create_topic("trust", 2)
        self.faults = SeededFaults(self.random, self.scenario)
        self.processes: list[Process] = []
        self._started = 0
        self._published: list[int] = []
        self._calls: dict[tuple[TopicPartition, int], list[Call]] = defaultdict(list)

    async def run(self) -> Audit:
        """From the first event to the audit."""
        for _ in range(self.scenario.processes):
            self.start_process()
        publishing = asyncio.create_task(self._publish())
        changing = asyncio.create_task(self._change_tenants())
        for _ in range(self.random.randint(0, 4)):
            await asyncio.sleep(self.random.random() * 1.5)
            await self._disrupt()
        await publishing
        changing.cancel()
        self._waiting = Whims()
        self.faults.is_calm = True
        for process in self.processes:
            process.brokers.link.thaw()
        if not self.processes:
            self.start_process()
        await self._wait_for_all()
        for process in list(self.processes):
            await self.end(process)
        return self._audit()

    def start_process(self) -> Process:
        """Start another one."""
        self._started += 1
        brokers = MemoryBrokers(
            self.broker,
            process=f"p{self._started}",
            delivery=self.scenario.delivery,
            faults=self.faults,
            session_timeout=SESSION_TIMEOUT,
            rebalance_timeout=REBALANCE_TIMEOUT,
            transaction_timeout=self.scenario.transaction_timeout,
        )
        process = Process(f"p{self._started}", brokers)
        engine = Engine(
            "stage",
            ["in"],
            self._handler(process),
            brokers=self._break_sessions(brokers) if self._break_sessions else brokers,
            group=GROUP,
            settings=self.scenario.settings,
            tenants=self._tenants(),
            commit_count=self.scenario.commit_count,
            ordering=self._ordering,
        )
        process.task = asyncio.create_task(engine.run(process.stop))
        self.processes.append(process)
        return process

    def _tenants(self) -> Tenants | None:
        """Each key is a tenant's; in every other history it takes time to find out whose."""
        if self._whims is None:
            return None
        if not self._is_decoded:
            return Tenants("key", lambda each: (each.key or b"").decode(), lambda: self._waiting)
        return Tenants("key", lambda each: each.tenant, lambda: self._waiting, find=self._find)

    async def _find(self, record: Received) -> str:
        """Whose it is, found at once, late, or not now."""
        if self._whims is not None and (chance := self._whims.random()) < _SLOW_SHARE:
            await asyncio.sleep(chance * 3)
            if chance < _AWAY_SHARE and not self.faults.is_calm:
                raise Unavailable("the registry is away")
        return (record.key or b"").decode()

    async def _change_tenants(self) -> None:
        """Now this tenant may go on, now that."""
        while self._whims is not None:
            await asyncio.sleep(self._whims.random() * 0.5)
            keys = range(self.scenario.keys)
            self._waiting = Whims({f"k{key}" for key in keys if self._whims.random() < 0.5})

    async def end(self, process: Process) -> None:
        """SIGTERM."""
        process.stop.set()
        self.processes.remove(process)
        assert process.task is not None
        await process.task

    async def kill(self, process: Process) -> None:
        """SIGKILL: not one more request has any effect."""
        process.brokers.link.cut()
        self.processes.remove(process)
        assert process.task is not None
        process.task.cancel()
        await asyncio.wait([process.task])

    async def _disrupt(self) -> None:
        kind = self.random.choice(["kill", "kill", "end", "freeze", "freeze", "start"])
        if kind == "start" or not self.processes:
            self.start_process()
            return
        process = self.random.choice(self.processes)
        if kind == "kill":
            await self.kill(process)
        elif kind == "end":
            await self.end(process)
        else:
            process.brokers.link.freeze()
            delay = self.random.choice([0.1, SESSION_TIMEOUT + 0.5, 3.0])
            asyncio.get_running_loop().call_later(delay, process.brokers.link.thaw)
            return
        if self.random.random() < 0.8:
            self.start_process()

    async def _publish(self) -> None:
        """Some publish in transactions, whose markers take offsets, and some of those abort."""
        for number in range(self.scenario.events):
            key = b"k%d" % self.random.randrange(self.scenario.keys)
            end = None
            if self.scenario.has_transactions:
                end = self.random.choice([None, None, *TransactionState.__members__.values()])
            if end is None:
                self.broker.publish("in", b"%d" % number, key=key)
            elif end is not TransactionState.OPEN:
                epoch = self.broker.init_producer("publisher")
                record = Outgoing("in", key, b"%d" % number, ())
                self.broker.begin("publisher", epoch, timeout=60)
                self.broker.write_in_transaction("publisher", epoch, [record])
                if self.random.random() < 0.5:
                    await asyncio.sleep(self.random.random() * 0.2)
                self.broker.end("publisher", epoch, end)
            if end in {None, TransactionState.COMMITTED}:
                self._published.append(number)
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.random() * 0.2)

    def _handler(self, process: Process) -> Callable[[Received], Awaitable[Outcome]]:
        async def handle(record: Received) -> Outcome:
            if process.brokers.link.is_cut:
                await asyncio.Event().wait()
            self._note_call(process, record)
            await asyncio.sleep(self.random.random() * self.scenario.call_seconds)
            result = Outgoing("out", record.key, record.value, ())
            if not is_drawn(record.value):
                return Outcome(Disposition.ENRICHED, (result,))
            drawn = Outgoing("trust", record.value, record.value, ())
            return Outcome(Disposition.ENRICHED, (result, drawn))

        return handle

    def _note_call(self, process: Process, record: Received) -> None:
        partition = TopicPartition(record.topic, record.partition)
        group = self.broker.group(GROUP)
        committed = group.committed.get(partition)
        is_done = False
        if committed is not None:
            point = ledger.decode(committed.offset, committed.metadata, self.broker.cluster)
            is_done = OffsetLedger(point, limit=1000).is_done(record.offset)
        self._calls[partition, record.offset].append(
            Call(
                process.name,
                group.generation,
                is_owner=group.owners.get(partition) == process.name,
                was_committed=is_done,
            )
        )

    async def _wait_for_all(self) -> None:
        group = self.broker.group(GROUP)
        async with asyncio.timeout(PATIENCE):
            while any(
                group.committed.get(partition) is None
                or group.committed[partition].offset < self.broker.bounds(partition).end
                for partition in self.broker.partitions_of("in")
            ):
                for process in self.processes:
                    if process.task is not None and process.task.done():
                        process.task.result()
                await asyncio.sleep(0.1)

    def _audit(self) -> Audit:
        seen: Counter[int] = Counter()
        drawn = Counter(
            int(entry.record.value or b"")
            for entries in self.broker.committed_records("trust").values()
            for entry in entries
            if entry.record is not None
        )
        last: dict[bytes, int] = {}
        out_of_order = 0
        for entries in self.broker.committed_records("out").values():
            for entry in entries:
                assert entry.record is not None
                assert entry.record.value is not None
                assert entry.record.key is not None
                number = int(entry.record.value)
                seen[number] += 1
                out_of_order += number < last.get(entry.record.key, -1)
                last[entry.record.key] = number
        return Audit(
            published=len(self._published),
            lost=sum(number not in seen for number in self._published),
            duplicated=sum(seen.values()) - len(seen),
            out_of_order=out_of_order,
            calls=sum(len(calls) for calls in self._calls.values()),
            needless_calls=tuple(self._needless_calls()),
            misdrawn=sum(
                drawn[number] != (count if is_drawn(b"%d" % number) else 0)
                for number, count in seen.items()
            ),
        )

    def _needless_calls(self) -> Sequence[str]:
        """Calls that were repeated although the answer was not lost."""
        generations = self.broker.group(GROUP).generations
        found = []
        for (partition, offset), calls in self._calls.items():
            where = f"{partition} offset {offset}"
            # A process that was taken for dead and does not know it yet may still ask.
            rightful = [call for call in calls if call.is_owner]
            found += [
                f"{where} was asked again after it was committed"
                for call in rightful
                if call.was_committed
            ]
            for earlier, later in pairwise(calls):
                owners = [
                    generation.get(partition)
                    for generation in generations[earlier.generation - 1 : later.generation]
                ]
                if earlier.process == later.process and set(owners) == {earlier.process}:
                    found.append(f"{where} was asked twice by one owner")
        return found


def run_history(
    seed: int,
    delivery: Delivery = "exactly_once",
    *,
    ordering: Ordering | None = None,
    break_sessions: BreakSessions | None = None,
    has_tenants: bool = False,
) -> Audit:
    """One history in virtual time; with tenants, each key is one, and they have to wait in turn."""

    async def main() -> Audit:
        history = History(
            seed,
            delivery,
            ordering=ordering,
            break_sessions=break_sessions,
            has_tenants=has_tenants,
        )
        return await history.run()

    return run_in_virtual_time(main())
