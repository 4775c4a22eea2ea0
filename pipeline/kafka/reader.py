"""Reads topics from outside any consumer group: for `tail`, dead letters and audits.

Reading the first record from an offset on, for the age of what waits.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
)
from datetime import UTC, datetime
from typing import Literal, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import LeaderNotAvailableError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import ConsumerRecord

from pipeline.config import KafkaSettings
from pipeline.kafka.connection import admin_client, client_options, consumer_client
from pipeline.kafka.consumer import received
from pipeline.kafka.errors import RequestFailed
from pipeline.kafka.fetching import Aside, CarefulRecords, ReadLimit, Slices
from pipeline.kafka.ranges import POLL_MS, Polls
from pipeline.kafka.topics import Topics
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Received

Start = Literal["beginning", "end"] | datetime | Mapping[TopicPartition, int]
"""Where reading begins: `end` means what comes from now on, a time the first record at or after;
offsets name the only partitions that are read."""
_IDLE_POLL_MS = 20
"""Where an idle fetch is answered at once: the client asks again without rest while it polls."""


class Reading(Protocol):
    """Reads the committed records of topics that are there now, those of a partition in order.

    `reading` with its first argument given is the real one.
    """

    def __call__(
        self, topics: Sequence[str], *, start: Start = "beginning"
    ) -> AbstractAsyncContextManager[AsyncIterator[Received]]:
        """Read from `start` to the end."""
        ...


@asynccontextmanager
async def reading(
    kafka: KafkaSettings,
    topics: Sequence[str],
    *,
    start: Start = "beginning",
    follow: bool = False,
) -> AsyncIterator[AsyncIterator[Received]]:
    """The committed records of topics, those of one partition in order.

    Args:
        kafka: How the brokers are reached.
        topics: What to read; each must exist.
        start: Where to begin.
        follow: Go on for ever; else it ends at what was committed when it began.

    Raises:
        ConnectionFailed: No broker let us in.
        TopicMissing: A topic does not exist.
        RequestFailed: The brokers bring nothing within `request_timeout`.
    """
    async with admin_client(kafka) as admin:
        partitions = await Topics(admin).partitions(topics)
    if isinstance(start, Mapping):
        partitions = [partition for partition in partitions if partition in start]
    async with AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(
            consumer_client(
                kafka,
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                fetch_max_bytes=kafka.fetch_max_bytes,
                max_partition_fetch_bytes=kafka.partition_fetch_max_bytes,
                value_deserializer=ReadLimit(),
            )
        )
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        polls = Polls(consumer, await _starts(consumer, ends, start))
        records = _all(consumer, polls, kafka) if follow else _until(consumer, polls, ends, kafka)
        yield await stack.enter_async_context(aclosing(records))


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
    found = await consumer.offsets_for_times(
        dict.fromkeys(ends, round(start.timestamp() * 1000)),
    )
    return {
        partition: end if found[partition] is None else found[partition].offset
        for partition, end in ends.items()
    }


async def _all(
    consumer: AIOKafkaConsumer, polls: Polls, kafka: KafkaSettings
) -> AsyncGenerator[Received, None]:
    poll_ms = _IDLE_POLL_MS if kafka.idle_fetch_pause else POLL_MS
    partitions = list(polls.positions)
    while True:
        fetched = await polls.poll(partitions, milliseconds=poll_ms)
        now = datetime.now(UTC)
        for records in fetched.values():
            for record in records:
                yield received(record, now)
        if not fetched and kafka.idle_fetch_pause:
            consumer.pause(*partitions)
            await asyncio.sleep(kafka.idle_fetch_pause)
            consumer.resume(*partitions)


async def _until(
    consumer: AIOKafkaConsumer, polls: Polls, ends: dict[KafkaPartition, int], kafka: KafkaSettings
) -> AsyncGenerator[Received, None]:
    clock = asyncio.get_running_loop().time
    give_up = clock() + kafka.request_timeout
    while open_ := [tp for tp, end in ends.items() if polls.positions[tp] < end]:
        if done := [tp for tp in consumer.assignment() - consumer.paused() if tp not in open_]:
            consumer.pause(*done)
        before = dict(polls.positions)
        fetched = await polls.poll(open_)
        now = datetime.now(UTC)
        for partition, records in fetched.items():
            for record in records:
                if record.offset < ends[partition]:
                    yield received(record, now)
        if polls.positions != before:
            give_up = clock() + kafka.request_timeout
        elif clock() > give_up:
            raise RequestFailed(
                f"The brokers at {kafka.bootstrap_servers} bring no records of "
                f"{', '.join(sorted({tp.topic for tp in open_}))} any more: look at the brokers."
            )


_WAIT_MS = 100
_ONE_RECORD_BYTES = 1024
"""Brokers send one batch however large it is, and not many of them."""


class LenientReader:
    """Fetches over a connection of its own, which is made when it is needed first.

    Args:
        kafka: How brokers are reached.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._client: AIOKafkaClient | None = None

    async def first(
        self, partition: KafkaPartition, offset: int
    ) -> tuple[ConsumerRecord | Aside | None, int]:
        """The first record that a committed reader sees from an offset on, if it comes at once.

        Returns:
            The record, or the batch that it is in where that is read with care, or None; and the
            offset up to which there is no other.

        Raises:
            KafkaError: The brokers do not answer, or refuse.
        """
        records = await self._fetch(partition, offset, _ONE_RECORD_BYTES)
        return next(records, None), records.next_fetch_offset

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            await self._client.close()

    async def _fetch(self, partition: KafkaPartition, offset: int, size: int) -> CarefulRecords:
        client = await self._connected(partition.topic)
        leader = client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError(partition)
        wanted = (partition.partition, offset, size)
        response = await client.send(
            leader,
            FetchRequest(
                _WAIT_MS,
                1,
                self._kafka.fetch_max_bytes,
                READ_COMMITTED,
                [(partition.topic, [wanted])],
            ),
        )
        [(_, [(_, code, _, *data)])] = response.topics
        if code:
            raise for_code(code)
        # Version 4 has no log start offset, version 11 a preferred replica before the records.
        aborted = data[2] if response.API_VERSION >= 11 else data[-2]  # noqa: PLR2004
        return CarefulRecords(
            partition,
            Slices(bytes(data[-1])),
            aborted,
            offset,
            key_deserializer=None,
            value_deserializer=ReadLimit(),
            check_crcs=True,
            isolation_level=READ_COMMITTED,
        )

    async def _connected(self, topic: str) -> AIOKafkaClient:
        if self._client is None:
            client = AIOKafkaClient(**client_options(self._kafka))
            try:
                await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
        await self._client.add_topic(topic)
        return self._client
