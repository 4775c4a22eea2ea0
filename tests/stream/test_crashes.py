"""A process that dies at any request to the brokers, and the one that goes on."""

import asyncio

import pytest

from pipeline.testing import Fault, MemoryBrokers
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, until


class CrashAt:
    """The process dies at its nth request, before or after that took effect."""

    def __init__(self, number: int, *, is_after: bool) -> None:
        self.brokers: MemoryBrokers | None = None
        self.is_dead = asyncio.Event()
        self._left = number
        self._is_after = is_after

    def next(self, process: str, request: str) -> Fault:
        self._left -= 1
        if self._left != 0:
            return Fault()
        if self._is_after:
            # The cut comes while the response is on its way.
            asyncio.get_running_loop().call_later(0.0005, self._die)
            return Fault(after=0.001)
        self._die()
        return Fault()

    def _die(self) -> None:
        assert self.brokers is not None
        self.brokers.link.cut()
        self.is_dead.set()


async def crash_and_go_on(number: int, *, is_after: bool) -> tuple[Bench, bool]:
    bench = Bench()
    bench.handler.seconds = 0.05
    values = [b"%d" % value for value in range(6)]
    bench.publish(*values[:3], key=b"k")
    bench.publish(*values[3:], key=b"l")
    faults = CrashAt(number, is_after=is_after)
    one = bench.engine(faults=faults, max_in_flight=2, commit_interval=0.01)
    faults.brokers = one.brokers
    one.start()
    assert one.task is not None
    dead = asyncio.create_task(faults.is_dead.wait())
    done = asyncio.create_task(until(lambda: bench.committed() == 6))
    await asyncio.wait([dead, done], return_when=asyncio.FIRST_COMPLETED)
    is_dead = faults.is_dead.is_set()
    done.cancel()
    dead.cancel()
    one.task.cancel()
    await asyncio.wait([one.task])
    two = bench.engine(process="two").start()
    await until(lambda: bench.committed() == 6)
    await two.stop()
    return bench, is_dead


@virtual_time
async def _crash(number: int, *, is_after: bool, has_crashed: list[bool]) -> None:
    bench, is_dead = await crash_and_go_on(number, is_after=is_after)
    order = [int(value or 0) for value in bench.output()]
    assert sorted(order) == list(range(6)), f"crash at request {number}"
    assert [value for value in order if value < 3] == [0, 1, 2]
    assert [value for value in order if value >= 3] == [3, 4, 5]
    assert max(bench.handler.calls.values()) <= 2
    has_crashed.append(is_dead)


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_request_loses_nothing_and_repeats_nothing(is_after: bool) -> None:
    has_crashed = [True]
    while has_crashed[-1]:
        _crash(len(has_crashed), is_after=is_after, has_crashed=has_crashed)
    assert len(has_crashed) > 20
