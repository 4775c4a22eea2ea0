"""What exactly-once delivery costs in latency, beside at-least-once, on a real Apache Kafka.

`python -m benchmarks.delivery` publishes events at a steady rate to two engines in turns. Both do
the same with each event, which is nothing: what is left is the time from its publication to the
moment at which a consumer of committed records has what came of it. Needs Java 17+ and mvn.
Prints a table, and one JSON object as its last line.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from pipeline.config import Delivery, KafkaSettings, StreamSettings, TopicSettings
from pipeline.kafka.brokers import KafkaBrokers
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child
from pipeline.stream.engine import Engine
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received

MODES: tuple[Delivery, ...] = get_args(Delivery)
_ROOT = Path(__file__).parents[1]
_KEYS = 500
_READY_WITHIN = 60.0
_LAST_COME_WITHIN = 10.0
_WARM_UP = 5.0
"""Seconds of load before those that count."""


@dataclass(frozen=True, slots=True)
class Load:
    """Events a second, seconds of a round, rounds of each mode, partitions of each topic."""

    rate: float
    seconds: float
    rounds: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Row:
    """One mode: events that were measured, and percentiles of their latency in milliseconds."""

    mode: str
    events: int
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Arrivals:
    """Seconds from publication to arrival; filled by the thread that reads."""

    seconds: list[float] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, seconds: float) -> None:
        """Note one."""
        with self.changed:
            self.seconds.append(seconds)
            self.changed.notify_all()

    def wait_for(self, count: int, within: float) -> bool:
        """Wait until there are so many; returns whether there are."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.seconds) >= count, within)

    def clear(self) -> None:
        """Forget them."""
        with self.changed:
            self.seconds.clear()


def raw(mode: str) -> str:
    """The topic that an engine reads."""
    return f"{mode}.raw"


def results(mode: str) -> str:
    """The topic that it writes."""
    return f"{mode}.results"


async def serve(mode: Delivery, servers: str) -> None:
    """Run one engine until the process is killed."""

    async def pass_on(received: Received) -> Outcome:
        record = Outgoing(results(mode), received.key, received.value, ())
        return Outcome(Disposition.ENRICHED, (record,))

    kafka, stream = KafkaSettings(bootstrap_servers=servers), StreamSettings()
    brokers = KafkaBrokers(kafka, stream, TopicSettings(), mode)
    engine = Engine(
        mode, [raw(mode)], pass_on, brokers=brokers, group=f"bench.{mode}", settings=stream
    )
    await engine.run(asyncio.Event())


async def measure(load: Load) -> tuple[str, list[Row]]:
    """Run both engines and publish to them in turns.

    Returns:
        The brokers' name, and the percentiles of each mode.

    Raises:
        TimeoutError: An engine did not start, or results are missing.
    """
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(ApacheKafka())
        servers = broker.bootstrap_servers
        await asyncio.to_thread(_make_topics, servers, load.partitions)
        for mode in MODES:
            await stack.enter_async_context(_engine(mode, servers))
        arrivals = {
            mode: stack.enter_context(_reading(servers, results(mode), load.partitions))
            for mode in MODES
        }
        await asyncio.to_thread(_publish_in_turns, servers, load, arrivals)
        return broker.name, [_row(mode, arrivals[mode].seconds) for mode in MODES]


@asynccontextmanager
async def _engine(mode: Delivery, servers: str) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(prefix="haiku-bench-") as directory:
        command = [sys.executable, "-m", "benchmarks.delivery", "--serve", mode, servers]
        child = Child(command, log=Path(directory, "log"), env={"PYTHONPATH": str(_ROOT)})
        try:
            yield
        finally:
            await child.kill()


@contextmanager
def _reading(servers: str, topic: str, partitions: int) -> Iterator[Arrivals]:
    """Read a topic in a thread, committed records only."""
    arrivals, stop = Arrivals(), threading.Event()

    def read() -> None:
        consumer = Consumer(
            _options(servers, {"group.id": "bench", "isolation.level": "read_committed"})
        )
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        while not stop.is_set():
            message = consumer.poll(0.1)
            value = None if message is None or message.error() else message.value()
            if value is not None:
                arrivals.add(time.time() - float(value))
        consumer.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield arrivals
    finally:
        stop.set()
        thread.join()


def _publish_in_turns(servers: str, load: Load, arrivals: dict[Delivery, Arrivals]) -> None:
    producer = Producer(_options(servers, {"linger.ms": 0}))
    for mode in MODES:
        _publish(producer, raw(mode), 1, 1.0)
        _wait(arrivals[mode], 1, _READY_WITHIN, mode)
        _publish(producer, raw(mode), round(load.rate * _WARM_UP), load.rate)
        _wait(arrivals[mode], 1 + round(load.rate * _WARM_UP), _LAST_COME_WITHIN, mode)
        arrivals[mode].clear()
    count = round(load.rate * load.seconds)
    for number in range(1, load.rounds + 1):
        for mode in MODES:
            _publish(producer, raw(mode), count, load.rate)
            _wait(arrivals[mode], number * count, _LAST_COME_WITHIN, mode)


def _publish(producer: Producer, topic: str, count: int, rate: float) -> None:
    """Publish at an even pace; the value of an event is the moment of its publication."""
    started = time.monotonic()
    for number in range(count):
        pause = started + number / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        producer.produce(topic, key=f"key-{number % _KEYS}", value=repr(time.time()).encode())
        producer.poll(0)
    producer.flush()


def _wait(arrivals: Arrivals, count: int, within: float, mode: str) -> None:
    if not arrivals.wait_for(count, within):
        raise TimeoutError(f"{mode}: {len(arrivals.seconds)} of {count} results came")


def _row(mode: str, seconds: list[float]) -> Row:
    cuts = statistics.quantiles(seconds, n=100)
    return Row(mode, len(seconds), round(cuts[49] * 1000, 1), round(cuts[98] * 1000, 1))


def _make_topics(servers: str, partitions: int) -> None:
    client = AdminClient(_options(servers, {}))
    names = [name for mode in MODES for name in (raw(mode), results(mode))]
    for made in client.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        made.result()


def _options(servers: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"bootstrap.servers": servers, **more}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="of each mode, in turns")
    parser.add_argument("--partitions", type=int, default=12, help="of each topic")
    parser.add_argument("--serve", nargs=2, metavar=("MODE", "SERVERS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        mode, servers = options.serve
        asyncio.run(serve(mode, servers))
        return 0
    load = Load(options.rate, options.seconds, options.rounds, options.partitions)
    broker, rows = asyncio.run(measure(load))
    write = sys.stdout.write
    write(f"{broker}, {load.rate:g} events/s, {load.partitions} partitions\n")
    for row in rows:
        write(f"{row.mode:<15} p50 {row.p50_ms:>7.1f} ms   p99 {row.p99_ms:>7.1f} ms\n")
    once, least = ({row.mode: row for row in rows}[mode] for mode in MODES)
    added = {
        "added_p50_ms": round(once.p50_ms - least.p50_ms, 1),
        "added_p99_ms": round(once.p99_ms - least.p99_ms, 1),
    }
    write(f"exactly once adds p50 {added['added_p50_ms']} ms, p99 {added['added_p99_ms']} ms\n")
    latencies = {row.mode: {"p50_ms": row.p50_ms, "p99_ms": row.p99_ms} for row in rows}
    write(
        json.dumps({"broker": broker, "rate": load.rate, **latencies, **added, "ok": True}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
