"""One slow call in a partition, thousands of others past it, and then a crash.

The committed offset stays at the slow event, and the ledger beside it knows what is done above.
So after the crash only what was not finished may be asked again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.local.broker import LocalBroker
from tests.faults.conclusion import conclude
from tests.faults.events import Event, make_events
from tests.faults.exposure import Fault, Kind
from tests.faults.reading import Reader, committed_offsets
from tests.faults.report import Result
from tests.faults.world import World, make_world

_KEYS = 500
_PARTITION = 0
_JOINED_WITHIN = 60.0
_DRAINED_WITHIN = 60.0
_LOOK = 0.05
_LATENCY = {"median": 0.1, "sigma": 0.3}


@dataclass(frozen=True, slots=True)
class HeadOfLine:
    """How it is set up.

    Args:
        slow_seconds: What the first call takes.
        others: Events that pass it meanwhile.
        unfinished: Further events whose calls run when the process is killed.
        unfinished_seconds: What these calls take.
        seed: Of the events.
    """

    slow_seconds: float = 60.0
    others: int = 5_000
    unfinished: int = 50
    unfinished_seconds: float = 10.0
    seed: int = 1


async def run_head_of_line(
    setup: HeadOfLine,
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
    # A call that takes long is no failure here.
    settings = {"PIPELINE_CLAUDE__CALL_TIMEOUT": str(2 * setup.slow_seconds)}
    async with make_world(
        broker, replicas=1, partitions=1, prefix=prefix, settings=settings, keep=keep
    ) as world:
        [replica] = world.replicas
        await world.api.take(**_LATENCY)
        replica.start()
        await replica.joined(_JOINED_WITHIN)
        first, slow, others, more = _parts(setup)
        # The first call of all goes alone, to warm the prompt cache: it must not be the slow one.
        await world.publisher.publish(first, partition=_PARTITION)
        await asyncio.to_thread(_have_come, world, 1, time.time() + _DRAINED_WITHIN)

        await _have_asked(world, slow, setup.slow_seconds)
        over = time.time() + setup.slow_seconds
        await world.publisher.publish(others, partition=_PARTITION)
        report(f"one call runs, {len(others)} others of its partition are published")
        passed = await asyncio.to_thread(_have_come, world, len(others) + 1, over)
        passed -= len(first)
        report(f"{passed} of them are committed {over - time.time():.1f} s before it ends")
        base = await asyncio.to_thread(_committed_offset, world)
        await _have_asked(world, more, setup.unfinished_seconds)
        ahead = over - time.time()

        caller = replica.caller
        at = await replica.kill()
        report("killed, and started again")
        replica.start()
        drained = await world.drained(_DRAINED_WITHIN)
        # The simulated API notes a call when it is over, even if nobody waits for it any more.
        await asyncio.sleep(max(over - time.time(), setup.unfinished_seconds) + 1.0)
        await world.stop_replicas()
        calls = await world.api.paid()
        again = {call.question.event for call in calls if call.caller != caller}
        unfinished = {event.id for event in (*slow, *more)}
        return await conclude(
            "head of line",
            world,
            [Fault(Kind.KILL, replica.name, caller, at)],
            drained=drained,
            setting={"broker": broker.name, "slow_call_seconds": setup.slow_seconds},
            complaints=list(_complaints(len(others) - passed, base, ahead, again ^ unfinished)),
            notes={
                "passed_the_slow_call": passed,
                "unfinished_at_the_kill": len(unfinished),
                "asked_after_the_restart": len(again),
            },
        )


def _parts(setup: HeadOfLine) -> tuple[list[Event], list[Event], list[Event], list[Event]]:
    """The first event, the slow one, the others, and those that stay unfinished.

    No other shares a key with the slow one, and no two of the unfinished share one.
    """
    events = make_events(keys=_KEYS, seed=setup.seed, unclear=0.0)
    first = list(islice(events, 1))
    slow = list(islice(events, 1))
    others = list(islice(_of_other_keys(events, slow), setup.others))
    more = list(islice(_of_other_keys(events, slow, distinct=True), setup.unfinished))
    return first, slow, others, more


def _of_other_keys(
    events: Iterable[Event], than: Sequence[Event], *, distinct: bool = False
) -> Iterator[Event]:
    taken = {event.key for event in than}
    for event in events:
        if event.key not in taken:
            yield event
            if distinct:
                taken.add(event.key)


async def _have_asked(world: World, events: Sequence[Event], seconds: float) -> None:
    """Publish events and wait until a call of so many seconds runs for each of them."""
    await world.api.fail(f"slow,next={len(events)},seconds={seconds:g}")
    await world.publisher.publish(events, partition=_PARTITION)
    while await world.api.faults():  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(_LOOK)


def _have_come(world: World, count: int, until: float) -> int:
    """How many results are committed, once there are `count` or the time is over."""
    came = 0
    with closing(Reader(world.servers, world.topics.outputs)) as reader:
        while came < count and time.time() < until:
            came += sum(1 for _ in reader.poll(_LOOK))
    return came


def _committed_offset(world: World) -> int:
    group = world.topics.group("tickets")
    [offset] = committed_offsets(world.servers, group, world.topics.raw, 1)
    return offset


def _complaints(missing: int, base: int, ahead: float, difference: set[str]) -> Iterator[str]:
    if missing or ahead <= 0:
        yield f"the slow call was over before the others were committed ({missing} were missing)"
    if base != 1:
        yield f"the committed offset was {base}, not that of the slow event"
    if difference:
        yield f"{len(difference)} events were asked after the restart that were done, or were not"
