"""What befalls the offsets of a group that nobody serves, and a second deployment that joins it.

Each time all replicas are killed under load, the group of the raw topic is moved from outside, and
the replicas start again:

translated   earlier offsets beside the ledgers of before, as MirrorMaker 2 writes them
backwards    earlier offsets without a ledger, as `kafka-consumer-groups --reset-offsets` does
forwards     later ones, past events that nobody has asked about

What has to come of each is in docs/DELIVERY.md: everything from the new offset on comes once more,
what was not done below it is skipped, and nothing else. The second deployment asks with other
thresholds. All members have to say so, and nothing may come of it but that.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import orjson

from pipeline.kafka.offsets import KafkaOffsets
from pipeline.local.broker import LocalBroker
from pipeline.stream.protocols import Committed, TopicPartition
from tests.faults.audit import Move
from tests.faults.conclusion import conclude
from tests.faults.events import make_events
from tests.faults.exposure import Fault, Kind
from tests.faults.reading import admin, ends
from tests.faults.replicas import Replica
from tests.faults.report import Result
from tests.faults.waiting import until
from tests.faults.world import SESSION_TIMEOUT, World, make_world

Disaster = Literal["translated", "backwards", "forwards"]
_KEYS = 500
_LATENCY = {"median": 0.5, "sigma": 0.3, "tail": 0.03, "tail_factor": 4.0}
_TRANSACTION_TIMEOUT = 6.0
_ROLLOUT_WITHIN = 2.0
_SETTINGS = {
    "PIPELINE_STREAM__TRANSACTION_TIMEOUT": str(_TRANSACTION_TIMEOUT),
    "PIPELINE_STREAM__ROLLOUT_WITHIN": str(_ROLLOUT_WITHIN),
    # What one simulated API on a small machine can answer in time.
    "PIPELINE_CLAUDE__CONCURRENCY": "32",
    "PIPELINE_STREAM__MAX_IN_FLIGHT": "48",
}
_OTHERS_SETTINGS = {"PIPELINE_THRESHOLDS__LOW_CONFIDENCE": "0.31"}
_FURTHEST_BACK = 100
"""Records that a translation may be behind the source's offset (`offset.lag.max`)."""
_WITHIN = 60.0
_DRAINED_WITHIN = 180.0
_ANSWER_WITHIN = 30.0
_STAGE = "tickets"


@dataclass(frozen=True, slots=True)
class Disasters:
    """How it is set up.

    Args:
        rounds: How often each of them happens.
        rate: Events a second.
        partitions: Of each topic.
        replicas: Processes of the first deployment.
        between: Seconds of load before each.
        seed: Of the events and the offsets.
    """

    rounds: int = 3
    rate: float = 40.0
    partitions: int = 12
    replicas: int = 3
    between: float = 10.0
    seed: int = 1


async def run_disasters(
    setup: Disasters,
    broker: LocalBroker,
    report: Callable[[str], None],
    *,
    prefix: str = "",
    keep: Path | None = None,
) -> Result:
    """Run it on brokers that run.

    Args:
        setup: How it is set up.
        broker: The brokers.
        report: Takes sentences about what goes on.
        prefix: Before every topic and group.
        keep: See `make_world`.
    """
    async with make_world(
        broker,
        replicas=setup.replicas,
        partitions=setup.partitions,
        prefix=prefix,
        settings=_SETTINGS,
        others=[_OTHERS_SETTINGS],
        keep=keep,
    ) as world:
        await world.api.take(**_LATENCY)
        run = _Run(world, random.Random(setup.seed), report)
        await run.start()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            events = make_events(keys=_KEYS, seed=setup.seed)
            group.create_task(world.publisher.publish(events, rate=setup.rate, enough=over.is_set))
            for _ in range(setup.rounds):
                await asyncio.sleep(setup.between)
                await run.second_deployment()
                for name in get_args(Disaster):
                    await asyncio.sleep(setup.between)
                    await run.disaster(name)
            await asyncio.sleep(setup.between)
            over.set()
        drained = await world.drained(_DRAINED_WITHIN)
        await world.stop_replicas()
        await world.settled(2 * _TRANSACTION_TIMEOUT)
        return await conclude(
            "disasters",
            world,
            run.faults,
            drained=drained,
            setting={
                "broker": broker.name,
                "nodes": len(broker.nodes),
                "replicas": setup.replicas,
                "partitions": setup.partitions,
                "seed": setup.seed,
            },
            complaints=run.complaints,
            notes={"moves": len(run.moves), "ledgers_moved": run.ledgers_moved},
            moves=run.moves,
        )


class _Run:
    """What happened so far."""

    def __init__(self, world: World, draw: random.Random, report: Callable[[str], None]) -> None:
        self._world = world
        self._draw = draw
        self._report = report
        # Kept: what it was asked ends with it.
        self._admin = admin(world.servers)
        self.faults: list[Fault] = []
        self.moves: list[Move] = []
        self.complaints: list[str] = []
        self.ledgers_moved = 0

    async def start(self) -> None:
        """Start the first deployment, and wait until it serves."""
        for replica in self._world.replicas:
            replica.start()
        for replica in self._world.replicas:
            self._expect(await replica.joined(_WITHIN), f"{replica.name} did not join")

    async def second_deployment(self) -> None:
        """Another deployment joins, is noticed by every member, and goes."""
        [other] = self._world.others
        everyone = [*self._world.replicas, other]
        other.start()
        self._expect(await other.joined(_WITHIN), "the second deployment did not join")
        noticed = await until(lambda: all(map(_says_they_differ, everyone)), _WITHIN)
        self._expect(noticed, "not every member said that members differ")
        caller = other.caller
        at = await other.terminate()
        self.faults.append(Fault(Kind.TERM, other.name, caller, at, epoch=len(self.moves)))
        alone = await until(lambda: all(map(_is_at_ease, self._world.replicas)), _WITHIN)
        self._expect(alone, "members said that they differ though they did not any more")
        self._report("a second deployment came, was noticed, and went")

    async def disaster(self, name: Disaster) -> None:
        """Kill all, move the group, start again."""
        ended = await asyncio.gather(*(replica.kill() for replica in self._world.replicas))
        self.faults += [
            Fault(Kind.KILL, replica.name, replica.caller, at, epoch=len(self.moves))
            for replica, at in zip(self._world.replicas, ended, strict=True)
        ]
        gone = await until(self._has_no_members, SESSION_TIMEOUT + _WITHIN)
        self._expect(gone, "the group kept members that had been killed")
        settled = await self._world.settled(2 * _TRANSACTION_TIMEOUT + _WITHIN)
        self._expect(settled, "a transaction of a killed process stayed open")
        ledgers = await self._move(name)
        await self.start()
        # One that was handed on before its first commit is reported by its next owner, too.
        reported = await until(lambda: self._count_moved_ledgers() >= ledgers, _WITHIN)
        found = self._count_moved_ledgers()
        self._expect(
            reported and (ledgers > 0 or not found),
            f"{name}: {found:g} partitions said that their ledger had been moved, not {ledgers}",
        )
        self.ledgers_moved += ledgers
        ready = await until(lambda: all(map(_is_at_ease, self._world.replicas)), _WITHIN)
        self._expect(ready, f"{name}: not every replica was ready afterwards")
        moved = len(self.moves[-1].to)
        self._report(f"{name}: {moved} partitions, {ledgers} with a ledger, were moved")

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)

    def _has_no_members(self) -> bool:
        group = self._world.topics.group(_STAGE)
        described = self._admin.describe_consumer_groups([group])
        return not described[group].result(_ANSWER_WITHIN).members

    async def _move(self, name: Disaster) -> int:
        """Move the group; returns in how many partitions a ledger was moved with it."""
        servers, topics = self._world.servers, self._world.topics
        log_ends = await asyncio.to_thread(ends, servers, topics.raw)
        # librdkafka's binding for Python reads, and writes, past the end of metadata.
        offsets = KafkaOffsets(self._world.broker.settings, topics.group(_STAGE))
        await offsets.start()
        try:
            raw = [TopicPartition(topics.raw, number) for number in range(len(log_ends))]
            moved = {
                at: Committed(
                    self._moved_to(name, committed.offset, log_ends[at.partition]),
                    # `kafka-consumer-groups` writes no ledger.
                    committed.metadata if name == "translated" else "",
                )
                for at, committed in (await offsets.committed_now(raw)).items()
                if committed is not None
            }
            await offsets.commit(moved)
        finally:
            await offsets.close()
        outputs = {
            (topic, partition): end
            for topic in topics.outputs
            for partition, end in enumerate(await asyncio.to_thread(ends, servers, topic))
        }
        to = {at.partition: committed.offset for at, committed in moved.items()}
        self.moves.append(Move(name, to, outputs))
        return sum(bool(committed.metadata) for committed in moved.values())

    def _moved_to(self, name: Disaster, offset: int, end: int) -> int:
        if name == "forwards":
            return self._draw.randint(offset, end)
        return max(0, offset - self._draw.randint(1, _FURTHEST_BACK))

    def _count_moved_ledgers(self) -> float:
        sample = f'pipeline_offset_faults_total{{fault="ledger_moved",stage="{_STAGE}"}}'
        return sum(replica.counted(sample) for replica in self._world.replicas)


def _says_they_differ(replica: Replica) -> bool:
    differ = replica.counted(f'pipeline_members_differ{{stage="{_STAGE}"}}')
    return differ == 1 and "different things" in replica.asked("/readyz")


def _is_at_ease(replica: Replica) -> bool:
    differ = replica.counted(f'pipeline_members_differ{{stage="{_STAGE}"}}')
    ready = orjson.loads(replica.asked("/readyz") or b"{}")
    return differ == 0 and bool(ready.get("ok"))
