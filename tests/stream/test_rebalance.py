"""Joining, leaving, being taken for dead: what is repeated, what is kept, who publishes."""

import asyncio

import pytest

from pipeline.config import Delivery
from pipeline.stream.protocols import TopicPartition
from pipeline.testing import Fault, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Notes, running, until


def values(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_no_call_is_repeated_for_what_was_drained_in_time(delivery: Delivery) -> None:
    @virtual_time
    async def scenario() -> None:
        bench = Bench(partitions=4)
        bench.handler.seconds = 2
        one = bench.engine(delivery=delivery, drain_budget=5).start()
        bench.publish(*values(200))
        await until(lambda: len(bench.output()) > 20)
        two = bench.engine(process="two", delivery=delivery, drain_budget=5).start()
        await until(lambda: bench.broker.group(GROUP).generation == 3)
        owners = bench.broker.group(GROUP).owners
        assert sorted(owners.values()) == ["one", "one", "two", "two"]
        await asyncio.sleep(1)
        await one.stop()
        await until(lambda: len(bench.output()) == 200)
        await two.stop()
        assert sorted(bench.output(), key=lambda value: int(value or 0)) == values(200)
        assert set(bench.handler.calls.values()) == {1}

    scenario()


@virtual_time
async def test_a_call_outlasts_the_drain_budget_where_its_partition_stays() -> None:
    bench = Bench(partitions=2)
    one = bench.engine(drain_budget=0.5).start()
    await until(lambda: one.engine.status().is_ready)
    for number in range(20):
        bench.handler.hold(b"%d" % number)
    bench.publish(*values(20))
    await until(lambda: bench.handler.running == 20)
    two = bench.engine(process="two", drain_budget=0.5).start()
    await until(lambda: bench.broker.group(GROUP).generation == 3)
    stayed = [p for p, owner in bench.broker.group(GROUP).owners.items() if owner == "one"]
    assert len(stayed) == 1
    await until(lambda: bench.handler.running == 20)
    for number in range(20):
        bench.handler.hold(b"%d" % number).set()
    await until(lambda: len(bench.output()) == 20)
    moved = 20 - bench.broker.bounds(stayed[0]).end
    assert sum(bench.handler.calls.values()) == 20 + moved
    assert bench.handler.cancelled == moved
    assert sorted(bench.output(), key=lambda value: int(value or 0)) == values(20)
    await one.stop()
    await two.stop()


class SlowJoin(NoFaults):
    """From the second time on it takes long to join."""

    def __init__(self) -> None:
        self._joins = 0

    def next(self, process: str, request: str) -> Fault:
        self._joins += request == "join"
        return Fault(before=12) if request == "join" and self._joins > 1 else Fault()


@virtual_time
async def test_a_partition_that_stays_goes_on_while_others_join_and_leave() -> None:
    bench, notes = Bench(partitions=2), Notes()
    one = bench.engine(observer=notes, faults=SlowJoin()).start()
    await until(lambda: one.engine.status().is_ready)
    two = bench.engine(process="two").start()
    await asyncio.sleep(5)
    # It waits for the other one to join again, which takes long.
    assert bench.broker.group(GROUP).generation == 1
    bench.publish(*values(20))
    started = asyncio.get_running_loop().time()
    await until(lambda: len(bench.output()) == 20)
    assert asyncio.get_running_loop().time() - started < 1
    await until(lambda: bench.broker.group(GROUP).generation == 3)
    assert notes.failed == {}
    assert set(bench.handler.calls.values()) == {1}
    await one.stop()
    await two.stop()


@virtual_time
async def test_what_was_done_by_the_deadline_is_committed_although_others_still_run() -> None:
    bench = Bench()
    bench.handler.hold(b"slow")
    one = bench.engine(drain_budget=1, commit_interval=50).start()
    await until(lambda: one.engine.status().is_ready)
    await asyncio.sleep(1)
    bench.publish(b"slow", b"fast")
    await asyncio.sleep(1)
    started = asyncio.get_running_loop().time()
    await one.stop()
    assert asyncio.get_running_loop().time() - started == pytest.approx(1, abs=0.1)
    assert bench.output() == [b"fast"]
    assert bench.committed() == 0
    assert bench.handler.cancelled == 1
    bench.handler.hold(b"slow").set()
    two = bench.engine(process="two").start()
    await until(lambda: bench.committed() == 2)
    await two.stop()
    assert bench.handler.calls == {b"slow": 2, b"fast": 1}


@virtual_time
async def test_while_it_drains_nothing_new_is_started() -> None:
    bench = Bench()
    release = bench.handler.hold(b"0")
    one = bench.engine(drain_budget=5, ordering="partition").start()
    bench.publish(*values(3))
    await until(lambda: bench.handler.running == 1)
    one.stopping.set()
    await asyncio.sleep(1)
    bench.publish(b"late")
    release.set()
    await one.ended()
    assert bench.handler.calls == {b"0": 1}
    assert bench.output() == [b"0"]


class LostHeartbeats(NoFaults):
    """The group's answers to heartbeats do not arrive."""

    are_lost = False

    def next(self, process: str, request: str) -> Fault:
        is_lost = self.are_lost and request == "heartbeat"
        return Fault(loss="response") if is_lost else Fault()


@virtual_time
async def test_a_process_that_was_frozen_and_replaced_publishes_nothing() -> None:
    bench, notes, others = Bench(), Notes(), Notes()
    faults = LostHeartbeats()
    one = bench.engine(observer=notes, faults=faults).start()
    await until(lambda: one.engine.status().is_ready)
    held = bench.handler.hold(b"a")
    bench.publish(b"a")
    await until(lambda: bench.handler.running == 1)
    one.brokers.link.freeze()
    faults.are_lost = True
    held.set()
    two = bench.engine(process="two", observer=others).start()
    await until(lambda: bench.output() == [b"a"])
    one.brokers.link.thaw()
    await asyncio.sleep(0.5)
    bench.publish(b"b")
    await until(lambda: b"b" in bench.output())
    faults.are_lost = False
    await until(lambda: bench.broker.group(GROUP).generation == 3)
    await asyncio.sleep(5)
    assert bench.output() == [b"a", b"b"]
    assert notes.failed == {"fenced": 1}
    # It waited to learn that it was taken for dead, instead of fencing the new owner.
    assert others.failed == {}
    await one.stop()
    await two.stop()


class LostStart(LostHeartbeats):
    """The first answer to where a partition starts is lost as well."""

    has_asked = False

    def next(self, process: str, request: str) -> Fault:
        if request == "fetch_offset" and not self.has_asked:
            self.has_asked = True
            return Fault(before=0.1, loss="response")
        return super().next(process, request)


@virtual_time
async def test_a_process_that_was_frozen_while_it_started_a_partition_starts_it_no_more() -> None:
    bench, others = Bench(), Notes()
    faults = LostStart()
    one = bench.engine(faults=faults).start()
    await until(lambda: faults.has_asked)
    one.brokers.link.freeze()
    faults.are_lost = True
    two = bench.engine(process="two", observer=others).start()
    bench.publish(b"a")
    await until(lambda: bench.output() == [b"a"])
    one.brokers.link.thaw()
    await asyncio.sleep(5)
    bench.publish(b"b")
    await until(lambda: b"b" in bench.output())
    faults.are_lost = False
    await asyncio.sleep(5)
    assert bench.output() == [b"a", b"b"]
    # Starting it would have fenced the new owner.
    assert others.failed == {}
    await one.stop()
    await two.stop()


@virtual_time
async def test_a_transaction_that_took_too_long_is_looked_up_and_done_again() -> None:
    """Brokers fence a producer for that too, although its partition is still its own."""
    bench, notes = Bench(), Notes()
    one = bench.engine(observer=notes).start()
    await until(lambda: bench.committed() == 0)
    bench.publish(b"a", b"b", key=b"same")
    transactional_id = f"{GROUP}-in/0"
    bench.broker.init_producer(transactional_id)
    await until(lambda: bench.committed() == 2)
    assert bench.output() == [b"a", b"b"]
    assert set(bench.handler.calls.values()) == {1}
    assert notes.failed == {"fenced": 1}
    await one.stop()


@virtual_time
async def test_a_member_without_partitions_is_ready() -> None:
    bench = Bench()
    async with running(bench), running(bench, process="two") as two:
        await asyncio.sleep(100)
        assert two.engine.status().is_ready
        assert two.engine.status().partitions == ()


@virtual_time
async def test_leaving_hands_the_partitions_over_at_once() -> None:
    bench = Bench()
    one = bench.engine().start()
    await until(lambda: one.engine.status().is_ready)
    two = bench.engine(process="two").start()
    await until(lambda: two.engine.status().is_ready)
    await one.stop()
    started = asyncio.get_running_loop().time()
    bench.publish(b"a")
    await until(lambda: bench.output() == [b"a"])
    assert asyncio.get_running_loop().time() - started < 5
    await two.stop()


@virtual_time
async def test_rebalances_are_reported() -> None:
    bench, notes = Bench(partitions=3), Notes()
    one = bench.engine(observer=notes).start()
    await until(lambda: one.engine.status().is_ready)
    async with running(bench, process="two"):
        await until(lambda: notes.rebalances == [3, 3, 2])
    await until(lambda: notes.rebalances == [3, 3, 2, 3])
    assert TopicPartition("in", 0) in bench.broker.group(GROUP).owners
    await one.stop()


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_rebalance_waits_for_a_process_that_is_about_to_leave(delivery: Delivery) -> None:
    """Its partitions must not go to others before its last results are committed."""

    @virtual_time
    async def scenario() -> None:
        bench = Bench(partitions=2)
        bench.handler.seconds = 6
        one = bench.engine(delivery=delivery, drain_budget=8).start()
        await until(lambda: one.engine.status().is_ready)
        bench.publish(*values(10))
        await until(lambda: bench.handler.running == 10)
        one.stopping.set()
        await asyncio.sleep(0.1)
        two = bench.engine(process="two", delivery=delivery).start()
        await one.ended()
        await until(lambda: len(bench.output()) == 10)
        await asyncio.sleep(10)
        assert sorted(bench.output(), key=lambda value: int(value or 0)) == values(10)
        assert set(bench.handler.calls.values()) == {1}
        await two.stop()

    scenario()


class SlowStart(NoFaults):
    """A producer takes minutes to start."""

    def next(self, process: str, request: str) -> Fault:
        return Fault(before=300) if request == "init" else Fault()


@virtual_time
async def test_what_is_still_starting_does_not_hold_up_a_rebalance() -> None:
    bench = Bench()
    one = bench.engine(faults=SlowStart(), drain_budget=5).start()
    await asyncio.sleep(1)
    one.stopping.set()
    started = asyncio.get_running_loop().time()
    await one.ended()
    assert asyncio.get_running_loop().time() - started < 1
