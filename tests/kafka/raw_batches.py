"""Batches as brokers send them, also such as no client of ours would write."""

import struct
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

from pipeline.kafka.batches import ReadRecord
from pipeline.kafka.fetching import CarefulRecords, DeferredBatch, ReadLimit, Slices

HERE = KafkaPartition("in", 3)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
Header = tuple[bytes, bytes | None]


def varint(number: int) -> bytes:
    """A number as records hold it."""
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left >= 0x80:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def nullable(content: bytes | None) -> bytes:
    """Bytes with their length, or null."""
    return varint(-1) if content is None else varint(len(content)) + content


def record(
    number: int,
    value: bytes | None,
    key: bytes | None = None,
    headers: Sequence[Header] = (),
) -> bytes:
    """A record, `number` offsets after the base of its batch."""
    body = b"\0" + varint(0) + varint(number) + nullable(key) + nullable(value)
    body += varint(len(headers))
    body += b"".join(nullable(name) + nullable(content) for name, content in headers)
    return varint(len(body)) + body


def compressed(plain: bytes, codec: str) -> bytes:
    """The records of a batch, compressed."""
    match codec:
        case "gzip":
            return bytes(gzip_encode(plain, 1))
        case "snappy":
            return bytes(snappy_encode(plain))
        case "lz4":
            return bytes(lz4_encode(plain, 1))
        case "zstd":
            return bytes(zstd_encode(plain, 1))
    return plain


def batch(
    content: bytes,
    count: int,
    *,
    attributes: int = 0,
    base: int = 0,
    last: int | None = None,
    damage: int = 0,
) -> bytes:
    """A batch around what it holds; `damage` is added to its checksum."""
    size = DefaultRecordBase.HEADER_STRUCT.size
    delta = count - 1 if last is None else last
    after = struct.pack(">hiqqqhii", attributes, delta, 1000, 1000, -1, -1, -1, count) + content
    crc = (calc_crc32c(after) + damage) % (1 << 32)
    return struct.pack(">qiibI", base, size - 12 + len(content), 0, 2, crc) + after


def packed(records: Sequence[bytes], codec: str = "none", base: int = 0) -> bytes:
    """A batch of whole records."""
    content = compressed(b"".join(records), codec)
    return batch(content, len(records), attributes=CODECS[codec], base=base)


def fetched(data: bytes, *, start: int = 0, limit: int = 1 << 31) -> list[Any]:
    """What a fetch makes of the bytes, up to its end or a deferred batch."""
    found: list[Any] = []
    reading = CarefulRecords(HERE, Slices(data), [], start, None, ReadLimit(limit), True, 1)
    for each in reading:
        found.append(each)
        if isinstance(each, DeferredBatch):
            break
    return found


def read_deferred(data: bytes, *, start: int = 0, limit: int = 1 << 31) -> list[ReadRecord]:
    """The records of bytes that begin with a deferred batch."""
    [deferred] = fetched(data, start=start, limit=limit)
    assert isinstance(deferred, DeferredBatch)
    return [each for each in deferred.records if each is not None]
