"""What hostile records cost the others: throughput of ordinary events with and without them.

There is always more to do than can be done, so what is committed in a second is what the replicas
can do. It is counted in a calm stretch, in one with a hostile record every second, and in a calm
one again, of which the better one counts. One broker is enough for that: three on one machine
would copy large records between them at the expense of everybody.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from pipeline.local.broker import LocalBroker
from pipeline.runtime.process import background_task
from tests.faults import poison
from tests.faults.conclusion import conclude
from tests.faults.events import MARK, make_events
from tests.faults.kubelet import Kubelet, Limits
from tests.faults.poison import KINDS, api_faults, hostile_records
from tests.faults.reading import read_each
from tests.faults.report import Result
from tests.faults.soak import STAGES
from tests.faults.world import World, make_world

SHARE_AT_LEAST = 0.9
"""Of the calm throughput."""
PUBLISHED_AT_LEAST = 0.9
"""Of the hostile records, one a second: with fewer the run would show less than it says."""
_KEYS = 500
_LATENCY = {"median": 0.5, "sigma": 0.3}
_SETTINGS = {
    # Calls in flight are what bounds the throughput, not the processors, which the brokers and
    # the simulated API have a part of.
    "PIPELINE_CLAUDE__CONCURRENCY": "24",
    "PIPELINE_STREAM__MAX_IN_FLIGHT": "48",
    # An answer takes half a second here.
    "PIPELINE_CLAUDE__CALL_TIMEOUT": "10",
}
_JOINED_WITHIN = 60.0
_WARM_UP = 20.0
_DRAINED_WITHIN = 300.0


@dataclass(frozen=True, slots=True)
class Poisoned:
    """How it is set up.

    Args:
        seconds: With hostile records, each kind twice by default; each calm stretch is half of it.
        rate: Ordinary events a second: more than can be done.
        replicas: Processes.
        partitions: Of each topic.
        seed: Of the events.
    """

    seconds: float = 2.0 * KINDS
    rate: float = 130.0
    replicas: int = 2
    partitions: int = 6
    seed: int = 1


async def run_poisoned(
    setup: Poisoned, broker: LocalBroker, report: Callable[[str], None], *, keep: Path | None = None
) -> Result:
    """Run it on brokers that run.

    Args:
        setup: How it is set up.
        broker: The brokers.
        report: Takes sentences about what goes on.
        keep: See `make_world`.
    """
    async with make_world(
        broker,
        replicas=setup.replicas,
        partitions=setup.partitions,
        stages=STAGES,
        settings=_SETTINGS,
        keep=keep,
    ) as world:
        await world.api.take(**_LATENCY)
        for fault in api_faults():
            await world.api.fail(fault)
        for replica in world.replicas:
            replica.start()
        for replica in world.replicas:
            await replica.joined(_JOINED_WITHIN)
        kubelet = Kubelet(world.replicas, Limits.of_manifests())
        async with background_task(kubelet.watch(), ended=lambda: None):
            marks = await _stretches(setup, world, report)
            report("waiting until everything is committed")
            drained = await world.drained(_DRAINED_WITHIN)
        await world.stop_replicas()
        calm, poisoned = await asyncio.to_thread(_rates, world, marks)
        share = round(poisoned / calm, 3) if calm else 0.0
        slower = [f"throughput fell to {share:.0%} of the calm one"] * (share < SHARE_AT_LEAST)
        result = await conclude(
            "poison",
            world,
            [],
            drained=drained,
            setting={"broker": broker.name, "replicas": setup.replicas, "seconds": setup.seconds},
            complaints=[*kubelet.kills, *slower],
            notes={
                "calm_per_second": round(calm, 1),
                "poisoned_per_second": round(poisoned, 1),
                "share": share,
                "peak_mib": kubelet.peak >> 20,
                "limit_mib": kubelet.limits.memory >> 20,
            },
        )
        wanted = PUBLISHED_AT_LEAST * setup.seconds
        if (came := result.harm.published) < wanted:
            few = f"{came} hostile records could be published, of {wanted:.0f} at least"
            result = replace(result, complaints=[*result.complaints, few])
        return result


async def _stretches(
    setup: Poisoned, world: World, report: Callable[[str], None]
) -> Sequence[float]:
    """Publish, and return when the three stretches begin and the last ends, in wall-clock time."""
    over, calm_again = asyncio.Event(), asyncio.Event()
    marks = []
    async with asyncio.TaskGroup() as group:
        events = make_events(keys=_KEYS, seed=setup.seed)
        group.create_task(world.publisher.publish(events, rate=setup.rate, enough=over.is_set))
        await asyncio.sleep(_WARM_UP)
        report("calm")
        marks.append(time.time())
        await asyncio.sleep(setup.seconds / 2)
        report("a hostile record every second")
        marks.append(time.time())
        hostile = world.poisoner.publish(hostile_records(), enough=calm_again.is_set)
        group.create_task(hostile)
        await asyncio.sleep(setup.seconds)
        calm_again.set()
        report("calm again")
        marks.append(time.time())
        await asyncio.sleep(setup.seconds / 2)
        marks.append(time.time())
        over.set()
    return marks


def _rates(world: World, marks: Sequence[float]) -> tuple[float, float]:
    """Ordinary events that left the first tier in a second, calm and poisoned."""
    first, second, third, end = marks
    calm = poisoned = calm_again = 0
    outputs = [world.topics.escalations, f"{world.topics.prefix}tickets.enriched"]
    for record in read_each(world.servers, outputs):
        if poison.HEADER in record.headers or not _left_first_tier(record.value):
            continue
        calm += first <= record.written < second
        poisoned += second <= record.written < third
        calm_again += third <= record.written < end
    # The better of the two: what hostile records left behind must not make the calm look slow.
    best = max(calm / (second - first), calm_again / (end - third))
    return best, poisoned / (third - second)


def _left_first_tier(value: bytes) -> bool:
    """Whether a record is what Haiku made of an ordinary event."""
    found = orjson.loads(value)
    return bool(re.fullmatch(MARK, found["event_id"])) and found.get("decided_by") != "sonnet"
