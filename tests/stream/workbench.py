"""An engine on the broker in memory, with a handler that tests steer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pipeline.config import Delivery, Ordering, StreamSettings
from pipeline.model.observer import Observer, OffsetFault
from pipeline.stream.engine import Engine
from pipeline.stream.intake import IntakeGate, Throttle
from pipeline.stream.partition_worker import COMMIT_COUNT
from pipeline.stream.protocols import Brokers, TopicPartition
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received, Rescue
from pipeline.stream.tenants import Tenants
from pipeline.testing import Fault, Faults, MemoryBroker, MemoryBrokers

GROUP = "pipeline.stage"


class Notes(Observer):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.committed_records = 0
        self.tombstones = 0
        self.commits = 0
        self.failed: Counter[str] = Counter()
        self.ends: Counter[Disposition] = Counter()
        self.offset_faults: list[OffsetFault] = []
        self.failing_partitions = 0
        self.are_brokers_reachable: bool | None = None
        self.lags: dict[int, int] = {}
        self.oldest: dict[int, float | None] = {}
        self.closed: list[str | None] = []
        self.held_changes: list[str | None] = []
        self.stuck_changes: list[bool] = []
        self.rebalances: list[int] = []
        self.differ: list[bool] = []

    def tombstone(self, stage: str) -> None:
        self.tombstones += 1

    def completed(self, stage: str, end: str, *, seconds: float) -> None:
        self.ends[Disposition(end)] += 1

    def committed(self, stage: str, *, records: int, seconds: float) -> None:
        self.committed_records += records
        self.commits += 1

    def commit_failed(self, stage: str, *, outcome: str) -> None:
        self.failed[outcome] += 1

    def offset_fault(self, stage: str, fault: OffsetFault) -> None:
        self.offset_faults.append(fault)

    def failing(self, stage: str, *, partitions: int) -> None:
        self.failing_partitions = partitions

    def reachable(self, stage: str, *, are_brokers: bool) -> None:
        self.are_brokers_reachable = are_brokers

    def lag(
        self, stage: str, topic: str, partition: int, *, records: int, oldest_seconds: float | None
    ) -> None:
        self.lags[partition] = records
        self.oldest[partition] = oldest_seconds

    def rebalanced(self, stage: str, *, partitions: int, seconds: float) -> None:
        self.rebalances.append(partitions)

    def members_differ(self, stage: str, *, differ: bool) -> None:
        self.differ.append(differ)

    def intake(self, stage: str, *, paused_reason: str | None) -> None:
        self.closed.append(paused_reason)

    def held(self, stage: str, *, because: str | None) -> None:
        self.held_changes.append(because)

    def stuck(self, stage: str, *, is_stuck: bool) -> None:
        self.stuck_changes.append(is_stuck)


class Handler:
    """Copies each record to `out`; takes `seconds` for it, or as long as a test holds it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls: Counter[bytes | None] = Counter()
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self._held: dict[bytes | None, asyncio.Event] = {}

    def hold(self, value: bytes) -> asyncio.Event:
        """Calls for this value end only when the event is set."""
        return self._held.setdefault(value, asyncio.Event())

    async def __call__(self, record: Received) -> Outcome:
        self.calls[record.value] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds)
            if record.value in self._held:
                await self._held[record.value].wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return copied(record)


def copied(record: Received) -> Outcome:
    return Outcome(Disposition.ENRICHED, (Outgoing("out", record.key, record.value, ()),))


class Gate:
    """Closed for the reason that a test gives."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def paused_reason(self) -> str | None:
        return self.reason

    def at_once(self) -> int | None:
        return None


class Scripted:
    """Faults for the next requests of a name, in order; all else works."""

    def __init__(self) -> None:
        self._faults: dict[str, list[Fault]] = {}
        self.requests: list[str] = []

    def add(self, request: str, *faults: Fault) -> None:
        self._faults.setdefault(request, []).extend(faults)

    def next(self, process: str, request: str) -> Fault:
        self.requests.append(request)
        planned = self._faults.get(request)
        return planned.pop(0) if planned else Fault()


class Bench:
    """A broker with the topics `in` and `out`, and engines on it."""

    def __init__(self, partitions: int = 1) -> None:
        self.broker = MemoryBroker()
        self.broker.create_topic("in", partitions)
        self.broker.create_topic("out")
        self.handler = Handler()

    def publish(self, *values: bytes, key: bytes | None = None) -> None:
        """Publish values, each with itself as the key unless one is given."""
        for value in values:
            self.broker.publish("in", value, key=value if key is None else key)

    def engine(
        self,
        *,
        process: str = "one",
        handler: Callable[[Received], Any] | None = None,
        delivery: Delivery = "exactly_once",
        ordering: Ordering = "key",
        faults: Faults | None = None,
        brokers: Brokers | None = None,
        gate: IntakeGate | None = None,
        throttle: Throttle | None = None,
        observer: Notes | None = None,
        rescue: Rescue | None = None,
        commit_count: int = COMMIT_COUNT,
        asks: str = "",
        handles_tombstones: bool = False,
        tenants: Tenants | None = None,
        **settings: Any,  # noqa: ANN401 - any of StreamSettings
    ) -> "Running":
        """An engine that has not started."""
        memory = MemoryBrokers(self.broker, process=process, delivery=delivery, faults=faults)
        engine = Engine(
            "stage",
            ["in"],
            handler or self.handler,
            brokers=brokers or memory,
            group=GROUP,
            settings=StreamSettings(**settings),
            ordering=ordering,
            gate=gate,
            throttle=throttle,
            observer=observer or Observer(),
            rescue=rescue,
            commit_count=commit_count,
            asks=asks,
            handles_tombstones=handles_tombstones,
            tenants=tenants,
        )
        return Running(engine, memory)

    def output(self) -> list[bytes | None]:
        """What a committed reader sees, in order."""
        return [
            entry.record.value
            for entries in self.broker.committed_records("out").values()
            for entry in entries
            if entry.record is not None
        ]

    def committed(self, partition: int = 0) -> int | None:
        """The committed offset."""
        found = self.broker.group(GROUP).committed.get(TopicPartition("in", partition))
        return None if found is None else found.offset

    def metadata(self, partition: int = 0) -> str:
        """What was committed beside it."""
        return self.broker.group(GROUP).committed[TopicPartition("in", partition)].metadata


class Running:
    """An engine and the task it runs in."""

    def __init__(self, engine: Engine, brokers: MemoryBrokers) -> None:
        self.engine = engine
        self.brokers = brokers
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> "Running":
        self.task = asyncio.create_task(self.engine.run(self.stopping))
        return self

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        self.stopping.set()
        await self.ended()

    async def ended(self) -> None:
        """Wait for the end, and raise what it raised."""
        assert self.task is not None
        await self.task

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.task is not None
        self.brokers.link.cut()
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def running(
    bench: Bench,
    **options: Any,  # noqa: ANN401 - any of `Bench.engine`
) -> AsyncIterator[Running]:
    """An engine from the first assignment to a clean stop."""
    one = bench.engine(**options).start()
    await until(lambda: one.engine.status().is_ready)
    yield one
    await one.stop()


async def until(is_so: Callable[[], bool], *, within: float = 60.0) -> None:
    """Wait in virtual time."""
    async with asyncio.timeout(within):
        while not is_so():  # noqa: ASYNC110 - the condition is anything a test can see
            await asyncio.sleep(0.01)
