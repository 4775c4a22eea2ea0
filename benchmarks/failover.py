"""The first provider of both tiers is away: how soon does the second do its work, and what is paid?

`python -m benchmarks.failover` runs the stage `tickets` and the escalations, with exactly-once
delivery on the broker in memory, against two simulated APIs with the same rate limit: the first
endpoint of each tier, and its fallback, which is another provider. The first is taken away for ten
minutes. Prints a table, the goals, and one JSON object as its last line.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.costs import tokens_of
from benchmarks.goals import Part, Table, at_least, at_most
from benchmarks.outages import BACK_TO, SPAN, World, drain, publish_on
from benchmarks.report import conclude, parser
from benchmarks.simulated import KEY, Admin, Row, simulated_api
from pipeline.claude.billing import PriceTable
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.observe import catalogue
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.observe.readings import Reading

WARM_UP = 75.0
"""Seconds until the full bucket of the first is drawn down."""
BEFORE, AFTER = 60.0, 90.0
ON_SECOND_WITHIN = 15.0
ON_FIRST_WITHIN = 30.0
_OK = 200


@dataclass(frozen=True, slots=True)
class Outage:
    """What is done to the first, and how much can be asked.

    Args:
        kind: What it does with every call, as a fault of the simulated API.
        seconds: For so long.
        per_minute: Requests that each API grants for each model.
    """

    kind: str
    seconds: float
    per_minute: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledgers say of an outage.

    Args:
        before: Answers a second of both APIs in the minute before it.
        on_second: Seconds from its begin until the throughput was back.
        during: Answers a second from then to its end.
        on_first: Seconds from its end until the first API alone had the whole throughput.
        least: The fewest answers a second, over 10 s, from its end on.
        first_second: The most calls that the first had in a second within 10 s of its end.
        probes: Calls that the first had from 15 s after the begin to the end.
    """

    before: float
    on_second: float
    during: float
    on_first: float
    least: float
    first_second: int
    probes: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What one API would bill, and what the pipeline counted, in US dollars.

    Args:
        unanswered: What the pipeline counted as perhaps billed, of calls without an answer.
    """

    billed: Decimal
    counted: Decimal
    unanswered: Decimal

    @property
    def apart(self) -> Decimal:
        """What is neither counted nor covered by the estimate for calls without an answer."""
        return max(Decimal(0), self.billed - self.counted - self.unanswered)


async def run(outage: Outage) -> Part:
    """Take the first away."""
    limit, seconds = ("--limit", f"requests={outage.per_minute}"), outage.seconds
    os.environ |= {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_AWS_API_KEY": KEY}
    async with simulated_api(*limit) as first, simulated_api(*limit) as second:
        settings = Settings.model_validate({"models": _models(first, second)})
        world, stop = World(settings), asyncio.Event()
        registry = CollectorRegistry()
        metrics = Metrics(registry, Conditions())
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(Gateway(settings, observer=metrics))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for engine in world.engines(gateway, metrics):
                group.create_task(engine.run(stop))
            publishing = asyncio.Event()
            group.create_task(publish_on(world, publishing))
            await asyncio.sleep(WARM_UP + BEFORE)
            begin = await first.now()
            # Both ledgers count from the start of their own process.
            ahead = await second.now() - begin
            await first.fail(f"{outage.kind},for={seconds}")
            await asyncio.sleep(seconds + AFTER)
            publishing.set()
            drained = await drain(world)
            stop.set()
        rows = [
            [row for row in await api.requests() if row["endpoint"] == "messages"]
            for api in (first, second)
        ]
        reading = Reading.of(0.0, registry.collect())
    shifted = [{**row, "at": row["at"] - ahead} for row in rows[1]]
    found = _found(rows[0], shifted, begin, begin + seconds)
    bills = _bills(rows, settings, reading)
    return _part(world, outage, found, bills, drained=drained, reading=reading)


def _models(first: Admin, second: Admin) -> dict[str, Any]:
    def tier(model: str) -> dict[str, Any]:
        fallback = {
            "model": model,
            "provider": "aws",
            "base_url": second.base_url,
            "region": "us-east-1",
            "workspace_id": "wrkspc_benchmark",
        }
        return {"model": model, "base_url": first.base_url, "fallback": fallback}

    return {"haiku": tier("claude-haiku-5-5"), "sonnet": tier("claude-sonnet-5-5")}


def _found(first: Sequence[Row], second: Sequence[Row], begin: float, end: float) -> Found:
    of_first, of_second = _answers(first), _answers(second)
    both = of_first + of_second

    def rate(answers: Sequence[float], since: float, length: float = SPAN) -> float:
        return sum(since <= at < since + length for at in answers) / length

    before = rate(both, begin - BEFORE, BEFORE)

    def back(answers: Sequence[float], since: float, within: float) -> float:
        tenths = (n / 10 for n in range(int(within * 10)))
        return next((n for n in tenths if rate(answers, since + n) >= BACK_TO * before), within)

    on_second = back(both, begin, end - begin)
    since = begin + on_second
    after = Counter(int(row["at"]) for row in first if end <= row["at"] < end + SPAN)
    return Found(
        before,
        on_second,
        rate(both, since, max(SPAN, end - since)),
        back(of_first, end, AFTER - SPAN),
        min(rate(both, end + second) for second in range(int(AFTER - SPAN))),
        max(after.values(), default=0),
        sum(begin + ON_SECOND_WITHIN <= row["at"] < end for row in first),
    )


def _answers(rows: Sequence[Row]) -> list[float]:
    return [row["at"] + row["seconds"] for row in rows if row["status"] == _OK]


def _bills(rows: Sequence[Sequence[Row]], settings: Settings, reading: Reading) -> list[Bill]:
    prices, models = PriceTable(), settings.models
    tiers = (models.haiku, models.sonnet)
    names = [
        [tier.name for tier in tiers],
        [tier.fallback.name for tier in tiers if tier.fallback is not None],
    ]
    bills = []
    for of_one, of_names in zip(rows, names, strict=True):
        billed = sum(
            (
                prices.cost(row["model"], tokens_of(row)) or Decimal(0)
                for row in of_one
                if row["billed"]
            ),
            Decimal(0),
        )
        counted, unanswered = (
            sum(Decimal(repr(reading.total(metric, model=name))) for name in of_names)
            for metric in (catalogue.COST, catalogue.MAYBE_BILLED)
        )
        bills.append(Bill(billed, Decimal(counted), Decimal(unanswered)))
    return bills


def _part(
    world: World,
    outage: Outage,
    found: Found,
    bills: Sequence[Bill],
    *,
    drained: bool,
    reading: Reading,
) -> Part:
    ends = world.ends
    counts = Counter(event for ids in ends.values() for event in ids)
    lost = world.published - len(counts)
    twice = sum(count - 1 for count in counts.values())
    unanswered = int(reading.total(catalogue.UNANSWERED))
    moved = int(reading.total(catalogue.MOVED))
    goals = [
        at_most("events lost", lost, 0),
        at_most("events that came twice", twice, 0),
        at_most("dead letters", len(ends["dead_letters"]), 0),
        at_most(
            "on the second: throughput back to 95 % after", found.on_second, ON_SECOND_WITHIN, " s"
        ),
        at_least("throughput from then on, of before", 100 * found.during / found.before, 95, " %"),
        at_most("on the first again, to 95 %, after", found.on_first, ON_FIRST_WITHIN, " s"),
        at_least("throughput meanwhile, of before", 100 * found.least / found.before, 90, " %"),
    ]
    table = Table(
        ("outage of the first", "answers/s before", "on the second after", "answers/s there",
         "on the first after", "least answers/s", "its busiest second then", "probes"),
        [(
            f"{outage.kind}, {outage.seconds:g} s",
            f"{found.before:.1f}",
            f"{found.on_second:.1f} s",
            f"{found.during:.1f}",
            f"{found.on_first:.1f} s",
            f"{found.least:.1f}",
            str(found.first_second),
            str(found.probes),
        )],
    )  # fmt: skip
    paid = Table(
        ("USD", "billed, by its ledger", "counted by the pipeline", "perhaps billed, unanswered"),
        [
            (name, f"{bill.billed:.6f}", f"{bill.counted:.6f}", f"{bill.unanswered:.6f}")
            for name, bill in zip(("first", "second"), bills, strict=True)
        ],
    )
    for name, bill in zip(("first", "second"), bills, strict=True):
        goals.append(
            at_most(f"billed by the {name}, and not counted", float(bill.apart), 1e-6, " USD")
        )
    where = ", ".join(f"{len(ids):,} {place.replace('_', ' ')}" for place, ids in ends.items())
    return Part(
        "failover",
        "An outage of the first provider",
        f"The stage `tickets` and the escalations in one process, exactly-once delivery on the"
        f" broker in memory, two simulated APIs with a limit of {outage.per_minute:,} requests a"
        " minute and model each: one as `anthropic`, and as the fallback of both tiers one as"
        f" `aws`. {world.published:,} events; {where}. {moved:,} questions went from one to the"
        f" other, {unanswered:,} of their calls may have been paid without an answer. The"
        f" throughput is back when the mean of {SPAN:g} s reaches 95 % of that of the minute before"
        " the outage; on the first again when it alone gives as much.",
        [table, paid],
        goals,
        {
            "kind": outage.kind,
            "seconds": outage.seconds,
            "published": world.published,
            "lost": lost,
            "twice": twice,
            "drained": drained,
            "moved": moved,
            "unanswered": unanswered,
            "on_second_seconds": round(found.on_second, 1),
            "on_first_seconds": round(found.on_first, 1),
        },
    )


def main() -> int:
    """Measure and print."""
    made = parser("failover", __doc__)
    made.add_argument("--seconds", type=float, default=600.0, help="of the outage")
    made.add_argument("--per-minute", type=int, default=3_000, help="requests, of each limit")
    made.add_argument(
        "--kind",
        choices=("outage", "gone", "hang", "bad_key"),
        default="outage",
        help="what the first does with every call: 529, no connection, no answer, 401",
    )
    options = made.parse_args()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    outage = Outage(options.kind, options.seconds, options.per_minute)
    return conclude(run(outage), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
