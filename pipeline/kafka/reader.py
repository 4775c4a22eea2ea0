"""The one way to read topics from outside any consumer group, from anywhere to anywhere."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Literal, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.structs import ConsumerRecord

from pipeline.config import KafkaSettings
from pipeline.kafka.batches import ReadRecord, received
from pipeline.kafka.connection import RequestFailed, admin_client, consumer_client
from pipeline.kafka.fetching import DeferredBatches, ReadLimit
from pipeline.kafka.topics import Topics
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received

Start = Literal["beginning", "end"] | datetime | Mapping[TopicPartition, int]
"""Where reading begins: `end` means what comes from now on, a time the first record at or after;
offsets name the only partitions that are read."""
End = Literal["committed", "written"] | Mapping[TopicPartition, int]
"""Where reading ends: at what was committed when it began; at what was written when it began,
which waits for the transactions that were open; or before offsets, for each partition that is read.
"""
_POLL_MS = 500
_MAX_RECORDS = 500
_IDLE_POLL_MS = 20
"""Where an idle fetch is answered at once: the client asks again without rest while it polls."""


class TopicReader(Protocol):
    """Reads the committed records of topics, those of one partition in order.

    `read_topics` with its first argument given is the real one, `MemoryTopicReader` the fake.
    """

    def __call__(
        self,
        topics: Sequence[str],
        *,
        start: Start = "beginning",
        end: End | Literal["never"] = "committed",
    ) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Read from `start` to `end`; raises `PipelineError` without the topic or the brokers."""
        ...


@asynccontextmanager
async def read_topics(
    kafka: KafkaSettings,
    topics: Sequence[str],
    *,
    start: Start = "beginning",
    end: End | Literal["never"] = "committed",
    patience: float | None = None,
) -> AsyncIterator[AsyncIterator[Received]]:
    """The committed records of topics, those of one partition in order.

    Raises `ConnectionFailed`, `TopicMissing`, or `RequestFailed` where the brokers bring nothing
    for `patience` seconds (`request_timeout` if not given): more than a transaction may take where
    `end` waits for one.
    """
    async with admin_client(kafka) as admin:
        partitions = await Topics(admin).partitions(topics)
    if isinstance(start, Mapping):
        partitions = [partition for partition in partitions if partition in start]
    is_exact = isinstance(end, Mapping) or end == "written"
    async with AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(
            consumer_client(
                kafka,
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                # Offsets that are meant exactly must not be taken for those of another log.
                auto_offset_reset="none" if is_exact else "earliest",
                fetch_max_bytes=kafka.fetch_max_bytes,
                max_partition_fetch_bytes=kafka.partition_fetch_max_bytes,
                value_deserializer=ReadLimit(),
            )
        )
        consumer.assign(partitions)
        if isinstance(end, Mapping):
            ends = {partition: end[TopicPartition(*partition)] for partition in partitions}
        elif end == "written":
            async with consumer_client(
                kafka, group_id=None, enable_auto_commit=False, isolation_level="read_uncommitted"
            ) as uncommitted:
                ends = dict(await uncommitted.end_offsets(partitions))
        else:
            ends = await consumer.end_offsets(partitions)
        positions = await _starts(consumer, ends, start)
        for partition, offset in positions.items():
            consumer.seek(partition, offset)
        yield await stack.enter_async_context(
            aclosing(
                _records(consumer, positions, None if end == "never" else ends, kafka, patience)
            )
        )


async def read_latest(kafka: KafkaSettings, topics: Sequence[str], count: int) -> list[Received]:
    """The latest committed records of topics, at most `count`, the oldest of them first.

    Raises what `read_topics` does.
    """
    async with admin_client(kafka) as admin:
        partitions = await Topics(admin).partitions(topics)
    async with consumer_client(kafka, group_id=None, enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
    back = count
    while True:
        # Markers of transactions, and what was compacted or aborted, are offsets without a record.
        starts = {
            TopicPartition(*each): max(begins[each], end - back) for each, end in ends.items()
        }
        async with read_topics(kafka, topics, start=starts) as records:
            found = [record async for record in records]
        found.sort(key=lambda record: (record.timestamp, record.partition, record.offset))
        if len(found) >= count or back >= max(
            (end - begins[each] for each, end in ends.items()), default=0
        ):
            return found[-count:]
        back *= 8


async def _starts(
    consumer: AIOKafkaConsumer, ends: dict[KafkaPartition, int], start: Start
) -> dict[KafkaPartition, int]:
    if start == "end":
        return ends
    if isinstance(start, Mapping):
        begins = await consumer.beginning_offsets(list(ends))
        return {
            partition: min(end, max(begins[partition], start[partition]))
            for partition, end in ends.items()
        }
    if start == "beginning":
        return dict(await consumer.beginning_offsets(list(ends)))
    found = await consumer.offsets_for_times(dict.fromkeys(ends, round(start.timestamp() * 1000)))
    return {
        partition: end if found[partition] is None else found[partition].offset
        for partition, end in ends.items()
    }


async def _records(
    consumer: AIOKafkaConsumer,
    positions: dict[KafkaPartition, int],
    ends: Mapping[KafkaPartition, int] | None,
    kafka: KafkaSettings,
    patience: float | None,
) -> AsyncGenerator[Received, None]:
    """Read on from `positions` to `ends`; without ends for ever, and then with any patience."""
    clock = asyncio.get_running_loop().time
    patience = patience or kafka.request_timeout
    idle_pause = kafka.idle_fetch_pause if ends is None else 0
    give_up = clock() + patience
    deferred = DeferredBatches(consumer)
    while open_ := [tp for tp, offset in positions.items() if ends is None or offset < ends[tp]]:
        if done := [tp for tp in consumer.assignment() - consumer.paused() if tp not in open_]:
            consumer.pause(*done)
        before = dict(positions)
        fetched = await _poll(
            consumer, deferred, positions, open_, _IDLE_POLL_MS if idle_pause else _POLL_MS
        )
        now = datetime.now(UTC)
        for partition, records in fetched.items():
            for record in records:
                if ends is None or record.offset < ends[partition]:
                    yield received(record, now)
        if idle_pause and not fetched:
            consumer.pause(*open_)
            await asyncio.sleep(idle_pause)
            consumer.resume(*open_)
        if positions != before or ends is None:
            give_up = clock() + patience
        elif clock() > give_up:
            raise RequestFailed(
                f"The brokers at {kafka.bootstrap_servers} bring no records of "
                f"{', '.join(sorted({tp.topic for tp in open_}))} any more: look at the brokers, "
                "and for a transaction that was left open."
            )


async def _poll(
    consumer: AIOKafkaConsumer,
    deferred: DeferredBatches,
    positions: dict[KafkaPartition, int],
    partitions: Sequence[KafkaPartition],
    milliseconds: int,
) -> Mapping[KafkaPartition, Sequence[ConsumerRecord | ReadRecord]]:
    """What comes next of some partitions, in order for each; their `positions` move on."""
    found = await deferred.read(partitions, _MAX_RECORDS)
    if not found:
        # Of one that is not asked for nothing comes however often one looks, and a client that is
        # never waited for brings nothing of the others either.
        wait = milliseconds if deferred.partitions.isdisjoint(partitions) else 0
        found = deferred.split(
            await consumer.getmany(*partitions, timeout_ms=wait, max_records=_MAX_RECORDS)
        )
    for partition in partitions:
        if partition in deferred.partitions:
            if records := found.get(partition):
                positions[partition] = records[-1].offset + 1
        else:
            # What was aborted brings the position on without a record.
            positions[partition] = await consumer.position(partition)
    return found
