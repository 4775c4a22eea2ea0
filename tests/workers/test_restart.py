"""When a worker is started again."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.workers.fleet import RestartPolicy

POLICY = RestartPolicy(first=0.5, longest=30, healthy_after=60)
LIVES = st.lists(st.floats(0, 1000), max_size=200)


def delays(lives: list[float]) -> list[float]:
    early_ends, found = 0, []
    for lived in lives:
        early_ends, delay = POLICY.after_end(early_ends, lived=lived)
        found.append(delay)
    return found


def test_a_worker_that_keeps_dying_young_is_restarted_ever_more_slowly() -> None:
    assert delays([1] * 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_life_forgives_earlier_deaths() -> None:
    assert delays([1, 1, 1, 600, 1]) == [0.5, 1, 2, 0.5, 1]


@given(LIVES)
def test_every_delay_is_between_the_first_and_the_longest(lives: list[float]) -> None:
    assert all(POLICY.first <= delay <= POLICY.longest for delay in delays(lives))
