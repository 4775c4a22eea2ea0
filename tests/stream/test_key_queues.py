"""Key lanes: order inside a lane, freedom between lanes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Ordering
from pipeline.stream.workload import KeyedQueue

keys = st.none() | st.sampled_from([b"a", b"b", b"c", b""])


def drain(lanes: KeyedQueue[int], picks: list[int]) -> list[int]:
    """Start all that may start, finish them in an order that `picks` decides; the starts."""
    started: list[int] = []
    running: list[bytes | None] = []
    picks = [*picks]
    while lanes.ready or running:
        while lanes.ready:
            lane, item = lanes.start()
            started.append(item)
            running.append(lane)
        pick = picks.pop() if picks else 0
        lanes.finish(running.pop(pick % len(running)))
    return started


@given(st.lists(keys), st.lists(st.integers(0, 100)))
def test_every_record_runs_once_and_those_of_a_key_in_order(
    order: list[bytes | None], picks: list[int]
) -> None:
    lanes: KeyedQueue[int] = KeyedQueue("key")
    for number, key in enumerate(order):
        lanes.put(key, number)
    started = drain(lanes, picks)
    assert sorted(started) == list(range(len(order)))
    for key in {key for key in order if key is not None}:
        of_key = [number for number in started if order[number] == key]
        assert of_key == sorted(of_key)


@given(st.lists(keys, min_size=1))
def test_one_of_a_key_runs_at_a_time(order: list[bytes | None]) -> None:
    lanes: KeyedQueue[int] = KeyedQueue("key")
    for number, key in enumerate(order):
        lanes.put(key, number)
    running = [lanes.start() for _ in range(lanes.ready)]
    named = [lane for lane, _ in running if lane is not None]
    assert len(named) == len(set(named))
    assert lanes.queued == len(order) - len(running)


@given(st.lists(keys), st.lists(st.integers(0, 100)))
def test_a_whole_partition_can_be_one_lane(order: list[bytes | None], picks: list[int]) -> None:
    lanes: KeyedQueue[int] = KeyedQueue("partition")
    for number, key in enumerate(order):
        lanes.put(key, number)
    assert lanes.ready <= 1
    assert drain(lanes, picks) == list(range(len(order)))


@given(st.lists(keys))
def test_without_ordering_all_may_run_at_once(order: list[bytes | None]) -> None:
    lanes: KeyedQueue[int] = KeyedQueue("none")
    for number, key in enumerate(order):
        lanes.put(key, number)
    assert lanes.ready == len(order)


@pytest.mark.parametrize("ordering", ["key", "none"])
def test_records_without_a_key_do_not_wait_for_each_other(ordering: Ordering) -> None:
    lanes: KeyedQueue[int] = KeyedQueue(ordering)
    lanes.put(None, 1)
    lanes.put(None, 2)
    assert lanes.ready == 2


def test_nothing_is_left_behind() -> None:
    lanes: KeyedQueue[int] = KeyedQueue("key")
    for number in range(100):
        lanes.put(b"%d" % (number % 7), number)
    drain(lanes, [])
    assert (lanes.ready, lanes.running, lanes.queued) == (0, 0, 0)
    assert not lanes._lanes


def test_starting_what_is_not_ready_is_an_error() -> None:
    with pytest.raises(IndexError):
        KeyedQueue[int]("key").start()
