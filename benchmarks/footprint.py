"""How large a process becomes: memory with nothing to do and at the height of its load, and CPU.

`python -m benchmarks.footprint` runs `pipeline run STAGES` as deploy/kubernetes groups them,
against a real Apache Kafka (Java 17+ and mvn) and a responder that always says the same, with
everything in flight that the settings allow: small events, and events near the limits of their
stages. Each row is a process of its own; its peak is the largest sum of what it and its decoders
held (`Pss`, as a cgroup counts it), or what the kernel says of the process alone (`VmHWM`) where
that is more. What the first tier escalates (all of it) is the load of the second. Prints a table
and one JSON object as its last line; docs/OPERATIONS.md and the manifests have their figures from
it.
"""

import asyncio
import io
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import orjson
from confluent_kafka import Producer
from PIL import Image

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import show
from benchmarks.responder import ANSWER, responder
from benchmarks.simulated import KEY
from benchmarks.throughput import Metrics
from benchmarks.tickets import charged_twice
from pipeline.config import KafkaSettings, Settings, TopicSettings
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import TopicNames, Topics
from pipeline.local.apache import ApacheKafka
from pipeline.local.child import Child, last_lines
from pipeline.stages.api import build_stages

API_SECONDS = 2.0
"""Median of the responder: long enough for everything to be in flight at once."""
PARTITIONS = 6
_IDLE_SECONDS = 5.0
_WITHIN = 120.0
_POLL = 0.25
_ROOT = Path(__file__).parents[1]
LIMITS_MIB = {"tickets": 1024, "invoices images": 3072, "escalations": 2048}
"""What deploy/kubernetes lets each group have."""
_TICKETS, _FILES, _SECOND = ("tickets",), ("invoices", "images"), ("escalations",)
_IMAGE_ANSWER: Mapping[str, object] = {
    "quote": "INVOICE",
    "document_type": "invoice",
    "runner_up": None,
    "description": "An invoice.",
    "legibility": "legible",
    "defects": [],
    "needs_moderation": False,
    "confidence": 0.93,
    "unclear": False,
}
"""Right for images; for invoices it is of another shape, which escalates them."""


@dataclass(frozen=True, slots=True)
class Event:
    """A record to publish."""

    value: bytes
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Load:
    """One run.

    Args:
        name: Of the row.
        stages: Which the process runs.
        events: For each of its stages; none where what an earlier run escalated is the load.
        prefix: Of its topics: what shares one shares its escalations.
        answer: What the models say.
        count: Events that are to be committed in all.
        refused: How many of them become dead letters.
    """

    name: str
    stages: Sequence[str]
    events: Sequence[Event]
    prefix: str
    answer: Mapping[str, object]
    count: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What came of it: MiB, events, milliseconds of CPU an event."""

    name: str
    stages: str
    event_kib: float
    events: int
    in_flight: int
    idle_mib: float
    peak_mib: float
    cpu_ms: float


def small_tickets(count: int) -> Iterator[Event]:
    """Of 289 bytes."""
    for number in range(count):
        event = charged_twice(number)
        yield Event(orjson.dumps({"id": event.id, "body": event.body}))


def long_tickets(count: int) -> Iterator[Event]:
    """Of nearly as many characters as a stage takes."""
    most = Settings().stages.tickets.max_text_chars
    for number in range(count):
        event = charged_twice(number)
        body = f"{event.body}\n" * (most // (len(event.body) + 1))
        yield Event(orjson.dumps({"id": event.id, "body": body}))


def _picture(side: int, grain: int, mode: str, number: int) -> Image.Image:
    draws = random.Random(number)  # noqa: S311 - repeatable, not secret
    channels = len(mode)
    noise = Image.frombytes(mode, (grain, grain), draws.randbytes(grain * grain * channels))
    return noise.resize((side, side), Image.Resampling.BILINEAR)


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def scans(count: int) -> Iterator[Event]:
    """Pages as JPEG, of about 2 megapixels."""
    for number in range(count):
        page = _picture(1448, 300, "RGB", number % 20)
        yield Event(_encoded(page, "JPEG", quality=60), "image/jpeg")


def largest_photographs(count: int) -> Iterator[Event]:
    """JPEG of nearly as many pixels and bytes as a stage takes; a few, over and over."""
    few = [_encoded(_picture(7000, 1200, "RGB", n), "JPEG", quality=55) for n in range(2)]
    for number in range(count):
        yield Event(few[number % len(few)], "image/jpeg")


def largest_pictures(count: int) -> Iterator[Event]:
    """PNG with transparency, of nearly as many pixels as a stage takes, and few bytes."""
    picture = Image.new("RGBA", (7000, 7000), (250, 250, 240, 200))
    picture.paste(_picture(700, 70, "RGBA", 1), (100, 100))
    encoded = _encoded(picture, "PNG", compress_level=1)
    for _ in range(count):
        yield Event(encoded, "image/png")


def scans_and_bombs(count: int) -> Iterator[Event]:
    """Scans, and after each second one a WebP of 34 bytes and 49 megapixels."""
    bomb = bytearray(_encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    bomb[21:25] = (6_999 | 6_999 << 14).to_bytes(4, "little")
    for number, scan in enumerate(scans(count)):
        yield scan
        if number % 2:
            yield Event(bytes(bomb), "image/webp")


def loads() -> Iterator[Load]:
    """All runs, in their order."""
    yield Load("small tickets", _TICKETS, [*small_tickets(1_500)], "a.", ANSWER, 1_500)
    yield from _both("longest tickets", _TICKETS, [*long_tickets(600)], "b.", ANSWER)
    yield from _both("largest photographs", _FILES, [*largest_photographs(40)], "d.", _IMAGE_ANSWER)
    yield Load("largest PNG", _FILES, [*largest_pictures(4)], "e.", _IMAGE_ANSWER, 8)
    yield Load("scans", _FILES, [*scans(150)], "c.", _IMAGE_ANSWER, 300)
    bombs = [*scans_and_bombs(80)]
    yield Load("scans and bombs", _FILES, bombs, "f.", _IMAGE_ANSWER, 240, refused=80)


def _both(
    name: str,
    stages: Sequence[str],
    events: Sequence[Event],
    prefix: str,
    answer: Mapping[str, object],
) -> Iterator[Load]:
    count = len(stages) * len(events)
    yield Load(name, stages, events, prefix, answer, count)
    yield Load(f"{name}, escalated", _SECOND, (), prefix, answer, count)


def publish(servers: str, load: Load) -> None:
    """Put its events on the topics of its stages, each with a key of its own."""
    producer = Producer(
        {"bootstrap.servers": servers, "message.max.bytes": 16 << 20, "linger.ms": 5}
    )
    for stage in load.stages if load.events else ():
        for number, event in enumerate(load.events):
            producer.produce(
                f"{load.prefix}{stage}.raw",
                key=f"{load.prefix}{number}",
                value=event.value,
                headers=[("content-type", event.media_type.encode())],
            )
            producer.poll(0)
        producer.flush()


async def make_topics(kafka: KafkaSettings, prefix: str) -> None:
    """Make all topics under a prefix; those that are there stay."""
    settings = Settings(topics=TopicSettings(prefix=prefix, partitions=PARTITIONS))
    names = TopicNames.under(settings).of(build_stages(settings.stages))
    async with admin_client(kafka) as admin:
        await Topics(admin, settings.topics).create(names)


@asynccontextmanager
async def pipeline(
    stages: Sequence[str], prefix: str, environment: Mapping[str, str]
) -> AsyncIterator[tuple[Child, str]]:
    """Run it; yields the process and the address of its page."""
    with tempfile.TemporaryDirectory(prefix="haiku-bench-") as directory:
        child = Child(
            [sys.executable, "-m", "pipeline.cli", "run", *stages, "--json"],
            log=Path(directory, "log"),
            env={
                **environment,
                "PYTHONPATH": str(_ROOT),
                "PIPELINE_HTTP__PORT": "0",
                "PIPELINE_KAFKA__GROUP_PREFIX": prefix,
                "PIPELINE_TOPICS__PREFIX": prefix,
                # Everything goes to the second tier, and nothing is answered from memory.
                **{
                    f"PIPELINE_STAGES__{stage.upper()}__{name}": value
                    for stage in (*_TICKETS, *_FILES)
                    for name, value in (("AUDIT_SHARE", "1"), ("ANSWER_CACHE", "false"))
                },
            },
        )
        try:
            yield child, await _address(child)
        finally:
            await child.kill()


async def _address(child: Child) -> str:
    async with asyncio.timeout(_WITHIN):
        while not (found := re.search(r'^\{"dashboard":.*\}$', child.output(), re.MULTILINE)):
            if not child.running:
                raise RuntimeError(f"the pipeline did not start: {last_lines(child.output())}")
            await asyncio.sleep(0.05)
    return str(json.loads(found[0])["dashboard"])


def memory(pid: int, what: str) -> float:
    """MiB of a process: `VmRSS` now, `VmHWM` at most so far."""
    status = Path("/proc", str(pid), "status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the kernel does not report {what}")
    return int(found[1]) / 1024


@dataclass(slots=True)
class ProcessTree:
    """A process and what it started: memory and CPU of all together, as often as they are read.

    Args:
        pid: Of the process.
        peak_mib: The largest sum so far.
    """

    pid: int
    peak_mib: float = 0.0
    _cpu: dict[int, float] = field(default_factory=dict)

    def read(self) -> None:
        """Look at all that are there now."""
        parents = dict(_processes())
        mib = 0.0
        for pid in parents:
            if self._is_in_tree(pid, parents):
                try:
                    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                except OSError:  # it has just ended
                    continue
                mib += sum(map(int, re.findall(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE))) / 1024
                self._cpu[pid] = sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")
        self.peak_mib = max(self.peak_mib, mib)

    @property
    def cpu_of_children(self) -> float:
        """Seconds; what one spent after it was read last is missing."""
        return sum(spent for pid, spent in self._cpu.items() if pid != self.pid)

    def _is_in_tree(self, pid: int, parents: Mapping[int, int]) -> bool:
        while pid != self.pid and pid in parents:
            pid = parents[pid]
        return pid == self.pid


def _processes() -> Iterator[tuple[int, int]]:
    """All processes of this machine, each with its parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue


async def measure(load: Load, kafka: KafkaSettings, port: int) -> Row:
    """Run one: idle first where it brings its own events, then until nothing waits."""
    await make_topics(kafka, load.prefix)
    environment = {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": KEY,
    }
    async with (
        aiohttp.ClientSession() as http,
        pipeline(load.stages, load.prefix, environment) as (child, address),
    ):
        metrics = Metrics(http, address)
        idle = float("nan")
        if load.events:
            await asyncio.sleep(_IDLE_SECONDS)
            idle = memory(child.pid, "VmRSS")
        before = await metrics.read()
        tree = ProcessTree(child.pid)
        await asyncio.to_thread(publish, kafka.bootstrap_servers, load)
        at_once = 0.0
        async with asyncio.timeout(_WITHIN):
            while True:
                after = await metrics.read()
                done = after.get("pipeline_events_committed_total", 0.0)
                tree.read()
                at_once = max(at_once, after.get("pipeline_in_flight_events", 0.0))
                if done >= load.count:
                    break
                if not child.running:
                    raise RuntimeError(f"it ended: {last_lines(child.output())}")
                await asyncio.sleep(_POLL)
        peak = max(tree.peak_mib, memory(child.pid, "VmHWM"))
        refused = after.get("pipeline_dead_letters_total", 0)
        if refused != load.refused:
            raise RuntimeError(f"{load.name}: {refused:.0f} events became dead letters")
    cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    cpu += tree.cpu_of_children
    sizes = [len(event.value) for event in load.events]
    return Row(
        load.name,
        " ".join(load.stages),
        sum(sizes) / len(sizes) / 1024 if sizes else float("nan"),
        int(done),
        int(at_once),
        idle,
        peak,
        1000 * cpu / done,
    )


async def run() -> Part:
    """Measure everything."""
    rows = []
    async with ApacheKafka() as broker:
        for load in loads():
            began = time.monotonic()
            with responder(median=API_SECONDS, answer=load.answer) as port:
                rows.append(await measure(load, broker.settings, port))
            sys.stderr.write(f"{time.monotonic() - began:.0f} s: {rows[-1]}\n")
        name = broker.name
    return _part(rows, name)


def _part(rows: Sequence[Row], broker: str) -> Part:
    table = Table(
        ("load", "stages", "KiB each", "events", "in flight", "idle MiB", "peak MiB", "CPU ms"),
        [
            (
                row.name,
                row.stages,
                _figure(row.event_kib),
                f"{row.events:,}",
                str(row.in_flight),
                _figure(row.idle_mib),
                _figure(row.peak_mib),
                f"{row.cpu_ms:.1f}",
            )
            for row in rows
        ],
    )
    return Part(
        "footprint",
        "How large a process becomes",
        f"{broker}, and a responder that answers after {API_SECONDS:.0f} s (log-normal).",
        [table],
        [
            at_most(f"{row.stages}, {row.name}: peak", row.peak_mib, LIMITS_MIB[row.stages], " MiB")
            for row in rows
        ],
        {
            "cores": os.cpu_count(),
            "rows": [
                {
                    name: (None if value != value else round(value, 2))  # noqa: PLR0124 - nan
                    if isinstance(value, float)
                    else value
                    for name, value in asdict(row).items()
                }
                for row in rows
            ],
        },
    )


def _figure(value: float) -> str:
    return "" if value != value else f"{value:,.1f}" if value < 1 else f"{value:,.0f}"  # noqa: PLR0124 - nan


def main() -> int:
    """Measure and print."""
    show(asyncio.run(run()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
