"""The lag is known of what was not polled, too."""

import asyncio

import pytest

from pipeline.testing import Fault, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, Gate, Notes, running, until


@virtual_time
async def test_what_comes_while_intake_is_closed_counts_and_grows_old() -> None:
    bench, gate, notes = Bench(partitions=2), Gate(), Notes()
    async with running(bench, gate=gate, observer=notes):
        gate.reason = "the budget is spent"
        await until(lambda: notes.lags == {0: 0, 1: 0})
        bench.publish(b"a", key=b"0")
        await asyncio.sleep(50)
        bench.publish(b"b", key=b"4")
        bench.publish(b"c", key=b"4")
        await asyncio.sleep(5)
        assert sum(notes.lags.values()) == 3
        older, younger = sorted((age or 0.0 for age in notes.oldest.values()), reverse=True)
        assert older - younger == pytest.approx(50, abs=1)
        gate.reason = None
        await until(lambda: len(bench.output()) == 3)
        await until(lambda: notes.lags == {0: 0, 1: 0} and notes.oldest == {0: 0.0, 1: 0.0})


class Refusing(NoFaults):
    """No session starts: the brokers do not permit transactions, say."""

    def next(self, process: str, request: str) -> Fault:
        return Fault(loss="request") if request == "init" else Fault()


@virtual_time
async def test_a_partition_that_cannot_be_served_reports_its_lag() -> None:
    bench, notes = Bench(), Notes()
    async with running(bench):
        bench.publish(b"a")
        await until(lambda: bench.output() == [b"a"])
    one = bench.engine(faults=Refusing(), observer=notes).start()
    bench.publish(b"b", b"c")
    await until(lambda: notes.lags == {0: 2})
    assert notes.oldest[0] is not None
    await one.stop()


class Silent(NoFaults):
    """The ends of logs are not reported any more."""

    is_silent = False

    def next(self, process: str, request: str) -> Fault:
        is_lost = self.is_silent and request == "ends"
        return Fault(loss="response") if is_lost else Fault()


@virtual_time
async def test_brokers_that_do_not_answer_make_it_not_ready_and_keep_it_running() -> None:
    bench, faults, notes = Bench(), Silent(), Notes()
    async with running(bench, faults=faults, observer=notes) as one:
        await until(lambda: one.engine.status().is_ready)
        faults.is_silent = True
        await until(lambda: not one.engine.status().is_ready)
        await until(lambda: notes.are_brokers_reachable is False)
        faults.is_silent = False
        await until(lambda: one.engine.status().is_ready)
        await until(lambda: notes.are_brokers_reachable is True)
