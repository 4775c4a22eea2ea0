"""Inflating compressed batches within a bound.

A megabyte on the wire can hold gigabytes, and aiokafka inflates a batch in one go. Here it comes in
pieces, so that whoever reads them may stop, or let go of what is behind them. zlib, lz4 and
zstandard can do so; cramjam, which aiokafka uses, cannot, and is faster where the bound is not in
question.
"""

import struct
import threading
import zlib
from collections.abc import Callable, Iterator

import cramjam
import lz4.frame
import zstandard

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
_THREAD = threading.local()
_TO_GZIP = 31
"""zlib's name for: with the header and the checksum of gzip."""


class CannotInflate(Exception):
    """What is compressed is broken, or in a way that nobody knows."""


def inflate(codec: int, data: memoryview, limit: int) -> bytes | None:
    """The whole content; None where it is larger than `limit` bytes.

    Raises:
        CannotInflate: It is broken.
    """
    if codec == LZ4 and len(data) * _LZ4_RATIO <= limit:
        try:
            return bytes(cramjam.lz4.decompress(data))
        except cramjam.DecompressionError as error:
            raise CannotInflate(str(error)) from error
    found: list[bytes] = []
    size = 0
    read = _whole_zstd(data) if codec == ZSTD else _WAYS.get(codec, _unknown)(data)
    for piece in _named(codec, read):
        size += len(piece)
        if size > limit:
            return None
        found.append(piece)
    return found[0] if len(found) == 1 else b"".join(found)


def pieces(codec: int, data: memoryview) -> Iterator[bytes]:
    """The content in pieces of some hundred kilobytes.

    Raises:
        CannotInflate: It is broken from here on.
    """
    return _named(codec, _WAYS.get(codec, _unknown)(data))


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
    member = zlib.decompressobj(_TO_GZIP)
    for fed in _fed(data):
        tail: bytes | memoryview = fed
        while tail:
            piece = member.decompress(tail, _PIECE)
            if piece:
                yield piece
            tail = member.unconsumed_tail
            if member.eof:
                tail, member = member.unused_data, zlib.decompressobj(_TO_GZIP)


def _lz4(data: memoryview) -> Iterator[bytes]:
    frame = lz4.frame.LZ4FrameDecompressor()
    for fed in _fed(data):
        tail: bytes | memoryview | None = fed
        while tail or not frame.needs_input:
            piece = frame.decompress(tail or b"", _PIECE)
            tail = None
            if piece:
                yield piece
            if frame.eof:
                tail, frame = frame.unused_data, lz4.frame.LZ4FrameDecompressor()


def _zstd(data: memoryview) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    return iter(lambda: reader.read(_PIECE), b"")


def _whole_zstd(data: memoryview) -> Iterator[bytes]:
    """The same for what is read to its end before anything else is: it costs a fourth."""
    reader = _own_decompressor().stream_reader(data, read_across_frames=True)
    return iter(lambda: reader.read(_PIECE), b"")


def _own_decompressor() -> zstandard.ZstdDecompressor:
    """One for each thread: it can read but one thing at a time, and is expensive to make."""
    if not hasattr(_THREAD, "zstd"):
        _THREAD.zstd = zstandard.ZstdDecompressor()
    found: zstandard.ZstdDecompressor = _THREAD.zstd
    return found


def _unknown(data: memoryview) -> Iterator[bytes]:
    raise CannotInflate(f"its {len(data)} bytes are compressed in no way that Kafka has")


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


def _fed(data: memoryview) -> Iterator[memoryview]:
    return (data[start : start + _FEED] for start in range(0, len(data), _FEED))


def _plain(data: memoryview) -> Iterator[bytes]:
    return (bytes(data[start : start + _PIECE]) for start in range(0, len(data), _PIECE))


_WAYS: dict[int, Callable[[memoryview], Iterator[bytes]]] = {
    0: _plain,
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
