"""One transactional producer for each partition beside one for the whole process.

`python -m benchmarks.producers` publishes results at a steady rate over 6, 60 and 200 partitions of
an Apache Kafka, either way in turns: with a producer for each input partition, as the pipeline has
it, which commits its partition's results and offset at most once in `stream.commit_interval`, and
when it is its turn by `CommitPacer`; and with one producer that commits those of all partitions
together, as often. Nothing else is done, so all that is counted is publishing and committing. Needs
Java 17+ and mvn. Prints a table, and one JSON object as its last line.
"""

import asyncio
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import cast

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from benchmarks.goals import Part, Table
from benchmarks.report import conclude, machine, parser
from benchmarks.throughput import ROOT, connections
from pipeline.config import KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers, TransactionalWriter
from pipeline.local.apache import ApacheKafka
from pipeline.stream.partition_worker import CommitPacer
from pipeline.stream.protocols import Committed, TopicPartition
from pipeline.stream.records import Outgoing

DOCUMENT = ROOT / "docs" / "DELIVERY.md"
PARTITIONS = (6, 60, 200)
_RAW, _RESULTS = "raw", "results"
_VALUE = b"x" * 800
"""About what a result of a ticket takes."""
_METADATA = "hp3.AAAAAAAAAAAA."
_SETTLED_SECONDS = 2.0
"""In which the last results are committed."""


@dataclass(slots=True)
class Ready:
    """Results that wait for their commit, by partition, with the moment of each."""

    waiting: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    news: defaultdict[int, asyncio.Event] = field(
        default_factory=lambda: defaultdict(asyncio.Event)
    )
    offsets: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    seconds: list[float] = field(default_factory=list)
    transactions: int = 0

    def add(self, partition: int) -> None:
        """A result of a partition is ready."""
        self.waiting[partition].append(time.perf_counter())
        self.news[partition].set()

    def take(self, partition: int) -> list[float]:
        """What is ready of a partition, whose offset goes on by as much."""
        taken = self.waiting.pop(partition, [])
        self.news[partition].clear()
        self.offsets[partition] += len(taken)
        return taken

    def committed(self, moments: Sequence[float]) -> None:
        """Count a transaction, and how long its results waited."""
        now = time.perf_counter()
        self.transactions += 1
        self.seconds += [now - moment for moment in moments]


@dataclass(frozen=True, slots=True)
class Row:
    """What one way came to in one round."""

    way: str
    partitions: int
    cpu_ms: float
    """An event."""
    transactions_per_second: float
    connections: float
    p50_ms: float
    p99_ms: float
    start_seconds: float


def _records(partition: int, count: int) -> list[Outgoing]:
    return [Outgoing(_RESULTS, b"key-%d" % partition, _VALUE, ()) for _ in range(count)]


async def _each(ready: Ready, writers: Sequence[TransactionalWriter], interval: float) -> None:
    """Commit each partition by itself, in its turn, endlessly."""
    pacer, now = CommitPacer(), asyncio.get_running_loop().time

    async def commit(partition: int, writer: TransactionalWriter) -> None:
        # The pace of one is not that of another.
        await asyncio.sleep(interval * partition / len(writers))
        while True:
            await ready.news[partition].wait()
            await asyncio.sleep(pacer.reserve(now()) - now())
            began, moments = now(), ready.take(partition)
            committed = Committed(ready.offsets[partition], _METADATA)
            await writer.commit(_records(partition, len(moments)), committed)
            ready.committed(moments)
            await asyncio.sleep(began + interval - now())

    async with asyncio.TaskGroup() as tasks:
        for partition, writer in enumerate(writers):
            tasks.create_task(commit(partition, writer))


async def _together(ready: Ready, writers: Sequence[TransactionalWriter], interval: float) -> None:
    """Commit what is ready of all partitions in one transaction of one producer, endlessly."""
    producer, group = writers[0].producer, writers[0].group
    while True:
        if taken := {partition: ready.take(partition) for partition in list(ready.waiting)}:
            await producer.begin_transaction()
            answers = [
                await producer.send(record.topic, record.value, key=record.key)
                for partition, moments in taken.items()
                for record in _records(partition, len(moments))
            ]
            await asyncio.gather(*answers)
            offsets = {
                KafkaPartition(_RAW, partition): OffsetAndMetadata(
                    ready.offsets[partition], _METADATA
                )
                for partition in taken
            }
            await producer.send_offsets_to_transaction(offsets, group)
            await producer.commit_transaction()
            ready.committed([moment for moments in taken.values() for moment in moments])
        await asyncio.sleep(interval)


Way = Callable[[Ready, Sequence[TransactionalWriter], float], Awaitable[None]]
WAYS: Mapping[str, tuple[Way, bool]] = {
    "one for each partition": (_each, True),
    "one for the process": (_together, False),
}


async def _round(servers: str, way: str, partitions: int, rate: float, seconds: float) -> Row:
    commit, is_each = WAYS[way]
    stream = StreamSettings()
    brokers = KafkaBrokers(
        KafkaSettings(bootstrap_servers=servers), stream, TopicSettings(), "exactly_once"
    )
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        writers = []
        for partition in range(partitions if is_each else 1):
            place = TopicPartition(_RAW, partition)
            writer = cast("TransactionalWriter", brokers.transactional_session(way, place))
            writers.append(writer)
            stack.push_async_callback(writer.close)
        await asyncio.gather(*(writer.start() for writer in writers))
        start = time.perf_counter() - began
        ready = Ready()
        committing = asyncio.ensure_future(commit(ready, writers, stream.commit_interval))
        stack.callback(committing.cancel)
        await _publish(ready, committing, partitions, rate, seconds / 4)
        ready.seconds.clear()
        ready.transactions, cpu, began = 0, time.process_time(), time.perf_counter()
        await _publish(ready, committing, partitions, rate, seconds)
        elapsed = time.perf_counter() - began
        cuts = statistics.quantiles(ready.seconds, n=100)
        return Row(
            way,
            partitions,
            (time.process_time() - cpu) * 1000 / len(ready.seconds),
            ready.transactions / elapsed,
            connections(os.getpid(), servers),
            cuts[49] * 1000,
            cuts[98] * 1000,
            start,
        )


async def _publish(
    ready: Ready, committing: asyncio.Future[None], partitions: int, rate: float, seconds: float
) -> None:
    """Make results ready at an even pace, one partition after the other, and see them committed."""
    began = time.perf_counter()
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        ready.add(number % partitions)
    await asyncio.sleep(_SETTLED_SECONDS)
    if committing.done():
        committing.result()


async def measure(partitions: Sequence[int], rate: float, seconds: float, rounds: int) -> Part:
    """Both ways in turns, with each number of partitions."""
    found: list[Row] = []
    async with ApacheKafka() as broker:
        servers = broker.bootstrap_servers
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        names = [NewTopic(name, max(partitions), 1) for name in (_RAW, _RESULTS)]
        await admin.create_topics(names)
        await admin.close()
        for count in partitions:
            for number in range(rounds):
                for way in sorted(WAYS, reverse=bool(number % 2)):
                    row = await _round(servers, way, count, rate, seconds)
                    sys.stderr.write(f"{row}\n")
                    found.append(row)
    rows = [
        (
            str(count),
            way,
            *(
                format(statistics.median(getattr(row, name) for row in of), form)
                for name, form in _COLUMNS
            ),
        )
        for count in partitions
        for way in WAYS
        if (of := [row for row in found if (row.way, row.partitions) == (way, count)])
    ]
    about = (
        f"{rate:g} results a second of {len(_VALUE)} bytes, {rounds} rounds of {seconds:g} s of "
        f"each way in turns, medians; commits at most every "
        f"{StreamSettings().commit_interval * 1000:g} ms. CPU of the process alone, without the "
        f"broker. {machine()}"
    )
    headings = (
        *("partitions", "producers", "CPU ms an event", "transactions/s"),
        *("connections", "ready to committed, p50 ms", "p99 ms", "start, s"),
    )
    return Part(
        name="producers",
        title="One producer for each partition, or one for the process",
        about=about,
        tables=[Table(headings, rows)],
        goals=[],
        data={"rows": [asdict(row) for row in found]},
    )


_COLUMNS = (
    ("cpu_ms", ".3f"),
    ("transactions_per_second", ".1f"),
    ("connections", ".0f"),
    ("p50_ms", ".0f"),
    ("p99_ms", ".0f"),
    ("start_seconds", ".2f"),
)


def main() -> int:
    """The command line."""
    made = parser("producers", __doc__, document=DOCUMENT)
    made.add_argument("--partitions", type=int, nargs="+", default=list(PARTITIONS))
    made.add_argument("--rate", type=float, default=200.0, help="results a second")
    made.add_argument("--seconds", type=float, default=20.0, help="of a round")
    made.add_argument("--rounds", type=int, default=2)
    given = made.parse_args()
    work = measure(given.partitions, given.rate, given.seconds, given.rounds)
    return conclude(work, write=given.write, document=DOCUMENT)


if __name__ == "__main__":
    sys.exit(main())
