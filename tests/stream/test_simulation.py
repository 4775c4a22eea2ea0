"""Thousands of seeded histories: faults, kills, freezes, rebalances, and an audit after each.

`PIPELINE_HISTORIES` sets how many there are of each delivery. A failure names its seed, and
`run_history(seed)` shows that one again, on any machine.
"""

import os

import pytest

from pipeline.config import Delivery
from pipeline.stream.protocols import PartitionWriter
from tests.stream import broken_brokers
from tests.stream.simulation import run_history

HISTORIES = int(os.environ.get("PIPELINE_HISTORIES", "500"))
CHUNK = 50
ENOUGH = 1000
"""Histories within which a broken variant must be caught; most are in the first dozen."""
CAUGHT_BEFORE = (14, 321)
"""Which caught a variant that others catch late or not: they come first, then all of them."""


def chunks() -> list[range]:
    return [range(start, min(start + CHUNK, HISTORIES)) for start in range(0, HISTORIES, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(), ids=str)
def test_exactly_once_holds_in_every_history(seeds: range) -> None:
    for seed in seeds:
        faults = run_history(seed).faults("exactly_once")
        assert not faults, f"seed {seed}: {faults}"


@pytest.mark.parametrize("seeds", chunks()[: max(1, HISTORIES // CHUNK // 4)], ids=str)
def test_at_least_once_loses_nothing_in_any_history(seeds: range) -> None:
    for seed in seeds:
        faults = run_history(seed, "at_least_once").faults("at_least_once")
        assert not faults, f"seed {seed}: {faults}"


@pytest.mark.parametrize("seeds", chunks()[: max(1, HISTORIES // CHUNK // 2)], ids=str)
def test_exactly_once_holds_in_every_history_in_which_tenants_have_to_wait(seeds: range) -> None:
    for seed in seeds:
        faults = run_history(seed, has_tenants=True).faults("exactly_once")
        assert not faults, f"seed {seed}: {faults}"


def test_a_seed_is_the_whole_history() -> None:
    assert run_history(17) == run_history(17)


@pytest.mark.parametrize(
    "fault",
    [
        broken_brokers.StartsLate,
        broken_brokers.DropsTheLedger,
        broken_brokers.IgnoresAborts,
        broken_brokers.RepeatsUnsure,
        broken_brokers.CommitsOffsetFirst,
    ],
)
def test_the_audit_catches_a_broken_session(fault: type[PartitionWriter]) -> None:
    wrap: broken_brokers.Wrap = fault
    assert _is_caught(wrap, "exactly_once")


def test_the_audit_catches_lanes_that_keep_no_order() -> None:
    assert any(run_history(seed, ordering="none").out_of_order for seed in range(ENOUGH))


def _is_caught(wrap: broken_brokers.Wrap, delivery: Delivery) -> bool:
    for seed in (*CAUGHT_BEFORE, *range(ENOUGH)):
        try:
            audit = run_history(
                seed,
                delivery,
                break_sessions=lambda brokers: broken_brokers.break_sessions(brokers, wrap),
            )
        except TimeoutError:
            # It never comes to an end: events are lost or locked.
            return True
        if audit.faults(delivery):
            return True
    return False
