"""Reading the records of a batch one after the other, whatever is in it, in bounded memory.

aiokafka reads ordinary batches, and faster. Here comes what it cannot read, or only at a price: a
batch that inflates to gigabytes, a record with a million headers, a header whose name is not UTF-8,
a batch that breaks off. A batch is inflated in pieces, which zlib, lz4 and zstandard can do, and
cramjam, which aiokafka uses, cannot; it is faster where the bound is not in question.
"""

import struct
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import cramjam
import lz4.frame
import zstandard
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.structs import ConsumerRecord

from pipeline.stream.records import Headers, Original, Received, Unread, moment

HEADER = DefaultRecordBase.HEADER_STRUCT
CODEC = DefaultRecordBase.CODEC_MASK
LOG_APPEND_TIME = DefaultRecordBase.TIMESTAMP_TYPE_MASK
MANY_HEADERS = 4096
"""Headers above which a record is not carried on: each takes more than a hundred bytes here, and
may take two on the wire."""
_KEY_KEPT = 1024
_HEADERS_KEPT = 4096
_WORK = 8 << 20
"""Bytes that are passed over between two results, so that nobody waits for long."""
_REPORTED = 10_000
"""Records of a broken batch that are reported one by one: its header may claim any number."""
_VARINT_BITS = 63
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
_NAMES = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
_PIECE = 1 << 18
_FEED = 1 << 16
_LARGEST_BLOCK = 64 << 20
"""Bytes of the largest block of snappy, which can only be inflated whole."""
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_BLOCK_LENGTH = struct.Struct(">i")
_LZ4_RATIO = 255
"""No byte of lz4 stands for more."""
_WITH_GZIP_HEADER = 31
"""zlib's `wbits` for data with the header and the checksum of gzip."""
_THREAD = threading.local()
"""Holds one zstd decompressor for each thread: it reads one stream at a time, and is expensive."""


class CannotInflate(Exception):
    """What is compressed is broken, or in an unknown way."""


class _Broken(Exception):
    """The bytes are not those of records."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The header of a batch, in the format since Kafka 0.11."""

    base_offset: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    records: int

    @classmethod
    def of(cls, data: memoryview) -> "Batch":
        base, _, _, _, _, attributes, last, first, newest, _, _, _, count = HEADER.unpack_from(data)
        return cls(base, attributes, last, first, newest, count)

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A record, its fields named as in aiokafka's; `unread` is set where it has no value."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    unread: Unread | None = None


def received(record: ConsumerRecord | ReadRecord, now: datetime) -> Received:
    return Received(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        timestamp=moment(record.timestamp, now),
        received_at=now,
        unread=record.unread if isinstance(record, ReadRecord) else None,
    )


def read_batch(
    data: memoryview, place: KafkaPartition, start: int, limit: int
) -> Iterator[ReadRecord | None]:
    """The records of a batch, its checksum verified, from offset `start` on.

    Those of more than `limit` bytes come without their value; None comes now and then, where much
    was passed over.
    """
    batch = Batch.of(data)
    position, left = start, batch.records
    because = "an offset in its batch is not one of the batch"
    try:
        source = _Source(pieces(batch.attributes & CODEC, data[HEADER.size :]))
        while left:
            record = yield from _record(source, batch, place, limit)
            if not batch.base_offset <= record.offset < batch.next_offset:
                break
            left -= 1
            if record.offset >= position:
                position = record.offset + 1
                yield record
    except (_Broken, CannotInflate) as error:
        because = str(error)
    if left and position < batch.next_offset:
        yield from unreadable(place, range(position, batch.next_offset), left, because)


def unreadable(
    place: KafkaPartition, offsets: range, count: int, because: str
) -> Iterator[ReadRecord]:
    """What stands for the `count` records of a broken batch.

    Which offsets they have is not known after a compaction: the first ones are reported.
    """
    shown = offsets[: max(1, min(count, _REPORTED))]
    for offset in shown:
        sentence = f"The record cannot be read: {because}."
        if offset == shown[-1] < offsets[-1]:
            sentence += f" Nor can any that follow, up to offset {offsets[-1]}."
        yield ReadRecord(place.topic, place.partition, offset, -1, None, None, (), Unread(sentence))


def has_many_headers(records: bytes | memoryview, count: int) -> bool:
    """Whether one of the `count` inflated records has too many headers, or they are broken."""
    source = _Source(iter([bytes(records)]))
    try:
        for _ in range(count):
            length = source.varint()
            end = source.position + length
            source.take(1)  # attributes
            source.varint()  # time
            source.varint()  # offset
            for _ in ("key", "value"):
                source.take(max(0, source.varint()))
            if source.varint() > MANY_HEADERS:
                return True
            source.take(end - source.position)
    except _Broken:
        return True
    return False


def _record(
    source: "_Source", batch: Batch, place: KafkaPartition, limit: int
) -> Generator[None, None, ReadRecord]:
    length = source.varint()
    if length < 0:
        raise _Broken("a record in it has a negative length")
    end = source.position + length
    source.take(1)  # attributes
    timestamp = batch.first_timestamp + source.varint()
    if batch.attributes & LOG_APPEND_TIME:
        timestamp = batch.max_timestamp
    about = (place.topic, place.partition, batch.base_offset + source.varint(), timestamp)
    headers: Headers = ()
    if length > limit:
        key, headers, original = yield from _passed_over(source, end)
    else:
        key, value = source.nullable(end), source.nullable(end)
        count = source.count()
        if count <= MANY_HEADERS:
            headers = tuple(source.header(end) for _ in range(count))
            if source.position != end:
                raise _Broken("a record in it is not as long as it says")
            return ReadRecord(*about, key, value, headers)
        digest, rest = sha256(value or b"").hexdigest(), end - source.position
        original = Original(len(key or b""), len(value or b""), digest, count, rest)
        yield from source.skip(rest)
        key = None if key is None else key[:_KEY_KEPT]
    because = (
        f"The record takes {length:,} bytes and has {original.headers:,} headers; one of up to "
        f"{limit:,} bytes (topics.max_message_bytes) and {MANY_HEADERS:,} headers can be carried "
        "on."
    )
    return ReadRecord(*about, key, None, headers, Unread(because, original))


def _passed_over(
    source: "_Source", end: int
) -> Generator[None, None, tuple[bytes | None, Headers, Original]]:
    """The beginning of its key, its headers where they are small, and its sizes and hash."""
    key_bytes = source.varint()
    key = None if key_bytes < 0 else source.take(min(key_bytes, _KEY_KEPT))
    yield from source.skip(key_bytes - len(key or b""))
    digest, value_bytes = sha256(), source.varint()
    yield from source.skip(value_bytes, digest.update)
    count, rest = source.count(), end - source.position
    if rest < 0:
        raise _Broken("a record in it is not as long as it says")
    headers: Headers = ()
    if rest <= _HEADERS_KEPT:
        headers = tuple(source.header(end) for _ in range(count))
    yield from source.skip(end - source.position)
    sizes = max(0, key_bytes), max(0, value_bytes)
    return key, headers, Original(*sizes, digest.hexdigest(), count, rest)


class _Source:
    """The bytes of a batch from their beginning on, of which only the piece at hand is held."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0
        self._passed = 0

    @property
    def position(self) -> int:
        return self._passed + self._at

    def take(self, size: int) -> bytes:
        found = self._piece[self._at : self._at + size]
        self._at += len(found)
        if len(found) == size:
            return found
        parts, missing = [found], size - len(found)
        while missing:
            self._next()
            part = self._piece[:missing]
            parts.append(part)
            self._at = len(part)
            missing -= len(part)
        return b"".join(parts)

    def skip(
        self, size: int, see: Callable[[memoryview], None] | None = None
    ) -> Generator[None, None, None]:
        """Pass over the next `size` bytes, which `see` is shown, with a pause now and then."""
        until_pause = _WORK
        while size > 0:
            if self._at == len(self._piece):
                self._next()
            part = min(size, len(self._piece) - self._at)
            if see is not None:
                see(memoryview(self._piece)[self._at : self._at + part])
            self._at += part
            size -= part
            until_pause -= part
            if until_pause <= 0:
                until_pause = _WORK
                yield None

    def varint(self) -> int:
        """The next number: of variable length, small for small ones of either sign."""
        value = shift = 0
        while True:
            if self._at == len(self._piece):
                self._next()
            byte = self._piece[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that there is more
                return (value >> 1) ^ -(value & 1)
            shift += 7
            if shift > _VARINT_BITS:
                raise _Broken("a number in it is too long")

    def count(self) -> int:
        count = self.varint()
        if count < 0:
            raise _Broken("a record in it has a negative number of headers")
        return count

    def nullable(self, end: int) -> bytes | None:
        """The next bytes, with their length before them, that must be there before `end`."""
        length = self.varint()
        if length > end - self.position:
            raise _Broken("a record in it is not as long as it says")
        return None if length < 0 else self.take(length)

    def header(self, end: int) -> tuple[str, bytes | None]:
        """The next header; a name that is not UTF-8 has replacement characters."""
        name = self.nullable(end)
        if name is None:
            raise _Broken("a header in it has no name")
        return name.decode(errors="replace"), self.nullable(end)

    def _next(self) -> None:
        piece = next(self._pieces, b"")
        if not piece:
            raise _Broken("it ends early")
        self._passed += len(self._piece)
        self._piece, self._at = piece, 0


def inflate(codec: int, data: memoryview, limit: int) -> bytes | None:
    """The whole content; None where it is larger than `limit` bytes."""
    if codec == LZ4 and len(data) * _LZ4_RATIO <= limit:
        try:
            return bytes(cramjam.lz4.decompress(data))
        except cramjam.DecompressionError as error:
            raise CannotInflate(str(error)) from error
    found: list[bytes] = []
    size = 0
    if codec == ZSTD:
        # What is read to its end at once may share a decompressor: it costs a fourth.
        if not hasattr(_THREAD, "zstd"):
            _THREAD.zstd = zstandard.ZstdDecompressor()
        read = _named(codec, _zstd(data, _THREAD.zstd))
    else:
        read = pieces(codec, data)
    for piece in read:
        size += len(piece)
        if size > limit:
            return None
        found.append(piece)
    return found[0] if len(found) == 1 else b"".join(found)


def pieces(codec: int, data: memoryview) -> Iterator[bytes]:
    """The content in pieces of some hundred kilobytes; `CannotInflate` where it is broken."""
    return _named(codec, _INFLATERS.get(codec, _unknown)(data))


def _named(codec: int, found: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from found
    except (
        zlib.error,
        zstandard.ZstdError,
        cramjam.DecompressionError,
        RuntimeError,  # of lz4
        struct.error,
    ) as error:
        raise CannotInflate(f"its {_NAMES[codec]} is broken: {error}") from error


def _gzip(data: memoryview) -> Iterator[bytes]:
    member = zlib.decompressobj(_WITH_GZIP_HEADER)
    for fed in _cut(data, _FEED):
        tail: bytes | memoryview = fed
        while tail:
            piece = member.decompress(tail, _PIECE)
            if piece:
                yield piece
            tail = member.unconsumed_tail
            if member.eof:
                tail, member = member.unused_data, zlib.decompressobj(_WITH_GZIP_HEADER)


def _lz4(data: memoryview) -> Iterator[bytes]:
    frame = lz4.frame.LZ4FrameDecompressor()
    for fed in _cut(data, _FEED):
        tail: bytes | memoryview | None = fed
        while tail or not frame.needs_input:
            piece = frame.decompress(tail or b"", _PIECE)
            tail = None
            if piece:
                yield piece
            if frame.eof:
                tail, frame = frame.unused_data, lz4.frame.LZ4FrameDecompressor()


def _zstd(
    data: memoryview, decompressor: zstandard.ZstdDecompressor | None = None
) -> Iterator[bytes]:
    decompressor = decompressor or zstandard.ZstdDecompressor()
    reader = decompressor.stream_reader(data, read_across_frames=True)
    return iter(lambda: reader.read(_PIECE), b"")


def _unknown(data: memoryview) -> Iterator[bytes]:
    raise CannotInflate(f"its {len(data)} bytes are compressed in a way that Kafka does not have")


def _snappy(data: memoryview) -> Iterator[bytes]:
    if data[: len(_XERIAL)] != _XERIAL:
        yield _block(data)
        return
    position = _XERIAL_HEADER
    while position < len(data):
        (length,) = _BLOCK_LENGTH.unpack_from(data, position)
        position += _BLOCK_LENGTH.size
        if length < 0:
            raise CannotInflate("a block of its snappy has a negative length")
        yield _block(data[position : position + length])
        position += length


def _block(data: memoryview) -> bytes:
    length = cramjam.snappy.decompress_raw_len(data)
    if length > _LARGEST_BLOCK:
        raise CannotInflate(f"a block of its snappy would be {length:,} bytes")
    return bytes(cramjam.snappy.decompress_raw(data))


def _cut(data: memoryview, size: int) -> Iterator[memoryview]:
    return (data[start : start + size] for start in range(0, len(data), size))


_INFLATERS: dict[int, Callable[[memoryview], Iterator[bytes]]] = {
    0: lambda data: map(bytes, _cut(data, _PIECE)),
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
