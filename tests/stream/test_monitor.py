"""What counts as stuck, and what does not; and what is not ready long before that."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.stream.monitor import why_stuck
from pipeline.stream.partition_worker import State
from pipeline.stream.protocols import TopicPartition
from pipeline.testing import Fault, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, Notes, running, until

NOW = 10_000.0
AFTER = 100.0
IN = TopicPartition("in", 0)


def partition(
    *,
    since_progress: float = 1000,
    since_asked: float = 0,
    in_flight: int = 0,
    uncommitted: int = 0,
    **changes: object,
) -> Any:  # noqa: ANN401 - what is looked at of a worker
    """One that takes records, up to offset 50, and has made no progress for long."""
    workload = SimpleNamespace(
        results=[None] * uncommitted,
        held=[None] * in_flight,
        ledger=SimpleNamespace(position=50),
    )
    shown = {
        "partition": IN,
        "state": State.RUNNING,
        "problem": None,
        "workload": workload,
        "last_progress": NOW - since_progress,
        "last_asked": NOW - since_asked,
    }
    return SimpleNamespace(**{**shown, **changes})


def looked_at(
    *workers: Any,  # noqa: ANN401 - see above
    end: int = 50,
    rebalancing: float | None = None,
    since_poll: float = 0,
) -> str | None:
    assignment: Any = SimpleNamespace(
        rebalancing_since=None if rebalancing is None else NOW - rebalancing,
        workers=dict(enumerate(workers)),
    )
    return why_stuck(assignment, {IN: end}, last_poll=NOW - since_poll, now=NOW, after=AFTER)


def test_a_rebalance_that_does_not_end_is_stuck() -> None:
    assert looked_at(rebalancing=101) == "the group has been rebalancing for 101 s"
    assert looked_at(rebalancing=99) is None


def test_polls_come_back_during_a_rebalance_too() -> None:
    assert looked_at(rebalancing=99, since_poll=101) == "no poll came back for 101 s"


def test_polls_that_do_not_come_back_are_stuck() -> None:
    assert looked_at(since_poll=101) == "no poll came back for 101 s"
    assert looked_at() is None


def test_records_that_are_there_and_do_not_come_in_are_stuck() -> None:
    idle = partition()
    assert looked_at(idle) is None
    assert looked_at(idle, partition(), end=55) == "5 records did not come in for 1000 s"


def test_results_that_are_not_committed_are_stuck() -> None:
    waiting = partition(uncommitted=3, in_flight=3)
    assert looked_at(waiting) == "3 results were not committed for 1000 s"


@pytest.mark.parametrize(
    "shown",
    [
        partition(since_progress=99),
        # It was not asked: the flow gates, or the intake, were closed.
        partition(since_asked=1000),
        # Calls may take as long as they want.
        partition(in_flight=5),
        # It is known not to commit, and why.
        partition(uncommitted=3, in_flight=3, problem="the brokers refuse"),
        partition(state=State.STARTING),
    ],
)
def test_what_is_slow_or_idle_is_not_stuck(shown: Any) -> None:  # noqa: ANN401 - see above
    assert looked_at(shown, end=55) is None


class Silent(NoFaults):
    """Requests of a name take forever once a test says so."""

    def __init__(self, request: str) -> None:
        self.is_silent = False
        self._request = request

    def next(self, process: str, request: str) -> Fault:
        return Fault(before=1000) if self.is_silent and request == self._request else Fault()


@virtual_time
async def test_it_is_not_ready_long_before_it_is_stuck() -> None:
    bench, faults = Bench(), Silent("fetch")
    async with running(bench, faults=faults, stuck_after=10_000) as one:
        faults.is_silent = True
        await asyncio.sleep(28)
        assert one.engine.status().is_ready
        await until(lambda: not one.engine.status().is_ready)
        assert str(one.engine.status().reason).startswith("the last poll was 3")
        faults.is_silent = False


@virtual_time
async def test_a_rebalance_that_takes_longer_than_usual_makes_it_not_ready() -> None:
    bench, faults = Bench(), Silent("join")
    async with running(bench, faults=faults, stuck_after=10_000) as one:
        faults.is_silent = True
        two = bench.engine(process="two").start()
        await asyncio.sleep(20)
        assert one.engine.status().is_ready
        await until(lambda: not one.engine.status().is_ready)
        reason = str(one.engine.status().reason)
        assert reason.startswith("the group has been rebalancing for 3")
        faults.is_silent = False
        await two.stop()


@virtual_time
async def test_two_deployments_on_one_group_are_not_ready_once_no_rollout_takes_so_long() -> None:
    bench, notes = Bench(partitions=2), Notes()
    async with running(bench, observer=notes, asks="old", rollout_within=600) as one:
        async with running(bench, process="two", asks="new"):
            await until(lambda: notes.differ == [True])
            await asyncio.sleep(590)
            assert one.engine.status().is_ready
            await until(lambda: not one.engine.status().is_ready)
            assert "ask the models different things" in str(one.engine.status().reason)
        await until(lambda: notes.differ == [True, False])
        assert one.engine.status().is_ready
