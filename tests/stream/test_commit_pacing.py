"""Commits of many partitions take turns, and none comes sooner than it is worth."""

import asyncio
import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.partition_worker import CommitPacer
from pipeline.stream.records import Outcome, Received
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, Notes, copied, running, until

PAUSES = st.lists(st.floats(0, 1), min_size=1, max_size=200)


def test_after_a_pause_a_few_commits_go_at_once() -> None:
    pacer = CommitPacer(per_second=4, burst=3)
    turns = [pacer.reserve(5.0) for _ in range(6)]
    assert turns == [5.0, 5.0, 5.0, 5.0, 5.25, 5.5]


def test_commits_that_come_seldom_never_wait() -> None:
    pacer = CommitPacer(per_second=4, burst=1)
    assert [pacer.reserve(now) for now in (0.0, 0.25, 0.5, 7.0)] == [0.0, 0.25, 0.5, 7.0]


def test_in_a_backlog_turns_are_further_apart() -> None:
    pacer = CommitPacer(per_second=4, in_backlog=1, burst=1)
    assert [pacer.reserve(0.0, is_backlog=True) for _ in range(3)] == [0.0, 1.0, 2.0]


def test_those_without_a_backlog_do_not_wait_for_those_with_one() -> None:
    pacer = CommitPacer(per_second=4, in_backlog=1, burst=1)
    assert pacer.reserve(0.0, is_backlog=True) == 0.0
    assert pacer.reserve(0.0, is_backlog=True) == 1.0
    assert [pacer.reserve(0.5) for _ in range(3)] == [0.5, 0.5, 0.75]


def test_in_a_backlog_each_partition_waits_as_long_however_many_there_are() -> None:
    pacer = CommitPacer(per_second=100, in_backlog=1, burst=1)
    pacer.partitions = 50
    turns = [pacer.reserve(0.0, is_backlog=True) for _ in range(51)]
    assert turns[-1] == pytest.approx(1.0)


@given(PAUSES)
def test_no_second_has_more_commits_than_the_rate_and_the_burst_allow(pauses: list[float]) -> None:
    pacer = CommitPacer(per_second=20, burst=5)
    now, turns = 0.0, []
    for pause in pauses:
        now += pause
        turns.append(pacer.reserve(now))
        assert turns[-1] >= now
    assert turns == sorted(turns)
    for first, turn in enumerate(turns):
        within = sum(1 for other in turns[first:] if other < turn + 1)
        assert within <= 20 + 5 + 1


@given(st.integers(1, 300))
def test_nobody_waits_longer_than_all_others_take(partitions: int) -> None:
    pacer = CommitPacer(per_second=100, burst=1)
    assert max(pacer.reserve(0.0) for _ in range(partitions)) <= partitions / 100 + 1e-9


@virtual_time
async def test_a_steady_stream_costs_few_commits_and_no_result_waits_long() -> None:
    """300 events a second over six partitions: a commit costs as much as two events."""
    bench, notes, random = Bench(partitions=6), Notes(), Random(0)
    done: dict[bytes | None, float] = {}
    loop = asyncio.get_running_loop()

    async def handle(record: Received) -> Outcome:
        await asyncio.sleep(random.lognormvariate(-0.9, 0.3))
        done[record.value] = loop.time()
        return copied(record)

    async with running(bench, handler=handle, observer=notes):
        for number in range(1500):
            bench.publish(b"%d" % number)
            await asyncio.sleep(1 / 300)
        commits = notes.commits
        await until(lambda: len(bench.output()) == 1500)
    assert commits <= 5 * 35
    waited = [
        entry.written_at - done[entry.record.value]
        for entries in bench.broker.committed_records("out").values()
        for entry in entries
        if entry.record is not None
    ]
    assert statistics.median(waited) < 0.12
    assert max(waited) < 0.25


@virtual_time
async def test_in_a_backlog_no_result_waits_for_more_than_a_quarter_of_a_second() -> None:
    """A killed process asks again what was answered in that time, and what was in flight."""
    bench, random = Bench(partitions=6), Random(0)
    done: dict[bytes | None, float] = {}
    loop = asyncio.get_running_loop()

    async def handle(record: Received) -> Outcome:
        await asyncio.sleep(random.lognormvariate(-0.9, 0.3))
        done[record.value] = loop.time()
        return copied(record)

    bench.publish(*(b"%d" % number for number in range(3000)))
    async with running(bench, handler=handle, max_in_flight=100):
        await until(lambda: len(bench.output()) == 3000)
    waited = [
        entry.written_at - done[entry.record.value]
        for entries in bench.broker.committed_records("out").values()
        for entry in entries
        if entry.record is not None
    ]
    assert statistics.median(waited) < 0.15
    assert max(waited) < 0.3
