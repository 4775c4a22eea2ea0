"""The ledger as commit metadata: always small enough, and never misread."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.stream.ledger import (
    MAX_CHARACTERS,
    MAX_SPAN,
    CommitPoint,
    LedgerMoved,
    LedgerUnreadable,
    OffsetLedger,
    decode,
    encode,
)

LIMIT = 1000
LARGEST_BASE = 1 << 60


def point_of(base: int, distances: list[int], tail: int) -> CommitPoint:
    unfinished = [base]
    for distance in distances:
        unfinished.append(unfinished[-1] + distance)
    return CommitPoint(base, unfinished[-1] + tail, tuple(unfinished))


points = st.builds(
    point_of,
    st.integers(0, LARGEST_BASE),
    st.lists(st.integers(1, 1 << 20), max_size=60),
    st.integers(1, 1 << 20),
)


clusters = st.sampled_from(["", "MkU3OEVBNTcwNTJENDM2Qk", "x"])


@given(points, clusters)
def test_what_is_written_is_read(point: CommitPoint, cluster: str) -> None:
    assert decode(point.base, encode(point, cluster), cluster) == point


@given(points)
def test_a_ledger_of_before_clusters_were_named_is_read_in_any(point: CommitPoint) -> None:
    assert decode(point.base, encode(point), "MkU3OEVBNTcwNTJENDM2Qk") == point


@given(points, clusters)
def test_a_ledger_of_another_cluster_is_noticed_beside_the_same_offset(
    point: CommitPoint, other: str
) -> None:
    with pytest.raises(LedgerMoved, match="another cluster"):
        decode(point.base, encode(point, "another"), other)


@given(st.integers(0, LARGEST_BASE))
def test_nothing_done_above_the_base_needs_no_metadata(base: int) -> None:
    assert encode(CommitPoint(base, base)) == ""
    assert decode(base, "") == CommitPoint(base, base)
    assert decode(base, None) == CommitPoint(base, base)


@st.composite
def widest(draw: st.DrawFn) -> CommitPoint:
    """As many unfinished as there may be, over as wide a span as there may be."""
    base = draw(st.integers(0, LARGEST_BASE))
    count = draw(st.integers(LIMIT - 50, LIMIT))
    cuts = draw(st.sets(st.integers(1, MAX_SPAN), min_size=0, max_size=200))
    offsets = sorted(cuts | set(range(MAX_SPAN - count, MAX_SPAN)))[-(count - 1) :]
    return CommitPoint(base, base + MAX_SPAN + 1, (base, *(base + offset for offset in offsets)))


@given(widest())
def test_it_fits_whatever_the_limits_allow(point: CommitPoint) -> None:
    assert len(encode(point)) <= MAX_CHARACTERS


@pytest.mark.parametrize("long_distances", [0, 1, 31, 32])
def test_it_fits_where_the_arithmetic_is_tightest(long_distances: int) -> None:
    """Distances of 2^21 are the smallest that need four bytes, of 2^14 that need three."""
    distances = [1 << 21] * long_distances
    left = MAX_SPAN - (long_distances << 21)
    rest = LIMIT - 1 - long_distances
    distances += [max(1, min(1 << 14, left // max(1, rest)))] * rest
    point = point_of(LARGEST_BASE, distances, 1)
    assert len(point.unfinished) == LIMIT
    assert len(encode(point)) <= MAX_CHARACTERS


def test_a_ledger_at_its_limits_fits() -> None:
    ledger = OffsetLedger(CommitPoint(0, 0), limit=LIMIT)
    step = MAX_SPAN // LIMIT
    for number in range(LIMIT - 1):
        assert ledger.take(number * step)
    assert ledger.take(MAX_SPAN)
    ledger.finish(MAX_SPAN)
    assert len(encode(ledger.commit_point())) <= MAX_CHARACTERS


@given(points, st.data())
@example(CommitPoint(5, 9, (5, 7)), None)
def test_damage_is_noticed(point: CommitPoint, data: st.DataObject | None) -> None:
    text = encode(point)
    place = len("hp1.") if data is None else data.draw(st.integers(4, len(text) - 1))
    other = "A" if text[place] != "A" else "B"
    damaged = text[:place] + other + text[place + 1 :]
    try:
        read = decode(point.base, damaged)
    except LedgerUnreadable:
        return
    # The unused bits of the last character carry nothing.
    assert place == len(text) - 1
    assert read == point


@given(points, st.integers(0, (1 << 32) - 1))
def test_a_ledger_of_another_offset_is_recognised_as_whole(point: CommitPoint, other: int) -> None:
    if point.base % (1 << 32) == other:
        return
    for cluster in ("", "x"):
        with pytest.raises(LedgerMoved, match="another offset"):
            decode(other, encode(point, cluster), cluster)


@pytest.mark.parametrize(
    "damaged",
    [
        "hp1.",
        "hp1.AAAA",
        "hp1.!!!!",
        "hp1.AAAAAAAA",
        "hp2.AAAAAAAA",
        base64.urlsafe_b64encode(b"crc!" + b"\x05\x00").decode(),
        "hp1." + base64.urlsafe_b64encode(b"crc!" + b"\x05\x00").decode().rstrip("="),
        "hp1." + base64.urlsafe_b64encode(b"crc!" + b"\x85\x00").decode().rstrip("="),
        "hp1." + base64.urlsafe_b64encode(b"crc!" + b"\x02\x07").decode().rstrip("="),
    ],
    ids=[
        "empty",
        "short",
        "letters",
        "zero",
        "zero with cluster",
        "foreign",
        "distance of zero",
        "padded",
        "too far",
    ],
)
def test_what_is_no_whole_ledger_is_not_taken_for_a_moved_one(damaged: str) -> None:
    with pytest.raises(LedgerUnreadable) as raised:
        decode(7, damaged)
    assert not isinstance(raised.value, LedgerMoved)


@given(points, st.integers(1, 40))
def test_a_ledger_that_was_cut_off_is_noticed(point: CommitPoint, characters: int) -> None:
    with pytest.raises(LedgerUnreadable):
        decode(point.base, encode(point)[:-characters] or "hp1.")


@given(st.text(min_size=1, max_size=200))
def test_what_others_wrote_is_never_misread(metadata: str) -> None:
    with pytest.raises(LedgerUnreadable):
        decode(7, metadata)


def test_the_error_names_another_program() -> None:
    with pytest.raises(LedgerUnreadable, match="another program"):
        decode(7, base64.b64encode(b"\x0e\x01\x02").decode())


def test_the_error_names_another_version() -> None:
    with pytest.raises(LedgerUnreadable, match="another version"):
        decode(7, "hp9.AAAA")


def test_an_impossible_ledger_is_not_encoded() -> None:
    unfinished = tuple(range(0, 1 << 40, 1 << 30))
    point = CommitPoint(0, 1 << 41, unfinished)
    with pytest.raises(ValueError, match="characters"):
        encode(point)
