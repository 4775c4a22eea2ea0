"""How far groups have come, and the escalations' ration that follows from it."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade import cap as capping
from pipeline.cascade.cap import EscalationCap, watch_progress
from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka.connection import admin_client, consumer_client
from pipeline.kafka.offsets import events_between, lag_reader
from pipeline.kafka.topics import Subscription, TopicMissing, Topics
from pipeline.local.broker import LocalBroker
from tests.brokers import FreshName

offsets = st.dictionaries(
    st.builds(TopicPartition, st.just("t"), st.integers(0, 4)), st.integers(0, 100)
)


def test_events_are_the_difference_of_what_was_seen_twice() -> None:
    one, other, new = (TopicPartition("t", number) for number in range(3))
    assert events_between({one: 5, other: 3}, {one: 9, other: 1, new: 100}) == 4


@given(offsets, offsets, offsets)
def test_events_are_never_negative_and_add_up(
    first: dict[TopicPartition, int],
    second: dict[TopicPartition, int],
    third: dict[TopicPartition, int],
) -> None:
    assert events_between(first, second) >= 0
    assert events_between(first, first) == 0
    whole = events_between(first, third)
    assert not first.keys() <= second.keys() or (
        events_between(first, second) + events_between(second, third) >= whole
    )


@pytest.fixture
async def topic(any_broker: LocalBroker, fresh_name: FreshName) -> str:
    name = fresh_name("progress")
    async with admin_client(any_broker.settings) as admin:
        await Topics(admin, TopicSettings(partitions=2)).create([name])
    return name


async def commit(kafka: KafkaSettings, group: str, partition: TopicPartition, offset: int) -> None:
    async with consumer_client(kafka, group_id=group, enable_auto_commit=False) as member:
        member.assign([partition])
        await member.commit({partition: OffsetAndMetadata(offset, "")})


async def test_it_sees_what_a_group_committed(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    group, kafka = fresh_name("group"), any_broker.settings
    async with lag_reader(kafka) as reader:
        assert await reader.committed(group, [topic]) == {}
        await commit(kafka, group, TopicPartition(topic, 1), 7)
        assert await reader.committed(group, [topic]) == {TopicPartition(topic, 1): 7}
        assert await reader.partitions(topic) == 2
        with pytest.raises(TopicMissing):
            await reader.committed(group, [fresh_name("missing")])


async def test_a_replica_takes_its_part_of_what_the_stages_get_done(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, kafka = fresh_name("group"), any_broker.settings
    monkeypatch.setattr(capping, "LOOK_SECONDS", 0.05)
    cap = EscalationCap(0.5, per_minute=12, window=300, clock=asyncio.get_running_loop().time)
    partition = TopicPartition(topic, 0)
    await commit(kafka, group, partition, 0)
    read = {group: Subscription((topic,))}
    watching = asyncio.create_task(watch_progress(cap, kafka, read, topic, lambda: 1))
    try:
        cap.took(60)
        assert cap.throttled_reason() is not None
        for offset in range(40, 4000, 40):
            await commit(kafka, group, partition, offset)
            if cap.room():
                break
        # Half of the events, and of these the half that goes with one of two partitions.
        assert 1 <= cap.room() <= offset / 4
        assert cap.throttled_reason() is None
    finally:
        watching.cancel()
        await asyncio.wait((watching,))
