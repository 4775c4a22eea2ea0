"""What the engine does where the log has less than the offsets say."""

import asyncio

from pipeline.stream.ledger import MAX_SPAN
from pipeline.stream.protocols import Committed, TopicPartition
from pipeline.testing import Fault
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Gate, Scripted, running, until

IN = TopicPartition("in", 0)


@virtual_time
async def test_a_record_that_the_ledger_has_no_room_for_waits_for_it() -> None:
    """Compaction can leave gaps so wide that the commit metadata could not hold both ends."""
    bench, faults = Bench(), Scripted()
    release = bench.handler.hold(b"first")
    async with running(bench, faults=faults):
        bench.publish(b"first")
        bench.broker.log(IN)._end = 2 * MAX_SPAN
        bench.publish(b"far")
        await until(lambda: bench.handler.running == 1)
        await asyncio.sleep(10)
        assert bench.handler.calls == {b"first": 1}
        # It is not fetched over and over meanwhile.
        assert faults.requests.count("fetch") < 100
        release.set()
        await until(lambda: bench.output() == [b"first", b"far"])
    assert bench.committed() == 2 * MAX_SPAN + 1


@virtual_time
async def test_retention_that_overtakes_the_reader_is_noticed_and_passed_over() -> None:
    bench, gate = Bench(), Gate()
    async with running(bench, gate=gate):
        gate.reason = "the model is away"
        await asyncio.sleep(1)
        bench.publish(*(b"%d" % number for number in range(10)))
        bench.broker.log(IN).trim(7)
        gate.reason = None
        await until(lambda: bench.committed() == 10)
    assert sorted(bench.output(), key=str) == [b"7", b"8", b"9"]


@virtual_time
async def test_a_topic_that_was_made_again_is_read_from_its_start() -> None:
    bench = Bench()
    bench.broker.group(GROUP).committed[IN] = Committed(1000, "")
    bench.publish(b"new")
    async with running(bench):
        await until(lambda: bench.output() == [b"new"])
        assert bench.committed() == 1


@virtual_time
async def test_a_log_that_loses_its_end_while_it_is_read_is_read_again() -> None:
    bench = Bench()
    async with running(bench):
        bench.publish(*(b"%d" % number for number in range(10)))
        await until(lambda: bench.committed() == 10)
        bench.broker.create_topic("in")
        bench.publish(b"new")
        await until(lambda: b"new" in bench.output())
        await until(lambda: bench.committed() == 1)


@virtual_time
async def test_no_answer_to_a_record_of_the_old_log_is_taken_for_the_new_one() -> None:
    bench = Bench()
    old = bench.handler.hold(b"old")
    async with running(bench):
        bench.publish(b"old")
        await until(lambda: bench.handler.running == 1)
        bench.broker.create_topic("in")
        await asyncio.sleep(1)
        bench.publish(b"new")
        old.set()
        await until(lambda: bench.committed() == 1)
    assert bench.output() == [b"new"]


@virtual_time
async def test_a_drain_commits_nothing_where_the_topic_was_created_again() -> None:
    bench = Bench()
    old = bench.handler.hold(b"old")
    one = bench.engine().start()
    await until(lambda: one.engine.status().is_ready)
    bench.publish(b"old")
    await until(lambda: bench.handler.running == 1)
    one.stopping.set()
    await asyncio.sleep(0.1)
    bench.broker.create_topic("in")
    old.set()
    await one.ended()
    assert bench.committed() == 0  # where the group began
    bench.publish(b"new")
    async with running(bench):
        await until(lambda: bench.output() == [b"new"])


@virtual_time
async def test_a_drain_commits_where_nothing_says_where_the_log_ends() -> None:
    bench, faults = Bench(), Scripted()
    held = bench.handler.hold(b"a")
    one = bench.engine(faults=faults).start()
    await until(lambda: one.engine.status().is_ready)
    bench.publish(b"a")
    await until(lambda: bench.handler.running == 1)
    faults.add("bounds", *[Fault(loss="request")] * 9)
    one.stopping.set()
    held.set()
    await one.ended()
    assert bench.committed() == 1


@virtual_time
async def test_what_retention_removed_is_passed_over() -> None:
    bench = Bench()
    bench.publish(*(b"%d" % number for number in range(10)))
    bench.broker.group(GROUP).committed[IN] = Committed(2, "")
    bench.broker.log(IN).trim(7)
    async with running(bench):
        await until(lambda: bench.committed() == 10)
    assert sorted(bench.output(), key=str) == [b"7", b"8", b"9"]


@virtual_time
async def test_offsets_that_compaction_removed_are_passed_over() -> None:
    bench = Bench()
    bench.publish(*(b"%d" % number for number in range(5)))
    for offset in (0, 2, 4):
        bench.broker.log(IN).remove(offset)
    async with running(bench):
        await until(lambda: bench.committed() == 5)
    assert sorted(bench.output(), key=str) == [b"1", b"3"]
