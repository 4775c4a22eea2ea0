"""How long the desk's queue takes to open with ten thousand cases that wait, and what it holds.

`python -m benchmarks.desk` has a desk on the broker in memory, asked over HTTP as its page asks;
what Kafka takes to bring the records comes on top of loading. Prints a table, the goals, and one
JSON object as its last line.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import aiohttp

from benchmarks.goals import Part, Table, at_most
from benchmarks.report import conclude, parser
from pipeline.config import DeskSettings, Settings
from pipeline.desk.access import open_access
from pipeline.desk.kafka import Kafka
from pipeline.desk.queue import ReviewQueue, waiting_of
from pipeline.desk.review import ReviewView
from pipeline.desk.server import application, page_files
from pipeline.kafka.topics import TopicNames
from pipeline.model.records import Doubt, Review, Source, Timing, Usage
from pipeline.observe.web import listening
from pipeline.operators.audit import AuditedCommand
from pipeline.operators.handled import IdempotentPublisher
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received
from pipeline.testing import MemoryBroker, MemoryBrokers, MemoryTopicReader

CASES = 10_000
OPENINGS = 20
OPENS_WITHIN = 1.0
ENTRY_BYTES = 2_000.0
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DOCUMENT = Path(__file__).parents[1] / "docs" / "DESK.md"
_CODES = ("low_confidence", "runner_up_close", "several_matters", "unclear", "arithmetic")


def item(number: int) -> bytes:
    """A review item; every third is about money."""
    result = {"intent": "billing", "summary": f"Customer {number} was charged twice for an order."}
    if number % 3 == 0:
        result |= {"due": f"{number}.50", "currency": "EUR"}
    made = Review(
        event_id=f"T-{number}",
        stage=("tickets", "documents", "invoices")[number % 3 - 1],
        event={"id": f"T-{number}", "body": f"Order {number} was charged twice. " * 30},
        doubts=[Doubt(code=_CODES[number % 5], detail="It is not settled."),
                Doubt(code=_CODES[number % 4], detail="Stated confidence: 0.40.")],
        haiku_result=result,
        sonnet_result=result,
        model="simulated-claude-sonnet-5-5",
        usage=Usage(calls=2),
        source=Source(topic="tickets.raw", partition=0, offset=number, timestamp=NOON),
        timing=Timing(received_at=NOON, enriched_at=NOON, model_seconds=1.0),
    )  # fmt: skip
    return made.model_dump_json(by_alias=True).encode()


def view_over(broker: MemoryBroker, settings: Settings) -> ReviewView:
    """The view of review items over a broker in memory."""
    read = MemoryTopicReader(broker)

    async def partitions(topics: Sequence[str]) -> Sequence[TopicPartition]:
        return [each for topic in topics for each in broker.partitions_of(topic)]

    async def existing() -> Sequence[str]:
        return ()

    def nothing() -> NoReturn:
        raise AssertionError("nobody labels anything here")

    def publisher(topic: str, marks: str, command: AuditedCommand) -> IdempotentPublisher:
        return IdempotentPublisher(
            topic, marks, command, group="pipeline.desk", name=command.run,
            brokers=MemoryBrokers(broker, process="desk"), read=read,
            clock=lambda: datetime.now(UTC),
        )  # fmt: skip

    return ReviewView(settings, Kafka(read, existing, partitions, publisher, nothing))


async def opened(session: aiohttp.ClientSession, address: str, order: str) -> float:
    """Seconds from nothing until a page has its files, its session and the first cases."""
    began = time.perf_counter()
    paths = ["/", *(f"/page/{name}" for name in page_files()), "/api/session"]
    for path in (*paths, f"/api/review?order={order}&limit=100"):
        async with session.get(address + path) as answer:
            answer.raise_for_status()
            await answer.read()
    return time.perf_counter() - began


def entry_bytes(values: Sequence[bytes]) -> float:
    """Bytes that an entry of the index takes, all counted."""
    names = TopicNames.under(Settings())
    gc.collect()
    tracemalloc.start()
    queue = ReviewQueue(names)
    for number, value in enumerate(values):
        came_at = NOON + timedelta(seconds=number)
        record = Received(names.review, 0, number, b"key", value, (), came_at, came_at)
        queue.add(waiting_of(record))
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(queue)


async def measured() -> Part:
    """Load, open and decide."""
    settings = Settings(desk=DeskSettings(port=0))
    names, broker = TopicNames.under(settings), MemoryBroker()
    for topic in names.of(["tickets"]):
        broker.create_topic(topic)
    values = [item(number) for number in range(CASES)]
    for number, value in enumerate(values):
        broker.publish(names.review, value, key=b"%d" % number)
    view = view_over(broker, settings)
    async with AsyncExitStack() as stack:
        began = time.perf_counter()
        await stack.enter_async_context(view.running(failed=lambda: None))
        await view.reader.loaded.wait()
        loading = time.perf_counter() - began
        app = application([view], open_access(settings.desk.access, settings.desk.host))
        place = ("127.0.0.1", 0)
        address = await stack.enter_async_context(listening(app, place, table="desk"))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        orders = ("oldest", "newest", "value", "doubts")
        openings = [
            await opened(session, address, orders[number % len(orders)])
            for number in range(OPENINGS)
        ]
    openings.sort()
    each = entry_bytes(values)
    rows = [
        ("loading 10,000 cases, without what Kafka takes", f"{loading:.2f} s"),
        ("opening the queue, median", f"{openings[OPENINGS // 2]:.3f} s"),
        ("opening the queue, slowest of 20", f"{openings[-1]:.3f} s"),
        ("memory of an entry", f"{each:,.0f} bytes"),
    ]
    return Part(
        name="desk",
        title="Ten thousand cases",
        about="A desk on the broker in memory, with 10,000 cases that wait. Opening is all that "
        "the page asks for until the first hundred cases are there: its files, the session, the "
        "list, in each order in turn.",
        tables=[Table(("what", "measured"), rows)],
        goals=[
            at_most("opening the queue, the slowest", openings[-1], OPENS_WITHIN, " s"),
            at_most("memory of an entry", each, ENTRY_BYTES, " bytes"),
        ],
        data={"cases": CASES, "loading_seconds": loading, "opening_seconds": openings,
              "entry_bytes": each},
    )  # fmt: skip


def main() -> int:
    """Run it as a command."""
    options = parser("desk", __doc__, document=DOCUMENT).parse_args()
    return conclude(measured(), write=options.write, document=DOCUMENT)


if __name__ == "__main__":
    sys.exit(main())
