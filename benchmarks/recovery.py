"""What a group's members coming, going and dying costs the others: how long partitions are silent.

`python -m benchmarks.recovery` has three replicas serve 60 partitions at 100 events a second, with
a simulated API of 400 ms and a real Apache Kafka. One joins, one leaves, each is restarted in turn,
one is killed, one is frozen. `--short` takes fewer partitions, and half the time. Needs Java 17+
and mvn. Prints a table, the goals, and one JSON object as its last line.

A partition is silent while an event waits in it and no result comes; so is the group. The API's
own 400 ms are part of that. A partition has moved if another member has it at the phase's end.
"""

import asyncio
import json
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.goals import Goal, Part, Table, at_most
from benchmarks.report import conclude, parser
from pipeline.config import KafkaSettings
from pipeline.local.apache import ApacheKafka
from tests.faults.events import make_events
from tests.faults.reading import admin, read_all
from tests.faults.replicas import Replica
from tests.faults.waiting import until
from tests.faults.world import World, make_world

API_SECONDS = 0.4
RATE = 100.0
SESSION = KafkaSettings().session_timeout
SILENCE = 1.0
GROUP_SILENCE = 2.0
MOVE_MARGIN = 2.0
LATENCY = 3.0
_KEYS = 5_000
_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Setup:
    """Partitions, and seconds of calm before each thing that happens and of looking after it."""

    partitions: int
    calm: float


FULL, SHORT = Setup(60, 12.0), Setup(12, 6.0)


@dataclass(frozen=True, slots=True)
class Phase:
    """Something that happened, from when to when, and who had which partition around it."""

    name: str
    began: float
    ended: float
    stayed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Waited:
    """An event: its partition, and when it was published and done, by the wall clock."""

    id: str
    partition: int
    published: float
    done: float


@dataclass(frozen=True, slots=True)
class Row:
    """What a phase cost; seconds."""

    phase: str
    stayed: int
    stayed_p99: float
    stayed_worst: float
    moved: int
    moved_worst: float
    group: float
    latency_p50: float
    latency_p99: float
    calls_repeated: int


def silence(events: Iterable[Waited], began: float, ended: float) -> float:
    """The longest time within a phase in which something waited and no result came."""
    waited = sorted(events, key=lambda event: event.done)
    longest, last, pending = 0.0, began, sorted(waited, key=lambda event: event.published)
    done: set[str] = set()
    first = 0
    for event in waited:
        # Who waits the longest began to wait when it was published, or when the last one was done.
        while pending[first].id in done:
            first += 1
        since = max(last, pending[first].published)
        if event.done > began and since < ended:
            longest = max(longest, event.done - since)
        done.add(event.id)
        last = max(began, event.done)
    return longest


async def measure(setup: Setup) -> list[Row]:
    """Let everything happen once, and look at what it cost."""
    phases: list[Phase] = []
    async with (
        ApacheKafka() as broker,
        make_world(
            broker,
            replicas=3,
            partitions=setup.partitions,
            settings={"PIPELINE_KAFKA__SESSION_TIMEOUT": str(SESSION)},
        ) as world,
    ):
        await world.api.take(median=API_SECONDS, sigma=0.0)
        one, two, three = world.replicas
        for replica in (one, two):
            replica.start()
            await replica.joined(_WITHIN)
        over = asyncio.Event()

        async def phase(name: str, happen: Callable[[], Awaitable[object]], after: float) -> None:
            await asyncio.sleep(setup.calm)
            before, began = await _owners(world), time.time()
            await happen()
            await asyncio.sleep(after)
            owners = await _owners(world)
            stayed = [each for each, owner in owners.items() if before.get(each) == owner]
            phases.append(Phase(name, began, time.time(), frozenset(stayed)))
            sys.stderr.write(f"{name}: {len(stayed)} of {setup.partitions} partitions stayed\n")

        async with asyncio.TaskGroup() as tasks:
            events = make_events(keys=_KEYS, seed=1, unclear=0.0)
            tasks.create_task(world.publisher.publish(events, rate=RATE, enough=over.is_set))
            await asyncio.sleep(setup.calm)
            await phase("nothing", lambda: asyncio.sleep(0), setup.calm)
            await phase("join", lambda: _start(three), setup.calm)
            await phase("leave", three.terminate, setup.calm)
            await _start(three)
            await phase("restart", lambda: _restart(world.replicas, setup.calm / 2), setup.calm)
            await phase("kill -9", two.kill, SESSION + setup.calm)
            await _start(two)
            await phase("freeze", lambda: _freeze(one), setup.calm)
            over.set()
        await world.drained(_WITHIN)
        await world.stop_replicas()
        found = await asyncio.to_thread(_read, world)
        paid = Counter(call.question.event for call in await world.api.paid())
    return [_row(phase, found, paid, setup.partitions) for phase in phases]


async def _start(replica: Replica) -> None:
    replica.start()
    await replica.joined(_WITHIN)


async def _restart(replicas: Sequence[Replica], between: float) -> None:
    for replica in replicas:
        await replica.terminate()
        await _start(replica)
        await asyncio.sleep(between)


async def _freeze(replica: Replica) -> None:
    replica.freeze()
    await asyncio.sleep(SESSION + MOVE_MARGIN)
    replica.thaw()


async def _owners(world: World) -> dict[int, str]:
    """Which member has each partition of the raw topic, once the group is assigned as it stays."""
    group, topic = world.topics.group("tickets"), world.topics.raw
    client = admin(world.servers)
    owners: dict[int, str] = {}

    def look() -> bool:
        described = client.describe_consumer_groups([group])[group].result()
        owners.clear()
        for member in described.members:
            for at in member.assignment.topic_partitions:
                if at.topic == topic:
                    owners[at.partition] = member.member_id
        return len(owners) == world.partitions

    await until(look, _WITHIN)
    return dict(owners)


def _read(world: World) -> list[Waited]:
    [enriched, *_] = world.topics.ends
    done = {
        json.loads(record.value)["event_id"]: record.written
        for record in read_all(world.servers, [enriched])
    }
    return [
        Waited(event, record.partition, record.written, done[event])
        for record in read_all(world.servers, [world.topics.raw])
        if (event := json.loads(record.value)["id"]) in done
    ]


def _row(phase: Phase, events: Sequence[Waited], paid: Counter[str], partitions: int) -> Row:
    by_partition: defaultdict[int, list[Waited]] = defaultdict(list)
    for event in events:
        by_partition[event.partition].append(event)
    silences = {
        partition: silence(by_partition[partition], phase.began, phase.ended)
        for partition in range(partitions)
    }
    stayed = sorted(silences[partition] for partition in phase.stayed)
    moved = [silences[partition] for partition in silences if partition not in phase.stayed]
    here = [event for event in events if phase.began <= event.published < phase.ended]
    latency = statistics.quantiles([event.done - event.published for event in here], n=100)
    return Row(
        phase=phase.name,
        stayed=len(stayed),
        stayed_p99=stayed[round(0.99 * (len(stayed) - 1))] if stayed else 0.0,
        stayed_worst=max(stayed, default=0.0),
        moved=len(moved),
        moved_worst=max(moved, default=0.0),
        group=silence(events, phase.began, phase.ended),
        latency_p50=latency[49],
        latency_p99=latency[98],
        calls_repeated=sum(paid[event.id] - 1 for event in here),
    )


def goals(rows: Sequence[Row]) -> list[Goal]:
    """What must hold."""
    found = {row.phase: row for row in rows}
    held = [
        at_most(f"{row.phase}: silence of partitions that stay, p99", row.stayed_p99, SILENCE, " s")
        for row in rows
        if row.stayed
    ]
    held += [
        at_most(f"{row.phase}: silence of the whole group", row.group, GROUP_SILENCE, " s")
        for row in rows
    ]
    back = SESSION + MOVE_MARGIN
    killed, restarted = found["kill -9"], found["restart"]
    return [
        *held,
        at_most("kill -9: partitions are back", killed.moved_worst, back, " s"),
        at_most("restart: calls repeated", restarted.calls_repeated, 0),
        at_most("restart: latency, p99", restarted.latency_p99, LATENCY, " s"),
    ]


async def part(setup: Setup) -> Part:
    """Measure, and say what it came to."""
    rows = await measure(setup)
    cells = [
        (
            row.phase,
            str(row.stayed),
            f"{row.stayed_p99:.2f}",
            f"{row.stayed_worst:.2f}",
            str(row.moved),
            f"{row.moved_worst:.2f}",
            f"{row.group:.2f}",
            f"{row.latency_p50:.2f}",
            f"{row.latency_p99:.2f}",
            str(row.calls_repeated),
        )
        for row in rows
    ]
    headings = (
        "phase",
        "stayed",
        "silence p99, s",
        "worst, s",
        "moved",
        "worst, s",
        "group, s",
        "latency p50, s",
        "p99, s",
        "calls repeated",
    )
    return Part(
        name="recovery",
        title="How long partitions are silent when members come, go and die",
        about=(
            f"Three replicas, {setup.partitions} partitions, {RATE:.0f} events a second, a "
            f"simulated API of {API_SECONDS * 1000:.0f} ms, a session time-out of {SESSION:g} s."
        ),
        tables=[Table(headings, cells)],
        goals=goals(rows),
        data={"rows": [asdict(row) for row in rows]},
    )


def main() -> int:
    """Measure and print."""
    made = parser("recovery", __doc__)
    made.add_argument("--short", action="store_true", help="fewer partitions, half the time")
    options = made.parse_args()
    return conclude(part(SHORT if options.short else FULL), write=False)


if __name__ == "__main__":
    sys.exit(main())
