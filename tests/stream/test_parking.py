"""What is left in Kafka of a tenant that may not go on, and is read again when it may."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream import ledger, workload
from pipeline.stream.ledger import (
    LIMIT_WITH_PARKED,
    MAX_CHARACTERS,
    MAX_SPAN,
    MOST_PARKED,
    CommitPoint,
    LedgerMoved,
    LedgerUnreadable,
    Parked,
    decode,
    encode,
)
from pipeline.stream.records import Received
from pipeline.stream.tenants import Tenants
from pipeline.stream.workload import Left, Workload
from tests.stream.parking import NOW, Broke, Partition, record


def test_a_tenant_that_may_spend_nothing_more_takes_no_place_of_others() -> None:
    made = Partition([*["loud/1"] * 1_000, "a/1", "b/1"])
    made.broke.names = {"loud"}
    made.go_on()
    assert made.published == [1_000, 1_001]
    assert made.workload.load.held == 0
    assert made.committed.base == 0
    assert made.workload.lag(made.end) == 1_000
    made.broke.names = set()
    made.go_on()
    assert made.published == [1_000, 1_001, *range(1_000)]
    assert made.committed == CommitPoint(1_002, 1_002)


def test_a_flood_is_left_in_kafka_beyond_what_leaves_room_for_others() -> None:
    made = Partition([*[f"loud/{number}" for number in range(1_000)], "a/1"])
    made.read(1_001)
    assert made.workload.load.held == 401
    assert made.workload.lag(made.end) == 1_001
    assert made.workload.start()[0] == b"loud/0"
    assert made.workload.start()[0] == b"a/1"


def test_large_records_are_left_sooner() -> None:
    made = Partition([])
    for offset in range(20):
        made.workload.take(record(offset, "loud/1", size=1 << 20), 0.0)
    assert made.workload.load.held == 4


def test_what_was_left_is_read_again_once_a_little_at_a_time() -> None:
    made = Partition([f"loud/{number}" for number in range(2_000)])
    made.go_on()
    assert made.published == list(range(2_000))
    assert made.reads < 2.2 * 2_000


def test_what_is_new_gets_its_turn_while_much_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workload, "_SLICE", 10)
    made = Partition(["rare/1", *["a/1"] * 99, "rare/2"])
    made.broke.names = {"rare"}
    made.go_on()
    made.broke.names = set()
    assert made.workload.catch_up() == 0
    made.read(11)
    assert made.workload.position == made.end
    made.go_on()
    assert sorted(made.published) == list(range(101))


def test_what_comes_while_a_tenant_waits_comes_after_what_it_left() -> None:
    made = Partition(["a/1", "a/1", "a/1"])
    made.broke.names = {"a"}
    made.read(2)
    made.broke.names = set()
    made.read(1)
    assert made.workload.load.held == 0
    made.go_on()
    assert made.published == [0, 1, 2]


def test_tombstones_of_one_that_waits_are_left_and_passed_when_they_are_read_again() -> None:
    made = Partition(["a/1"])
    made.log[0] = Received("in", 0, 0, b"a/1", None, (), NOW, NOW)
    made.broke.names = {"a"}
    assert made.workload.take(made.log[0], 0.0) is Left.LEFT
    made.broke.names = set()
    made.go_on()
    assert made.committed == CommitPoint(1, 1)


def test_without_key_order_all_of_a_partition_waits_in_its_place() -> None:
    tenants = Tenants.by("key_prefix:/")
    assert tenants is not None
    tenants.turns.waiting = Broke({"a"})
    start = CommitPoint(0, 0)
    made = Workload(start, is_new=False, ordering="partition", limit=1000, tenants=tenants)
    assert made.take(record(0, "a/1"), 0.0)
    assert not made.ledger.parked


def test_what_retention_removed_meanwhile_is_not_waited_for() -> None:
    made = Partition(["a/1", "a/2", "b/1", "a/3"])
    made.broke.names = {"a"}
    made.go_on()
    made.start()
    made.workload.ledger.expired(3)
    del made.log[0], made.log[1], made.log[2]
    made.broke.names = set()
    assert made.workload.lag(made.end) == 1
    made.go_on()
    assert made.published == [2, 3]
    assert made.committed == CommitPoint(4, 4)


def oldest(made: Partition) -> int | None:
    found = made.workload.oldest
    return None if found is None else found.record.offset


def test_the_oldest_is_not_known_here_where_it_stays_in_kafka() -> None:
    made = Partition(["a/1", "b/1"])
    made.broke.names = {"a"}
    made.read(2)
    assert oldest(made) is None
    made.broke.names = set()
    made.workload.catch_up()
    made.read(1)
    assert oldest(made) == 0


STEPS = st.sampled_from(
    ["read", "read", "read", "run", "finish", "finish", "commit", "kill", "catch up", "change"]
)


@contextmanager
def slices_of(records: int) -> Iterator[None]:
    before = workload._SLICE
    workload._SLICE = records
    try:
        yield
    finally:
        workload._SLICE = before


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=60),
    st.lists(st.tuples(STEPS, st.integers(0, 7)), max_size=150),
    st.sampled_from([1, 2, 6, 12, 1000]),
    st.integers(1, 3),
    st.integers(1, 20),
)
def test_each_record_is_done_once_and_in_the_order_of_its_key_whoever_waits_when(
    keys: list[tuple[str, int]], steps: list[tuple[str, int]], limit: int, gaps: int, slice_: int
) -> None:
    made = Partition([f"{tenant}/{key}" for tenant, key in keys], limit=limit, gaps=gaps)
    with slices_of(slice_):
        for step, number in steps:
            made.step(step, number)
            if step == "commit":
                left = len(made.log) - len(made.published)
                lag = made.committed.lag(made.end)
                assert lag == left if gaps == 1 else lag >= left
        made.broke.names = set()
        made.go_on()
    assert sorted(made.published) == list(made.log)
    for key in {each.key for each in made.log.values()}:
        done = [offset for offset in made.published if made.log[offset].key == key]
        assert done == sorted(done)
    assert made.committed.base == made.end


@st.composite
def points(draw: st.DrawFn) -> CommitPoint:
    base = draw(st.integers(0, 1 << 60))
    unfinished = draw(st.sets(st.integers(0, MAX_SPAN), max_size=60))
    names = draw(st.sets(st.binary(min_size=8, max_size=8), min_size=1, max_size=MOST_PARKED))
    offsets = [draw(st.integers(0, MAX_SPAN)) for _ in names]
    least = min((*unfinished, *offsets))
    high = base + max((*unfinished, *offsets)) - least + draw(st.integers(1, 1 << 20))
    return CommitPoint(
        base,
        high,
        tuple(base + each - least for each in sorted(unfinished)),
        tuple(
            Parked(who, base + offset - least, draw(st.integers(0, MAX_SPAN)))
            for who, offset in zip(sorted(names), offsets, strict=True)
        ),
        draw(st.binary(min_size=4, max_size=4)),
    )


@given(points(), st.sampled_from(["", "MkU3OEVBNTcwNTJENDM2Qk"]))
def test_what_is_left_is_written_and_read(point: CommitPoint, cluster: str) -> None:
    assert decode(point.base, encode(point, cluster), cluster) == point


@given(points(), st.integers(0, (1 << 32) - 1))
def test_beside_another_offset_or_cluster_it_is_noticed(point: CommitPoint, base: int) -> None:
    with pytest.raises(LedgerMoved):
        decode(point.base, encode(point, "a"), "b")
    if base != point.base & 0xFFFFFFFF:
        with pytest.raises(LedgerUnreadable):
            decode(base, encode(point, "a"), "a")


@given(points(), st.data())
def test_damage_is_noticed(point: CommitPoint, data: st.DataObject) -> None:
    text = encode(point)
    place = data.draw(st.integers(4, len(text) - 1))
    other = "A" if text[place] != "A" else "B"
    try:
        read = decode(point.base, text[:place] + other + text[place + 1 :])
    except LedgerUnreadable:
        return
    # The unused bits of the last character carry nothing.
    assert place == len(text) - 1
    assert read == point


def test_it_fits_at_its_limits() -> None:
    base = 1 << 60
    parked = tuple(
        Parked(bytes([at]) * 8, base + MAX_SPAN - at, MAX_SPAN) for at in range(MOST_PARKED)
    )
    long_ones = [base + (number << 21) for number in range(32)]
    rest = [
        base + MAX_SPAN - 60 * (LIMIT_WITH_PARKED - 32 - at) for at in range(LIMIT_WITH_PARKED - 32)
    ]
    unfinished = tuple(sorted({*long_ones, *rest}))
    assert len(unfinished) == LIMIT_WITH_PARKED
    point = CommitPoint(base, base + MAX_SPAN + 1, unfinished, parked, b"rule")
    assert len(encode(point, "cluster")) <= MAX_CHARACTERS
    assert ledger.decode(base, encode(point, "cluster"), "cluster") == point
