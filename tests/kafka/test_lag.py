from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import TopicSettings
from pipeline.kafka.connection import admin_client, consumer_client, producer_client
from pipeline.kafka.offsets import GroupLag, PartitionLag, drain_seconds, lag_reader, partition_lag
from pipeline.kafka.topics import TopicMissing, Topics
from pipeline.local.broker import LocalBroker
from pipeline.stream.ledger import CommitPoint, encode
from pipeline.stream.protocols import Committed
from tests.brokers import FreshName

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PARTITION = TopicPartition("t", 0)


def lag_of(*, begin: int = 0, end: int, committed: int | None, metadata: str = "") -> PartitionLag:
    found = None if committed is None else Committed(committed, metadata)
    return partition_lag(PARTITION, begin, end, found)


def sample(at: datetime, *lags: PartitionLag) -> GroupLag:
    return GroupLag("g", at, members=1, partitions=lags)


def test_a_foreign_ledger_is_reported_and_what_is_above_counts_as_waiting() -> None:
    lag = lag_of(end=10, committed=4, metadata="another program's")
    assert (lag.lag, lag.done_above) == (6, 0)
    assert lag.fault is not None
    assert "another program" in lag.fault


def test_a_group_that_committed_nothing_is_behind_by_all_there_is() -> None:
    assert lag_of(begin=5, end=12, committed=None).lag == 7


def test_what_retention_removed_does_not_wait() -> None:
    lag = lag_of(begin=8, end=10, committed=3)
    assert (lag.lag, lag.base) == (2, 8)


def test_a_topic_made_again_does_not_make_a_negative_lag() -> None:
    assert lag_of(end=2, committed=50).lag == 0


@given(st.data())
def test_the_lag_is_what_is_neither_below_the_base_nor_done_above_it(data: st.DataObject) -> None:
    base = data.draw(st.integers(0, 10_000), label="base")
    high = data.draw(st.integers(base + 1, base + 500), label="high")
    rest = data.draw(st.sets(st.integers(base, high - 1), max_size=200), label="unfinished")
    unfinished = sorted({base} | rest)
    new = data.draw(st.integers(0, 100), label="not seen yet")
    lag = lag_of(
        end=high + new, committed=base, metadata=encode(CommitPoint(base, high, tuple(unfinished)))
    )
    assert lag.lag == len(unfinished) + new
    assert lag.done_above == high - base - len(unfinished)
    assert lag.fault is None


@given(begin=st.integers(0, 99), end=st.integers(0, 99), committed=st.none() | st.integers(0, 99))
def test_a_lag_is_never_negative(begin: int, end: int, committed: int | None) -> None:
    assert lag_of(begin=begin, end=end, committed=committed).lag >= 0


def test_the_drain_estimate_goes_on_as_between_the_samples() -> None:
    earlier = sample(NOON, lag_of(end=100, committed=0))
    later = sample(NOON + timedelta(seconds=10), lag_of(end=110, committed=60))
    assert drain_seconds(earlier, later) == 10.0


def test_a_lag_that_does_not_shrink_has_no_drain_estimate() -> None:
    earlier = sample(NOON, lag_of(end=100, committed=50))
    later = sample(NOON + timedelta(seconds=10), lag_of(end=150, committed=100))
    assert drain_seconds(earlier, later) is None
    assert drain_seconds(later, later) is None


def test_nothing_waiting_is_drained() -> None:
    done = sample(NOON, lag_of(end=7, committed=7))
    assert drain_seconds(done, done) == 0.0


def test_the_oldest_of_a_group_is_that_of_its_partitions() -> None:
    young = PartitionLag("t", 0, 0, 1, 0, 0, 1, oldest=NOON - timedelta(seconds=1))
    old = PartitionLag("t", 1, 0, 1, 0, 0, 1, oldest=NOON - timedelta(seconds=5))
    none = PartitionLag("t", 2, 0, 0, 0, 0, 0)
    assert sample(NOON, young, old, none).oldest_seconds == 5.0
    assert sample(NOON, none).oldest_seconds is None


@pytest.fixture
async def topic(any_broker: LocalBroker, fresh_name: FreshName) -> str:
    name = fresh_name("waiting")
    async with admin_client(any_broker.settings) as admin:
        await Topics(admin, TopicSettings(partitions=2)).create([name])
    return name


async def test_a_topic_that_is_missing_is_reported(
    any_broker: LocalBroker, fresh_name: FreshName
) -> None:
    async with lag_reader(any_broker.settings) as reader:
        with pytest.raises(TopicMissing):
            await reader.sample("g", [fresh_name("missing")])


async def test_a_sample_has_what_waits_since_when_and_the_members(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    group, kafka = fresh_name("group"), any_broker.settings
    minutes_ago = datetime.now(UTC) - timedelta(minutes=10)
    async with producer_client(kafka) as producer:
        for n in range(6):
            moment = round((minutes_ago + timedelta(minutes=n)).timestamp() * 1000)
            await producer.send_and_wait(topic, b"%d" % n, partition=0, timestamp_ms=moment)

    async with lag_reader(kafka) as reader:
        nothing_committed = await reader.sample(group, [topic])
        async with consumer_client(kafka, group_id=group, enable_auto_commit=False) as member:
            member.subscribe([topic])
            await member.getmany(timeout_ms=1000)
            ledger = encode(CommitPoint(2, 5, (2, 4)))
            await member.commit({TopicPartition(topic, 0): OffsetAndMetadata(2, ledger)})
            committed = await reader.sample(group, [topic])
            await member.commit({TopicPartition(topic, 0): OffsetAndMetadata(6, "")})
            done = await reader.sample(group, [topic])

    assert nothing_committed.members == 0
    assert nothing_committed.lag == 6
    assert nothing_committed.oldest_seconds == pytest.approx(600, abs=60)

    assert committed.members == 1
    first, second = committed.partitions
    assert (first.end, first.committed, first.done_above, first.lag) == (6, 2, 1, 3)
    assert (second.end, second.committed, second.lag, second.oldest) == (0, None, 0, None)
    assert committed.oldest_seconds == pytest.approx(480, abs=60)

    assert (done.lag, done.oldest_seconds) == (0, None)
    assert drain_seconds(committed, done) == 0.0


async def test_markers_of_transactions_do_not_wait(
    any_broker: LocalBroker, topic: str, fresh_name: FreshName
) -> None:
    group, kafka = fresh_name("group"), any_broker.settings
    async with (
        producer_client(kafka, transactional_id=fresh_name("txn")) as producer,
        producer.transaction(),
    ):
        await producer.send_and_wait(topic, b"one", partition=0)
    async with consumer_client(kafka, group_id=group, enable_auto_commit=False) as member:
        partition = TopicPartition(topic, 0)
        member.assign([partition])
        await member.commit({partition: OffsetAndMetadata(1, "")})
        async with lag_reader(kafka) as reader:
            [lag, _] = (await reader.sample(group, [topic])).partitions
    assert lag.end == 2
    assert lag.lag == 0
