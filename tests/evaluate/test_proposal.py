"""Thresholds that are certified, and the honest answer where none can be."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.proposal import Aim, Measured, Proposal, propose, thresholds_to_test
from pipeline.trust.certificates import Verdict, at_most, upper_bound

strengths = st.none() | st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4, 0.9, 1.0])
answers = st.lists(
    st.builds(Measured, strengths, st.booleans(), st.integers().map(str)), max_size=60
)


def some(count: int, strength: float, *, wrong: int = 0, of: str = "a") -> list[Measured]:
    return [Measured(strength, n >= wrong, f"{of}{n}") for n in range(count)]


def proposed(
    found: list[Measured], target: float = 0.95, preset: float = 0.5, trial: int | None = None
) -> Proposal:
    return propose(found, Aim(target, preset, trial), {})


def test_59_right_answers_certify_5_per_cent_and_58_do_not() -> None:
    enough = proposed(some(59, 0.1))
    assert enough.chosen is not None
    assert enough.chosen.accepted == 59
    short = proposed(some(58, 0.1))
    assert short.chosen is None
    assert short.accepted_needed == short.items_needed == 59


def test_the_first_threshold_accepts_the_preset_share_and_each_next_one_more() -> None:
    found = [answer for n in range(100) for answer in some(1, n / 100, of=f"{n}-")]
    steps = proposed(found, preset=0.6).steps
    assert [step.accepted for step in steps] == [60, 70, 80, 90, 100]


def test_the_threshold_that_accepts_most_before_the_first_that_fails_is_chosen() -> None:
    good, bad = some(200, 0.1), some(50, 0.3, wrong=20, of="b")
    found = proposed([*good, *bad])
    assert found.chosen is not None
    assert 0.1 < found.chosen.threshold <= 0.3
    assert found.chosen.accepted == 200
    assert [step.holds for step in found.steps][-1] is False
    everything = proposed([*good, *some(50, 0.3, of="b")])
    assert everything.chosen is not None
    assert everything.chosen.accepted == 250


def test_what_comes_after_the_first_that_fails_is_not_tested() -> None:
    found = proposed([*some(60, 0.1, wrong=30), *some(60, 0.2, of="b"), *some(60, 0.3, of="c")])
    assert [step.holds for step in found.steps] == [False, *[None] * (len(found.steps) - 1)]
    assert found.chosen is None


def test_answers_that_are_wrong_too_often_need_something_other_than_more_events() -> None:
    found = proposed(some(100, 0.1, wrong=30))
    assert found.chosen is None
    assert found.items_needed is None


def test_a_second_trial_on_the_same_labels_certifies_less_easily() -> None:
    found = some(93, 0.1, wrong=1)
    assert proposed(found).chosen is not None
    assert proposed(found, trial=2).chosen is None
    assert proposed(found, trial=2).alpha < proposed(found, trial=1).alpha < proposed(found).alpha


def test_answers_of_one_key_count_together() -> None:
    alike = [Measured(0.1, right=True, key=str(n // 25)) for n in range(100)]
    found = proposed(alike)
    assert found.chosen is None
    assert found.steps[0].upper is None


def test_what_each_tier_publishes_is_certified_by_itself() -> None:
    by = {
        "decided by Haiku": [Verdict(str(n), is_wrong=False) for n in range(100)],
        "decided by Sonnet": [Verdict(str(n), n < 10) for n in range(20)],
    }
    haiku, sonnet = propose(some(5, 0.1), Aim(0.95), by).published
    assert (haiku.what, haiku.holds) == ("decided by Haiku", True)
    assert (sonnet.what, sonnet.holds) == ("decided by Sonnet", False)
    assert haiku.upper == upper_bound(0, 100, 0.05)


@pytest.mark.parametrize(("target", "preset"), [(0, 0.5), (1, 0.5), (0.9, 0), (0.9, 1.1)])
def test_an_aim_that_cannot_be_is_refused(target: float, preset: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Aim(target, preset)


@settings(max_examples=40)
@given(answers, st.sampled_from([0.5, 0.8, 0.9]), st.floats(0.1, 1))
def test_nothing_is_proposed_that_does_not_hold(
    found: list[Measured], target: float, preset: float
) -> None:
    proposal = proposed(found, target, preset)
    assert proposal.steps
    if proposal.chosen is not None and proposal.chosen.upper is not None:
        assert proposal.chosen.upper <= 1 - target + 1e-9


@given(answers, st.floats(0.1, 1))
def test_thresholds_rise_and_the_last_accepts_all_that_can_be(
    found: list[Measured], preset: float
) -> None:
    tested = thresholds_to_test(found, preset)
    assert list(tested) == sorted(set(tested))
    acceptable = [each for each in found if each.strength is not None]
    if acceptable:
        assert sum(each.accepted(tested[-1]) for each in acceptable) == len(acceptable)


@pytest.mark.parametrize("error", [0.08, 0.2])
def test_what_is_certified_holds_nearly_always(error: float) -> None:
    """Where the true risk is above the target, hardly any evaluation may certify it."""
    dice, runs = random.Random(7), 40
    falsely = 0
    for run in range(runs):
        found = [
            Measured(dice.choice([0.05, 0.1, 0.2, 0.3]), dice.random() >= error, f"{run}-{number}")
            for number in range(300)
        ]
        falsely += proposed(found, 1 - error + 0.005).chosen is not None
    # Five in a hundred at most in truth; what would come up once in a thousand times if so.
    assert at_most(falsely - 1, runs, 0.05) < 0.999
