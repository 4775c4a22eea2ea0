"""What replicas pay twice because each keeps its own answers, on a stream with a fifth of repeats.

`python -m benchmarks.repeats` routes events to gateways as Kafka does, by key to a partition and by
partition to a replica, in virtual time, over a client that answers after 350 ms. A fifth of the
events have the content of an earlier one: under the same key, as when a publisher sends again, or
under another one, as when customers write the same. With one replica everything is known to all,
so that is what sharing answers between replicas could spare at best. Prints a table and one JSON
object as its last line; takes seconds.
"""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from statistics import mean

import orjson
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import parser, show, write_section
from benchmarks.responder import ANSWER
from benchmarks.tickets import Questions, charged_twice
from pipeline.claude.gateway import Gateway
from pipeline.claude.response_cache import CachedAnswer
from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.records import Tier
from pipeline.testing.fakes import FakeClient, message
from pipeline.testing.virtual_time import run_in_virtual_time

EVENTS = 3_000
PER_SECOND = 20.0
REPEATS = 0.2
LATEST = 2_000
"""Events back that a repeat may come from: so many seconds times `PER_SECOND`."""
PARTITIONS = 24
API_SECONDS = 0.35
REPLICAS = (1, 2, 4, 8)
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """One of the stream: `content` says which events are alike."""

    key: bytes
    content: int


def stream(*, same_key: bool, seed: int = 1) -> list[Event]:
    """Events of which a fifth repeat an earlier one."""
    draws = random.Random(seed)  # noqa: S311 - repeatable, not secret
    events: list[Event] = []
    for number in range(EVENTS):
        key = b"customer-%d" % number
        if events and draws.random() < REPEATS:
            earlier = draws.choice(events[-LATEST:])
            events.append(Event(earlier.key if same_key else key, earlier.content))
        else:
            events.append(Event(key, number))
    return events


@dataclass(frozen=True, slots=True)
class Paid:
    """Calls that were made, and US dollars that they cost."""

    calls: int
    usd: Decimal


async def pay(events: Sequence[Event], replicas: int) -> Paid:
    """Ask about all of them, each at its replica."""
    partitions, place = list(range(PARTITIONS)), DefaultPartitioner()
    questions, usd = Questions(), [Decimal(0)]
    client = FakeClient(answer, seconds=lambda: API_SECONDS)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(Gateway(Settings(), client=client, clock=loop.time))
            for _ in range(replicas)
        ]

        async def ask(event: Event) -> None:
            gateway = gateways[place(event.key, partitions, partitions) * replicas // PARTITIONS]
            response = await gateway.ask(questions.of(charged_twice(event.content)), Tier.HAIKU)
            usd[0] += response.usage.cost_usd or 0

        async with asyncio.TaskGroup() as group:
            for event in events:
                group.create_task(ask(event))
                await asyncio.sleep(1 / PER_SECOND)
    return Paid(len(client.sent), usd[0])


def answer(_: object) -> HttpReply:
    """Of the stage's form and of the usual length; the prompt comes out of the cache."""
    usage = {"input_tokens": 110, "cache_read_input_tokens": 1_400, "output_tokens": 90}
    return message(ANSWER, usage=usage)


def record_costs() -> tuple[int, float]:
    """Bytes of an answer as a record, key and value; microseconds to write and read its JSON."""
    kept = CachedAnswer(orjson.dumps(ANSWER), "claude-haiku-5-5", time.time())
    value, took = b"", list[float]()
    for _ in range(20_000):
        began = time.perf_counter()
        value = orjson.dumps({"json": kept.json.decode(), "model": kept.model, "at": kept.at})
        orjson.loads(value)
        took.append(time.perf_counter() - began)
    return len(value) + 32, 1e6 * mean(sorted(took)[: len(took) // 2])


def measure() -> Part:
    """Both kinds of repeats, at each number of replicas."""
    rows, data, missed = [], {}, {}
    for same_key in (True, False):
        events = stream(same_key=same_key)
        kind = "under the same key" if same_key else "under other keys"
        repeats = EVENTS - len({event.content for event in events})
        shared: Paid | None = None
        for replicas in REPLICAS:
            paid = run_in_virtual_time(pay(events, replicas))
            shared = shared or paid
            spared = EVENTS - paid.calls
            more = (paid.usd - shared.usd) * MILLION / EVENTS
            missed[same_key] = paid.calls - shared.calls
            data[f"{'same' if same_key else 'other'}_{replicas}"] = paid.calls
            rows.append(
                (
                    kind,
                    str(replicas),
                    f"{repeats:,}",
                    f"{spared:,}",
                    f"{100 * (paid.calls - shared.calls) / EVENTS:.1f} %",
                    f"{more:.2f}",
                )
            )
    size, microseconds = record_costs()
    written = size * MILLION / 1e9
    return Part(
        "repeats",
        "Answers that replicas could share",
        f"{EVENTS:,} tickets at {PER_SECOND:g} a second, a fifth of them with the content of an"
        f" earlier one, at most {LATEST / PER_SECOND:g} s before; {PARTITIONS} partitions, answers"
        f" after {1000 * API_SECONDS:.0f} ms, in virtual time. Each replica keeps its own answers;"
        " what is paid more than with one replica is what sharing them could spare at best.",
        [
            Table(
                (
                    "repeats",
                    "replicas",
                    "of them",
                    "not paid again",
                    "paid again for want of sharing, of all events",
                    "US dollars more for a million events",
                ),
                rows,
            )
        ],
        [at_most("repeats under the same key paid again, of all replicas", missed[True], 0)],
        {**data, "bytes": size, "microseconds": microseconds},
        remarks=[
            (
                f"An answer is a record of {size} bytes: a million of them are {written:.1f} GB"
                " written, and as much read by each replica, all of it before it may be of use;"
                f" its JSON takes {microseconds:.1f} µs to write and read, without Kafka's client."
            ),
        ],
    )


def main() -> int:
    """Measure and print."""
    options = parser("repeats", __doc__).parse_args()
    part = measure()
    if options.write:
        write_section(part)
    show(part)
    return 0 if part.ok else 1


if __name__ == "__main__":
    sys.exit(main())
