"""What people do with records of topics that a team has, which several stages may read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import REPLAYED_FOR, RawEvents
from pipeline.config import Settings, load_settings
from pipeline.kafka.topics import TopicNames, TopicState
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer
from pipeline.operators.dead_letters import (
    Replayed,
    ReplayRequest,
    Selection,
    dead_letter_of,
    replay,
)
from pipeline.operators.forget import forget, holding_payloads
from pipeline.operators.handled import IdempotentPublisher
from pipeline.operators.inspection import every_topic, topic_of
from pipeline.operators.offsets import reset, show
from pipeline.operators.publish import publish
from pipeline.stages.api import stage_named
from pipeline.stream.protocols import Committed
from pipeline.stream.records import Disposition
from pipeline.testing import MemoryBroker, MemoryBrokers, MemoryTopicReader
from pipeline.testing.memory_clients import MemoryGroup
from tests.cascade.stand_ins import NOON
from tests.operators.audited import command
from tests.operators.dead_letters.examples import as_read, buried, raw
from tests.stream.virtual import virtual_time

CASES = "crm.cases"
STAGES: dict[str, Any] = {
    "urgency": {"kind": "texts", "input": {"topics": [CASES]}, "output": {"topic": "crm.urgent"}},
    "subjects": {"kind": "texts", "input": {"topics": [CASES, "crm.mails"]}},
    "shops": {"kind": "texts", "input": {"pattern": r"shop\..*"}},
}
MARKS = ("dead-letters.replayed", "review.resolved", "audit")


@pytest.fixture
def settings() -> Settings:
    return load_settings(stages=STAGES)


def bury(broker: MemoryBroker, topic: str, stage: str, *, key: bytes = b"k") -> None:
    dead = buried(raw(topic=topic, key=key), stage=stage)
    broker.publish(dead.topic, dead.value, key=dead.key, headers=dead.headers)


def world() -> MemoryBroker:
    broker = MemoryBroker()
    for topic in (CASES, "crm.mails", "crm.urgent", "shop.7", "dead-letters", "review", *MARKS):
        broker.create_topic(topic, 2)
    return broker


async def replayed(settings: Settings, broker: MemoryBroker) -> Replayed:
    read = MemoryTopicReader(broker)
    publisher = IdempotentPublisher(
        "dead-letters", "dead-letters.replayed", command(), group="pipeline.desk", name="one",
        brokers=MemoryBrokers(broker), read=read, clock=lambda: datetime.now(UTC),
    )  # fmt: skip
    async with publisher:
        request = ReplayRequest(Selection(), rate=1000)
        return await replay(settings, read, request, publisher)


def headers_in(broker: MemoryBroker, topic: str) -> list[dict[str, bytes | None]]:
    return [
        dict(entry.record.headers)
        for entries in broker.committed_records(topic).values()
        for entry in entries
        if entry.record is not None
    ]


@virtual_time
async def test_a_replay_goes_to_the_stage_that_could_not_handle_it_and_to_no_other() -> None:
    settings, broker = load_settings(stages=STAGES), world()
    bury(broker, CASES, "urgency")
    bury(broker, "crm.mails", "subjects")
    bury(broker, "shop.7", "shops")
    bury(broker, CASES, "tickets")
    bury(broker, "crm.urgent", "urgency")
    # Urgency read this topic once; what subjects made of the record is there already.
    bury(broker, "crm.mails", "urgency")

    result = await replayed(settings, broker)

    assert result.topics == {CASES: 1, "crm.mails": 1, "shop.7": 1}
    [shared], [alone], [matched] = (headers_in(broker, t) for t in (CASES, "crm.mails", "shop.7"))
    assert shared[REPLAYED_FOR] == b"urgency"
    assert REPLAYED_FOR not in alone
    assert REPLAYED_FOR not in matched
    because = sorted(refusal.because for refusal in result.refusals)
    again = "have its own read that topic again, and replay then"
    assert because == [
        f"of the stages that read its topic, subjects, none is its own: {again}",
        f"of the stages that read its topic, urgency, subjects, none is its own: {again}",
        "the pipeline does not read its topic 'crm.urgent'",
    ]


async def test_the_other_stages_pass_over_what_was_replayed_for_one(settings: Settings) -> None:
    record = raw(topic=CASES, headers=((REPLAYED_FOR, b"urgency"),))

    async def end_of(stage: str) -> Disposition:
        processor = Processor(
            RawEvents(stage_named(settings.stages, stage)),
            None,  # type: ignore[arg-type] # nothing is asked
            TopicNames.under(settings),
            clock=lambda: NOON,
            observer=Observer(),
        )
        return (await processor(record)).end

    assert await end_of("subjects") is Disposition.PASSED_OVER
    assert await end_of("urgency") is Disposition.DEAD_LETTER  # it has no text


def test_who_fails_again_is_replayed_for_itself_only() -> None:
    record = raw(topic=CASES, headers=((REPLAYED_FOR, b"urgency"),))
    dead = dead_letter_of(as_read(buried(record, stage="subjects")))

    headers = dead.replay(is_shared=True).headers

    assert [value for name, value in headers if name == REPLAYED_FOR] == [b"subjects"]


@virtual_time
async def test_a_topic_of_publishers_gets_no_tombstone_whatever_it_is_called() -> None:
    settings, broker = load_settings(stages=STAGES), world()
    names = [CASES, "crm.urgent", "shop.7", "review", "dead-letters"]
    states = {name: TopicState(name, 2, 1, None, "compact", 3600.0, 60.0) for name in names}
    for topic in (CASES, "crm.urgent", "shop.7"):
        broker.publish(topic, b"something", key=b"ada")

    found = await forget(
        settings, MemoryTopicReader(broker), states, "ada", None, now=datetime.now(UTC)
    )

    assert set(holding_payloads(settings, states)) == set(names)
    assert found.tombstones == ["crm.urgent"]
    assert {each.topic for each in found.remains} == {CASES, "crm.urgent", "shop.7"}


def test_what_a_pattern_matches_is_among_the_topics_where_it_exists(settings: Settings) -> None:
    assert "shop.7" in every_topic(settings, ["shop.7", "other"])
    assert "shop.7" not in every_topic(settings)
    assert "other" not in every_topic(settings, ["shop.7", "other"])
    assert topic_of(settings, "urgency") == "crm.urgent"


async def test_publishing_names_the_topic_where_the_stage_does_not(settings: Settings) -> None:
    with pytest.raises(UsageError, match="shops reads topics by a pattern: name one"):
        await publish(settings, stage_named(settings.stages, "shops"), [])
    with pytest.raises(UsageError, match=r"subjects does not read crm\.urgent: crm\.cases, "):
        await publish(settings, stage_named(settings.stages, "subjects"), [], topic="crm.urgent")


class Groups:
    def __init__(self) -> None:
        self.broker = world()
        for topic in (CASES, "crm.mails"):
            for number in range(8):
                self.broker.publish(topic, b"%d" % number, key=b"%d" % number)
        for topic in (CASES, "crm.mails"):
            for each in self.broker.partitions_of(topic):
                end = self.broker.bounds(each).end
                self.broker.group("pipeline.subjects").committed[each] = Committed(end, "")

    @asynccontextmanager
    async def open_group(self, name: str) -> AsyncIterator[MemoryGroup]:
        yield MemoryGroup(self.broker, name)


@virtual_time
async def test_offsets_are_of_every_topic_and_may_be_moved_in_one() -> None:
    settings, groups = load_settings(stages=STAGES), Groups()

    async def move(**options: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - of `reset`
        opened = groups.open_group
        plan = await reset(settings, "subjects", "earliest", opened, now=NOON, **options)
        return [(each.topic, each.partition) for each in plan.moves]

    [shown] = [each async for each in show(settings, ["subjects"], groups.open_group)]

    every = [(CASES, 0), (CASES, 1), ("crm.mails", 0), ("crm.mails", 1)]
    assert [(each.topic, each.partition) for each in shown.partitions] == every
    assert await move() == every
    assert await move(topics=["crm.mails"]) == every[2:]
    assert await move(partitions=[1]) == [every[1], every[3]]
    with pytest.raises(UsageError, match=r"It does not read shop\.7; it reads crm\.cases, "):
        await move(topics=["shop.7"])
