"""What watching costs: the share of a fully loaded core that metrics, scrapes and the page take.

`python -m benchmarks.metrics` runs the pipeline on one core, as fast as it goes: the engine with
its transactions on brokers in memory, the tickets stage, the gateway and the SDK against a
responder on another core. That gives the CPU time of an event. Then the calls that such a run
makes to `Metrics` are made again, alone, thousands of times over; so are a scrape, a look at
the page, and the reading that the page's rates come from. An A-B comparison could not show a
difference this small. Brokers in memory cost less than a Kafka client does, so the share with
one is smaller than what is found here. Prints a table, the goal, and one JSON object as its last
line.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import show
from benchmarks.responder import responder
from benchmarks.tickets import charged_twice
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Handling, Processor
from pipeline.cascade.reading import RawEvents
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings, StagesSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Tier
from pipeline.observe.dashboard import STEP_SECONDS, WINDOW_SECONDS, About, Health, Status
from pipeline.observe.metrics import Conditions, Metrics, Recent
from pipeline.stages.tickets import Tickets
from pipeline.stream.engine import Engine
from pipeline.testing import MemoryBroker, MemoryBrokers

GOAL = 2.0
"""Per cent of one core at full load, at most."""
SCRAPE_SECONDS = 15.0
"""Between two scrapes: Prometheus' own example."""
PAGES = 2
"""How many people look at the page."""
PARTITIONS = 12
STAGES = (*StagesSettings.model_fields, "escalations")
WARM_UP = 1_500
EVENTS = 8_000
ROUNDS = 5
REPEATED = 40


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `Metrics`."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class Recorder:
    """Hands on to `Metrics`, and remembers what; has the shape of every observer."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Each method, remembered."""
        method = getattr(self._metrics, name)

        def remembered(*arguments: object, **options: object) -> None:
            self.calls.append(Call(name, arguments, options))
            method(*arguments, **options)

        return remembered


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to: CPU and wall time of an event, in microseconds."""

    cpu_us: float
    wall_us: float


async def run(observer: Any, port: int, events: int) -> Load:  # noqa: ANN401 - the observers' shape
    """Let so many tickets through the pipeline; those of the warm-up do not count."""
    settings = Settings()
    broker, topics = MemoryBroker(), TopicNames.under(settings)
    broker.create_topic(topics.raw("tickets"), PARTITIONS)
    for topic in (topics.enriched("tickets"), topics.escalations, topics.dead_letters):
        broker.create_topic(topic)
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    marks: list[tuple[float, float]] = []
    committed = 0

    def count(stage: str, *, records: int, seconds: float) -> None:
        nonlocal committed
        observer_committed(stage, records=records, seconds=seconds)
        committed += records
        if committed >= WARM_UP and not marks:
            marks.append((time.process_time(), loop.time()))
        if committed >= WARM_UP + events:
            done.set()

    observer_committed = observer.committed
    observer.committed = count
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        os.environ["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{port}"
        os.environ["ANTHROPIC_API_KEY"] = "none"
        gateway = await stack.enter_async_context(Gateway(settings, observer=observer))
        judge = CascadePolicy(gateway, Policy.from_settings(settings), Tier.HAIKU)
        processor = Processor(
            RawEvents(Tickets(settings.stages.tickets)),
            judge,
            topics,
            clock=lambda: datetime.now(UTC),
            observer=observer,
        )
        engine = Engine(
            "tickets",
            [topics.raw("tickets")],
            Handling("tickets", processor),
            brokers=MemoryBrokers(broker),
            group="benchmark",
            settings=settings.stream,
            observer=observer,
        )
        for number in range(WARM_UP + events + 500):
            event = charged_twice(number)
            body = orjson.dumps({"id": event.id, "body": event.body})
            broker.publish(topics.raw("tickets"), body, key=b"%d" % number)
        running = asyncio.create_task(engine.run(stop))
        await asyncio.wait(
            {running, wait := asyncio.create_task(done.wait())}, return_when="FIRST_COMPLETED"
        )
        cpu, wall = time.process_time() - marks[0][0], loop.time() - marks[0][1]
        wait.cancel()
        stop.set()
        await running
    del observer.committed
    return Load(cpu / events * 1e6, wall / events * 1e6)


def cost(work: Callable[[], object], times: int) -> float:
    """CPU time of one go, in microseconds: the fastest of some rounds, without collections."""
    found = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            started = time.process_time()
            for _ in range(times):
                work()
            found.append((time.process_time() - started) / times * 1e6)
    finally:
        gc.enable()
    return min(found)


class Watched:
    """What a process keeps to be watched."""

    def __init__(self) -> None:
        self.registry, conditions = CollectorRegistry(), Conditions()
        ProcessCollector(registry=self.registry)
        recent = Recent(Settings().http.recent_records)
        self.metrics = Metrics(self.registry, conditions, recent=recent)
        self.status = Status(
            About("0", "exactly_once", STAGES),
            self.registry,
            conditions,
            Health(),
            recent=recent.newest_first,
            recent_limit=recent.most,
        )

    def fill(self, calls: list[Call]) -> None:
        """Let the same have happened in all stages: readings, pages and scrapes see them all."""
        for stage in STAGES:
            own = [
                Call(each.name, (stage, *each.arguments[1:]), each.options)
                for each in calls
                if each.arguments and each.arguments[0] == "tickets"
            ]
            self.again(own)()

    def again(self, calls: list[Call]) -> Callable[[], None]:
        """Makes the calls again, on these metrics."""
        bound = [(getattr(self.metrics, each.name), each.arguments, each.options) for each in calls]

        def work() -> None:
            for method, arguments, options in bound:
                method(*arguments, **options)

        return work


async def measure() -> Part:
    """Measure it all."""
    watched = Watched()
    recorder = Recorder(watched.metrics)
    with responder(median=0.05) as port:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        await run(recorder, port, WARM_UP)
        load = await run(watched.metrics, port, EVENTS)
    calls = recorder.calls
    events = sum(each.name == "received" for each in calls)
    per_event = cost(watched.again(calls), 2) / events
    empty = cost(lambda: [None for _ in calls], 2) / events

    watched.fill(calls)
    for _ in range(int(WINDOW_SECONDS / STEP_SECONDS)):
        watched.status.tick()
    tick = cost(watched.status.tick, REPEATED)
    page = cost(lambda: orjson.dumps(watched.status.view()), REPEATED)
    scrape = cost(lambda: generate_latest(watched.registry), REPEATED)

    parts = {
        "metrics of an event": 100 * (per_event - empty) / load.cpu_us,
        f"a reading every {STEP_SECONDS:g} s": tick / STEP_SECONDS / 1e4,
        f"{PAGES} pages, every {STEP_SECONDS:g} s": PAGES * page / STEP_SECONDS / 1e4,
        f"a scrape every {SCRAPE_SECONDS:g} s": scrape / SCRAPE_SECONDS / 1e4,
    }
    costs = (per_event - empty, tick, page, scrape)
    share = sum(parts.values())
    rows = [
        [name, f"{micro:,.0f} µs", f"{part:.2f} %"]
        for (name, part), micro in zip(parts.items(), costs, strict=True)
    ]
    return Part(
        name="metrics",
        title="What watching costs",
        about=(__doc__ or "").split("\n\n")[1],
        tables=[
            Table(("what", "CPU of one", "of a core at full load"), rows),
            Table(
                ("an event", "CPU", "of a core", "calls of metrics"),
                [
                    [
                        "in all",
                        f"{load.cpu_us:,.0f} µs",
                        f"{100 * load.cpu_us / load.wall_us:.0f} %",
                        f"{len(calls) / events:.1f}",
                    ]
                ],
            ),
        ],
        goals=[at_most("CPU of metrics, scrapes and pages", share, GOAL, " %")],
        data={
            "share_percent": round(share, 3),
            "event_cpu_us": round(load.cpu_us, 1),
            "event_metrics_us": round(per_event - empty, 2),
            "tick_us": round(tick),
            "page_us": round(page),
            "scrape_us": round(scrape),
        },
    )


def main() -> int:
    """Measure, print, and return the exit code: 0 where the goal is held."""
    part = uvloop.run(measure())
    show(part)
    return 0 if part.ok else 1


if __name__ == "__main__":
    sys.exit(main())
