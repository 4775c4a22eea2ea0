"""Replicas come and go under load while calls take two seconds: nobody dies, nothing is repeated.

Each change makes every member give up all its partitions; running calls end within the drain
budget, and what they brought is committed before the partitions go.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.local.broker import LocalBroker
from tests.faults.conclusion import conclude
from tests.faults.events import make_events
from tests.faults.exposure import Fault, Kind
from tests.faults.report import Result
from tests.faults.world import make_world

_KEYS = 500
_JOINED_WITHIN = 60.0
_DRAINED_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Rebalance:
    """How it is set up.

    Args:
        rounds: How often the last replica comes and goes.
        rate: Events a second.
        partitions: Of each topic.
        replicas: Processes at most.
        call_seconds: What each call takes.
        between: Seconds between a coming or going and the next. The gateway of a new process
            sends few calls at once at first; until it has caught up, some wait for their turn.
        seed: Of the events.
    """

    rounds: int = 5
    rate: float = 40.0
    partitions: int = 12
    replicas: int = 3
    call_seconds: float = 2.0
    between: float = 15.0
    seed: int = 1


async def run_rebalance(
    setup: Rebalance,
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
    faults = []
    async with make_world(
        broker, replicas=setup.replicas, partitions=setup.partitions, prefix=prefix, keep=keep
    ) as world:
        await world.api.take(median=setup.call_seconds, sigma=0.0)
        *staying, moving = world.replicas
        for replica in staying:
            replica.start()
        for replica in staying:
            await replica.joined(_JOINED_WITHIN)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            events = make_events(keys=_KEYS, seed=setup.seed)
            group.create_task(world.publisher.publish(events, rate=setup.rate, enough=over.is_set))
            for round_ in range(1, setup.rounds + 1):
                await asyncio.sleep(setup.between)
                moving.start()
                await moving.joined(_JOINED_WITHIN)
                await asyncio.sleep(setup.between)
                caller = moving.caller
                faults.append(Fault(Kind.TERM, moving.name, caller, await moving.terminate()))
                report(f"round {round_}: {moving.name} came and went")
            over.set()
        drained = await world.drained(_DRAINED_WITHIN)
        await world.stop_replicas()
        return await conclude(
            "rebalance",
            world,
            faults,
            drained=drained,
            setting={
                "broker": broker.name,
                "replicas": setup.replicas,
                "partitions": setup.partitions,
                "call_seconds": setup.call_seconds,
            },
            notes={"rebalances": 2 * setup.rounds},
        )
