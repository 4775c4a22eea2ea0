"""Flow gates: what closes intake, and what opens it again."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.stream.intake import Flow, FlowGate, FlowLimits, Load, PartitionFlow

LIMITS = FlowLimits(unfinished=1000, active=1024, held_bytes=1 << 20, running=512)


def test_a_gate_closes_above_its_high_mark_and_opens_at_its_low_one() -> None:
    gate = FlowGate(100, step=10)
    assert gate.update(90)
    assert not gate.update(91)
    assert not gate.update(51)
    assert gate.update(50)
    assert gate.update(90)


@given(st.integers(1, 1000), st.integers(1, 100), st.lists(st.integers(0, 2000)))
def test_what_a_step_brings_never_exceeds_the_limit(
    limit: int, step: int, levels: list[int]
) -> None:
    step = min(step, limit)
    gate = FlowGate(limit, step=step)
    for level in levels:
        if gate.update(level):
            assert level + step <= limit


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_one_poll_never_brings_more_than_a_partition_may_hold(unfinished: int, active: int) -> None:
    limits = FlowLimits(unfinished=unfinished, active=active, held_bytes=1, running=1)
    assert 1 <= limits.poll_records <= unfinished


def test_an_empty_partition_is_open_however_small_its_limits() -> None:
    tiny = FlowLimits(unfinished=1, active=2, held_bytes=1, running=1)
    assert PartitionFlow(tiny).update(Load())
    assert Flow(tiny).update(Load())


def test_a_partition_closes_with_too_many_records() -> None:
    flow = PartitionFlow(LIMITS)
    assert not flow.update(Load(unfinished=901))
    assert flow.update(Load(unfinished=500))


def test_a_partition_may_fill_only_a_part_of_the_memory() -> None:
    flow = PartitionFlow(LIMITS)
    assert flow.update(Load(held_bytes=1 << 18))
    assert not flow.update(Load(held_bytes=(1 << 18) + 1))


def test_all_close_when_the_memory_is_full() -> None:
    flow = Flow(LIMITS)
    assert not flow.update(Load(held_bytes=(1 << 20) + 1))
    assert not flow.update(Load(held_bytes=(1 << 19) + 1))
    assert flow.update(Load(held_bytes=1 << 19))


def test_all_close_when_twice_as_many_are_active_as_can_run() -> None:
    flow = Flow(LIMITS)
    assert not flow.update(Load(active=1000))
    assert flow.update(Load(active=768))


def test_records_that_wait_for_their_key_close_only_their_own_partition() -> None:
    """A hot key fills its partition; the others must not stand still for it."""
    waiting = Load(held=1000, unfinished=1000, active=1, held_bytes=1000)
    assert not PartitionFlow(LIMITS).update(waiting)
    assert Flow(LIMITS).update(waiting)


def test_while_slots_are_free_every_partition_may_bring_more() -> None:
    assert Flow(LIMITS).share(Load(active=511), 12) == LIMITS.active


def test_once_all_slots_are_taken_each_partition_has_its_share() -> None:
    assert Flow(LIMITS).share(Load(active=512), 12) == 1024 // 12


def test_large_records_are_polled_a_few_at_a_time() -> None:
    flow = Flow(LIMITS)
    large = Load(held=1, held_bytes=1 << 18)
    flow.update(large)
    assert flow.poll_records(large) == 3
    assert flow.poll_records(Load()) == 4
    assert flow.poll_records(Load(held=4, held_bytes=1 << 20)) == 1


def test_small_records_are_polled_many_at_a_time() -> None:
    flow = Flow(LIMITS)
    small = Load(held=10, held_bytes=10_000)
    flow.update(small)
    assert flow.poll_records(small) == 100


def test_what_was_never_seen_is_not_taken_for_small() -> None:
    assert Flow(LIMITS).poll_records(Load()) == 64
