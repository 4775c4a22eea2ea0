"""What befalls committed offsets from outside: each comes to an end, and nothing is lost by it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.config import Settings, TopicSettings
from pipeline.operators.offsets import OpenGroup, Plan, import_from, reset
from pipeline.stream.ledger import CommitPoint, encode
from pipeline.stream.protocols import Committed, TopicPartition
from pipeline.stream.records import Outgoing
from pipeline.testing import MemoryGroup
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Notes, running, until

IN = TopicPartition("in", 0)
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SETTINGS = Settings(topics=TopicSettings(escalations="in"))
"""With which the stage `escalations` reads the topic of the bench."""


def values(first: int, last: int) -> list[bytes]:
    return [b"%02d" % number for number in range(first, last)]


def found(bench: Bench) -> list[bytes]:
    return sorted(value for value in bench.output() if value is not None)


async def killed_while_two_is_held(bench: Bench) -> None:
    """Leaves a committed offset of 2, and a ledger that says that 3 to 9 are done."""
    bench.handler.hold(b"02")
    bench.publish(*values(0, 10))
    one = bench.engine(process="before").start()
    await until(lambda: bench.committed() == 2 and len(bench.output()) == 9)
    await one.kill()
    bench.handler._held.clear()
    # The group takes the process for dead.
    await until(lambda: not bench.broker.group(GROUP).members)


def groups_of(bench: Bench) -> OpenGroup:
    """The bench's group whatever name is asked for, and the one called `old`."""

    @asynccontextmanager
    async def open_group(name: str) -> AsyncIterator[MemoryGroup]:
        yield MemoryGroup(bench.broker, name if name == "old" else GROUP)

    return open_group


async def moved(bench: Bench, to: str, *, keep_done: bool = False) -> Plan:
    """`pipeline offsets reset` of the bench's group."""
    return await reset(
        *(SETTINGS, "escalations", to, groups_of(bench)),
        now=NOW,
        keep_done=keep_done,
        execute=True,
    )


@virtual_time
async def test_a_ledger_that_moved_to_another_cluster_costs_what_was_done_above_the_offset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As MirrorMaker 2 leaves it: another offset, the same metadata."""
    source, target, notes = Bench(), Bench(), Notes()
    await killed_while_two_is_held(source)
    # The copy begins with record 1, so that each offset is one less.
    target.publish(*values(1, 10))
    target.broker.group(GROUP).committed[IN] = Committed(1, source.metadata())
    async with running(target, observer=notes) as one:
        await until(lambda: target.committed() == 9)
        target.publish(b"10")
        await until(lambda: target.committed() == 10)
        assert one.engine.status().is_ready
    assert found(target) == values(2, 11)
    assert {*found(source)} | {*found(target)} == {*values(0, 11)}
    [line] = [line for line in caplog.messages if "another offset" in line]
    assert "nothing is lost" in line
    assert notes.offset_faults == ["ledger_moved"]


@virtual_time
async def test_a_ledger_of_another_cluster_is_not_believed_beside_the_same_offset() -> None:
    """A record was copied twice, so 2 has offset 3, and what was offset 2 is done."""
    source, target, notes = Bench(), Bench(), Notes()
    await killed_while_two_is_held(source)
    target.broker.cluster = "another"
    target.publish(b"00", b"01", b"01", *values(2, 10))
    target.broker.group(GROUP).committed[IN] = Committed(2, source.metadata())
    async with running(target, observer=notes):
        await until(lambda: target.committed() == 11)
    assert found(target) == values(1, 10)
    assert notes.offset_faults == ["ledger_moved"]


@virtual_time
async def test_a_ledger_that_moved_is_reported_once_however_often_the_partition_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench, notes = Bench(), Notes()
    bench.publish(*values(0, 3))
    moved = encode(CommitPoint(700, 709, (700, 703)))
    bench.broker.group(GROUP).committed[IN] = Committed(1, moved)
    bench.handler.hold(b"01")
    bench.handler.hold(b"02")
    async with running(bench, observer=notes) as one:
        assert one.engine._monitor is not None
        for _ in range(3):
            one.engine._monitor.assignment.workers[IN].lose_position("a test says so")
            await asyncio.sleep(30)
        bench.handler._held[b"01"].set()
        bench.handler._held[b"02"].set()
        await until(lambda: bench.committed() == 3)
    assert notes.offset_faults == ["ledger_moved"]
    assert len([line for line in caplog.messages if "another offset" in line]) == 1


@virtual_time
async def test_what_another_program_committed_stops_the_partition_until_a_person_resets_it() -> (
    None
):
    bench = Bench()
    bench.publish(*values(0, 5))
    bench.broker.group(GROUP).committed[IN] = Committed(3, "another program's")
    one = bench.engine().start()
    await until(lambda: "another program" in str(one.engine.status().reason))
    await asyncio.sleep(600)
    assert bench.output() == []
    await one.stop()
    assert (await moved(bench, "current")).executed
    async with running(bench, process="two"):
        await until(lambda: bench.committed() == 5)
    assert found(bench) == values(3, 5)


@virtual_time
async def test_offsets_that_were_reset_backwards_are_done_again_and_nothing_else() -> None:
    bench = Bench()
    await killed_while_two_is_held(bench)
    # What Kafka's own tool commits has no metadata.
    bench.broker.group(GROUP).committed[IN] = Committed(0, "")
    async with running(bench, process="after"):
        await until(lambda: bench.committed() == 10)
    assert found(bench) == sorted([*values(0, 10), *values(0, 2), *values(3, 10)])


@virtual_time
async def test_offsets_that_were_reset_forwards_skip_what_lies_between_and_nothing_else() -> None:
    bench = Bench()
    await killed_while_two_is_held(bench)
    bench.broker.group(GROUP).committed[IN] = Committed(8, "")
    async with running(bench, process="after"):
        bench.publish(b"10")
        await until(lambda: bench.committed() == 11)
    # 2 was not done; 8 and 9 were done before, which went with the metadata.
    assert found(bench) == sorted([*values(0, 2), *values(3, 11), *values(8, 10)])


@virtual_time
async def test_a_reset_that_keeps_what_is_done_repeats_only_what_lies_below_the_offset() -> None:
    bench = Bench()
    await killed_while_two_is_held(bench)
    plan = await moved(bench, "1", keep_done=True)
    assert (plan.again, plan.skipped) == (1, 0)
    async with running(bench, process="after"):
        await until(lambda: bench.committed() == 10)
    assert found(bench) == sorted([*values(0, 10), b"01"])


@virtual_time
async def test_a_renamed_group_that_takes_over_the_ledgers_repeats_nothing() -> None:
    bench = Bench()
    await killed_while_two_is_held(bench)
    broker = bench.broker
    broker.group("old").committed.update(broker.group(GROUP).committed)
    broker.group(GROUP).committed.clear()
    await import_from(SETTINGS, "escalations", "old", groups_of(bench), execute=True)
    async with running(bench, process="after"):
        await until(lambda: bench.committed() == 10)
    assert found(bench) == values(0, 10)


@virtual_time
async def test_a_group_that_expired_does_all_again_that_the_topic_holds_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    await killed_while_two_is_held(bench)
    bench.broker.group(GROUP).committed.clear()
    async with running(bench, process="after"):
        await until(lambda: bench.committed() == 10)
        await asyncio.sleep(5)
    assert found(bench) == sorted([*values(0, 10), *values(0, 2), *values(3, 10)])
    assert "committed nothing yet" in caplog.text


@virtual_time
async def test_a_log_that_ends_below_what_the_ledger_has_seen_is_another_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Restored from an older copy: the offset fits, and what the ledger calls done is new."""
    bench, notes = Bench(), Notes()
    ledger = CommitPoint(2, 10, (2,))
    bench.publish(*values(0, 5), b"new")
    bench.broker.group(GROUP).committed[IN] = Committed(2, encode(ledger))
    async with running(bench, observer=notes):
        await until(lambda: bench.committed() == 6)
    assert found(bench) == [*values(0, 5), b"new"]
    assert notes.offset_faults == ["log_shorter"]
    assert "pipeline offsets reset" in caplog.text


@virtual_time
async def test_records_that_expired_undone_are_counted_as_a_fault() -> None:
    bench, notes = Bench(), Notes()
    bench.publish(*values(0, 10))
    bench.broker.group(GROUP).committed[IN] = Committed(2, "")
    bench.broker.log(IN).trim(7)
    async with running(bench, observer=notes):
        await until(lambda: bench.committed() == 10)
    assert notes.offset_faults == ["records_expired"]


@pytest.mark.parametrize("days", [-365 * 30, -1, 1, 365 * 30])
@virtual_time
async def test_timestamps_that_are_off_cost_no_event_and_make_no_age_below_0(days: int) -> None:
    bench, notes = Bench(), Notes()
    held = bench.handler.hold(b"00")
    at = (datetime.now(UTC) + timedelta(days=days)).timestamp()
    for value in values(0, 3):
        bench.broker.log(IN).append(Outgoing("in", value, value, ()), at)
    async with running(bench, observer=notes):
        await until(lambda: notes.oldest.get(0) is not None and notes.lags[0] == 1)
        age = notes.oldest[0]
        assert age is not None
        assert (age == 0) == (days > 0)
        held.set()
        await until(lambda: bench.committed() == 3)
        await until(lambda: notes.lags[0] == 0)
        assert notes.oldest[0] == 0
