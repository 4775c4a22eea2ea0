"""What the engine does when something goes wrong between it and the brokers."""

import asyncio

import pytest

from pipeline.stream.brokers import Committed, TopicPartition
from pipeline.stream.ledger import MAX_SPAN
from pipeline.stream.liveness import Stuck
from pipeline.stream.records import End, Outcome, Outgoing, Received
from pipeline.stream.worker import CannotPublish
from pipeline.testing import Fault, MemoryBrokers, NoFaults
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Notes, copied, running, until

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


class Closable:
    def __init__(self) -> None:
        self.reason: str | None = None

    def closed_because(self) -> str | None:
        return self.reason

    def at_once(self) -> int | None:
        return None


class Scripted:
    """Faults for the next requests of a name, in order; all else works."""

    def __init__(self) -> None:
        self._faults: dict[str, list[Fault]] = {}
        self.requests: list[str] = []

    def add(self, request: str, *faults: Fault) -> None:
        self._faults.setdefault(request, []).extend(faults)

    def next(self, process: str, request: str) -> Fault:
        self.requests.append(request)
        planned = self._faults.get(request)
        return planned.pop(0) if planned else Fault()


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
    # A person mends it; nothing has to be restarted.
    members.committed[IN] = Committed(0, "")
    await until(lambda: len(bench.output()) == 20)
    assert one.engine.status().is_ready
    await one.stop()


async def enormous(record: Received) -> Outcome:
    if record.value != b"big":
        return copied(record)
    return Outcome(End.ENRICHED, (Outgoing("out", record.key, b"x" * (2 << 20), ()),))


def say_why(record: Received, outcome: Outcome, why: str) -> Outcome:
    return Outcome(End.DEAD_LETTER, (Outgoing("out", record.key, why.encode()[:9], ()),))


@virtual_time
async def test_what_is_too_large_to_publish_is_replaced_and_holds_up_nobody() -> None:
    bench = Bench()
    async with running(bench, handler=enormous, rescue=say_why):
        bench.publish(b"a", b"big", b"b")
        await until(lambda: bench.committed() == 3)
    assert sorted(bench.output(), key=str) == [b"1 records", b"a", b"b"]


@virtual_time
async def test_what_is_too_large_and_cannot_be_replaced_ends_the_engine() -> None:
    bench = Bench()
    bench.publish(b"a", b"big")
    one = bench.engine(handler=enormous).start()
    with pytest.raises(CannotPublish, match="in/0 offset 1"):
        await one.ended()
    assert bench.output() in ([], [b"a"])


@virtual_time
async def test_retention_that_overtakes_the_reader_is_noticed_and_passed_over() -> None:
    bench, gate = Bench(), Closable()
    async with running(bench, gate=gate):
        gate.reason = "the model is away"
        await asyncio.sleep(1)
        bench.publish(*(b"%d" % number for number in range(10)))
        bench.broker.log(IN).trim(7)
        gate.reason = None
        await until(lambda: bench.committed() == 10)
    assert sorted(bench.output(), key=str) == [b"7", b"8", b"9"]


@virtual_time
async def test_a_topic_that_was_made_anew_is_read_from_its_start() -> None:
    bench = Bench()
    bench.broker.group(GROUP).committed[IN] = Committed(1000, "")
    bench.publish(b"new")
    async with running(bench):
        await until(lambda: bench.output() == [b"new"])
        assert bench.committed() == 1


@virtual_time
async def test_a_log_that_loses_its_end_while_it_is_read_is_read_anew() -> None:
    bench = Bench()
    async with running(bench):
        bench.publish(*(b"%d" % number for number in range(10)))
        await until(lambda: bench.committed() == 10)
        bench.broker.create_topic("in")
        bench.publish(b"new")
        await until(lambda: b"new" in bench.output())
        await until(lambda: bench.committed() == 1)


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


@virtual_time
async def test_a_closed_gate_stops_intake_and_keeps_the_group() -> None:
    bench, gate, notes = Bench(), Closable(), Notes()
    async with running(bench, gate=gate, observer=notes) as one:
        gate.reason = "the budget is spent"
        await asyncio.sleep(1)
        bench.publish(b"a")
        await asyncio.sleep(100)
        assert bench.handler.calls == {}
        assert bench.broker.group(GROUP).generation == 1
        assert one.engine.status().reason == "intake is closed: the budget is spent"
        gate.reason = None
        await until(lambda: bench.output() == [b"a"])
        assert one.engine.status().is_ready
    assert notes.closed == ["the budget is spent", None]


class Ration:
    """Lets so many records in, and no more."""

    def __init__(self, room: int) -> None:
        self.left = room
        self.taken: list[int] = []

    def room(self) -> int | None:
        return self.left

    def held_because(self) -> str | None:
        return None if self.left else "the others wait for their turn"

    def took(self, records: int) -> None:
        self.left -= records
        self.taken.append(records)


@virtual_time
async def test_what_is_rationed_waits_and_nothing_is_wrong() -> None:
    bench, ration, notes = Bench(), Ration(3), Notes()
    values = [b"%d" % number for number in range(8)]
    bench.publish(*values)
    async with running(bench, throttle=ration, observer=notes, stuck_after=60) as one:
        await until(lambda: len(bench.output()) == 3)
        await asyncio.sleep(200)
        assert ration.left == 0
        assert one.engine.status().is_ready
        assert one.engine.status().intake_closed_because is None
        ration.left = 100
        await until(lambda: len(bench.output()) == 8)
    assert sorted(bench.output(), key=str) == values
    assert sum(ration.taken) == 8
    assert notes.held_changes == ["the others wait for their turn", None]
    assert notes.closed == []
    assert notes.stuck_changes == []


@virtual_time
async def test_a_partition_that_goes_without_for_long_is_not_stuck_while_there_is_a_ration() -> (
    None
):
    bench, ration, notes = Bench(partitions=2), Ration(1), Notes()
    bench.publish(*(b"%d" % number for number in range(200)))
    async with running(bench, throttle=ration, observer=notes, stuck_after=20) as one:
        for _ in range(60):
            await asyncio.sleep(1)
            ration.left = 1
        assert one.engine.status().is_ready
        ration.left = 1000
        await until(lambda: len(bench.output()) == 200)
    assert notes.stuck_changes == []


@virtual_time
async def test_too_many_dead_letters_close_intake() -> None:
    async def dead(record: Received) -> Outcome:
        return Outcome(End.DEAD_LETTER, (Outgoing("out", record.key, record.value, ()),))

    bench = Bench()
    options = {"dead_letter_window": 10, "dead_letter_ratio": 0.5, "max_in_flight": 1}
    async with running(bench, handler=dead, **options) as one:
        bench.publish(*(b"%d" % number for number in range(100)))
        await asyncio.sleep(10)
        assert len(bench.output()) < 20
        assert "dead letters" in (one.engine.status().reason or "")


class Deaf(NoFaults):
    """Fetches bring nothing any more, although everything else works."""

    is_deaf = False

    def next(self, process: str, request: str) -> Fault:
        return Fault(loss="response") if self.is_deaf and request == "fetch" else Fault()


@virtual_time
async def test_a_consumer_that_gets_nothing_although_there_is_something_is_stuck() -> None:
    bench, faults, notes = Bench(), Deaf(), Notes()
    one = bench.engine(faults=faults, observer=notes, stuck_after=60).start()
    await until(lambda: one.engine.status().is_ready)
    await asyncio.sleep(200)
    faults.is_deaf = True
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


class Away(NoFaults):
    """The brokers do not answer at all."""

    is_away = False

    def next(self, process: str, request: str) -> Fault:
        return Fault(loss="request") if self.is_away else Fault()


@virtual_time
async def test_while_the_brokers_are_away_nothing_ends_and_nothing_is_paid_twice() -> None:
    bench, faults = Bench(), Away()
    async with running(bench, faults=faults, stuck_after=60) as one:
        bench.publish(*(b"%d" % number for number in range(10)))
        bench.handler.hold(b"3")
        await until(lambda: len(bench.output()) == 9)
        faults.is_away = True
        bench.handler.hold(b"3").set()
        bench.publish(b"new")
        await asyncio.sleep(1000)
        assert not one.engine.status().is_ready
        faults.is_away = False
        await until(lambda: bench.committed() == 11)
    assert set(bench.handler.calls.values()) == {1}


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
