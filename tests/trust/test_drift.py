"""An alarm when labels say that what was certified no longer holds."""

import random

import pytest

from pipeline.trust.drift import Detector


def labels_until_alarm(dice: random.Random, share: float, most: int = 20_000) -> int:
    detector = Detector(0.05)
    while not detector.add(dice.random() < share) and detector.labels < most:
        pass
    return detector.labels


def mean(share: float, runs: int) -> float:
    dice = random.Random(7)
    return sum(labels_until_alarm(dice, share) for _ in range(runs)) / runs


def test_without_a_change_it_takes_a_thousand_labels_until_a_false_alarm() -> None:
    assert mean(0.05, 40) > 1000


@pytest.mark.parametrize(("share", "within"), [(0.10, 200), (0.15, 80), (0.25, 35)])
def test_the_more_the_risk_rises_the_sooner_it_is_seen(share: float, within: int) -> None:
    assert mean(share, 60) < within


def test_what_went_well_for_long_does_not_put_off_the_alarm() -> None:
    detector = Detector(0.05)
    for _ in range(5000):
        detector.add(is_wrong=False)
    after = 0
    while not detector.add(is_wrong=True):
        after += 1
    assert after < 10


def test_an_alarm_lasts_until_somebody_has_dealt_with_it() -> None:
    detector = Detector(0.05)
    while not detector.add(is_wrong=True):
        pass
    assert detector.level >= 1
    detector.restart()
    assert (detector.level, detector.labels) == (0, 0)


@pytest.mark.parametrize(("risk", "length"), [(0, 10), (1, 10), (0.1, 0)])
def test_what_cannot_be_is_refused(risk: float, length: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Detector(risk, length)
