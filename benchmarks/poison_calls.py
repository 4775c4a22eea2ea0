"""A hundred events on which the API always fails, among thousands: what do they cost the others?

`python -m benchmarks.poison_calls` works off the same good tickets twice, through the stage
`tickets` and the escalations on the broker in memory, against a simulated API: once alone, and
once with 50 among them that are always answered with a 500 and 50 that always hang, asked of
whichever model. The good ones must be done at the pace of the run without, and the others end in
`review` with their history. Prints a table, the goals, and one JSON object as its last line.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson
import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.goals import Part, Table, at_least, at_most
from benchmarks.outages import World
from benchmarks.report import conclude, parser
from benchmarks.simulated import Admin, simulated_api
from benchmarks.tickets import ticket
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.observe.metrics import Conditions, Metrics

MOST = 0.95
"""The least pace, of that without them."""
POISON: Mapping[str, str] = {"server_error": "Ref. XQ-FAILS.", "hang": "Ref. XQ-HANGS."}
"""The words that the simulated API fails on, by how."""
LATENCY = "median=1.5,sigma=0.3"
"""So that waiting decides, and not the processor: 256 calls at once are 170 answers a second."""
CALL_TIMEOUT = 10.0
"""Seconds; the least that a call is waited for anyway. With the default of 60 the events that hang
take six times as long to end, and the others notice as little."""
LOOK_SECONDS = 0.1
ENDED_WITHIN = 900.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of the events of one run.

    Args:
        seconds: Until the last good one had its end.
        all_seconds: Until the last of all had.
        ends: The events, by topic.
        reviews: The records of `review`, by event.
    """

    seconds: float
    all_seconds: float
    ends: Mapping[str, Sequence[str]]
    reviews: Mapping[str, Mapping[str, Any]]


def events(good: int, each: int) -> dict[str, bytes]:
    """The values by id: the poison spread evenly among the good ones."""
    made = {f"good-{n}": ticket(n).body for n in range(good)}
    ids = list(made)
    for at, (kind, words) in enumerate(POISON.items()):
        for n in range(each):
            name = f"{kind}-{n}"
            ids.insert((2 * n + at + 1) * len(ids) // (2 * each + 2), name)
            made[name] = f"{ticket(good + at * each + n).body} {words}"
    return {name: orjson.dumps({"id": name, "body": made[name]}) for name in ids}


async def work_off(api: Admin, values: Mapping[str, bytes], concurrency: int) -> Run:
    """Bring all events to their ends, with a gateway that has not learnt anything yet."""
    await api.forget()
    await api.heal()
    for kind, words in POISON.items():
        await api.fail(f"{kind},match={words}")
    settings = Settings()
    settings.claude.concurrency = concurrency
    settings.claude.call_timeout = CALL_TIMEOUT
    world, stop = World(settings), asyncio.Event()
    for name, value in values.items():
        world.broker.publish("tickets.raw", value, key=name.encode())
    good = {name for name in values if name.startswith("good-")}
    metrics = Metrics(CollectorRegistry(), Conditions())
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(settings, observer=metrics))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        begin = asyncio.get_running_loop().time()
        for engine in world.engines(gateway, metrics):
            group.create_task(engine.run(stop))
        seconds = await _ended(world, good, begin)
        all_seconds = await _ended(world, set(values), begin)
        stop.set()
    return Run(seconds, all_seconds, world.ends, _reviews(world))


async def _ended(world: World, wanted: set[str], begin: float) -> float:
    """Seconds until all of these had an end; infinite where they have none in time."""
    clock = asyncio.get_running_loop().time
    while (now := clock()) - begin < ENDED_WITHIN:
        if wanted <= {event for ids in world.ends.values() for event in ids}:
            return now - begin
        await asyncio.sleep(LOOK_SECONDS)
    return float("inf")


def _reviews(world: World) -> dict[str, Mapping[str, Any]]:
    records = [
        orjson.loads(entry.record.value)
        for entries in world.broker.committed_records("review").values()
        for entry in entries
        if entry.record is not None and entry.record.value is not None
    ]
    return {record["event_id"]: record for record in records}


def _has_history(record: Mapping[str, Any], kind: str) -> bool:
    """Whether both tiers say how often it failed, and with what, and what that cost."""
    histories = [doubt["detail"] for doubt in record["doubts"] if doubt["code"] == "call_failed"]
    last = "500" if kind == "server_error" else "No answer within"
    unknown = record["usage"]["cost_usd"] is None
    return (
        len(histories) == 2  # noqa: PLR2004 - Haiku's and Sonnet's
        and all("attempts over" in detail and last in detail for detail in histories)
        and record["usage"]["calls"] >= 16  # noqa: PLR2004 - twice the bound
        and unknown == (kind == "hang")
    )


def _part(alone: Run, beside: Run, values: Mapping[str, bytes], each: int) -> Part:
    counts = Counter(event for ids in beside.ends.values() for event in ids)
    poison = {f"{kind}-{n}": kind for kind in POISON for n in range(each)}
    reviews = beside.reviews
    histories = sum(
        name in reviews and _has_history(reviews[name], kind) for name, kind in poison.items()
    )
    eaten = sum(
        any(doubt["code"] == "call_failed" for doubt in record["doubts"])
        for name, record in reviews.items()
        if name not in poison
    )
    ratio = alone.seconds / beside.seconds
    good = len(values) - len(poison)
    rows = [
        (name, f"{run.seconds:.1f} s", f"{good / run.seconds:.1f}", f"{run.all_seconds:.1f} s")
        for name, run in (("without", alone), ("with", beside))
    ]
    goals = [
        at_least("pace of the good events, of that without the others", ratio, MOST),
        at_least(
            "events on which calls fail: in review, with their history", histories, len(poison)
        ),
        at_most("good events that went there for that", eaten, 0),
        at_most("dead letters", len(beside.ends["dead_letters"]), 0),
        at_most("events without an end", len(values) - len(counts), 0),
        at_most("events with more than one", sum(counts.values()) - len(counts), 0),
    ]
    return Part(
        "poison_calls",
        "Events on which calls always fail",
        f"{good:,} tickets, and among them {each} on which the API always answers 500 and {each}"
        f" on which it always hangs, given up after {CALL_TIMEOUT:g} s.",
        [Table(("run", "good events done after", "a second", "all events"), rows)],
        goals,
        {
            "pace_ratio": round(ratio, 4),
            "seconds_without": round(alone.seconds, 2),
            "seconds_with": round(beside.seconds, 2),
            "seconds_until_all_ended": round(beside.all_seconds, 2),
            "in_review_with_history": histories,
        },
    )


async def run(good: int, each: int, concurrency: int) -> Part:
    """Both runs, and what they came to."""
    async with simulated_api("--latency", LATENCY) as api:
        os.environ.update(api.environment)
        values = events(good, each)
        only_good = {name: value for name, value in values.items() if name.startswith("good-")}
        alone = await work_off(api, only_good, concurrency)
        beside = await work_off(api, values, concurrency)
    return _part(alone, beside, values, each)


def main() -> int:
    """Measure and print."""
    made = parser("poison_calls", __doc__)
    made.add_argument("--good", type=int, default=5_000, help="events that are answered")
    made.add_argument("--each", type=int, default=50, help="events of each kind that are not")
    made.add_argument("--concurrency", type=int, default=256, help="calls in flight, each model")
    options = made.parse_args()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return conclude(run(options.good, options.each, options.concurrency), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
