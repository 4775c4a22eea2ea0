"""Ten minutes of faults: is anything lost, and how soon is the whole throughput back?

`python -m benchmarks.outages` runs the stage `tickets` and the escalations, with exactly-once
delivery on the broker in memory, against a simulated API with a rate limit. Three calls in ten
go wrong in every way there is, and twice the API is gone for a minute. Prints a table, the goals,
and one JSON object as its last line.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import orjson
import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.goals import Part, Table, at_least, at_most
from benchmarks.report import conclude, parser
from benchmarks.simulated import Admin, Row, simulated_api
from benchmarks.tickets import ticket
from pipeline.app import App
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stream.engine import Engine
from pipeline.testing import MemoryBroker, MemoryBrokers

PER_MINUTE = 3_000
"""The rate limit, in requests."""
FAULTS = (
    "errors:0.26",
    "html_ok:0.015",
    "disconnect_midway:0.02",
    "hang:0.005",
    "spoiled:0.02",
    "case:0.02",
)
"""Of ten calls seven are answered well. 429s without a reason are not among the faults: what they
do, to slow down, is what they are for; `benchmarks.limits` counts those that have one."""
BACK_WITHIN = 10.0
BACK_TO = 0.95
SPAN = 10.0
"""Seconds over which a throughput is taken."""
AFTER = 60.0
"""Seconds after an outage in which a burst is looked for."""
PARTITIONS = 6
BACKLOG = 2_000
"""Events that wait at least, so that there is always enough to do."""
_DRAINED_WITHIN = 180.0


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without the API.

    Args:
        kind: `outage`: every call is answered with 529; `gone`: every connection is cut.
        begin: On the ledger's clock.
        end: The same.
    """

    kind: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the throughput came back after an outage.

    Args:
        before: Answers a second in the minute before it.
        seconds: From its end until the throughput was back.
        burst: The most calls admitted in a second afterwards, of what a model's limit gives in one.
        refused: 429s afterwards.
        first_minute: Answers a second in the minute that begins `BACK_WITHIN` after its end.
    """

    outage: Outage
    before: float
    seconds: float
    burst: float
    refused: int
    first_minute: float


class World:
    """Events on a broker in memory, and the consumers that work on them.

    Args:
        settings: The whole tree.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = TopicNames.under(settings)
        self.broker = MemoryBroker()
        for name in self._topics.of(("tickets", ESCALATIONS)):
            self.broker.create_topic(name, PARTITIONS)
        self.published = 0

    def engines(self, gateway: Gateway, metrics: Metrics) -> list[Engine]:
        """The consumers, not started yet."""
        names = ("tickets", ESCALATIONS)
        app = App(self._settings, names)
        brokers = MemoryBrokers(self.broker)
        return [app.engine(name, gateway, brokers, metrics, None, throttle=None) for name in names]

    def publish(self, ended: int) -> None:
        """Publish until the backlog is as long as it should be."""
        while self.published - ended < BACKLOG:
            event = ticket(self.published)
            value = orjson.dumps({"id": event.id, "body": event.body})
            self.broker.publish("tickets.raw", value, key=event.id.encode())
            self.published += 1

    def count(self, topic: str) -> int:
        """Committed records of a topic, those that end transactions not counted."""
        return len(self.ids(topic))

    def ids(self, topic: str) -> list[str]:
        """The events of a topic's committed records: by the header, or by the key of a raw one."""
        return [
            (dict(entry.record.headers).get("ce_id") or entry.record.key or b"").decode()
            for entries in self.broker.committed_records(topic).values()
            for entry in entries
            if entry.record is not None
        ]

    @property
    def ends(self) -> dict[str, list[str]]:
        """The events that came to an end, by where."""
        topics = self._topics
        return {
            "enriched": self.ids(topics.enriched("tickets")),
            "review": self.ids(topics.review),
            "dead_letters": self.ids(topics.dead_letters),
        }


async def publish_on(world: World, stop: asyncio.Event) -> None:
    while not stop.is_set():
        world.publish(sum(map(len, world.ends.values())))
        await pause(stop, 5.0)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def run(seconds: float, outage_seconds: float) -> Part:
    """Run for that long, with two outages."""
    limit = f"requests={PER_MINUTE}"
    faults = [option for fault in FAULTS for option in ("--fault", fault)]
    async with simulated_api("--limit", limit, *faults) as api:
        os.environ.update(api.environment)
        settings = Settings()
        world, stop = World(settings), asyncio.Event()
        metrics = Metrics(CollectorRegistry(), Conditions())
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(Gateway(settings, observer=metrics))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for engine in world.engines(gateway, metrics):
                group.create_task(engine.run(stop))
            publishing = asyncio.Event()
            group.create_task(publish_on(world, publishing))
            outages = await _run_outages(api, seconds, outage_seconds)
            publishing.set()
            healed_at = await api.now()
            await api.heal()
            drained = await drain(world)
            stop.set()
        rows = [row for row in await api.requests() if row["endpoint"] == "messages"]
    return _part(world, rows, outages, healed_at=healed_at, drained=drained)


async def _run_outages(api: Admin, seconds: float, outage_seconds: float) -> list[Outage]:
    """Let the faults do what they do, and take the API away twice."""
    quiet = (seconds - 2 * outage_seconds) / 3
    outages = []
    for kind in ("outage", "gone"):
        await asyncio.sleep(quiet)
        begin = await api.now()
        await api.fail(f"{kind}:0:{outage_seconds}")
        await asyncio.sleep(outage_seconds)
        outages.append(Outage(kind, begin, begin + outage_seconds))
    await asyncio.sleep(quiet)
    return outages


async def drain(world: World) -> bool:
    """Wait until every event has an end; returns whether that came."""
    for _ in range(int(_DRAINED_WITHIN)):
        if sum(map(len, world.ends.values())) >= world.published:
            return True
        await asyncio.sleep(1.0)
    return False


def _recovery(rows: Sequence[Row], outage: Outage) -> Recovery:
    answers = sorted(row["at"] + row["seconds"] for row in rows if row["status"] == 200)  # noqa: PLR2004
    admitted = Counter((row["model"], int(row["at"] * 10)) for row in rows if _is_admitted(row))
    models = {model for model, _ in admitted}

    def rate(begin: float, length: float) -> float:
        return float(sum(begin <= at < begin + length for at in answers)) / length

    before = rate(outage.begin - 60.0, 60.0)
    tenths = range(int(AFTER * 10))
    back = next(
        (n / 10 for n in tenths if rate(outage.end + n / 10, SPAN) >= BACK_TO * before), AFTER
    )
    first = int(outage.end * 10)
    burst = max(
        sum(admitted[model, first + n + m] for m in range(10)) for n in tenths for model in models
    )
    after = outage.end, outage.end + AFTER
    refused = sum(row["status"] == 429 and after[0] <= row["at"] < after[1] for row in rows)  # noqa: PLR2004
    return Recovery(
        outage, before, back, burst / (PER_MINUTE / 60), refused, rate(outage.end + SPAN, AFTER)
    )


def _is_admitted(row: Row) -> bool:
    """Whether it took from the rate limit: faults that come instead of an answer do not."""
    return bool(row["status"] == 200 or row["outcome"] == "disconnect_midway")  # noqa: PLR2004


def _part(
    world: World,
    rows: Sequence[Row],
    outages: Sequence[Outage],
    *,
    healed_at: float,
    drained: bool,
) -> Part:
    ends = world.ends
    counts = Counter(event for ids in ends.values() for event in ids)
    lost = world.published - len(counts)
    twice = sum(count - 1 for count in counts.values())
    recoveries = [_recovery(rows, outage) for outage in outages]
    refused = sum(row["status"] == 429 for row in rows)  # noqa: PLR2004
    wrong = Counter(row["outcome"] for row in rows if row["outcome"] != "answered")
    calm = [
        row["outcome"] != "answered"
        for row in rows
        if row["at"] < healed_at
        and not any(outage.begin <= row["at"] < outage.end for outage in outages)
    ]
    goals = [
        at_most("events lost", lost, 0),
        at_most("events that came twice", twice, 0),
        at_most("dead letters", len(ends["dead_letters"]), 0),
        at_least(
            "calls that went wrong, outages not counted", 100 * sum(calm) / len(calm), 29, " %"
        ),
    ]
    for number, each in enumerate(recoveries, start=1):
        name = f"outage {number}"
        goals += [
            at_most(f"{name}: throughput back to 95 % after", each.seconds, BACK_WITHIN, " s"),
            at_most(f"{name}: the busiest second afterwards, of the limit", each.burst, 1.2),
            at_most(f"{name}: 429s in the minute after", each.refused, 0),
        ]
    table = Table(
        (
            "outage",
            "answers/s before",
            "back after",
            "answers/s after 10 s",
            "busiest second",
            "429s",
        ),
        [
            (
                f"{each.outage.kind}, {each.outage.end - each.outage.begin:g} s",
                f"{each.before:.1f}",
                f"{each.seconds:.1f} s",
                f"{each.first_minute:.1f}",
                f"{each.burst:.2f} of the limit",
                str(each.refused),
            )
            for each in recoveries
        ],
    )
    faults = Table(
        ("what went wrong", "calls"), [(kind, f"{n:,}") for kind, n in wrong.most_common()]
    )
    data = {
        "published": world.published,
        **{place: len(ids) for place, ids in ends.items()},
        "lost": lost,
        "twice": twice,
        "drained": drained,
        "calls": len(rows),
        "refused": refused,
        "back_after_seconds": [round(each.seconds, 1) for each in recoveries],
    }
    where = ", ".join(f"{len(ids):,} {place.replace('_', ' ')}" for place, ids in ends.items())
    return Part(
        "outages",
        "Faults and outages",
        f"The stage `tickets` and the escalations in one process, exactly-once delivery on the"
        f" broker in memory, a simulated limit of {PER_MINUTE:,} requests a minute and model."
        f" {world.published:,} events, {len(rows):,} calls; {where}. Faults: {', '.join(FAULTS)},"
        " all the time; in an outage every call fails. The throughput is back when the mean of"
        f" {SPAN:g} s reaches 95 % of that of the minute before the outage, which had the same"
        " faults.",
        [table, faults],
        goals,
        data,
    )


def main() -> int:
    """Measure and print."""
    made = parser("outages", __doc__)
    made.add_argument("--seconds", type=float, default=600.0, help="in all, outages included")
    made.add_argument("--outage", type=float, default=60.0, help="seconds of each of the two")
    options = made.parse_args()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return conclude(run(options.seconds, options.outage), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
