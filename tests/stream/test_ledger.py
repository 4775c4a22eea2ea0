"""The offset ledger: what it commits, what it restores, and where its edges are."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.ledger import (
    MAX_SPAN,
    CommitPoint,
    LedgerFull,
    OffsetLedger,
    OffsetRegression,
)


def ledger(base: int = 0, *, limit: int = 1000) -> OffsetLedger:
    return OffsetLedger(CommitPoint(base, base), limit=limit)


def with_taken(*offsets: int, base: int = 0) -> OffsetLedger:
    made = ledger(base)
    for offset in offsets:
        assert made.take(offset)
    return made


def fits(made: OffsetLedger, offset: int) -> bool:
    try:
        deepcopy(made).take(offset)
    except LedgerFull:
        return False
    return True


@given(st.data())
def test_the_lag_is_every_offset_of_the_log_that_is_not_done(data: st.DataObject) -> None:
    base = data.draw(st.integers(0, 50), label="base")
    high = data.draw(st.integers(base, base + 50), label="high")
    unfinished = set()
    if high > base:
        unfinished = {base} | data.draw(st.sets(st.integers(base, high - 1)), label="unfinished")
    begin, end = data.draw(st.integers(0, 120), label="begin"), data.draw(st.integers(0, 120))
    point = CommitPoint(base, high, tuple(sorted(unfinished)))
    log = range(begin, end)
    assert point.lag(end, begin=begin) == sum(o in unfinished or o >= high for o in log)
    assert point.done_above == high - base - len(unfinished)


def test_a_restored_ledger_is_behind_by_what_its_previous_owner_left_open() -> None:
    made = OffsetLedger(CommitPoint(5, 9, (5, 7)), limit=10)
    assert made.commit_point().lag(12) == 5
    assert made.take(5)
    made.finish(5)
    assert made.commit_point().lag(12) == 4


def test_finishing_what_was_not_taken_is_an_error() -> None:
    made = with_taken(0, 1)
    with pytest.raises(KeyError):
        made.finish(7)
    made.finish(1)
    with pytest.raises(KeyError):
        made.finish(1)


def test_finishing_what_an_earlier_owner_took_is_an_error_until_it_comes_in_again() -> None:
    made = OffsetLedger(CommitPoint(5, 9, (5, 7)), limit=10)
    with pytest.raises(KeyError):
        made.finish(5)
    assert made.take(5)
    made.finish(5)


def test_an_offset_that_comes_twice_is_another_log() -> None:
    made = with_taken(0, 1)
    with pytest.raises(OffsetRegression):
        made.take(1)


def test_what_does_not_fit_is_refused_and_fits_later() -> None:
    made = ledger(limit=2)
    made.take(0)
    made.take(1)
    assert not fits(made, 2)
    with pytest.raises(LedgerFull):
        made.take(2)
    made.finish(0)
    assert made.take(2)


def test_a_straggler_stops_a_partition_before_the_metadata_could_overflow() -> None:
    made = with_taken(0)
    assert fits(made, MAX_SPAN)
    assert not fits(made, MAX_SPAN + 1)
    made.finish(0)
    assert fits(made, MAX_SPAN + 1)


def test_what_an_earlier_owner_left_unfinished_and_is_gone_does_not_stop_a_partition() -> None:
    made = OffsetLedger(CommitPoint(5, 100, (5, 7)), limit=2)
    assert made.take(MAX_SPAN * 2)
    assert made.commit_point() == CommitPoint(MAX_SPAN * 2, MAX_SPAN * 2)


def test_the_base_is_the_first_that_is_not_done() -> None:
    made = with_taken(0, 1, 2)
    made.finish(1)
    assert made.commit_point() == CommitPoint(0, 2, (0,))
    made.finish(0)
    assert made.commit_point() == CommitPoint(2, 2)


def test_what_is_unfinished_at_the_end_needs_no_metadata() -> None:
    assert with_taken(0, 1, 2).commit_point() == CommitPoint(0, 0)


def test_offsets_that_never_were_records_count_as_done() -> None:
    made = with_taken(0, 4, 9)
    made.finish(4)
    assert made.commit_point() == CommitPoint(0, 9, (0,))
    made.finish(0)
    made.finish(9)
    assert made.commit_point() == CommitPoint(10, 10)


def test_an_inherited_ledger_finished_before_its_end_was_read_again_commits_its_end() -> None:
    made = OffsetLedger(CommitPoint(3, 8, (3, 5)), limit=10)
    assert made.take(3)
    made.finish(3)
    assert not made.take(4)
    assert made.take(5)
    made.finish(5)
    # 6 and 7 were done by the earlier owner, and did not come in again yet.
    assert made.commit_point() == CommitPoint(8, 8)
    assert not made.take(6)
    assert not made.take(7)
    assert made.take(8)


def test_more_than_the_limit_may_be_inherited_but_not_taken() -> None:
    made = OffsetLedger(CommitPoint(0, 6, (0, 1, 2, 3)), limit=2)
    assert made.commit_point().unfinished == (0, 1, 2, 3)
    assert made.taken == 0
    for offset in range(4):
        assert fits(made, offset)
        assert made.take(offset)
    assert made.taken == 4
    assert not fits(made, 6)


def test_a_position_beyond_the_last_record_moves_the_base_over_markers() -> None:
    made = with_taken(0)
    made.finish(0)
    made.advance(2)
    assert made.commit_point() == CommitPoint(2, 2)


def test_a_position_does_not_pass_what_is_unfinished() -> None:
    made = with_taken(0, 1)
    made.advance(5)
    made.finish(1)
    assert made.commit_point() == CommitPoint(0, 5, (0,))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Offsets with gaps, and the order in which some of them are finished."""
    steps = draw(st.lists(st.integers(1, 4), min_size=1, max_size=60))
    offsets = [sum(steps[:end]) for end in range(1, len(steps) + 1)]
    finished = draw(st.lists(st.sampled_from(offsets), unique=True))
    return offsets, finished


@given(histories())
def test_a_restored_ledger_takes_exactly_what_was_not_done(
    history: tuple[list[int], list[int]],
) -> None:
    offsets, finished = history
    made = with_taken(*offsets)
    for offset in finished:
        made.finish(offset)
        assert made.is_done(offset)
    point = made.commit_point()

    restored = OffsetLedger(point, limit=1000)
    again = [offset for offset in offsets if offset >= point.base and restored.take(offset)]

    assert again == [offset for offset in offsets if offset not in finished]


@given(histories())
def test_the_committed_base_is_never_done_and_all_below_it_is(
    history: tuple[list[int], list[int]],
) -> None:
    offsets, finished = history
    made = with_taken(*offsets)
    for offset in finished:
        made.finish(offset)
        point = made.commit_point()
        done = finished[: finished.index(offset) + 1]
        assert point.base not in done
        assert all(below in done for below in offsets if below < point.base)
        assert point.unfinished == () or point.unfinished[0] == point.base
        assert point.high >= point.base


@given(histories(), st.integers(0, 60))
def test_many_owners_one_after_the_other_do_each_record_once(
    history: tuple[list[int], list[int]], cut: int
) -> None:
    offsets, finished = history
    first = with_taken(*offsets)
    for offset in finished:
        first.finish(offset)

    second = OffsetLedger(first.commit_point(), limit=1000)
    taken = [
        offset for offset in offsets if offset >= first.commit_point().base and second.take(offset)
    ]
    for offset in taken[:cut]:
        second.finish(offset)

    third = OffsetLedger(second.commit_point(), limit=1000)
    base = second.commit_point().base
    left = [offset for offset in offsets if offset >= base and third.take(offset)]
    assert sorted([*finished, *taken[:cut], *left]) == offsets
