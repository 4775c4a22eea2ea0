"""What the engine does when something goes wrong between it and the brokers."""

import asyncio

import pytest

from pipeline.stream.protocols import Committed, TopicPartition
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from pipeline.testing import Fault, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Notes, Scripted, copied, running, until

IN = TopicPartition("in", 0)


@virtual_time
async def test_what_an_aborted_transaction_held_goes_into_the_next() -> None:
    bench, faults, notes = Bench(), Scripted(), Notes()
    async with running(bench, faults=faults, observer=notes):
        faults.add("end", Fault(is_refused=True), Fault(), Fault(is_refused=True))
        bench.publish(b"a", b"b")
        await until(lambda: bench.committed() == 2)
    assert sorted(bench.output(), key=str) == [b"a", b"b"]
    assert set(bench.handler.calls.values()) == {1}
    assert notes.failed["aborted"] >= 1


@virtual_time
async def test_no_call_is_made_while_what_is_done_cannot_be_committed() -> None:
    bench, faults = Bench(), Scripted()
    async with running(bench, faults=faults) as one:
        await until(lambda: bench.committed() == 0)
        faults.add("write", *[Fault(is_refused=True)] * 8)
        bench.publish(b"a")
        await asyncio.sleep(1)
        bench.publish(b"b")
        await asyncio.sleep(1)
        assert set(bench.handler.calls) == {b"a"}
        assert "refused" in (one.engine.status().reason or "")
        await until(lambda: bench.committed() == 2)
        assert one.engine.status().is_ready


@virtual_time
async def test_what_comes_in_while_the_first_commit_fails_is_committed_too() -> None:
    bench, faults = Bench(), Scripted()
    faults.add("end", Fault(is_refused=True))
    bench.publish(b"a")
    async with running(bench, faults=faults):
        await until(lambda: bench.committed() == 1)
    assert bench.output() == [b"a"]


@virtual_time
async def test_after_a_commit_that_got_lost_a_drain_still_waits_for_what_runs() -> None:
    bench, faults = Bench(), Scripted()
    async with running(bench, faults=faults, drain_budget=5):
        await until(lambda: bench.committed() == 0)
        slow = bench.handler.hold(b"slow")
        bench.publish(b"slow", b"fast")
        faults.add("end", Fault(loss="response"))
        await until(lambda: bench.output() == [b"fast"])
        await asyncio.sleep(1)
        slow.set()
        await until(lambda: len(bench.output()) == 2)
        bench.handler.seconds = 2
        bench.publish(b"last")
        await until(lambda: bench.handler.running == 1)
    assert bench.output() == [b"fast", b"slow", b"last"]
    assert set(bench.handler.calls.values()) == {1}


@pytest.mark.parametrize("loss", ["request", "response"])
@pytest.mark.parametrize("request_name", ["begin", "write", "add_offset", "end"])
def test_a_commit_that_got_lost_is_looked_up_before_anything_is_sent_again(
    request_name: str, loss: str
) -> None:
    @virtual_time
    async def scenario() -> None:
        bench, faults, notes = Bench(), Scripted(), Notes()
        async with running(bench, faults=faults, observer=notes):
            await until(lambda: bench.committed() == 0)
            faults.add(request_name, Fault(loss="request" if loss == "request" else "response"))
            bench.publish(b"a", b"b", key=b"same")
            await until(lambda: bench.committed() == 2)
        assert bench.output() == [b"a", b"b"]
        assert set(bench.handler.calls.values()) == {1}
        assert notes.failed == {"dead": 1}
        assert notes.ends.total() == 2

    scenario()


@pytest.mark.parametrize("request_name", ["init", "fetch_offset", "bounds"])
def test_a_partition_that_cannot_start_is_tried_again(request_name: str) -> None:
    @virtual_time
    async def scenario() -> None:
        bench, faults = Bench(), Scripted()
        faults.add(request_name, *[Fault(loss="request")] * 3)
        bench.publish(b"a")
        one = bench.engine(faults=faults).start()
        await asyncio.sleep(0.05)
        assert request_name in (one.engine.status().reason or "")
        await until(lambda: bench.committed() == 1)
        assert one.engine.status().is_ready
        await one.stop()

    scenario()


@virtual_time
async def test_metadata_that_is_no_ledger_stops_its_partition_loudly_and_no_other() -> None:
    bench = Bench(partitions=2)
    for number in range(20):
        bench.publish(b"%d" % number)
    members = bench.broker.group(GROUP)
    members.committed[IN] = Committed(0, "what is this")
    one = bench.engine().start()
    others = bench.broker.bounds(TopicPartition("in", 1)).end
    await until(lambda: bench.committed(1) == others)
    assert "another program" in (one.engine.status().reason or "")
    assert bench.committed(0) == 0
    assert len(bench.output()) == others
    # A person fixes it; nothing has to be restarted.
    members.committed[IN] = Committed(0, "")
    await until(lambda: len(bench.output()) == 20)
    assert one.engine.status().is_ready
    await one.stop()


async def enormous(record: Received) -> Outcome:
    if record.value != b"big":
        return copied(record)
    return Outcome(Disposition.ENRICHED, (Outgoing("out", record.key, b"x" * (2 << 20), ()),))


def say_why(record: Received, outcome: Outcome | None, why: str) -> Outcome | None:
    if outcome is not None and outcome.end is Disposition.DEAD_LETTER:
        return None
    return Outcome(Disposition.DEAD_LETTER, (Outgoing("out", record.key, why.encode()[:9], ()),))


@virtual_time
async def test_what_is_too_large_to_publish_is_replaced_and_delays_no_other_record() -> None:
    bench = Bench()
    async with running(bench, handler=enormous, rescue=say_why):
        bench.publish(b"a", b"big", b"b")
        await until(lambda: bench.committed() == 3)
    assert sorted(bench.output(), key=str) == [b"1 records", b"a", b"b"]


@virtual_time
async def test_what_is_too_large_even_as_a_dead_letter_stops_its_partition_alone() -> None:
    bench, notes = Bench(partitions=2), Notes()

    async def buried(record: Received) -> Outcome:
        if record.value != b"big":
            return copied(record)
        return Outcome(
            Disposition.DEAD_LETTER, (Outgoing("out", record.key, b"x" * (2 << 20), ()),)
        )

    stopped, _ = bench.broker.publish("in", b"big", key=b"big")
    others = [b"%d" % number for number in range(20)]
    reached = [bench.broker.publish("in", other, key=other)[0] for other in others]
    elsewhere = [other for other, where in zip(others, reached, strict=True) if where != stopped]
    async with running(bench, handler=buried, rescue=say_why, observer=notes) as one:
        await until(lambda: len(bench.output()) == len(elsewhere))
        await asyncio.sleep(60)
        assert sorted(bench.output(), key=str) == sorted(elsewhere)
        assert "offset 0 is too large for out" in str(one.engine.status().reason)
        assert notes.failed["aborted"] < 20
        bench.broker.max_message_bytes = 4 << 20
        await until(lambda: len(bench.output()) == len(others) + 1)


class Away(NoFaults):
    """The brokers do not answer at all."""

    is_away = False

    def next(self, process: str, request: str) -> Fault:
        return Fault(loss="request") if self.is_away else Fault()


@virtual_time
async def test_while_the_brokers_are_away_nothing_ends_and_nothing_is_paid_twice() -> None:
    bench, faults, notes = Bench(), Away(), Notes()
    async with running(bench, faults=faults, stuck_after=60, observer=notes) as one:
        bench.publish(*(b"%d" % number for number in range(10)))
        bench.handler.hold(b"3")
        await until(lambda: len(bench.output()) == 9)
        faults.is_away = True
        bench.handler.hold(b"3").set()
        bench.publish(b"new")
        await asyncio.sleep(1000)
        assert not one.engine.status().is_ready
        assert notes.failing_partitions == 1
        faults.is_away = False
        await until(lambda: bench.committed() == 11)
        await until(lambda: notes.failing_partitions == 0)
    assert set(bench.handler.calls.values()) == {1}
