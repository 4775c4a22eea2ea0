"""What one core does: a bare loop over the SDK, the gateway, and the whole pipeline.

`python -m benchmarks.throughput` gives each of them one core in turn; a responder that takes
400 ms (log-normal) and a real Apache Kafka share the others. The pipeline delivers exactly once.
Needs Java 17+ and mvn. Prints a table, the goals, and one JSON object as its last line.
"""

import asyncio
import io
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import fastavro
import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.asking import Reached
from benchmarks.goals import Goal, Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from benchmarks.responder import responder
from benchmarks.simulated import KEY
from benchmarks.tickets import charged_twice
from pipeline.config import TicketSettings
from pipeline.config.inputs import OutputSettings
from pipeline.inputs.outputs import targets
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child, last_lines
from pipeline.stages.tickets import Tickets
from tests.inputs.registry_server import RegistryServer

API_SECONDS = 0.4
"""Median of the responder."""
ROUNDS = 2
GATEWAY_CPU = 110.0
"""Per cent of the bare loop, at most."""
PIPELINE_CPU = 125.0
AVRO_CPU = 1.15
"""CPU of an event with framed Avro in and out, as a multiple of JSON's, at most."""
CPU_MS = 1.25
WANTED = {256: 600.0, 512: 800.0}
"""Events a second on one core, by calls under way."""
ADDED_MS = 150.0
"""Half a commit interval is 100 ms of that: commits that come more often cost more than they are
worth beside a call of 400 ms."""
PARTITIONS = 6
KEYS = 2_000
_BACKLOG = 45_000
_STEADY = 300
"""Events a second, of the run that measures how long an event takes."""
_NO_COORDINATOR_YET = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
"""The brokers have not agreed yet on who keeps the offsets of a new group."""
_READY_WITHIN = 240.0
ROOT = Path(__file__).parents[1]
_TOPICS = ("tickets.raw", "tickets.enriched", "escalations", "review", "dead-letters")


def _cores() -> tuple[set[int], set[int]]:
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, set(available[1:]) or {available[0]}


OWN_CORE, OTHER_CORES = _cores()
"""The core of what is measured, and those of everything else; empty where none can be chosen."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long a measurement takes, in seconds."""

    warm_up: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way, at one number of calls under way: medians of its rounds."""

    name: str
    concurrency: int
    per_second: float
    cpu_ms: float
    p50_ms: float
    p95_ms: float
    commits_per_second: float = float("nan")
    open_files: float = float("nan")
    """Of the process, sockets for the most part."""
    sockets: float = float("nan")
    """Those that are connected to the broker."""
    start_seconds: float = float("nan")
    """From the process's start to a commit in every partition."""
    is_steady: bool = False
    """Whether it is at a rate that it can keep, and not on a backlog."""


async def ask(way: str, concurrency: int, span: Span, environment: Mapping[str, str]) -> Reached:
    """Run `benchmarks.asking` on its core."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.asking", way, "--concurrency", str(concurrency)),
        *("--warm-up", str(span.warm_up), "--seconds", str(span.seconds)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    _pin(process.pid)
    output, _ = await process.communicate()
    return Reached(**json.loads(output))


async def alone(concurrency: int, span: Span, environment: Mapping[str, str]) -> list[Row]:
    """The bare loop and the gateway in turns, so that what else the machine does hits both."""
    found: dict[str, list[Reached]] = {"bare": [], "gateway": []}
    for _ in range(ROUNDS):
        for way, reached in found.items():
            reached.append(await ask(way, concurrency, span, environment))
    return [
        Row(
            {"bare": "bare SDK loop", "gateway": "gateway"}[way],
            concurrency,
            statistics.median(each.per_second for each in reached),
            statistics.median(each.cpu_ms for each in reached),
            statistics.median(each.p50_ms for each in reached),
            statistics.median(each.p95_ms for each in reached),
        )
        for way, reached in found.items()
    ]


class Stream:
    """Topics of one run of the pipeline.

    Args:
        servers: Of Kafka.
        prefix: Of the topics' names.
        partitions: Of each.
        write: Makes a record of a ticket's fields.
    """

    def __init__(
        self,
        servers: str,
        prefix: str,
        partitions: int = PARTITIONS,
        write: Callable[[Mapping[str, str]], bytes] = orjson.dumps,
    ) -> None:
        self._servers = servers
        self._write = write
        self._partitions = partitions
        self.prefix = prefix
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
        self._number = 0

    def make_topics(self) -> None:
        """Make them."""
        client = AdminClient({"bootstrap.servers": self._servers})
        new = [NewTopic(self.prefix + name, self._partitions, 1) for name in _TOPICS]
        for made in client.create_topics(new).values():
            made.result()

    def publish(self, count: int) -> None:
        """Publish so many tickets, no two alike."""
        for _ in range(count):
            self._publish_one(-1)

    def publish_to_each(self) -> None:
        """Publish a ticket into every partition."""
        for partition in range(self._partitions):
            self._publish_one(partition)
        self.flush()

    def _publish_one(self, partition: int) -> None:
        event = charged_twice(self._number)
        self._producer.produce(
            self.prefix + "tickets.raw",
            key=f"customer-{self._number % KEYS}",
            value=self._write({"id": event.id, "body": event.body}),
            partition=partition,
        )
        self._producer.poll(0)
        self._number += 1

    def flush(self) -> None:
        """Wait until all is written."""
        self._producer.flush()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point the pipeline at it."""
        return {
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "PIPELINE_KAFKA__GROUP_PREFIX": self.prefix,
            "PIPELINE_TOPICS__PREFIX": self.prefix,
        }

    def has_begun(self) -> bool:
        """Whether something was committed in every partition."""
        group = {"bootstrap.servers": self._servers, "group.id": f"{self.prefix}tickets"}
        asked = [TopicPartition(f"{self.prefix}tickets.raw", n) for n in range(self._partitions)]
        with closing(Consumer(group)) as consumer:
            try:
                committed = consumer.committed(asked, timeout=_READY_WITHIN)
            except KafkaException as error:
                if error.args[0].code() not in _NO_COORDINATOR_YET:
                    raise
                return False
        return all(at.offset > 0 for at in committed)

    def arrivals(self, seconds: float) -> list[float]:
        """Read committed results for a while; seconds from each one's publication to now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self.prefix + "reader",
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
            }
        )
        consumer.subscribe([self.prefix + "tickets.enriched"])
        took = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            message = consumer.poll(0.05)
            value = None if message is None or message.error() else message.value()
            if value is not None:
                source = orjson.loads(value)["source"]
                took.append(time.time() - _epoch(source["timestamp"]))
        consumer.close()
        return took


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@asynccontextmanager
async def pipeline(
    stream: Stream, concurrency: int, environment: Mapping[str, str], root: Path = ROOT
) -> AsyncIterator[tuple[str, int]]:
    """Run `pipeline run tickets` of a checkout on its core; yields where its metrics are, and it.

    That is its process id.
    """
    with tempfile.TemporaryDirectory(prefix="haiku-bench-") as directory:
        child = Child(
            [sys.executable, "-m", "pipeline.cli", "run", "tickets", "--json"],
            log=Path(directory, "log"),
            env={
                **environment,
                **stream.environment,
                "PYTHONPATH": str(root),
                "PIPELINE_HTTP__PORT": "0",
                "PIPELINE_STAGES__TICKETS__AUDIT_SHARE": "0",
                "PIPELINE_CLAUDE__CONCURRENCY": str(concurrency),
                "PIPELINE_STREAM__MAX_IN_FLIGHT": str(2 * concurrency),
            },
        )
        _pin(child.pid)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                address = await _address(child)
            yield address, child.pid
        finally:
            await child.kill()


async def _address(child: Child) -> str:
    while True:
        found = re.search(r'^\{"dashboard":.*\}$', child.output(), re.MULTILINE)
        if found:
            return str(json.loads(found[0])["dashboard"])
        if not child.running:
            raise RuntimeError(f"the pipeline did not start: {last_lines(child.output())}")
        await asyncio.sleep(0.05)


class Metrics:
    """What a pipeline says of itself.

    Args:
        http: Connections.
        address: Of its dashboard.
    """

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self._http = http
        self._url = f"{address}/metrics"

    async def read(self) -> dict[str, float]:
        """Sums over all labels, by name."""
        async with self._http.get(self._url) as response:
            text = await response.text()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums


async def whole(
    servers: str,
    concurrency: int,
    span: Span,
    environment: Mapping[str, str],
    *,
    prefix: str | None = None,
    partitions: int = PARTITIONS,
    root: Path = ROOT,
    form: "Form | None" = None,
) -> Row:
    """The whole pipeline, of a checkout, on a backlog; with JSON in and out if not in a `form`."""
    prefix = prefix or f"at-{concurrency}."
    stream = Stream(servers, prefix, partitions)
    if form is not None:
        stream = Stream(servers, f"avro.{prefix}", partitions, form.write)
        environment = {**environment, **form.settings}
    await asyncio.to_thread(stream.make_topics)
    await asyncio.to_thread(stream.publish_to_each)
    await asyncio.to_thread(stream.publish, _BACKLOG)
    await asyncio.to_thread(stream.flush)
    started = time.perf_counter()
    async with (
        aiohttp.ClientSession() as http,
        pipeline(stream, concurrency, environment, root) as (address, pid),
    ):
        metrics = Metrics(http, address)
        start_seconds = await _begun(stream, started)
        await asyncio.sleep(span.warm_up)
        before, began = await metrics.read(), time.perf_counter()
        await asyncio.sleep(span.seconds)
        after, passed = await metrics.read(), time.perf_counter() - began
        sockets = connections(pid, servers)
    events = _gained(before, after, "pipeline_events_committed_total")
    if after.get("pipeline_dead_letters_total") or after["pipeline_lag_events"] < 1:
        raise RuntimeError("the backlog was too short, or events became dead letters")
    cpu_ms = 1000 * _gained(before, after, "process_cpu_seconds_total") / events
    nothing = float("nan")
    return Row(
        "whole pipeline" if form is None else f"whole pipeline, {form.name}",
        concurrency,
        events / passed,
        cpu_ms,
        nothing,
        nothing,
        _gained(before, after, "pipeline_commits_total") / passed,
        after["process_open_fds"],
        sockets,
        start_seconds,
    )


async def _begun(stream: Stream, started: float) -> float:
    """Wait until something was committed in every partition; seconds since the process started."""
    async with asyncio.timeout(_READY_WITHIN):
        while not await asyncio.to_thread(stream.has_begun):  # noqa: ASYNC110 - a poll
            await asyncio.sleep(0.1)
    return time.perf_counter() - started


def connections(pid: int, servers: str) -> float:
    """How many TCP connections a process has to the broker, by Linux's account."""
    ports = {int(server.rpartition(":")[2]) for server in servers.split(",")}
    process = Path("/proc", str(pid))
    if not process.exists():
        return float("nan")
    own = set()
    for each in process.joinpath("fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, as what lists them is
            own.add(str(each.readlink()))
    rows = [line.split() for line in process.joinpath("net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[2][-4:], 16) in ports and f"socket:[{row[9]}]" in own for row in rows)


def _gained(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    return after[name] - before.get(name, 0.0)


async def steady(
    servers: str,
    concurrency: int,
    span: Span,
    environment: Mapping[str, str],
    *,
    rate: int = _STEADY,
    prefix: str = "steady.",
    partitions: int = PARTITIONS,
    root: Path = ROOT,
) -> Row:
    """The whole pipeline, of a checkout, at a rate it can keep: how long an event takes.

    From its publication to a reader of committed records.
    """
    stream = Stream(servers, prefix, partitions)
    await asyncio.to_thread(stream.make_topics)
    await asyncio.to_thread(stream.publish_to_each)
    started = time.perf_counter()
    async with (
        aiohttp.ClientSession() as http,
        pipeline(stream, concurrency, environment, root) as (address, pid),
    ):
        metrics = Metrics(http, address)
        start_seconds = await _begun(stream, started)
        reading = asyncio.create_task(
            asyncio.to_thread(stream.arrivals, span.warm_up + span.seconds)
        )
        ticks = int((span.warm_up + span.seconds) * 50)
        before, began = await metrics.read(), time.perf_counter()
        for tick in range(ticks):
            if tick == int(span.warm_up * 50):
                before = await metrics.read()
            stream.publish((tick + 1) * rate // 50 - tick * rate // 50)
            await asyncio.sleep(max(0.0, began + tick / 50 - time.perf_counter()))
        after = await metrics.read()
        sockets = connections(pid, servers)
        stream.flush()
        took = await reading
    took = took[int(len(took) * span.warm_up / (span.warm_up + span.seconds)) :]
    cuts = statistics.quantiles(took, n=20)
    cpu_ms = 1000 * _gained(before, after, "process_cpu_seconds_total")
    cpu_ms /= _gained(before, after, "pipeline_events_committed_total")
    return Row(
        f"whole pipeline, {rate} events/s",
        concurrency,
        rate,
        cpu_ms,
        1000 * cuts[9],
        1000 * cuts[18],
        _gained(before, after, "pipeline_commits_total") / span.seconds,
        after["process_open_fds"],
        sockets,
        start_seconds,
        is_steady=True,
    )


@dataclass(frozen=True, slots=True)
class Form:
    """Another form of records than JSON: how a raw one is written, and the pipeline's settings."""

    name: str
    write: Callable[[Mapping[str, str]], bytes]
    settings: Mapping[str, str]


@contextmanager
def framed_avro() -> Iterator[Form]:
    """Framed Avro in and out, by a registry that is there for as long."""
    fields = [{"name": name, "type": "string"} for name in ("id", "body")]
    raw: Any = {"type": "record", "name": "Ticket", "fields": fields}
    own = TicketSettings(output=OutputSettings(format="avro", subject="record"))
    [result] = targets(Tickets(own), own, "tickets.enriched")
    assert result.schema is not None  # noqa: S101 - of Avro there is one
    with RegistryServer().in_a_thread() as server:
        number = server.add("tickets.raw-value", json.dumps(raw))
        server.add(result.subject, result.schema.text)
        schema = fastavro.parse_schema(raw)

        def write(fields: Mapping[str, str]) -> bytes:
            value = io.BytesIO(b"\0" + number.to_bytes(4, "big"))
            value.seek(0, io.SEEK_END)
            fastavro.schemaless_writer(value, schema, fields)
            return value.getvalue()

        stage = "PIPELINE_STAGES__TICKETS__"
        yield Form(
            "framed Avro in and out",
            write,
            {
                "PIPELINE_REGISTRY__URL": server.url,
                f"{stage}INPUT__FORMAT": "registry",
                f"{stage}OUTPUT__FORMAT": "avro",
                f"{stage}OUTPUT__SUBJECT": "record",
            },
        )


async def run(span: Span, rounds: Mapping[int, float], *, only_forms: bool = False) -> Part:
    """Measure everything, or the whole pipeline alone in each form of records."""
    if OTHER_CORES:
        os.sched_setaffinity(0, OTHER_CORES)
    rows: list[Row] = []
    with responder(median=API_SECONDS) as port:
        environment = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": KEY}
        with framed_avro() as avro:
            async with ApacheKafka() as broker:
                servers, name = broker.bootstrap_servers, broker.name
                for concurrency in rounds:
                    if not only_forms:
                        rows += await alone(concurrency, span, environment)
                    rows.append(await whole(servers, concurrency, span, environment))
                    rows.append(await whole(servers, concurrency, span, environment, form=avro))
                if not only_forms:
                    rows.append(await steady(servers, min(rounds), span, environment))
    return _part(rows, rounds, name)


def _part(rows: list[Row], wanted: Mapping[int, float], broker: str) -> Part:
    goals: list[Goal] = []
    for concurrency, rate in wanted.items():
        *others, in_json, in_avro = (
            row for row in rows if row.concurrency == concurrency and not row.is_steady
        )
        at = f"at {concurrency} in flight"
        if others:
            bare, own = others
            of_bare = "CPU of the bare loop's"
            shares = 100 * own.cpu_ms / bare.cpu_ms, 100 * in_json.cpu_ms / bare.cpu_ms
            goals += [
                at_most(f"gateway {at}: {of_bare}", shares[0], GATEWAY_CPU, " %"),
                at_most(f"pipeline {at}: {of_bare}", shares[1], PIPELINE_CPU, " %"),
                at_most(f"pipeline {at}: CPU an event", in_json.cpu_ms, CPU_MS, " ms"),
                at_least(f"pipeline {at}: events a second", in_json.per_second, rate),
            ]
        times = in_avro.cpu_ms / in_json.cpu_ms
        goals.append(at_most(f"pipeline {at}: CPU with Avro, of JSON's", times, AVRO_CPU))
    added = next((row.p50_ms - 1000 * API_SECONDS for row in rows if row.is_steady), None)
    if added is not None:
        goals.append(at_most("pipeline: p50 above the API's own", added, ADDED_MS, " ms"))
    table = Table(
        ("", "in flight", "events/s", "CPU ms an event", "p50", "p95"),
        [
            (
                row.name,
                str(row.concurrency),
                f"{row.per_second:.0f}",
                f"{row.cpu_ms:.3f}",
                _milliseconds(row.p50_ms),
                _milliseconds(row.p95_ms),
            )
            for row in rows
        ],
    )
    return Part(
        "throughput",
        "What one core does",
        f"One process on one core; {broker} and a responder that answers after"
        f" {1000 * API_SECONDS:.0f} ms (log-normal, always the same answer) on the others. Tickets"
        f" of 291 bytes, {PARTITIONS} partitions, {KEYS:,} keys, exactly-once delivery; the"
        " pipeline works off a backlog and is counted by what it commits. The bare loop is the best"
        " there is over the SDK: aiohttp transport, raw response, one parse, validation. The last"
        " row is from an event's publication to a reader of committed records.",
        [table],
        goals,
        {
            "rows": [
                {
                    "name": row.name,
                    "in_flight": row.concurrency,
                    "per_second": round(row.per_second, 1),
                    "cpu_ms": round(row.cpu_ms, 3),
                }
                for row in rows
            ],
            "added_p50_ms": None if added is None else round(added, 1),
        },
    )


def _milliseconds(value: float) -> str:
    return "" if value != value else f"{value:.0f} ms"  # noqa: PLR0124 - nan


def _pin(pid: int) -> None:
    if OWN_CORE:
        os.sched_setaffinity(pid, OWN_CORE)


def main() -> int:
    """Measure and print."""
    made = parser("throughput", __doc__)
    made.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    made.add_argument("--warm-up", type=float, default=8.0, help="seconds before each")
    made.add_argument("--only", type=int, help="calls under way: 256 or 512")
    made.add_argument("--forms", action="store_true", help="only the pipeline, in JSON and Avro")
    options = made.parse_args()
    wanted = {n: rate for n, rate in WANTED.items() if options.only in {None, n}}
    span = Span(options.warm_up, options.seconds)
    return conclude(run(span, wanted, only_forms=options.forms), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
