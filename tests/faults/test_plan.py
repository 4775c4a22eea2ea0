"""A plan has what its spec says, and is the same for the same seed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.exposure import PROCESS_KINDS, Kind
from tests.faults.plan import PlanSpec, make_plan

specs = st.builds(
    PlanSpec,
    seconds=st.floats(30, 900),
    replicas=st.integers(1, 4),
    nodes=st.sampled_from([1, 3]),
    kills=st.integers(0, 30),
    broker_kills=st.integers(0, 30),
    outages=st.integers(0, 3),
    outage_seconds=st.just(5.0),
    freeze_seconds=st.just(8.0),
    together=st.integers(0, 3),
)


@given(specs, st.integers(0, 9))
def test_a_plan_has_as_many_faults_of_each_kind_as_its_spec_says(spec: PlanSpec, seed: int) -> None:
    kinds = Counter(fault.kind for lane in make_plan(spec, seed) for fault in lane)
    assert all(kinds[kind] == spec.kills for kind in PROCESS_KINDS)
    assert kinds[Kind.BROKER_KILL] + kinds[Kind.BROKER_STOP] == spec.broker_kills
    assert kinds[Kind.OUTAGE] == spec.outages


@given(specs, st.integers(0, 9))
def test_a_lane_is_in_order_and_within_the_run(spec: PlanSpec, seed: int) -> None:
    for lane in make_plan(spec, seed):
        times = [fault.at for fault in lane]
        assert times == sorted(times)
        assert all(0 < at <= spec.seconds for at in times)


@given(specs, st.integers(0, 9))
def test_the_same_seed_makes_the_same_plan(spec: PlanSpec, seed: int) -> None:
    assert make_plan(spec, seed) == make_plan(spec, seed)


def test_at_a_common_moment_every_lane_has_a_fault() -> None:
    spec = PlanSpec(
        seconds=100,
        replicas=3,
        nodes=3,
        kills=6,
        broker_kills=5,
        outages=1,
        outage_seconds=10,
        freeze_seconds=8,
        together=1,
    )
    assert all(50.0 in {fault.at for fault in lane} for lane in make_plan(spec, seed=1))


def test_faults_of_processes_are_spread_over_all_replicas() -> None:
    spec = PlanSpec(
        seconds=600,
        replicas=3,
        nodes=3,
        kills=30,
        broker_kills=0,
        outages=0,
        outage_seconds=0,
        freeze_seconds=8,
    )
    first, second, third, *_ = make_plan(spec, seed=1)
    assert len(first) == len(second) == len(third) == 30
