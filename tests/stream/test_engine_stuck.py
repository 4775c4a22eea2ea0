"""When the engine counts as stuck, and when it only has nothing to do."""

import asyncio

import pytest

from pipeline.stream.monitor import Stuck
from pipeline.testing import Fault, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, Gate, Notes, running, until


class LostFetches(NoFaults):
    """Fetches bring nothing any more, although everything else works."""

    are_lost = False

    def next(self, process: str, request: str) -> Fault:
        return Fault(loss="response") if self.are_lost and request == "fetch" else Fault()


@virtual_time
async def test_a_consumer_that_gets_nothing_although_there_is_something_is_stuck() -> None:
    bench, faults, notes = Bench(), LostFetches(), Notes()
    one = bench.engine(faults=faults, observer=notes, stuck_after=60).start()
    await until(lambda: one.engine.status().is_ready)
    await asyncio.sleep(200)
    faults.are_lost = True
    bench.publish(b"a")
    started = asyncio.get_running_loop().time()
    with pytest.raises(Stuck, match="1 records did not come in"):
        await one.ended()
    assert asyncio.get_running_loop().time() - started < 120
    assert notes.stuck_changes == [True]


@virtual_time
async def test_a_consumer_that_has_nothing_to_do_is_not_stuck() -> None:
    bench = Bench()
    async with running(bench, stuck_after=60) as one:
        await asyncio.sleep(1000)
        assert one.engine.status().is_ready


@virtual_time
async def test_a_call_that_takes_long_is_not_the_stream_being_stuck() -> None:
    bench = Bench()
    release = bench.handler.hold(b"slow")
    async with running(bench, stuck_after=60) as one:
        bench.publish(b"slow")
        await asyncio.sleep(1000)
        assert one.engine.status().is_ready
        release.set()
        await until(lambda: bench.output() == [b"slow"])


@virtual_time
async def test_intake_that_opens_for_moments_in_an_outage_is_not_the_stream_being_stuck() -> None:
    bench, faults, gate, notes = Bench(), LostFetches(), Gate(), Notes()
    options = {"faults": faults, "gate": gate, "observer": notes, "stuck_after": 60}
    async with running(bench, **options) as one:
        # In so short a time nothing comes in.
        faults.are_lost = True
        bench.publish(b"a")
        for _ in range(300):
            gate.reason = "The API is away."
            await asyncio.sleep(3)
            gate.reason = None
            await asyncio.sleep(0.5)
        assert one.task is not None
        assert not one.task.done()
        faults.are_lost = False
        await until(lambda: bench.output() == [b"a"])
    assert notes.stuck_changes == []
