"""The fault run: load, and everything that can go wrong, for a while; then the audit."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.local.broker import LocalBroker
from pipeline.runtime.process import background_task
from tests.faults.avro import avro_results
from tests.faults.cluster import Cluster
from tests.faults.conclusion import conclude
from tests.faults.events import Event, make_events
from tests.faults.injector import Injector
from tests.faults.kubelet import Kubelet, Limits
from tests.faults.plan import PlanSpec, make_plan
from tests.faults.poison import api_faults, hostile_records
from tests.faults.reading import options, read_all
from tests.faults.report import Result
from tests.faults.world import SESSION_TIMEOUT, World, make_world

_KEYS = 500
_LATENCY = {"median": 0.5, "sigma": 0.3, "tail": 0.03, "tail_factor": 4.0}
"""Seconds; about three calls in a hundred take two seconds, more or less."""
_TRANSACTION_TIMEOUT = 15.0
_SETTINGS = {
    "PIPELINE_STREAM__TRANSACTION_TIMEOUT": str(_TRANSACTION_TIMEOUT),
    # What one simulated API on a small machine can answer in time. More would wait in its queue
    # past the drain budget and the gateway's time-out, which repeats calls without any fault.
    "PIPELINE_CLAUDE__CONCURRENCY": "32",
    "PIPELINE_STREAM__MAX_IN_FLIGHT": "48",
    # An event on which the API always hangs is given up late where nothing else comes: six attempts
    # before control questions make its failures count, then as many as the setting says, at either
    # tier. With the defaults that takes 16 minutes, longer than the run waits.
    "PIPELINE_CLAUDE__CALL_TIMEOUT": "10",
    "PIPELINE_CLAUDE__BACKOFF_MAX": "5",
    "PIPELINE_CLAUDE__ATTEMPTS_PER_EVENT": "4",
}
STAGES = ("tickets", "invoices", "images")
_JOINED_WITHIN = 60.0
_SETTLED_WITHIN = 2 * _TRANSACTION_TIMEOUT

SABOTAGE = {"duplicate": "duplicated", "lose": "lost"}
"""What can be done wrong on purpose, and what the audit must call it."""


@dataclass(frozen=True, slots=True)
class Soak:
    """How a fault run is set up.

    Args:
        seconds: How long events come and faults happen.
        events: How many at least, at a steady rate, until the last fault is over.
        partitions: Of each topic.
        replicas: Processes of the pipeline.
        kills: Of each kind: kill -9, SIGTERM, SIGSTOP.
        broker_kills: Ends of brokers, half of them clean.
        outages: Of the API.
        outage_seconds: Of each.
        together: Moments at which everything happens at once.
        seed: Of plan and events.
        drained_within: Seconds that the backlog may take after the last fault.
        hostile: Whether a hostile record comes every second.
        sabotage: One of `SABOTAGE`, to see that the audit notices.
        avro: Whether results are in Avro, by a schema registry.
    """

    seconds: float
    events: int
    partitions: int
    replicas: int
    kills: int
    broker_kills: int
    outages: int
    outage_seconds: float
    together: int
    seed: int
    drained_within: float = 480.0
    hostile: bool = True
    sabotage: str | None = None
    avro: bool = False

    def spec(self, nodes: int) -> PlanSpec:
        """For the plan."""
        return PlanSpec(
            seconds=self.seconds,
            replicas=self.replicas,
            nodes=nodes,
            kills=self.kills,
            broker_kills=self.broker_kills,
            outages=self.outages,
            outage_seconds=self.outage_seconds,
            freeze_seconds=SESSION_TIMEOUT + 2.0,
            together=self.together,
        )


async def run_soak(
    soak: Soak, broker: LocalBroker, report: Callable[[str], None], *, keep: Path | None = None
) -> Result:
    """Run it on brokers that run.

    Args:
        soak: How it is set up.
        broker: The brokers.
        report: Takes sentences about what goes on.
        keep: See `make_world`.
    """
    async with AsyncExitStack() as stack:
        avro = stack.enter_context(avro_results()) if soak.avro else None
        world = await stack.enter_async_context(
            make_world(
                broker,
                replicas=soak.replicas,
                partitions=soak.partitions,
                stages=STAGES if soak.hostile else STAGES[:1],
                settings=_SETTINGS if avro is None else {**_SETTINGS, **avro.settings},
                keep=keep,
                avro=None if avro is None else avro.schema,
            )
        )
        await world.api.take(**_LATENCY)
        for fault in api_faults() if soak.hostile else ():
            await world.api.fail(fault)
        events = make_events(keys=_KEYS, seed=soak.seed)
        if soak.sabotage == "lose":
            await world.publisher.publish(islice(events, 1))
            await asyncio.to_thread(_skip_first, world)
        cluster = Cluster(broker)
        injector = Injector(world.replicas, cluster, world.api, report)
        kubelet = Kubelet(world.replicas, Limits.of_manifests())
        async with background_task(kubelet.watch(), ended=lambda: None):
            await _under_load(soak, world, injector, cluster, events)
            report("faults are over, waiting until everything is committed")
            drained = await world.drained(soak.drained_within)
        await world.stop_replicas()
        await world.settled(_SETTLED_WITHIN)
        if soak.sabotage == "duplicate":
            await asyncio.to_thread(_copy_one, world)
        return await conclude(
            "fault run" if soak.sabotage is None else f"fault run, sabotaged: {soak.sabotage}",
            world,
            injector.done,
            drained=drained,
            setting={
                "broker": broker.name,
                "nodes": len(broker.nodes),
                "replicas": soak.replicas,
                "partitions": soak.partitions,
                "seconds": soak.seconds,
                "seed": soak.seed,
            },
            complaints=kubelet.kills,
            notes={
                "leaderships_moved": cluster.leaders_moved,
                "peak_mib": kubelet.peak >> 20,
                "limit_mib": kubelet.limits.memory >> 20,
            },
        )


async def _under_load(
    soak: Soak,
    world: World,
    injector: Injector,
    cluster: Cluster,
    events: Iterator[Event],
) -> None:
    for replica in world.replicas:
        replica.start()
    for replica in world.replicas:
        await replica.joined(_JOINED_WITHIN)
    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(replica.watch()) for replica in world.replicas]
        rate = soak.events / soak.seconds
        over = asyncio.Event()

        def enough() -> bool:
            return over.is_set() and world.publisher.published >= soak.events

        publishing = group.create_task(world.publisher.publish(events, rate=rate, enough=enough))
        if soak.hostile:
            hostile = world.poisoner.publish(hostile_records(), enough=over.is_set)
            group.create_task(hostile)
        await injector.run(make_plan(soak.spec(cluster.size), soak.seed))
        over.set()
        await publishing
        for watcher in watchers:
            watcher.cancel()


def _skip_first(world: World) -> None:
    """Lose an event: move the group's offset past the only one there is."""
    [record] = read_all(world.servers, [world.topics.raw])
    group = {"group.id": world.topics.group("tickets"), "enable.auto.commit": False}
    with closing(Consumer(options(world.servers, group))) as consumer:
        after = TopicPartition(record.topic, record.partition, record.offset + 1)
        consumer.commit(offsets=[after], asynchronous=False)


def _copy_one(world: World) -> None:
    """Duplicate an event: publish a record of its result once more."""
    enriched, *_ = world.topics.ends
    record = read_all(world.servers, [enriched])[0]
    producer = Producer(options(world.servers))
    producer.produce(enriched, key=record.key, value=record.value, partition=record.partition)
    producer.flush()
