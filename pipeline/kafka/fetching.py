"""What aiokafka's fetcher makes of the bytes that brokers send, replaced where it trusts them.

aiokafka inflates a whole batch at once, whatever its size, ends a poll for all partitions at a
record that it cannot read, and hands on any number of bytes. There is no public way to change that,
so three classes of its fetcher are replaced, for consumers that were made with a `ReadLimit`. It
also polls the partition that it fetched first until nothing of that fetch is left, which
`fetch_in_turns` changes.

A batch that has to be read with care comes as the last thing of a poll, a `DeferredBatch`.
`DeferredBatches` reads it in a thread, a piece at a time, while the other partitions go on.
"""

import asyncio
import logging
import struct
from collections.abc import Collection, Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, IllegalStateError, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import _MemoryRecordsPy

from pipeline.kafka.batches import (
    CODEC,
    HEADER,
    Batch,
    CannotInflate,
    ReadRecord,
    has_many_headers,
    inflate,
    read_batch,
    unreadable,
)
from pipeline.stream.records import HEADER_BYTES

ON_THE_LOOP = 4 << 20
"""Bytes that a batch may inflate to, to be read where it arrives: some milliseconds, with gzip
tens."""
_POLL_BYTES = 4 << 20
"""Bytes of a partition's records after which a poll takes no more of them."""
_FEW_HEADERS = 256 << 10
"""Bytes of a batch up to which the number of headers in it needs no look."""
_MANY_RECORDS = 8192
"""Records whose headers are counted where they arrive, which takes some ten milliseconds."""
_MAGIC_OFFSET = 16
_ATTRIBUTES = slice(21, 23)
_log = logging.getLogger(__name__)
_PIECE_BYTES = 4 << 20
"""Bytes of records that are read before they are handed on."""
_ATTEMPTS = 5
"""How often a batch that does not match its checksum is fetched before its records are given up:
on the way here, or on one of the brokers, it may have been damaged, and not on another."""
_PAUSE = 1.0
"""Seconds between two of these."""


@dataclass(frozen=True, slots=True)
class ReadLimit:
    """Given to a consumer in the place of a deserializer: it reads with care."""

    record_bytes: int = 256 << 20
    """The largest record that comes with its value. The default is for readers outside a group:
    more than topics are set to take, less than would end the process."""

    def __call__(self, value: bytes | None) -> bytes | None:
        return value


@dataclass(slots=True)
class DeferredBatch:
    """A batch that `records` reads, slowly, from `offset` on; then reading goes on elsewhere.

    Its timestamp is that of its newest record, in milliseconds. One that is damaged does not match
    its checksum: fetched again it may.
    """

    partition: KafkaPartition
    offset: int
    next_offset: int
    timestamp: int
    records: Iterator[ReadRecord | None] = field(repr=False)
    is_damaged: bool = False
    due: float = 0.0


class Slices(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """What a fetch brought of a partition, batch by batch."""

    def next_slice(self) -> memoryview:
        found: memoryview = self._next_slice
        self._cache_next()
        return found


class CarefulRecords(PartitionRecords):  # type: ignore[misc] # aiokafka has no types
    """The records of a fetch, up to the first batch that is to be read with care.

    Made of `Slices`, with a `ReadLimit` as deserializer of values.
    """

    _records: Any
    _value_deserializer: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - aiokafka's own
        super().__init__(*arguments, **options)
        self._limit = self._value_deserializer.record_bytes
        self._value_deserializer = None

    def _unpack_records(self) -> Iterator[Any]:
        """Each record; after a `DeferredBatch` nothing: it is read first, or fetched again."""
        while self._records.has_next():
            data = self._records.next_slice()
            if len(data) < HEADER.size or data[_MAGIC_OFFSET] < 2:  # noqa: PLR2004 - formats 0 and 1
                yield from self._unpack_old(data)
                continue
            batch = DefaultRecordBatch(data)
            if not batch.validate_crc():
                yield self._damaged(data)
                return
            if not self._is_passed_over(batch):
                readable = self._readable(data, batch)
                if readable is None:
                    yield self._defer(data)
                    return
                try:
                    yield from self._unpack(readable, batch.next_offset)
                except (KafkaError, ValueError, LookupError, OverflowError, MemoryError):
                    # It can be read as far as it goes, and names leniently, not by aiokafka.
                    yield self._defer(data)
                    return
            self.next_fetch_offset = batch.next_offset

    def _unpack(self, batch: Any, end: int) -> Iterator[Any]:  # noqa: ANN401 - aiokafka has no types
        begin = batch.base_offset
        for record in batch:
            if not begin <= record.offset < end:
                raise CorruptRecordException("an offset is not in its batch")
            if record.offset >= self.next_fetch_offset:
                found = self._consumer_record(self._tp, record)
                self.next_fetch_offset = record.offset + 1
                yield found

    def _is_passed_over(self, batch: Any) -> bool:  # noqa: ANN401 - aiokafka has no types
        """Whether it holds no events: a marker, or records of a transaction that was aborted."""
        is_control: bool = batch.is_control_batch
        if batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            # A marker of a kind that is not known, or a broken one, aborts nothing.
            with suppress(KafkaError, struct.error):
                if is_control and self._contains_abort_marker(batch):
                    self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return is_control

    def _readable(self, data: memoryview, batch: Any) -> Any:  # noqa: ANN401 - aiokafka has no types
        """The batch as aiokafka may read it; None where it may not."""
        codec = batch.compression_type
        plain: bytes | memoryview | None = data[HEADER.size :]
        if codec:
            try:
                plain = inflate(codec, data[HEADER.size :], ON_THE_LOOP)
            except CannotInflate:
                return None
        elif len(data) > max(self._limit, ON_THE_LOOP):
            return None
        if plain is None:
            return None
        if len(plain) > _FEW_HEADERS:
            count = Batch.of(data).records
            if count > _MANY_RECORDS or has_many_headers(plain, count):
                return None
        if not codec:
            return batch
        header = bytearray(data[: HEADER.size])
        attributes = int.from_bytes(header[_ATTRIBUTES]) & ~CODEC
        header[_ATTRIBUTES] = attributes.to_bytes(2)
        return DefaultRecordBatch(bytes(header) + plain)

    def _defer(self, data: memoryview) -> DeferredBatch:
        batch, start = Batch.of(data), self.next_fetch_offset
        # A copy: what was fetched is let go of before it is read.
        copy, first = memoryview(bytes(data)), max(start, batch.base_offset)
        records = read_batch(copy, self._tp, first, self._limit)
        return DeferredBatch(
            self._tp, start, max(start + 1, batch.next_offset), batch.max_timestamp, records
        )

    def _damaged(self, data: memoryview) -> DeferredBatch:
        """Its header may be what is wrong, so it is believed only where it can be."""
        batch, start = Batch.of(data), self.next_fetch_offset
        is_likely = 0 < batch.records <= batch.last_offset_delta + 1 <= len(data)
        end = batch.next_offset if is_likely and batch.next_offset > start else start + 1
        because = "its batch does not match its checksum"
        records = unreadable(self._tp, range(start, end), batch.records, because)
        return DeferredBatch(self._tp, start, end, batch.max_timestamp, records, is_damaged=True)

    def _unpack_old(self, data: memoryview) -> Iterator[Any]:
        """A batch of before Kafka 0.11, as aiokafka reads it: no broker of today writes one."""
        rest = self._records
        self._records = Slices(bytes(data))
        try:
            yield from super()._unpack_records()
        except (KafkaError, OSError, EOFError, ValueError) as error:
            offsets = range(self.next_fetch_offset, self.next_fetch_offset + 1)
            records = unreadable(self._tp, offsets, 1, repr(error))
            yield DeferredBatch(self._tp, offsets.start, offsets.stop, -1, records, is_damaged=True)
        finally:
            self._records = rest


class BoundedFetch(FetchResult):  # type: ignore[misc] # aiokafka has no types
    """What was fetched of a partition, of which a poll takes so many bytes and no more."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """As in aiokafka, but it ends after `_POLL_BYTES`, and with a `DeferredBatch`."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found: list[Any] = []
        size = 0
        for record in self._partition_records:
            found.append(record)
            if type(record) is DeferredBatch:
                self._update_position()
                # Read on after it, or fetched again: not from here.
                self._partition_records = None
                return found
            size += len(record.value or b"") + len(record.key or b"")
            size += HEADER_BYTES * len(record.headers)
            if len(found) == max_records or size >= _POLL_BYTES:
                self._update_position()
                return found
        self._update_position()
        self._partition_records = None
        return found


def _partition_records(*arguments: Any) -> PartitionRecords:  # noqa: ANN401 - aiokafka's own
    is_careful = any(isinstance(argument, ReadLimit) for argument in arguments)
    return (CarefulRecords if is_careful else PartitionRecords)(*arguments)


fetcher.MemoryRecords = Slices
fetcher.PartitionRecords = _partition_records
fetcher.FetchResult = BoundedFetch


async def fetch_in_turns(
    client: AIOKafkaConsumer,
    partitions: Sequence[KafkaPartition],
    *,
    timeout_ms: int,
    most: int,
    each: int,
) -> dict[KafkaPartition, Sequence[Any]]:
    """Poll partitions for `most` records in all, and `each` of one.

    Who brought something comes last in the next poll: one fetch holds thousands of records, and the
    other partitions would wait until they are done.
    """
    # There is no public way to it: by partition, what was fetched and not polled, in that order.
    waiting = client._fetcher._records  # noqa: SLF001
    found: dict[KafkaPartition, Sequence[Any]] = {}
    left = list(partitions)
    while left:
        limit = min(each, most)
        fetched = await client.getmany(*left, timeout_ms=timeout_ms, max_records=limit)
        found |= fetched
        for partition in fetched:
            left.remove(partition)
            if partition in waiting:
                waiting[partition] = waiting.pop(partition)
        count = sum(map(len, fetched.values()))
        most -= count
        if count < limit or most == 0:
            break
        timeout_ms = 0
    return found


class DeferredBatches:
    """What is read beside the event loop, by partition, which `client` pauses meanwhile."""

    def __init__(self, client: AIOKafkaConsumer) -> None:
        self._client = client
        self._deferred: dict[KafkaPartition, DeferredBatch] = {}
        self._attempts: dict[tuple[KafkaPartition, int], int] = {}

    @property
    def partitions(self) -> KeysView[KafkaPartition]:
        return self._deferred.keys()

    def split(
        self, fetched: Mapping[KafkaPartition, Sequence[Any]]
    ) -> dict[KafkaPartition, Sequence[Any]]:
        """Take deferred batches out of a poll; returns the records that are left."""
        found: dict[KafkaPartition, Sequence[Any]] = {}
        for partition, polled in fetched.items():
            if partition in self._deferred:
                # It was resumed meanwhile: it is read on from where that batch ends.
                self._client.pause(partition)
                continue
            records = polled
            if isinstance(deferred := polled[-1], DeferredBatch):
                self._begin(deferred)
                records = polled[:-1]
            if records:
                found[partition] = records
        return found

    def drop(self, partition: KafkaPartition) -> None:
        """Its place in the log is another one from now on."""
        self._deferred.pop(partition, None)

    async def read(
        self, partitions: Collection[KafkaPartition], limit: int
    ) -> dict[KafkaPartition, Sequence[ReadRecord]]:
        """The next records of one of these partitions, `limit` at most, if one is due."""
        now = asyncio.get_running_loop().time()
        partition = next((each for each in self._deferred if each in partitions), None)
        if partition is None or self._deferred[partition].due > now:
            return {}
        # To the end of the queue: the next one gets the next turn.
        self._deferred[partition] = deferred = self._deferred.pop(partition)
        if deferred.is_damaged and self._attempts.get((partition, deferred.offset), 0) < _ATTEMPTS:
            self._read_on(deferred, deferred.offset)
            return {}
        records, is_over = await asyncio.to_thread(_piece, deferred, limit)
        if self._deferred.get(partition) is not deferred:
            # Meanwhile the partition was revoked, or is read elsewhere.
            return {}
        if is_over:
            self._attempts.pop((partition, deferred.offset), None)
            self._read_on(deferred, deferred.next_offset)
        return {partition: records} if records else {}

    def _begin(self, deferred: DeferredBatch) -> None:
        where = deferred.partition
        name = f"{where.topic}/{where.partition}"
        self._client.pause(where)
        self._deferred[where] = deferred
        if not deferred.is_damaged:
            _log.info("%s: the batch at offset %d is read in pieces", name, deferred.offset)
            return
        attempts = self._attempts.get((where, deferred.offset), 0) + 1
        self._attempts[where, deferred.offset] = attempts
        if attempts < _ATTEMPTS:
            deferred.due = asyncio.get_running_loop().time() + _PAUSE
            _log.warning(
                "%s: the batch at offset %d does not match its checksum; it is fetched again",
                *(name, deferred.offset),
            )
        else:
            _log.error(
                "%s: the batch at offset %d does not match its checksum and is given up: look at "
                "the disks of the partition's leader",
                *(name, deferred.offset),
            )

    def _read_on(self, deferred: DeferredBatch, offset: int) -> None:
        self.drop(deferred.partition)
        try:
            self._client.seek(deferred.partition, offset)
            self._client.resume(deferred.partition)
        except IllegalStateError:
            return  # it was revoked


def _piece(deferred: DeferredBatch, limit: int) -> tuple[list[ReadRecord], bool]:
    """Some of its records, in a thread; and whether that were the last."""
    found: list[ReadRecord] = []
    size = 0
    for record in islice(deferred.records, limit):
        if record is None:
            return found, False
        found.append(record)
        size += len(record.key or b"") + len(record.value or b"")
        size += HEADER_BYTES * len(record.headers)
        if size >= _PIECE_BYTES:
            return found, False
    return found, len(found) < limit
