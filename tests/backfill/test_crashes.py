"""A backfill that dies at any step, however often, loses nothing and pays for nothing twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.testing import run_in_virtual_time
from tests.backfill.world import Crash, Fuse, World

NOTES = [
    ("a", "fine"),
    ("b", "fine"),
    ("a", "doubtful"),
    ("c", "bad"),
    ("a", "fine"),
    ("d", "fine"),
    ("b", "doubtful"),
    ("a", "fine"),
    ("e", "fine"),
]


def world() -> World:
    made = World()
    made.publish(NOTES)
    return made


async def die(made: World, steps: int) -> bool:
    """One start that dies after so many steps; returns whether it got so far."""
    fuse = Fuse(steps)
    try:
        await made.process(fuse)
    except Crash:
        return True
    return False


def steps_of_a_whole_run() -> int:
    async def scenario() -> int:
        fuse = Fuse()
        await world().process(fuse)
        return len(fuse.taken)

    return run_in_virtual_time(scenario())


STEPS = steps_of_a_whole_run()


def test_without_a_crash_every_event_has_one_outcome() -> None:
    async def scenario() -> None:
        made = world()
        report = await made.process()
        made.check()
        assert (report.enriched, report.escalated, report.dead_letters) == (6, 2, 1)
        assert (report.published, report.events, report.done) == (9, 9, True)
        assert (report.under_way, report.returned, report.gone) == (0, 0, 0)
        assert report.batch_usd is not None
        # 8 answers of 100 and 20 tokens at 0.05 and 0.25 dollars a million.
        assert report.batch_usd * 1_000_000 == 8 * (100 * 0.05 + 20 * 0.25)
        assert report.normal_usd == 0

    run_in_virtual_time(scenario())


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_crash_before_any_step_is_made_up_for(steps: int) -> None:
    async def scenario() -> None:
        made = world()
        assert await die(made, steps)
        report = await made.process()
        made.check()
        assert report.done
        assert report.published == len(NOTES)

    run_in_virtual_time(scenario())


@settings(max_examples=30)
@given(st.lists(st.integers(0, STEPS), max_size=8))
def test_any_number_of_crashes_is_made_up_for(crashes: list[int]) -> None:
    async def scenario() -> None:
        made = world()
        for steps in crashes:
            await die(made, steps)
        report = await made.process()
        made.check()
        assert report.published == len(NOTES)

    run_in_virtual_time(scenario())
