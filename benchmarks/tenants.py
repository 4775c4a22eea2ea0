"""How long the events of nine tenants take while a tenth floods the same topic.

`python -m benchmarks.tenants` runs one process of the pipeline on a real Apache Kafka and a
simulated API with a rate limit, twice: nine tenants publish at a steady rate, and the second time
a tenth publishes a burst on top that keeps the limit used up. An event takes from its publication
to a reader of committed results. Needs Java 17+ and mvn. Prints a table, the goals, and one JSON
object as its last line.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from benchmarks.goals import Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from benchmarks.simulated import simulated_api
from benchmarks.tickets import charged_twice
from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_topics
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.kafka.writer import Writer
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child
from pipeline.local.environment import kafka_variables
from pipeline.stream.records import Outgoing

TENANTS = 9
RATE = 18
"""Events a second of these together."""
LIMIT = 50
"""Requests a second that the API takes."""
FLOOD = 6_000
"""Events of the tenth, all at once: minutes of the limit, and more than a partition holds of it."""
PARTITIONS = 8
"""Of the one process."""
KEYS = 40
WARM_UP = 10.0
RATIO = 1.5
"""The others' 95th percentile, of that without the flood, at most."""
LOUD = b"loud/"
_STARTS_WITHIN = 60.0
_LAST = 5.0
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that events took: those of the nine, and how many of the tenth's came meanwhile."""

    others: list[float]
    loud: int


class Publisher:
    """Publishes tickets, no two alike."""

    def __init__(self, writer: Writer, topic: str) -> None:
        self._writer, self._topic = writer, topic
        self._number = 0

    async def publish(self, key: bytes) -> None:
        """Publish one."""
        event = charged_twice(self._number)
        self._number += 1
        value = orjson.dumps({"id": event.id, "body": event.body})
        await self._writer.write(Outgoing(self._topic, key, value, ()))

    async def steadily(self, seconds: float) -> None:
        """The nine, for a while."""
        began = time.monotonic()
        for turn in range(int(seconds * RATE)):
            await self.publish(b"tenant-%d/%d" % (turn % TENANTS, turn // TENANTS % KEYS))
            await asyncio.sleep(max(0.0, began + turn / RATE - time.monotonic()))

    async def flood(self) -> None:
        """The tenth, all at once."""
        for turn in range(FLOOD):
            await self.publish(LOUD + b"%d" % turn)


async def measure(
    kafka: KafkaSettings, prefix: str, seconds: float, *, flood: bool, directory: Path
) -> Took:
    """Run the pipeline on topics of its own."""
    settings = TopicSettings(prefix=prefix, partitions=PARTITIONS, replication_factor=1)
    names = TopicNames(settings)
    async with AsyncExitStack() as stack:
        limit = ("--limit", f"requests={60 * LIMIT}", "--limit-window", "1")
        api = await stack.enter_async_context(simulated_api(*limit))
        async with admin_client(kafka) as admin:
            await Topics(admin, settings).create(names.of(["tickets"]))
        child = Child(
            [sys.executable, "-m", "pipeline.cli", "run", "tickets", "--json"],
            log=directory / f"{prefix}log",
            env={**kafka_variables(kafka), **api.environment, **_variables(prefix)},
        )
        stack.push_async_callback(child.kill)
        writer = await stack.enter_async_context(Writer(kafka, max_record_bytes=1 << 20))
        publisher = Publisher(writer, names.raw("tickets"))
        took, came = Took([], 0), 0
        records = await stack.enter_async_context(
            read_topics(kafka, [names.enriched("tickets")], end="never")
        )
        await publisher.publish(b"first/0")
        async with asyncio.timeout(_STARTS_WITHIN):
            await anext(aiter(records))
        publishing = asyncio.create_task(publisher.steadily(WARM_UP + seconds))
        await asyncio.sleep(WARM_UP)
        since = time.time()
        flooding = asyncio.create_task(publisher.flood()) if flood else None
        try:
            async with asyncio.timeout(seconds + _LAST):
                async for record in records:
                    source = orjson.loads(record.value or b"")["source"]
                    at = datetime.fromisoformat(source["timestamp"])
                    if (record.key or b"").startswith(LOUD):
                        came += 1
                    elif since <= at.timestamp() < since + seconds:
                        took.others.append(time.time() - at.timestamp())
        except TimeoutError:
            pass
        await publishing
        if flooding is not None:
            await flooding
    return Took(took.others, came)


def _variables(prefix: str) -> Mapping[str, str]:
    return {
        "PYTHONPATH": str(ROOT),
        "PIPELINE_HTTP__PORT": "0",
        "PIPELINE_TOPICS__PREFIX": prefix,
        "PIPELINE_KAFKA__GROUP_PREFIX": prefix,
        "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0",
        "PIPELINE_STREAM__TENANT_FROM": "key_prefix:/",
    }


async def run(seconds: float) -> Part:
    """Without the flood, and with it."""
    with tempfile.TemporaryDirectory(prefix="haiku-bench-") as directory:
        async with ApacheKafka() as broker:
            quiet, flooded = [
                await measure(
                    broker.settings, prefix, seconds, flood=flood, directory=Path(directory)
                )
                for prefix, flood in (("quiet.", False), ("flood.", True))
            ]
    rows, cuts = [], []
    for name, took in (("nine tenants", quiet), ("the same, and a flood", flooded)):
        cut = statistics.quantiles(took.others, n=20)
        cuts.append(cut[18])
        rows.append(
            (
                name,
                f"{len(took.others):,}",
                f"{1000 * cut[9]:.0f} ms",
                f"{1000 * cut[18]:.0f} ms",
                f"{took.loud:,}",
            )
        )
    expected = 100 * len(flooded.others) / (seconds * RATE)
    return Part(
        "tenants",
        "Nine tenants beside a flood of a tenth",
        f"One process, {PARTITIONS} partitions, an API that takes {LIMIT} requests a second and"
        " answers after 350 ms (log-normal)."
        f" {TENANTS} tenants publish {RATE} events a second together; the tenth publishes"
        f" {FLOOD:,} at once, which uses up the limit all the time. Counted over {seconds:g} s.",
        [Table(("", "events of the nine", "p50", "p95", "events of the tenth"), rows)],
        [
            at_most("p95 of the nine, of that without the flood", cuts[1] / cuts[0], RATIO),
            at_least("events of the nine that came meanwhile", expected, 98.0, " %"),
        ],
        {"p95_quiet": cuts[0], "p95_flooded": cuts[1], "loud": flooded.loud},
    )


def main() -> int:
    """Measure and print."""
    made = parser("tenants", __doc__)
    made.add_argument("--seconds", type=float, default=40.0, help="that count")
    options = made.parse_args()
    return conclude(run(options.seconds), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
