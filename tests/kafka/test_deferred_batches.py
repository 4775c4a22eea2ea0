"""Batches that are read beside the event loop: in turns, in order, and each once."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from pipeline.kafka import fetching
from pipeline.kafka.batches import ReadRecord
from pipeline.kafka.fetching import DeferredBatch, DeferredBatches
from pipeline.kafka.reader import _POLL_MS, _poll

ONE, OTHER = KafkaPartition("in", 1), KafkaPartition("in", 2)


class Client:
    """Notes where it reads on."""

    def __init__(self) -> None:
        self.paused: set[KafkaPartition] = set()
        self.positions: dict[KafkaPartition, int] = {}
        self.comes: dict[KafkaPartition, list[DeferredBatch]] = {}
        self.waited: list[int] = []

    async def getmany(
        self,
        *partitions: KafkaPartition,
        timeout_ms: int,
        max_records: int,
    ) -> dict[KafkaPartition, list[DeferredBatch]]:
        self.waited.append(timeout_ms)
        comes, self.comes = self.comes, {}
        return comes

    async def position(self, partition: KafkaPartition) -> int:
        return self.positions[partition]

    def pause(self, partition: KafkaPartition) -> None:
        self.paused.add(partition)

    def resume(self, partition: KafkaPartition) -> None:
        self.paused.discard(partition)

    def seek(self, partition: KafkaPartition, offset: int) -> None:
        self.positions[partition] = offset


def deferred(
    partition: KafkaPartition = ONE, count: int = 5, *, size: int = 1, is_damaged: bool = False
) -> DeferredBatch:
    records = (
        ReadRecord("in", partition.partition, offset, 0, None, b"v" * size, ())
        for offset in range(count)
    )
    return DeferredBatch(partition, 0, count, 0, records, is_damaged)


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def those(client: Client) -> DeferredBatches:
    return DeferredBatches(client)


async def test_it_is_read_in_pieces_and_the_partition_goes_on_after_it(
    client: Client, those: DeferredBatches
) -> None:
    assert those.split({ONE: ["before", deferred()], OTHER: ["other"]}) == {
        ONE: ["before"],
        OTHER: ["other"],
    }
    assert client.paused == {ONE}
    offsets = []
    while ONE in those.partitions:
        found = await those.read([ONE, OTHER], 2)
        offsets += [record.offset for record in found.get(ONE, ())]
    assert offsets == [0, 1, 2, 3, 4]
    assert (client.paused, client.positions) == (set(), {ONE: 5})


async def test_a_piece_ends_after_some_megabytes(those: DeferredBatches) -> None:
    those.split({ONE: [deferred(size=3 << 20)]})
    found = await those.read([ONE], 100)
    assert len(found[ONE]) == 2


async def test_two_partitions_take_turns_and_one_that_is_not_asked_for_waits(
    those: DeferredBatches,
) -> None:
    those.split({ONE: [deferred(ONE)], OTHER: [deferred(OTHER)]})
    turns = [[*await those.read([ONE, OTHER], 1)] for _ in range(4)]
    assert turns == [[ONE], [OTHER], [ONE], [OTHER]]
    assert await those.read([], 1) == {}
    assert [*await those.read([OTHER], 1)] == [OTHER]


async def test_a_poll_waits_for_a_partition_while_another_has_a_deferred_batch(
    client: Client,
) -> None:
    client.comes = {ONE: [deferred()]}
    consumer = cast("AIOKafkaConsumer", client)
    batches, positions = DeferredBatches(consumer), {ONE: 0, OTHER: 0}
    client.positions |= positions

    async def poll(*partitions: KafkaPartition) -> Mapping[KafkaPartition, Sequence[Any]]:
        return await _poll(consumer, batches, positions, partitions, _POLL_MS)

    await poll(ONE, OTHER)
    assert client.waited == [_POLL_MS]
    await poll(OTHER)
    assert client.waited == [_POLL_MS, _POLL_MS]
    found = await poll(ONE, OTHER)
    assert len(found[ONE]) == 5
    assert len(client.waited) == 2


async def test_one_whose_partition_is_read_elsewhere_is_forgotten(those: DeferredBatches) -> None:
    those.split({ONE: [deferred()]})
    those.drop(ONE)
    assert await those.read([ONE], 10) == {}


async def test_what_was_fetched_again_meanwhile_is_not_read_twice(
    client: Client, those: DeferredBatches
) -> None:
    those.split({ONE: [deferred()]})
    await those.read([ONE], 3)
    client.resume(ONE)
    assert those.split({ONE: ["again", deferred()]}) == {}
    assert client.paused == {ONE}
    found = await those.read([ONE], 10)
    assert [record.offset for record in found[ONE]] == [3, 4]


async def test_a_damaged_one_is_fetched_some_times_before_it_is_given_up(
    client: Client,
    those: DeferredBatches,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fetching, "_PAUSE", 0)
    for _ in range(4):
        those.split({ONE: [deferred(is_damaged=True)]})
        assert await those.read([ONE], 10) == {}
        assert (client.positions, client.paused) == ({ONE: 0}, set())
    those.split({ONE: [deferred(is_damaged=True)]})
    found = await those.read([ONE], 10)
    assert len(found[ONE]) == 5
    assert client.positions == {ONE: 5}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4 + ["ERROR"]
    assert "in/1: the batch at offset 0" in caplog.messages[-1]


async def test_a_damaged_one_that_is_whole_at_the_next_attempt_costs_nothing(
    those: DeferredBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_PAUSE", 0)
    those.split({ONE: [deferred(is_damaged=True)]})
    await those.read([ONE], 10)
    assert those.split({ONE: ["whole"]}) == {ONE: ["whole"]}
