"""What keeps the engine from taking more in, and what that leaves alone."""

import asyncio

from pipeline.model.errors import Unavailable
from pipeline.model.records import DeadLetterReason
from pipeline.stream.records import Disposition, Outcome, Outgoing, Received
from pipeline.stream.tenants import Tenants
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Gate, Notes, running, until


class Ration:
    """Lets so many records in, and no more."""

    def __init__(self, room: int) -> None:
        self.left = room
        self.taken: list[int] = []

    def room(self) -> int | None:
        return self.left

    def throttled_reason(self) -> str | None:
        return None if self.left else "the others wait for their turn"

    def took(self, records: int) -> None:
        self.left -= records
        self.taken.append(records)


@virtual_time
async def test_a_closed_gate_stops_intake_and_keeps_the_group() -> None:
    bench, gate, notes = Bench(), Gate(), Notes()
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


class Failing:
    """Makes dead letters by a fault of ours until it is fixed."""

    def __init__(self) -> None:
        self.is_fixed = False
        self.failed = 0

    async def __call__(self, record: Received) -> Outcome:
        copy = Outgoing("out", record.key, record.value, ())
        if self.is_fixed:
            return Outcome(Disposition.ENRICHED, (copy,))
        self.failed += 1
        return Outcome(Disposition.DEAD_LETTER, (copy,), DeadLetterReason.STAGE_FAILED)


@virtual_time
async def test_faults_of_ours_close_intake_and_it_opens_by_itself_when_they_are_fixed() -> None:
    bench, failing, notes = Bench(partitions=3), Failing(), Notes()
    async with running(bench, handler=failing, observer=notes, max_in_flight=1) as one:
        bench.publish(*(b"%d" % number for number in range(400)))
        await asyncio.sleep(5)
        assert failing.failed < 30
        status = one.engine.status()
        assert not status.is_ready
        assert "dead letters" in (status.reason or "")
        await asyncio.sleep(300)
        # A handful at a time, less and less often.
        assert 0 < failing.failed - 30 < 60
        assert not one.engine.status().is_ready
        assert len(notes.closed) == 1
        failing.is_fixed = True
        await until(lambda: len(bench.output()) == 400, within=600)
        assert one.engine.status().is_ready
        assert notes.closed[-1] is None


@virtual_time
async def test_junk_of_one_publisher_closes_nothing_and_the_others_go_on() -> None:
    async def reading(record: Received) -> Outcome:
        copy = Outgoing("out", record.key, record.value, ())
        if record.value == b"junk":
            return Outcome(Disposition.DEAD_LETTER, (copy,), DeadLetterReason.INVALID_JSON)
        return Outcome(Disposition.ENRICHED, (copy,))

    bench, notes = Bench(), Notes()
    async with running(bench, handler=reading, observer=notes) as one:
        for number in range(20):
            bench.publish(*[b"junk"] * 500, key=b"one")
            bench.publish(b"good-%d" % number, key=b"other")
            await asyncio.sleep(20)
        await until(lambda: len(bench.output()) == 20 * 501)
        assert one.engine.status().is_ready
    assert notes.closed == []


@virtual_time
async def test_records_wait_until_their_tenant_can_be_found_and_none_is_lost() -> None:
    bench, is_away, asked = Bench(partitions=2), True, 0
    values = [b"%d" % number for number in range(40)]

    async def find(record: Received) -> str:
        nonlocal asked
        asked += 1
        if is_away and record.value in {b"3", b"17"}:
            raise Unavailable("the registry is away", scope="place")
        return "acme" if record.offset % 2 else "other"

    seen: list[str] = []

    async def handle(record: Received) -> Outcome:
        seen.append(record.tenant)
        return await bench.handler(record)

    tenants = Tenants("field:tenant", lambda record: record.tenant, find=find)
    bench.publish(*values)
    async with running(bench, handler=handle, tenants=tenants, stuck_after=60) as one:
        await asyncio.sleep(200)
        assert 0 < len(bench.output()) < len(values)
        assert asked < 600  # once a second of each partition, and not at every poll
        assert one.engine.status().is_ready
        is_away = False
        await until(lambda: len(bench.output()) == len(values))
    assert sorted(bench.output(), key=str) == sorted(values, key=str)
    assert set(seen) == {"acme", "other"}


@virtual_time
async def test_a_search_for_a_tenant_that_never_ends_does_not_stop_polling() -> None:
    bench, found = Bench(), asyncio.Event()

    async def find(_: Received) -> str:
        await found.wait()
        return ""

    tenants = Tenants("field:tenant", lambda record: record.tenant, find=find)
    bench.publish(b"a")
    async with running(bench, tenants=tenants, stuck_after=60) as one:
        await asyncio.sleep(200)
        assert bench.broker.group(GROUP).generation == 1
        assert one.engine.status().is_ready
        found.set()
        await until(lambda: bench.output() == [b"a"])


@virtual_time
async def test_a_backlog_in_all_partitions_is_begun_in_all_of_them_at_once() -> None:
    """60 partitions share 64 slots, and none waits for the whole of another one's backlog."""
    bench = Bench(partitions=60)
    bench.handler.seconds = 0.4
    bench.publish(*(b"%d" % number for number in range(12_000)))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with running(bench, max_in_flight=64):
        await until(lambda: len(bench.broker.group(GROUP).committed) == 60)
        assert loop.time() - began < 3.0
