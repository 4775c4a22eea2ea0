"""What aiokafka's fetcher makes of the bytes that brokers send, replaced where it trusts them.

aiokafka inflates a whole batch at once, whatever its size, ends a poll for all partitions at a
record that it cannot read, and hands on any number of bytes. There is no public way to change that,
so the three classes that its fetcher uses are replaced, in its module, by these. They do as it
does for consumers that were not made with a `ReadLimit`.

A batch that has to be read with care is not read here: it comes as the last thing of a poll, an
`Aside`, and `pipeline.stream.kafka.asides` reads it beside the event loop.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import _MemoryRecordsPy

from pipeline.stream.kafka.batches import (
    CODEC,
    HEADER,
    Batch,
    ReadRecord,
    has_many_headers,
    read_batch,
    unreadable,
)
from pipeline.stream.kafka.inflating import CannotInflate, inflate
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


@dataclass(frozen=True, slots=True)
class ReadLimit:
    """Given to a consumer in the place of a deserializer: it reads with care.

    Args:
        record_bytes: The largest record that comes with its value. For those who read outside a
            group: more than anybody sets topics to take, and less than would end the process.
    """

    record_bytes: int = 256 << 20

    def __call__(self, value: bytes | None) -> bytes | None:
        """A deserializer that changes nothing."""
        return value


@dataclass(slots=True)
class Aside:
    """A batch that is read beside the event loop, or is not what its checksum says.

    Args:
        partition: Where it is.
        offset: The first of its records that is wanted.
        next_offset: Where to read on after it.
        timestamp: Of its newest record, in milliseconds since the epoch.
        records: Reads it, slowly.
        is_damaged: Whether it does not match its checksum: fetched again it may.
    """

    partition: KafkaPartition
    offset: int
    next_offset: int
    timestamp: int
    records: Iterator[ReadRecord | None] = field(repr=False)
    is_damaged: bool = False


class Slices(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """What a fetch brought of a partition, batch by batch."""

    def next_slice(self) -> memoryview:
        """The bytes of the next batch."""
        found: memoryview = self._next_slice
        self._cache_next()
        return found


class CarefulRecords(PartitionRecords):  # type: ignore[misc] # aiokafka has no types
    """The records of a fetch, up to the first batch that is to be read with care.

    Takes what `PartitionRecords` takes; `records` are `Slices`, the deserializer of values is a
    `ReadLimit`.
    """

    _records: Any
    _value_deserializer: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - aiokafka's own
        super().__init__(*arguments, **options)
        self._limit = self._value_deserializer.record_bytes
        self._value_deserializer = None

    def _unpack_records(self) -> Iterator[Any]:
        """Each record; an `Aside` is the last thing: it is read on after it, or fetched again."""
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
                    yield self._aside(data)
                    return
                try:
                    yield from self._unpack(readable, batch.next_offset)
                except (KafkaError, ValueError, LookupError, OverflowError, MemoryError):
                    # It can be read as far as it goes, and names leniently, not by aiokafka.
                    yield self._aside(data)
                    return
            self.next_fetch_offset = batch.next_offset

    def _unpack(self, batch: Any, end: int) -> Iterator[Any]:  # noqa: ANN401 - aiokafka has no types
        for record in batch:
            if record.offset >= end:
                raise CorruptRecordException("an offset is beyond the end of its batch")
            if record.offset >= self.next_fetch_offset:
                found = self._consumer_record(self._tp, record)
                self.next_fetch_offset = record.offset + 1
                yield found

    def _is_passed_over(self, batch: Any) -> bool:  # noqa: ANN401 - aiokafka has no types
        """Whether it is no records of anybody: a marker, or of a transaction that was aborted."""
        if batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._ends_in_abort(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        is_control: bool = batch.is_control_batch
        return is_control

    def _ends_in_abort(self, batch: Any) -> bool:  # noqa: ANN401 - aiokafka has no types
        try:
            found: bool = self._contains_abort_marker(batch)
        except (KafkaError, struct.error):
            # A marker of a kind that is not known, or a broken one, aborts nothing.
            return False
        return found

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

    def _aside(self, data: memoryview) -> Aside:
        batch, start = Batch.of(data), self.next_fetch_offset
        # A copy: what was fetched is let go of before an aside is read.
        copy, first = memoryview(bytes(data)), max(start, batch.base_offset)
        records = read_batch(copy, self._tp, first, self._limit)
        return Aside(
            self._tp, start, max(start + 1, batch.next_offset), batch.max_timestamp, records
        )

    def _damaged(self, data: memoryview) -> Aside:
        """Its header may be what is wrong, so it is believed only where it can be."""
        batch, start = Batch.of(data), self.next_fetch_offset
        is_likely = 0 < batch.records <= batch.last_offset_delta + 1 <= len(data)
        end = batch.next_offset if is_likely and batch.next_offset > start else start + 1
        because = "its batch does not match its checksum"
        records = unreadable(self._tp, range(start, end), batch.records, because)
        return Aside(self._tp, start, end, batch.max_timestamp, records, is_damaged=True)

    def _unpack_old(self, data: memoryview) -> Iterator[Any]:
        """A batch of before Kafka 0.11, as aiokafka reads it: no broker of today writes one."""
        rest = self._records
        self._records = Slices(bytes(data))
        try:
            yield from super()._unpack_records()
        except (KafkaError, OSError, EOFError, ValueError) as error:
            offsets = range(self.next_fetch_offset, self.next_fetch_offset + 1)
            records = unreadable(self._tp, offsets, 1, repr(error))
            yield Aside(self._tp, offsets.start, offsets.stop, -1, records, is_damaged=True)
        finally:
            self._records = rest


class BoundedFetch(FetchResult):  # type: ignore[misc] # aiokafka has no types
    """What was fetched of a partition, of which a poll takes so many bytes and no more."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """As in aiokafka; it ends after `_POLL_BYTES`, and with an `Aside`."""
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found: list[Any] = []
        size = 0
        for record in self._partition_records:
            found.append(record)
            if type(record) is Aside:
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
