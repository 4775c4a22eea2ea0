"""Thresholds that are certified, and the honest answer where none can be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evaluate.proposal import (
    Measured,
    Part,
    part_of,
    propose,
    thresholds_to_try,
    upper_bound,
)

measured = st.builds(
    Measured,
    st.none() | st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4, 0.9, 1.0]),
    st.booleans(),
)
several = st.lists(measured, max_size=60)


def parts(
    fit: list[Measured], threshold: list[Measured], report: list[Measured]
) -> dict[Part, list[Measured]]:
    return {Part.FIT: fit, Part.THRESHOLD: threshold, Part.REPORT: report}


def some(count: int, strength: float, *, wrong: int = 0) -> list[Measured]:
    return [Measured(strength, n >= wrong) for n in range(count)]


def test_59_right_answers_certify_5_per_cent_with_one_candidate_and_58_do_not() -> None:
    fit = some(10, 0.1)
    enough = propose(parts(fit, some(59, 0.1), some(20, 0.1)), 0.95, candidates=1)
    assert enough.chosen is not None
    assert enough.chosen.accepted == 59
    assert enough.outcome is not None
    assert (enough.outcome.accepted, enough.outcome.wrong) == (20, 0)
    short = propose(parts(fit, some(58, 0.1), some(20, 0.1)), 0.95, candidates=1)
    assert short.chosen is None
    assert short.accepted_needed == 59
    # 59 of 58 accepted in this part, where 88 events were labelled in all.
    assert short.items_needed == 90


def test_several_candidates_share_the_permitted_error() -> None:
    fit = some(10, 0.1) + some(10, 0.2) + some(10, 0.3)
    found = propose(parts(fit, some(80, 0.1), []), 0.95, candidates=10)
    assert len(found.candidates) == 3
    assert found.accepted_needed == 80
    assert found.chosen is not None
    assert propose(parts(fit, some(79, 0.1), []), 0.95, candidates=10).chosen is None


def test_the_candidate_that_accepts_most_is_chosen() -> None:
    fit = some(10, 0.1) + some(10, 0.3)
    threshold = some(200, 0.1) + some(50, 0.3, wrong=20)
    found = propose(parts(fit, threshold, []), 0.95)
    assert found.chosen is not None
    assert 0.1 < found.chosen.threshold <= 0.3
    good = propose(parts(fit, some(200, 0.1) + some(50, 0.3), []), 0.95)
    assert good.chosen is not None
    assert good.chosen.accepted == 250


def test_answers_that_are_wrong_too_often_need_something_other_than_more_events() -> None:
    found = propose(parts(some(9, 0.1), some(100, 0.1, wrong=30), []), 0.95)
    assert found.chosen is None
    assert found.items_needed is None


@given(several, several, several, st.sampled_from([0.5, 0.8, 0.9]), st.integers(1, 40))
def test_nothing_is_proposed_that_does_not_hold(
    fit: list[Measured],
    threshold: list[Measured],
    report: list[Measured],
    target: float,
    candidates: int,
) -> None:
    found = propose(parts(fit, threshold, report), target, candidates=candidates)
    assert 1 <= len(found.candidates) <= 10
    alpha = 0.05 / len(found.candidates)
    if found.chosen is None:
        return
    assert upper_bound(found.chosen.wrong, found.chosen.accepted, alpha) <= 1 - target + 1e-9
    assert found.outcome is not None
    assert found.outcome.items == len(report)


@given(several, st.integers(1, 10))
def test_candidates_accept_each_other_s_steps(fit: list[Measured], most: int) -> None:
    tried = thresholds_to_try(fit, most)
    assert 1 <= len(tried) <= most
    assert list(tried) == sorted(set(tried))
    takeable = [each for each in fit if each.strength is not None]
    if takeable:
        assert sum(each.accepted(tried[-1]) for each in takeable) == len(takeable)


@pytest.mark.parametrize("error", [0.08, 0.2])
def test_what_is_certified_holds_nearly_always(error: float) -> None:
    """Where the true risk is above the target, hardly any evaluation may certify it."""
    dice = random.Random(7)
    certified = 0
    for run in range(60):
        answers = parts([], [], [])
        for number in range(300):
            answer = Measured(dice.choice([0.05, 0.1, 0.2, 0.3]), dice.random() >= error)
            answers[part_of(f"{run}-{number}")].append(answer)
        found = propose(answers, 1 - error + 0.005)
        certified += found.chosen is not None
    assert certified <= 6
