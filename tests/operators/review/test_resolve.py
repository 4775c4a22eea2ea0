"""Resolving on the broker in memory: each verdict once, also when two people decide at once."""

import asyncio
import random
from collections import Counter
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from pipeline.config import Settings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.model.records import Tier
from pipeline.operators.handled import IdempotentPublisher
from pipeline.operators.review import (
    AlreadyResolved,
    LabelledFile,
    Resolved,
    Selection,
    Verdict,
    find,
    list_items,
    resolve,
)
from pipeline.operators.selection import Place
from pipeline.testing import Fault, Faults, MemoryBroker, MemoryBrokers, MemoryTopicReader, NoFaults
from tests.operators.audited import audited, command
from tests.operators.review.items import NOON, outgoing, review
from tests.stream.virtual import virtual_time

SETTINGS = Settings()
HAIKU = Verdict(Tier.HAIKU)


class World:
    """A broker with cases, one a partition."""

    def __init__(self, cases: int = 1) -> None:
        self.broker = MemoryBroker()
        self.chance = random.Random(7)
        self.read = MemoryTopicReader(self.broker)
        self.broker.create_topic("review", 1)
        self.broker.create_topic("review.resolved", 2)
        self.broker.create_topic("audit")
        self.broker.create_topic("tickets.enriched", 2)
        for number in range(cases):
            record = outgoing(review(number), key=b"%d" % number)
            self.broker.publish("review", record.value, key=record.key, headers=record.headers)

    def publisher(
        self, process: str, faults: Faults | None = None
    ) -> AbstractAsyncContextManager[IdempotentPublisher]:
        return IdempotentPublisher(
            "review",
            "review.resolved",
            command("review resolve", "resolved"),
            group="pipeline.desk",
            name=process,
            brokers=MemoryBrokers(self.broker, process=process, faults=faults),
            read=self.read,
            clock=lambda: datetime.now(UTC),
        )

    async def resolve(
        self,
        number: int,
        verdict: Verdict = HAIKU,
        *,
        process: str = "one",
        faults: Faults | None = None,
        again: bool = False,
        labels: LabelledFile | None = None,
    ) -> Resolved:
        return await resolve(
            SETTINGS,
            self.read,
            Place(0, number),
            verdict,
            lambda: self.publisher(process, faults),
            now=NOON,
            jitter=self.chance.random,
            again=again,
            labels=labels,
        )

    def published(self) -> list[tuple[str, str]]:
        """Event and intent of each enriched record."""
        found = []
        for entries in self.broker.committed_records("tickets.enriched").values():
            for entry in entries:
                assert entry.record is not None
                value = orjson.loads(entry.record.value or b"")
                found.append((value["event_id"], value["result"]["intent"]))
        return found


@virtual_time
async def test_a_case_is_resolved_once() -> None:
    world = World()
    done = await world.resolve(0)
    assert (done.topic, done.event_id, done.result["intent"]) == (
        "tickets.enriched",
        "T-0",
        "billing",
    )
    with pytest.raises(AlreadyResolved, match="--again"):
        await world.resolve(0, Verdict(Tier.SONNET))
    assert world.published() == [("T-0", "billing")]
    [record] = audited(world.broker)
    assert (record.command, record.did, record.count) == ("review resolve", "resolved", 1)


@virtual_time
async def test_a_verdict_can_be_replaced_on_purpose() -> None:
    world = World()
    await world.resolve(0)
    await world.resolve(0, Verdict(Tier.SONNET), again=True)
    assert world.published() == [("T-0", "billing"), ("T-0", "sales")]


@virtual_time
async def test_what_is_open_and_what_is_resolved_is_listed() -> None:
    world = World(3)
    world.broker.publish("review", b"no case")
    await world.resolve(1)
    everything = Selection()
    listing = await list_items(SETTINGS, world.read, everything, limit=10, resolved=None)
    assert [line.resolved for line in listing.lines] == [0, 1, 0]
    assert len(listing.unreadable) == 1
    opened = await list_items(SETTINGS, world.read, everything, limit=1, resolved=False)
    assert (opened.matching, [line.event_id for line in opened.lines]) == (2, ["T-2"])


@pytest.mark.parametrize("request_name", ["begin", "write", "end"])
@pytest.mark.parametrize("loss", ["request", "response"])
def test_a_lost_answer_doubles_no_verdict(request_name: str, loss: str) -> None:
    class Once(NoFaults):
        left = 1

        def next(self, process: str, request: str) -> Fault:
            if request == request_name and self.left:
                self.left = 0
                return Fault(loss=loss)  # type: ignore[arg-type]
            return Fault()

    @virtual_time
    async def scenario() -> None:
        world = World()
        await world.resolve(0, faults=Once())
        assert world.published() == [("T-0", "billing")]

    scenario()


class Slow(NoFaults):
    """Every request takes its time, so that publishers meet."""

    def next(self, process: str, request: str) -> Fault:
        return Fault(before=0.03 + 0.01 * (sum(process.encode()) % 3), after=0.02)


@virtual_time
async def test_people_who_resolve_at_once_all_succeed_and_each_item_once() -> None:
    world = World(4)
    people = [(name, number) for name in ("ada", "bo", "cy") for number in range(4)]
    verdicts = await asyncio.gather(
        *(
            world.resolve(number, process=f"{name}{number}", faults=Slow())
            for name, number in people
        ),
        return_exceptions=True,
    )
    done = [each for each in verdicts if isinstance(each, Resolved)]
    assert Counter(world.published()) == Counter({(f"T-{n}", "billing"): 1 for n in range(4)})
    assert len(done) == 4
    assert all(isinstance(each, Resolved | PipelineError) for each in verdicts)


@virtual_time
async def test_a_label_is_written_once_the_verdict_is_published(tmp_path: Path) -> None:
    world, labels = World(), LabelledFile(tmp_path / "labels.jsonl")
    await world.resolve(0, labels=labels)
    with pytest.raises(AlreadyResolved):
        await world.resolve(0, Verdict(Tier.SONNET), labels=labels)
    [line] = (tmp_path / "labels.jsonl").read_bytes().splitlines()
    assert orjson.loads(line)["gold"]["intent"] == "billing"


@virtual_time
async def test_what_is_not_there_is_reported() -> None:
    world = World()
    with pytest.raises(PipelineError, match="There is no review item at 0:9"):
        await find(TopicNames(TopicSettings()), world.read, Place(0, 9))
    unknown = outgoing(review(stage="notes"))
    world.broker.publish("review", unknown.value)
    with pytest.raises(PipelineError, match="no stage 'notes' here"):
        await world.resolve(1)
