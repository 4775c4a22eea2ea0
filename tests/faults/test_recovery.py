"""What members that come, go and die cost the others, by the short form of the benchmark."""

import pytest

from benchmarks.recovery import SHORT, part


@pytest.mark.drill
@pytest.mark.kafka
@pytest.mark.timeout(600)
async def test_partitions_that_stay_go_on_and_those_of_the_dead_are_soon_back() -> None:
    found = await part(SHORT)
    assert found.ok, [goal for goal in found.goals if not goal.held]
