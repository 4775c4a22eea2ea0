"""Batches that cost more than they may, or are broken: what becomes of their records."""

import inspect
import tracemalloc
from hashlib import sha256

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBase
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.kafka.batches import MANY_HEADERS, CannotInflate, ReadRecord, inflate, pieces
from pipeline.kafka.fetching import (
    ON_THE_LOOP,
    BoundedFetch,
    CarefulRecords,
    DeferredBatch,
    ReadLimit,
    Slices,
)
from pipeline.stream.records import Original
from tests.kafka.raw_batches import (
    CODECS,
    HERE,
    Header,
    batch,
    compressed,
    fetched,
    packed,
    read_deferred,
    record,
)

MIB = 1 << 20
LIMIT = 16 * MIB
COMPRESSIONS = [codec for codec in CODECS if codec != "none"]
codecs = pytest.mark.parametrize("codec", COMPRESSIONS)
HEADERS: list[Header] = [(b"a", b"1"), (b"b", None), (b"a", b"2"), (b"", b"")]


@pytest.mark.parametrize("codec", CODECS)
def test_an_ordinary_batch_is_read_where_it_arrives(codec: str) -> None:
    data = packed([record(0, b"v", b"k", HEADERS), record(1, None, None)], codec, base=40)
    first, second = fetched(data + packed([record(0, b"w")], codec, base=42))[:2]
    assert (first.offset, first.key, first.value, first.timestamp) == (40, b"k", b"v", 1000)
    assert first.headers == (("a", b"1"), ("b", None), ("a", b"2"), ("", b""))
    assert (second.offset, second.key, second.value) == (41, None, None)
    assert [each.offset for each in fetched(data, start=41)] == [41]


@codecs
@pytest.mark.parametrize("mib", [8, 17, 40])
def test_a_record_that_inflates_beyond_the_limit_comes_without_its_value(
    codec: str, mib: int
) -> None:
    """`make.py big 17`, and its neighbours in the same batch."""
    value = b'{"id":"big","body":"' + b"a" * (mib * MIB) + b'"}'
    data = packed([record(0, b"before"), record(1, value, b"k"), record(2, b"after")], codec, 7)
    del value
    assert len(data) < 3 * MIB
    [deferred] = fetched(data, start=7, limit=LIMIT)
    assert isinstance(deferred, DeferredBatch)
    assert (deferred.offset, deferred.next_offset) == (7, 10)
    tracemalloc.start()
    records = [each for each in deferred.records if each is not None]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each.offset for each in records] == [7, 8, 9]
    assert [records[0].value, records[2].value] == [b"before", b"after"]
    if mib == 8:
        assert len(records[1].value or b"") > 8 * MIB
        return
    expected = sha256(b'{"id":"big","body":"')
    expected.update(b"a" * (mib * MIB))
    expected.update(b'"}')
    assert (records[1].key, records[1].value) == (b"k", None)
    assert records[1].unread is not None
    assert records[1].unread.original == Original(1, mib * MIB + 22, expected.hexdigest(), 0, 0)
    assert "16,777,216" in records[1].unread.because
    assert peak < 4 * MIB


@codecs
def test_each_record_of_a_batch_of_many_megabytes_comes_whole_where_it_may(codec: str) -> None:
    records = [record(number, bytes([number]) * MIB) for number in range(12)]
    found = read_deferred(packed(records, codec), start=3, limit=LIMIT)
    assert [each.value for each in found] == [bytes([n]) * MIB for n in range(3, 12)]


def test_a_key_and_headers_that_are_too_large_are_cut_and_left_out() -> None:
    headers: list[Header] = [(b"name", b"x" * (2 * MIB)), (b"n", None)]
    found = read_deferred(packed([record(0, b"v", b"k" * (3 * MIB), headers)], "lz4"), limit=MIB)
    [only] = found
    assert only.unread is not None
    assert (only.key, only.value, only.headers) == (b"k" * 1024, None, ())
    original = only.unread.original
    assert original is not None
    assert (original.key_bytes, original.value_bytes, original.headers) == (3 * MIB, 1, 2)
    assert original.header_bytes >= 2 * MIB


def test_small_headers_of_a_large_record_are_kept() -> None:
    [only] = read_deferred(packed([record(0, b"a" * (5 * MIB), b"k", HEADERS)], "zstd"), limit=MIB)
    assert only.headers == (("a", b"1"), ("b", None), ("a", b"2"), ("", b""))


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_record_with_a_million_headers_costs_no_hundred_megabytes(codec: str) -> None:
    data = packed([record(0, b"v", b"k", [(b"", None)] * MIB), record(1, b"after")], codec)
    tracemalloc.start()
    odd, after = read_deferred(data, limit=LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB
    assert after.value == b"after"
    assert odd.unread is not None
    assert odd.unread.original is not None
    assert odd.unread.original.headers == MIB > MANY_HEADERS
    assert odd.unread.original.sha256 == sha256(b"v").hexdigest()


def test_a_great_many_tiny_records_are_counted_nowhere_but_aside() -> None:
    tiny = [record(number, b"") for number in range(60_000)]
    data = packed(tiny, "lz4", base=5)
    [deferred] = fetched(data, start=5)
    assert isinstance(deferred, DeferredBatch)
    assert [each.offset for each in deferred.records if each] == list(range(5, 60_005))


def test_a_header_whose_name_is_not_utf8_is_read_leniently() -> None:
    data = packed([record(0, b"v", None, [(b"\xff\xfe", b"1")]), record(1, b"after")])
    odd, after = read_deferred(data)
    assert odd.headers == (("\ufffd\ufffd", b"1"),)
    assert (odd.unread, after.value) == (None, b"after")


BROKEN = {
    "a codec that nobody knows": batch(record(0, b"v") * 3, 3, attributes=5),
    "bytes that are not lz4": batch(b"\x00" * 100, 3, attributes=CODECS["lz4"]),
    "bytes that are not gzip": batch(b"\x00" * 100, 3, attributes=CODECS["gzip"]),
    "bytes that are not snappy": batch(b"\xff" * 100, 3, attributes=CODECS["snappy"]),
    "bytes that are not zstd": batch(b"\x00" * 100, 3, attributes=CODECS["zstd"]),
    "fewer records than are counted": batch(record(0, b"v")[:-1], 3),
    "a record of negative length": batch(b"\x01" * 9, 3),
    "a value that is longer than its record": batch(b"\x14\0\0\0\x01\xff\xff\xff\x7f" + b"a", 3),
    "a negative number of headers": batch(b"\x0e\0\0\0\x01\x00\x01\x01", 3),
    "a number without end": batch(b"\xff" * 30, 3),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_of_a_broken_batch_each_record_is_said_to_be_unreadable(broken: str) -> None:
    found = read_deferred(BROKEN[broken])
    assert [each.offset for each in found] == [0, 1, 2]
    for each in found:
        assert each.value is None
        assert each.unread is not None
        assert each.unread.original is None
        assert each.unread.because.startswith("The record cannot be read: ")


@codecs
def test_a_batch_that_breaks_off_gives_what_is_before(codec: str) -> None:
    whole = compressed(b"".join(record(n, b"%d" % n * 300_000) for n in range(30)), codec)
    data = batch(whole[: len(whole) // 2], 30, attributes=CODECS[codec])
    found = read_deferred(data)
    assert [each.offset for each in found] == list(range(30))
    is_read = [each.unread is None for each in found]
    assert is_read == sorted(is_read, reverse=True)
    assert not is_read[-1]


def test_a_batch_that_claims_a_billion_records_is_read_as_a_bounded_number() -> None:
    found = read_deferred(batch(b"", 1 << 30, attributes=0))
    assert len(found) == 10_000
    assert found[-1].unread is not None
    assert f"up to offset {(1 << 30) - 1}" in found[-1].unread.because


def test_a_batch_that_does_not_match_its_checksum_is_said_to_be_damaged() -> None:
    data = batch(record(0, b"a") + record(1, b"b"), 2, base=5, damage=1)
    [deferred] = fetched(data, start=5)
    assert isinstance(deferred, DeferredBatch)
    assert deferred.is_damaged
    assert (deferred.offset, deferred.next_offset) == (5, 7)
    assert [each.offset for each in deferred.records if each] == [5, 6]


def test_a_damaged_header_is_not_believed() -> None:
    [deferred] = fetched(batch(record(0, b"a"), 1, base=5, last=1 << 30, damage=1), start=5)
    assert isinstance(deferred, DeferredBatch)
    assert (deferred.offset, deferred.next_offset) == (5, 6)


def test_markers_are_passed_over_also_those_that_are_unknown() -> None:
    control = DefaultRecordBase.CONTROL_MASK | DefaultRecordBase.TRANSACTIONAL_MASK
    data = batch(record(0, b"", b""), 1, attributes=control) + packed([record(0, b"v")], base=1)
    assert [(each.offset, each.value) for each in fetched(data)] == [(1, b"v")]


def whole_batch(data: bytes) -> list[object]:
    found: list[object] = []
    for each in fetched(data, limit=MIB):
        found += [*each.records] if isinstance(each, DeferredBatch) else [each]
    return found


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(list(CODECS)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 6),
)
@example("zstd", [(0, 0)], 0)
@example("none", [(3, 1)], 0)
def test_no_bytes_end_the_reading_of_a_partition(
    codec: str, changes: list[tuple[int, int]], cut: int
) -> None:
    """Each gives records in order and within the batch, or stands for them."""
    records = [record(n, b"value %d" % n, b"k", HEADERS) for n in range(5)]
    content = bytearray(compressed(b"".join(records), codec))
    for position, byte in changes:
        content[position % len(content)] = byte
    content = content[: len(content) - cut]
    found = whole_batch(batch(bytes(content), 5, attributes=CODECS[codec], base=10))
    offsets = [each.offset for each in found if hasattr(each, "offset")]
    assert offsets == sorted(set(offsets))
    assert all(10 <= offset < 15 for offset in offsets)
    assert found


@codecs
def test_content_that_is_no_larger_than_allowed_is_inflated_whole(codec: str) -> None:
    plain = b"a" * (3 * MIB) + bytes(range(256)) * 64
    data = memoryview(compressed(plain, codec))
    assert inflate(CODECS[codec], data, len(plain)) == plain
    assert inflate(CODECS[codec], data, len(plain) - 1) is None
    assert b"".join(pieces(CODECS[codec], data)) == plain


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_content_in_two_frames_is_read_as_one(codec: str) -> None:
    data = memoryview(compressed(b"a", codec) + compressed(b"b" * MIB, codec))
    assert b"".join(pieces(CODECS[codec], data)) == b"a" + b"b" * MIB
    assert inflate(CODECS[codec], data, 100) is None


def test_a_block_of_snappy_that_claims_gigabytes_is_not_inflated() -> None:
    with pytest.raises(CannotInflate, match="4,294,967,295 bytes"):
        list(pieces(CODECS["snappy"], memoryview(b"\xff\xff\xff\xff\x0f" + b"a" * 20)))


def test_a_poll_takes_so_many_bytes_of_a_partition_and_goes_on_there() -> None:
    class State:
        position = 0
        paused = False

        def consumed_to(self, position: int) -> None:
            self.position = position

    class Assignment:
        active = True
        state = State()

        def state_value(self, partition: object) -> State:
            return self.state

    data = b"".join(packed([record(0, b"a" * MIB)], "lz4", base=n) for n in range(20))
    reading = CarefulRecords(HERE, Slices(data), [], 0, None, ReadLimit(LIMIT), True, 1)
    fetch = BoundedFetch(HERE, assignment=Assignment(), partition_records=reading, backoff=0)
    taken = []
    while fetch.has_more():
        some = fetch.getall(100)
        assert sum(len(each.value) for each in some) <= ON_THE_LOOP
        taken += some
    assert [each.offset for each in taken] == list(range(20))


def test_aiokafka_is_as_it_was_when_its_parts_were_replaced() -> None:
    """After an upgrade, look at what changed there, and change `fetching` where that must."""
    parts = (*BoundedFetch.__bases__, *CarefulRecords.__bases__, fetcher.Fetcher)
    sources = "".join(inspect.getsource(part) for part in parts)
    assert sha256(sources.encode()).hexdigest() == (
        "02c62c77db286fbd3fc986f3de6965245f79c74fd5c263eb7fbbb465c3b21f1c"
    )


def test_consumers_of_others_are_left_alone() -> None:
    data = packed([record(0, b"a" * (5 * MIB))], "lz4")
    [only] = fetcher.PartitionRecords(HERE, Slices(data), [], 0, None, None, True, 1)
    assert not isinstance(only, ReadRecord | DeferredBatch)
    assert len(only.value) == 5 * MIB
