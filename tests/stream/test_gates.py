"""What keeps the engine from taking more in, and what that leaves alone."""

import asyncio

from pipeline.stream.records import End, Outcome, Outgoing, Received
from tests.stream.virtual import virtual_time
from tests.stream.workbench import GROUP, Bench, Gate, Notes, running, until


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
