"""How long answers take."""

import random
import statistics
import time

import pytest

from pipeline.local.simulated import Fault, Latency, SimulatedApi, Simulation
from tests.local.simulated.conftest import HAIKU, asking, client_of


def times(latency: Latency, tokens: int = 0, n: int = 4000) -> list[float]:
    source = random.Random(3)
    return sorted(latency.draw(source, tokens) for _ in range(n))


def test_half_of_the_answers_take_less_than_the_median() -> None:
    drawn = times(Latency(median=0.4, sigma=0.3))
    assert statistics.median(drawn) == pytest.approx(0.4, rel=0.05)
    assert drawn[int(len(drawn) * 0.95)] == pytest.approx(0.4 * 1.64, rel=0.1)


def test_a_tail_is_much_slower() -> None:
    drawn = times(Latency(median=0.4, sigma=0.1, tail=0.02, tail_factor=10))
    assert sum(t > 2 for t in drawn) / len(drawn) == pytest.approx(0.02, abs=0.01)


def test_each_output_token_takes_its_time() -> None:
    assert times(Latency(per_token=0.01), tokens=100, n=1) == [1.0]


def test_the_same_seed_draws_the_same() -> None:
    assert times(Latency(median=1)) == times(Latency(median=1))


@pytest.mark.parametrize("wrong", [{"median": -1}, {"sigma": -1}, {"tail": 2}, {"per_token": -1}])
def test_a_time_is_not_negative(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Latency(**wrong)


async def test_an_answer_takes_as_long_as_is_set() -> None:
    simulation = Simulation(
        latency={HAIKU: Latency(median=0.05, sigma=0)},
        faults=(Fault("slow", next=1, seconds=0.1),),
    )
    async with SimulatedApi(simulation) as api, client_of(api) as client:
        began = time.monotonic()
        await client.messages.create(**asking())
        slow = time.monotonic() - began
        await client.messages.create(**asking())
        usual = time.monotonic() - began - slow
        first, second = api.control.ledger
    assert slow >= 0.15
    assert usual >= 0.05
    assert first.seconds >= 0.15 > second.seconds >= 0.05
