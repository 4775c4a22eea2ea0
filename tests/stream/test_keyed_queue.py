"""Key lanes: order inside a lane, freedom between lanes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Ordering
from pipeline.stream.ledger import CommitPoint
from pipeline.stream.records import Disposition, Outcome, Received
from pipeline.stream.workload import Held, Workload

NOW = datetime.now(UTC)
keys = st.none() | st.sampled_from([b"a", b"b", b"c", b""])


def holding(ordering: Ordering, order: list[bytes | None]) -> Workload:
    """Records of these keys, whose offsets are their places."""
    workload = Workload(CommitPoint(0, 0), is_new=False, ordering=ordering, limit=1000)
    for offset, key in enumerate(order):
        workload.take(Received("in", 0, offset, key, b"x", (), NOW, NOW), 0.0)
    return workload


def drain(workload: Workload, picks: list[int]) -> list[int]:
    """Start all that may start, finish them in an order that `picks` decides; the starts."""
    started: list[int] = []
    running: list[tuple[bytes | None, Held]] = []
    picks = [*picks]
    while workload.ready or running:
        while workload.ready:
            running.append(workload.start())
            started.append(running[-1][1].record.offset)
        pick = picks.pop() if picks else 0
        lane, held = running.pop(pick % len(running))
        workload.finish(lane, held.record, Outcome(Disposition.ENRICHED, ()))
    return started


@given(st.lists(keys), st.lists(st.integers(0, 100)))
def test_every_record_runs_once_and_those_of_a_key_in_order(
    order: list[bytes | None], picks: list[int]
) -> None:
    started = drain(holding("key", order), picks)
    assert sorted(started) == list(range(len(order)))
    for key in {key for key in order if key is not None}:
        of_key = [number for number in started if order[number] == key]
        assert of_key == sorted(of_key)


@given(st.lists(keys, min_size=1))
def test_one_of_a_key_runs_at_a_time(order: list[bytes | None]) -> None:
    workload = holding("key", order)
    running = [workload.start() for _ in range(len(workload.ready))]
    named = [lane for lane, _ in running if lane is not None]
    assert len(named) == len(set(named))
    assert workload.load.active == len(running) == workload.running
    assert workload.load.unfinished == len(order)


@given(st.lists(keys), st.lists(st.integers(0, 100)))
def test_a_whole_partition_can_be_one_lane(order: list[bytes | None], picks: list[int]) -> None:
    workload = holding("partition", order)
    assert len(workload.ready) <= 1
    assert drain(workload, picks) == list(range(len(order)))


@given(st.lists(keys))
def test_without_ordering_all_may_run_at_once(order: list[bytes | None]) -> None:
    assert len(holding("none", order).ready) == len(order)


@pytest.mark.parametrize("ordering", ["key", "none"])
def test_records_without_a_key_do_not_wait_for_each_other(ordering: Ordering) -> None:
    assert len(holding(ordering, [None, None]).ready) == 2


def test_the_queue_is_empty_once_every_record_has_run() -> None:
    workload = holding("key", [b"%d" % (number % 7) for number in range(100)])
    drain(workload, [])
    assert (len(workload.ready), workload.running, workload.load.unfinished) == (0, 0, 0)
    assert not workload._lanes


def test_starting_what_is_not_ready_is_an_error() -> None:
    with pytest.raises(IndexError):
        holding("key", []).start()
