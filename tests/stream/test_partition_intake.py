"""Which partitions may bring more, how much, and what opens them again."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import StreamSettings
from pipeline.stream.intake import Flow, FlowGate
from pipeline.stream.workload import Load

FULL = Load(held=1, held_bytes=(1 << 20) + 1)


def flow(*, unfinished: int = 1000, in_flight: int = 512, held_bytes: int = 1 << 20) -> Flow[str]:
    return Flow(
        StreamSettings.model_construct(
            max_unfinished=unfinished, max_in_flight=in_flight, max_in_flight_bytes=held_bytes
        )
    )


def is_open(made: Flow[str], load: Load) -> bool:
    """Whether a partition that is alone may bring more."""
    return made.look({"one": load})[0] == ["one"]


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
def test_one_poll_never_brings_more_than_a_partition_may_hold(
    unfinished: int, in_flight: int
) -> None:
    made = flow(unfinished=unfinished, in_flight=in_flight)
    assert 1 <= made.poll_records <= unfinished


def test_an_empty_partition_is_open_however_small_its_limits() -> None:
    assert is_open(flow(unfinished=1, in_flight=1, held_bytes=1), Load())


def test_a_partition_closes_with_too_many_records() -> None:
    made = flow()
    assert not is_open(made, Load(unfinished=901))
    assert not is_open(made, Load(unfinished=501))
    assert is_open(made, Load(unfinished=500))


def test_a_partition_may_fill_only_a_part_of_the_memory() -> None:
    made = flow()
    assert is_open(made, Load(held_bytes=1 << 18))
    full = Load(held_bytes=(1 << 18) + 1)
    assert made.look({"full": full, "other": Load()})[0] == ["other"]


def test_all_close_when_the_memory_is_full() -> None:
    made = flow()
    assert made.look({"full": FULL, "other": Load()})[0] == []
    assert made.look({"full": Load(held_bytes=(1 << 19) + 1), "other": Load()})[0] == []
    assert made.look({"full": Load(held_bytes=1 << 19), "other": Load()})[0] == ["other"]


def test_all_close_when_twice_as_many_are_active_as_can_run() -> None:
    made = flow()
    assert made.look({"busy": Load(active=1000), "other": Load()})[0] == []
    assert made.look({"busy": Load(active=768), "other": Load()})[0] == ["other"]


def test_records_that_wait_for_their_key_close_only_their_own_partition() -> None:
    """A hot key fills its partition; the others must not stand still for it."""
    waiting = Load(held=1000, unfinished=1000, active=1, held_bytes=1000)
    assert flow().look({"waiting": waiting, "other": Load()})[0] == ["other"]


def test_while_slots_are_free_every_partition_may_bring_more() -> None:
    loads = {f"{number}": Load(active=511 if number == 0 else 0) for number in range(12)}
    assert flow().look(loads)[0] == list(loads)


def test_once_all_slots_are_taken_each_partition_has_its_share() -> None:
    share = 1024 // 12
    full = {f"full-{number}": Load(active=share) for number in range(6)}
    below = {"almost": Load(active=share - 1), "idle": Load()}
    others = {f"other-{number}": Load(active=1) for number in range(4)}
    assert flow().look(full | below | others)[0] == [*below, *others]


def test_once_all_slots_are_taken_a_poll_brings_a_share_of_each() -> None:
    loads = {f"{number}": Load(active=10) for number in range(60)}
    assert flow().look(loads)[2] == 1024 // 60
    is_free = {"idle": Load(), **{f"{number}": Load(active=2) for number in range(59)}}
    assert flow().look(is_free)[2] >= 100


def test_what_tenants_leave_in_kafka_is_passed_over_at_full_speed() -> None:
    settings = StreamSettings(tenant_from="header:tenant")
    made: Flow[str] = Flow(settings)
    loads = {f"{number}": Load(active=settings.max_in_flight // 50) for number in range(60)}
    assert made.look(loads)[2] == made.poll_records


def test_large_records_are_polled_a_few_at_a_time() -> None:
    made = flow()
    assert made.look({"one": Load(held=1, held_bytes=1 << 18)})[1] == 3
    assert made.look({"one": Load()})[1] == 4
    assert made.look({"one": Load(held=4, held_bytes=1 << 20)})[1] == 1


def test_small_records_are_polled_many_at_a_time() -> None:
    assert flow().look({"one": Load(held=10, held_bytes=10_000)})[1] == 100


def test_what_was_never_seen_is_not_taken_for_small() -> None:
    assert flow().look({"one": Load()})[1] == 64
