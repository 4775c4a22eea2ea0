"""What four replicas spend of one budget while they are killed and restarted at random.

`python -m benchmarks.budgets` runs four processes of the pipeline on a real Apache Kafka and a
simulated API, with a budget of 1 US dollar for the day and more tickets than that pays for. One
after the other is killed or ended, and started again. What was spent is counted by the API's own
ledger of billed calls. Needs Java 17+ and mvn. Prints a table, the goals, and one JSON object as
its last line.
"""

import asyncio
import random
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson

from benchmarks.costs import tokens_of
from benchmarks.goals import Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from benchmarks.simulated import Admin, simulated_api
from benchmarks.tickets import charged_twice
from pipeline.cascade.spending import Claim
from pipeline.claude.billing import PriceTable
from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.kafka.writer import Writer
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child, last_lines
from pipeline.local.environment import kafka_variables
from pipeline.model.records import read_record
from pipeline.stream.records import Outgoing

REPLICAS = 4
BUDGET = Decimal(1)
SHORT_BUDGET = Decimal("0.1")
"""Of a run of a minute."""
TICKETS = 30_000
"""More than the budget pays for: one costs some 0.0001 US dollars."""
PARTITIONS = 8
KEYS = 2_000
CONCURRENCY = 16
API_SECONDS = 0.15
PAUSES = (3.0, 9.0)
"""Seconds between two ends of a process, drawn evenly."""
QUIET = 10.0
"""Seconds without a billed call after which the budget counts as used up."""
SPENT = 50.0
"""Per cent of the budget, at least: the rest may be what killed processes had claimed."""
_STOP_WITHIN = 45.0
_NEAR_MIDNIGHT = 23
ROOT = Path(__file__).parents[1]


@dataclass
class Fleet:
    """The replicas; each start is a process of its own."""

    environment: dict[str, str]
    directory: Path
    children: list[Child] = field(default_factory=list)
    starts: int = 0
    kills: int = 0
    stops: int = 0

    def start(self) -> Child:
        """Start one."""
        self.starts += 1
        return Child(
            [sys.executable, "-m", "pipeline.cli", "run", "tickets", "--json"],
            log=self.directory / f"replica-{self.starts:03d}.log",
            env=self.environment,
        )

    async def restart(self, index: int, *, kill: bool) -> None:
        """End one, and start another in its place.

        Raises:
            RuntimeError: It had ended already, which nobody had asked it to.
        """
        child = self.children[index]
        if not child.running:
            raise RuntimeError(f"a replica ended by itself: {last_lines(child.output(), 5)}")
        if kill:
            self.kills += 1
            child.send(signal.SIGKILL)
            await child.wait()
        else:
            self.stops += 1
            await child.stop(_STOP_WITHIN)
        self.children[index] = self.start()


@dataclass(frozen=True, slots=True)
class Spent:
    """What the API's ledger says was billed: in all, the dearest call; seconds since the last."""

    total: Decimal
    largest: Decimal
    calls: int
    quiet: float


async def spent(api: Admin) -> Spent:
    """Read the ledger."""
    prices, costs, last = PriceTable(), list[Decimal](), 0.0
    for row in await api.requests():
        if row["billed"]:
            cost = prices.cost(row["model"], tokens_of(row))
            if cost is None:
                raise RuntimeError(f"{row['model']} has no price")
            costs.append(cost)
            last = max(last, row["at"] + row["seconds"])
    total = sum(costs, Decimal(0))
    largest = max(costs, default=Decimal(0))
    return Spent(total, largest, len(costs), await api.now() - last)


async def claimed(kafka: KafkaSettings, topic: str) -> Decimal:
    """What all processes say that they may have spent."""
    claims: dict[bytes | None, Claim] = {}
    async with read_topics(kafka, [topic]) as records:
        async for record in records:
            if record.value is not None:
                claims[record.key] = read_record(Claim, record.value)
    return sum((usd for each in claims.values() for usd in each.usd.values()), Decimal(0))


async def run(seed: int, budget: Decimal, most_seconds: float) -> Part:
    """Spend the budget."""
    now = datetime.now(UTC)
    if now.hour == _NEAR_MIDNIGHT:
        raise RuntimeError("a day in UTC ends soon, and with it the budget: wait for the next")
    draws = random.Random(seed)  # noqa: S311 - repeatable, not secret
    settings = TopicSettings(partitions=PARTITIONS, replication_factor=1)
    names = TopicNames(settings)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="haiku-bench-")))
        broker = await stack.enter_async_context(ApacheKafka())
        api = await stack.enter_async_context(simulated_api("--latency", f"median={API_SECONDS}"))
        async with admin_client(broker.settings) as admin:
            await Topics(admin, settings).create(names.of(["tickets"]))
        async with Writer(broker.settings, max_record_bytes=1 << 20) as writer:
            for number in range(TICKETS):
                event = charged_twice(number)
                value = orjson.dumps({"id": event.id, "body": event.body})
                await writer.write(
                    Outgoing(names.raw("tickets"), b"customer-%d" % (number % KEYS), value, ())
                )
        fleet = Fleet(
            {
                **kafka_variables(broker.settings),
                **api.environment,
                "PYTHONPATH": str(ROOT),
                "PIPELINE_HTTP__PORT": "0",
                "PIPELINE_KAFKA__SESSION_TIMEOUT": "6",
                "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0",
                "PIPELINE_CLAUDE__CONCURRENCY": str(CONCURRENCY),
                "PIPELINE_CLAUDE__BUDGET_USD_PER_DAY": str(budget),
            },
            directory,
        )
        fleet.children = [fleet.start() for _ in range(REPLICAS)]
        try:
            began = time.monotonic()
            while time.monotonic() < began + most_seconds:
                await asyncio.sleep(draws.uniform(*PAUSES))
                found = await spent(api)
                if found.calls and found.quiet > QUIET:
                    break
                await fleet.restart(draws.randrange(REPLICAS), kill=draws.random() < 0.7)  # noqa: PLR2004
            took = time.monotonic() - began
            # What is under way is billed when it was answered.
            await asyncio.sleep(2.0)
            found = await spent(api)
            claims = await claimed(broker.settings, names.budget)
        finally:
            for child in fleet.children:
                await child.kill()
    return _part(Run(seed, budget, took, fleet), found, claims)


@dataclass(frozen=True, slots=True)
class Run:
    """What was done."""

    seed: int
    budget: Decimal
    seconds: float
    fleet: Fleet


def _part(done: Run, found: Spent, claims: Decimal) -> Part:
    fleet, budget = done.fleet, done.budget
    table = Table(
        (
            "kills",
            "stops",
            "seconds",
            "calls billed",
            "US dollars billed",
            "claimed",
            "dearest call",
        ),
        [
            (
                str(fleet.kills),
                str(fleet.stops),
                f"{done.seconds:.0f}",
                f"{found.calls:,}",
                f"{found.total:.6f}",
                f"{claims:.6f}",
                f"{found.largest:.6f}",
            )
        ],
    )
    return Part(
        "budgets",
        "One budget, while processes die",
        f"{REPLICAS} processes of the pipeline, a budget of {budget} US dollars for the day, more"
        f" tickets than it pays for; a process is killed or stopped every {PAUSES[0]:g} to"
        f" {PAUSES[1]:g} s and started again (seed {done.seed}), until nothing was billed for"
        f" {QUIET:g} s. Spent is what the simulated API billed, answers that nobody read included.",
        [table],
        [
            at_most("spent, US dollars", float(found.total), float(budget + found.largest)),
            at_least("spent of the budget", float(100 * found.total / budget), SPENT, " %"),
            at_least("claimed of the budget", float(100 * claims / budget), 100.0, " %"),
        ],
        {
            "seed": done.seed,
            "kills": fleet.kills,
            "stops": fleet.stops,
            "calls": found.calls,
            "usd": float(found.total),
        },
        remarks=["What is not spent is what killed processes had claimed: it stays counted."],
    )


def main() -> int:
    """Measure and print."""
    made = parser("budgets", __doc__)
    made.add_argument("--seed", type=int, default=1, help="of what is ended when")
    made.add_argument("--short", action="store_true", help="for a minute at most")
    options = made.parse_args()
    budget, seconds = (SHORT_BUDGET, 60.0) if options.short else (BUDGET, 300.0)
    return conclude(run(options.seed, budget, seconds), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
