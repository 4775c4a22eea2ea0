"""Calibration error and Brier score, by hand and in general."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.measures import Calibration, calibration
from tests.evaluate.making import outcome

Stated = tuple[float, bool]

answers = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40)


def measured(stated: list[Stated]) -> Calibration:
    return calibration(outcome(right, confidence=confidence) for confidence, right in stated)


def test_by_hand() -> None:
    found = measured([(0.9, True), (0.9, False), (0.2, False), (1.0, True)])
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.04) / 4)
    # In the last interval three answers, of mean 2.8 / 3, two right; in the third one, wrong.
    assert found.error == pytest.approx((abs(2.8 - 2) + 0.2) / 4)


@given(answers)
def test_every_answer_is_in_one_interval(stated: list[Stated]) -> None:
    found = measured(stated)
    assert sum(each.items for each in found.bins) == found.items == len(stated)


@given(answers)
def test_both_lie_between_0_and_1(stated: list[Stated]) -> None:
    found = measured(stated)
    for measure in (found.brier, found.error):
        assert (measure is None) == (not stated)
        assert measure is None or 0 <= measure <= 1


@given(st.lists(st.booleans(), min_size=1))
def test_certainty_that_is_right_has_no_error(right: list[bool]) -> None:
    found = measured([(float(each), each) for each in right])
    assert found.brier == found.error == 0
