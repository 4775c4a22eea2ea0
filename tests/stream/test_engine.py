"""The engine from end to end, on the broker in memory: what it does when nothing goes wrong."""

import asyncio
import gc

import pytest

from pipeline.config import Delivery
from pipeline.model.errors import PipelineError
from pipeline.stream.handlers import Answers
from pipeline.stream.protocols import TopicPartition
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from pipeline.stream.workload import Held, Result
from pipeline.testing.memory_broker import TransactionState
from tests.stream.virtual import virtual_time
from tests.stream.workbench import Bench, Gate, Notes, copied, running, until

BOTH = pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])


class Bug(Exception):
    pass


async def broken(record: Received) -> Outcome:
    if record.value == b"bad":
        raise Bug("no such field")
    await asyncio.sleep(1)
    return copied(record)


@virtual_time
async def test_a_handler_that_raises_ends_the_engine_after_the_others_were_committed() -> None:
    bench = Bench()
    bench.publish(b"slow", b"bad")
    one = bench.engine(handler=broken).start()
    with pytest.raises(Bug, match="no such field"):
        await one.ended()
    assert bench.output() == [b"slow"]
    # What was being worked on is left to the next owner.
    assert bench.committed() == 1
    assert not bench.broker.group("pipeline.stage").owners


@virtual_time
async def test_what_a_handler_raises_while_the_engine_drains_is_raised_as_well() -> None:
    bench = Bench()
    may_fail = asyncio.Event()

    async def late(record: Received) -> Outcome:
        await may_fail.wait()
        return await broken(record)

    bench.publish(b"slow", b"bad")
    one = bench.engine(handler=late, drain_budget=10).start()
    await until(lambda: one.engine.status().in_flight == 2)
    one.stopping.set()
    await asyncio.sleep(1)
    may_fail.set()
    with pytest.raises(Bug, match="no such field"):
        await one.ended()
    assert bench.output() == [b"slow"]
    assert bench.committed() == 1


@virtual_time
async def test_cancelling_it_commits_what_is_done_and_waits_for_nothing_else() -> None:
    bench = Bench()
    bench.handler.hold(b"slow")
    async with running(bench, commit_interval=100) as one:
        bench.publish(b"slow", b"fast")
        await until(lambda: bench.handler.calls[b"fast"] == 1)
        await asyncio.sleep(1)
        assert one.task is not None
        one.task.cancel()
        started = asyncio.get_running_loop().time()
        await asyncio.wait([one.task])
        assert asyncio.get_running_loop().time() - started < 1
        assert bench.output() == [b"fast"]
        assert bench.handler.cancelled == 1
        one.task = asyncio.create_task(asyncio.sleep(0))


@virtual_time
async def test_stopping_it_before_it_joined_ends_it() -> None:
    bench = Bench()
    one = bench.engine()
    one.stopping.set()
    await one.start().ended()
    assert bench.output() == []


@BOTH
def test_each_record_is_handled_published_and_committed(delivery: Delivery) -> None:
    @virtual_time
    async def scenario() -> None:
        bench = Bench(partitions=3)
        values = [b"%d" % number for number in range(100)]
        async with running(bench, delivery=delivery):
            bench.publish(*values)
            await until(lambda: len(bench.output()) == 100)
        assert sorted(bench.output(), key=lambda value: int(value or 0)) == values
        assert set(bench.handler.calls.values()) == {1}
        ends = [bench.broker.bounds(TopicPartition("in", number)).end for number in range(3)]
        assert [bench.committed(number) for number in range(3)] == ends

    scenario()


@virtual_time
async def test_tombstones_are_counted_and_committed_over_and_reach_no_handler() -> None:
    bench, notes = Bench(), Notes()
    async with running(bench, observer=notes):
        bench.broker.publish("in", None, key=b"k")
        bench.broker.publish("in", None)
        await until(lambda: bench.committed() == 2)
        bench.broker.publish("in", None, key=b"k")
        bench.publish(b"a")
        await until(lambda: bench.committed() == 4)
    assert notes.tombstones == 3
    assert bench.output() == [b"a"]
    assert sum(bench.handler.calls.values()) == notes.ends.total() == 1


@virtual_time
async def test_what_a_handler_passes_over_is_committed_over_and_is_no_end_of_an_event() -> None:
    bench, notes = Bench(), Notes()

    async def handler(record: Received) -> Outcome:
        if record.value == b"over":
            return Outcome(Disposition.PASSED_OVER, ())
        return copied(record)

    async with running(bench, handler=handler, observer=notes):
        bench.publish(b"over", b"a", b"over")
        await until(lambda: bench.committed() == 3)
    assert bench.output() == [b"a"]
    assert notes.ends == {Disposition.ENRICHED: 1}


@virtual_time
async def test_an_empty_value_is_an_event() -> None:
    """Kafka's compaction keeps it: only null says that a key is gone."""
    bench = Bench()
    async with running(bench):
        bench.publish(b"")
        await until(lambda: bench.committed() == 1)
    assert bench.output() == [b""]


@virtual_time
async def test_a_handled_tombstone_comes_after_what_came_under_its_key_before() -> None:
    bench, notes, order = Bench(), Notes(), list[bytes | None]()

    async def handler(record: Received) -> Outcome:
        # What takes longer must still come first: a late result would undo the tombstone.
        await asyncio.sleep(1 if record.value else 0)
        order.append(record.value)
        end = Disposition.ENRICHED if record.value else Disposition.PASSED_OVER
        return Outcome(end, (Outgoing("out", record.key, record.value, ()),))

    async with running(bench, handler=handler, observer=notes, handles_tombstones=True):
        bench.publish(b"a", key=b"k")
        bench.broker.publish("in", None, key=b"k")
        bench.broker.publish("in", None)
        await until(lambda: bench.committed() == 3)
    assert order == bench.output() == [b"a", None]
    assert notes.tombstones == 2
    assert notes.ends == {Disposition.ENRICHED: 1}


@virtual_time
async def test_an_outcome_may_publish_nothing_or_several_records() -> None:
    async def handler(record: Received) -> Outcome:
        count = int(record.value or b"0")
        records = [Outgoing("out", b"k", b"%d" % number, ()) for number in range(count)]
        return Outcome(Disposition.ENRICHED, tuple(records))

    bench = Bench()
    async with running(bench, handler=handler):
        bench.publish(b"0", b"3")
        await until(lambda: bench.committed() == 2)
    assert bench.output() == [b"0", b"1", b"2"]


@virtual_time
async def test_records_of_a_key_run_one_after_the_other_and_others_at_once() -> None:
    bench = Bench()
    bench.handler.seconds = 1
    async with running(bench):
        bench.publish(b"a", b"b", b"c", key=b"same")
        bench.publish(b"x", b"y", b"z")
        await until(lambda: len(bench.output()) == 6)
    assert [value for value in bench.output() if value in {b"a", b"b", b"c"}] == [b"a", b"b", b"c"]
    assert bench.handler.most_running == 4


@virtual_time
async def test_a_slow_record_delays_no_other_and_the_ledger_says_so() -> None:
    bench = Bench()
    release = bench.handler.hold(b"slow")
    async with running(bench, max_unfinished=100):
        bench.publish(b"slow")
        bench.publish(*(b"%d" % number for number in range(5000)))
        await until(lambda: len(bench.output()) == 5000)
        await asyncio.sleep(1)
        assert bench.committed() == 0
        assert bench.metadata() != ""
        release.set()
        await until(lambda: bench.committed() == 5001)
        assert bench.metadata() == ""
    assert set(bench.handler.calls.values()) == {1}


@virtual_time
async def test_after_a_crash_only_the_unfinished_are_asked_again() -> None:
    bench = Bench()
    bench.handler.hold(b"slow")
    one = bench.engine().start()
    bench.publish(b"slow")
    bench.publish(*(b"%d" % number for number in range(5000)))
    await until(lambda: len(bench.output()) == 5000)
    await one.kill()
    bench.handler.hold(b"slow").set()
    two = bench.engine(process="two").start()
    await until(lambda: len(bench.output()) == 5001)
    await two.stop()
    assert bench.handler.calls.pop(b"slow") == 2
    assert set(bench.handler.calls.values()) == {1}


@virtual_time
async def test_nothing_of_what_is_committed_is_kept() -> None:
    bench = Bench(partitions=2)
    async with running(bench) as one:
        bench.publish(*(b"%d" % number for number in range(100)))
        await until(lambda: one.engine.status().lag == 0 and len(bench.output()) == 100)
        gc.collect()
        # Whatever holds a record holds it through one of these.
        kept = [thing for thing in gc.get_objects() if isinstance(thing, Held | Result)]
        calls = [answers._calls for answers in gc.get_objects() if isinstance(answers, Answers)]
        assert kept == []
        assert not any(calls)


@virtual_time
async def test_no_more_run_at_once_than_may() -> None:
    bench = Bench(partitions=4)
    bench.handler.seconds = 0.1
    async with running(bench, max_in_flight=7):
        bench.publish(*(b"%d" % number for number in range(200)))
        await until(lambda: len(bench.output()) == 200)
    assert bench.handler.most_running == 7


class FewAtOnce:
    """A model that takes few calls at once; what waits for its turn is not paid yet."""

    def __init__(self, calls: int, seconds: float) -> None:
        self.paid = 0
        self._turns = asyncio.Semaphore(calls)
        self._seconds = seconds

    async def __call__(self, record: Received) -> Outcome:
        async with self._turns:
            self.paid += 1
            await asyncio.sleep(self._seconds)
            return copied(record)


class AtOnce(Gate):
    """Open, for so many at once."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def at_once(self) -> int | None:
        return self._limit


@virtual_time
async def test_a_drain_pays_for_no_call_that_comes_too_late() -> None:
    """Calls that only waited for their turn would get it while the partition is drained."""
    bench, model = Bench(), FewAtOnce(8, seconds=2)
    async with running(bench, handler=model, gate=AtOnce(10), drain_budget=5):
        bench.publish(*(b"%d" % number for number in range(100)))
        await until(lambda: len(bench.output()) >= 16)
    assert model.paid == len(bench.output())


@virtual_time
async def test_as_much_as_an_earlier_owner_left_unfinished_is_let_in() -> None:
    """More than the limit, if that was higher then: otherwise it would never be done."""
    bench = Bench()
    values = [b"%d" % number for number in range(50)]
    for value in values[:-1]:
        bench.handler.hold(value)
    one = bench.engine(max_unfinished=100).start()
    bench.publish(*values)
    await until(lambda: bench.output() == [b"49"])
    await one.kill()
    for value in values:
        bench.handler.hold(value).set()
    async with running(bench, process="two", max_unfinished=10):
        await until(lambda: bench.committed() == 50)
    assert bench.handler.calls[b"49"] == 1


@virtual_time
async def test_no_more_of_a_partition_are_unfinished_than_may() -> None:
    bench = Bench()
    release = bench.handler.hold(b"0")
    async with running(bench, max_unfinished=10, ordering="partition") as one:
        bench.publish(*(b"%d" % number for number in range(100)))
        await asyncio.sleep(5)
        assert one.engine.status().in_flight <= 10
        release.set()
        await until(lambda: len(bench.output()) == 100)


@virtual_time
async def test_no_more_bytes_are_held_than_may_beyond_one_poll() -> None:
    bench = Bench(partitions=2)
    held: list[int] = []
    big = b"x" * 1000

    async def handler(record: Received) -> Outcome:
        held.append(sum(p.in_flight for p in one.engine.status().partitions) * len(big))
        await asyncio.sleep(1)
        return copied(record)

    one = bench.engine(handler=handler, max_in_flight_bytes=20_000)
    for number in range(200):
        bench.broker.publish("in", big, key=b"%d" % number)
    one.start()
    await until(lambda: len(bench.output()) == 200, within=1000)
    await one.stop()
    assert max(held) <= 21_000


@virtual_time
async def test_a_full_partition_does_not_stop_the_others() -> None:
    bench = Bench(partitions=2)
    hot, cold = _keys_of_both_partitions(bench)
    release = bench.handler.hold(b"hot-0")
    async with running(bench, max_unfinished=10, max_in_flight=4):
        bench.publish(*(b"hot-%d" % number for number in range(50)), key=hot)
        await asyncio.sleep(1)
        bench.publish(*(b"cold-%d" % number for number in range(50)), key=cold)
        await until(lambda: len(bench.output()) == 50)
        release.set()
        await until(lambda: len(bench.output()) == 100)


@virtual_time
async def test_results_are_committed_together_and_the_first_one_at_once() -> None:
    bench = Bench()
    notes = Notes()
    async with running(bench, commit_interval=1.0, observer=notes):
        await asyncio.sleep(5)
        commits = notes.commits
        bench.publish(b"first")
        await asyncio.sleep(0.5)
        assert bench.output() == [b"first"]
        for number in range(10):
            bench.publish(b"%d" % number)
            await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        assert notes.committed_records == 11
        assert notes.commits - commits <= 3


@virtual_time
async def test_enough_results_are_committed_before_their_time() -> None:
    bench = Bench()
    async with running(bench, commit_interval=1000, commit_count=5):
        bench.publish(*(b"%d" % number for number in range(10)))
        await until(lambda: len(bench.output()) == 10, within=5)


@virtual_time
async def test_commits_are_further_apart_while_records_wait_for_a_slot() -> None:
    async def commits(*, pause: float) -> int:
        bench, notes = Bench(), Notes()
        bench.handler.seconds = 0.02
        async with running(bench, max_in_flight=1, commit_interval=0.01, observer=notes):
            for number in range(400):
                bench.publish(b"%d" % number)
                await asyncio.sleep(pause)
            await until(lambda: len(bench.output()) == 400)
        return notes.commits

    assert await commits(pause=0) < 0.75 * await commits(pause=0.03)


@virtual_time
async def test_a_group_commits_where_it_starts() -> None:
    """Its lag is known from the first moment."""
    bench = Bench()
    async with running(bench):
        await until(lambda: bench.committed() == 0)


@virtual_time
async def test_markers_at_the_end_of_a_topic_are_no_lag() -> None:
    bench = Bench()
    async with running(bench) as one:
        for state in (TransactionState.COMMITTED, TransactionState.ABORTED):
            epoch = bench.broker.init_producer("publisher")
            bench.broker.begin("publisher", epoch, timeout=60)
            record = Outgoing("in", b"k", b"v", ())
            bench.broker.write_in_transaction("publisher", epoch, [record])
            bench.broker.end("publisher", epoch, state)
        await until(lambda: bench.committed() == 4)
        assert one.engine.status().lag == 0
    assert bench.output() == [b"v"]


@virtual_time
async def test_the_lag_counts_what_is_held_and_what_was_not_polled() -> None:
    bench = Bench()
    notes = Notes()
    release = bench.handler.hold(b"0")
    async with running(bench, observer=notes, max_unfinished=10, ordering="partition") as one:
        bench.publish(*(b"%d" % number for number in range(100)))
        await asyncio.sleep(5)
        assert notes.lags == {0: 100}
        assert one.engine.status().lag == 100
        release.set()
        await until(lambda: one.engine.status().lag == 0)


@virtual_time
async def test_it_says_what_is_assigned_and_that_it_is_ready() -> None:
    bench = Bench(partitions=2)
    one = bench.engine()
    assert one.engine.status().reason == "it is not running"
    one.start()
    await until(lambda: one.engine.status().is_ready)
    status = one.engine.status()
    assert [(p.topic, p.partition, p.state) for p in status.partitions] == [
        ("in", 0, "running"),
        ("in", 1, "running"),
    ]
    await one.stop()
    assert not one.engine.status().is_ready


@virtual_time
async def test_an_error_of_the_pipeline_keeps_its_type() -> None:
    async def handler(record: Received) -> Outcome:
        raise PipelineError("one plain sentence")

    bench = Bench()
    bench.publish(b"x")
    with pytest.raises(PipelineError, match="one plain sentence"):
        await bench.engine(handler=handler).start().ended()


def _keys_of_both_partitions(bench: Bench) -> tuple[bytes, bytes]:
    keys: dict[int, bytes] = {}
    probe = Bench(partitions=2).broker
    for number in range(100):
        key = b"%d" % number
        partition, _ = probe.publish("in", b"", key=key)
        keys.setdefault(partition.partition, key)
    return keys[0], keys[1]
