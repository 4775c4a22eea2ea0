"""Answers that look like those of the certified window, and answers that do not."""

import random
from typing import Any

import pytest

from pipeline.model.records import Tier
from pipeline.trust.distance import BY_SONNET, FALSELY, LABELS, WINDOW, Tally, distances
from pipeline.trust.records import AnswerSignal
from tests.trust.examples import answer

LABEL_SHARES = (("billing", 6), ("delivery", 3), ("other", 1))


def window(
    dice: random.Random,
    count: int = WINDOW,
    *,
    by_sonnet: float = 0.1,
    unsure: float = 1.0,
    shares: tuple[tuple[str, int], ...] = LABEL_SHARES,
    foreign: float = 0.02,
) -> Tally:
    found = Tally()
    names, weights = zip(*shares, strict=True)
    for number in range(count):
        signals = [
            AnswerSignal(code="low_confidence", strength=min(1, dice.random() * 0.3 * unsure))
        ]
        if dice.random() < foreign:
            signals.append(AnswerSignal(code="unknown_language", strength=0.6))
        found.add(
            answer(
                number,
                chance=dice.choice((0.01, 0.005)),
                decided_by=Tier.SONNET if dice.random() < by_sonnet else Tier.HAIKU,
                label=dice.choices(names, weights)[0],
                signals=signals,
            )
        )
    return found


def test_hardly_any_look_finds_a_change_where_there_is_none() -> None:
    dice = random.Random(3)
    looks = [
        max(distances(window(dice, 600).reference(0.01), window(dice)).values()) > 1
        for _ in range(60)
    ]
    assert sum(looks) <= 60 * FALSELY + 2


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        ({"by_sonnet": 0.3}, BY_SONNET),
        ({"by_sonnet": 0.01}, BY_SONNET),
        ({"unsure": 2.0}, "low_confidence"),
        ({"foreign": 0.2}, "unknown_language"),
        ({"shares": (("billing", 3), ("delivery", 6), ("other", 1))}, LABELS),
        ({"shares": (("billing", 6), ("delivery", 2), ("refund", 2))}, LABELS),
    ],
)
def test_what_changed_is_named(changed: dict[str, Any], compared: str) -> None:
    dice = random.Random(4)
    reference = window(dice, 600).reference(0.01)
    found = distances(reference, window(dice, **changed))
    assert found[compared] > 1
    assert max(found, key=lambda name: found[name]) == compared


def test_nothing_seen_is_no_change() -> None:
    reference = window(random.Random(5)).reference(0.01)
    assert set(distances(reference, Tally()).values()) == {0.0}
    assert set(distances(Tally().reference(0.01), Tally()).values()) == {0.0}
