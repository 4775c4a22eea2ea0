"""Who is asked about which answer, with which chance, and what verdicts come to."""

import random
from datetime import timedelta
from math import sqrt

import pytest

from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.trust.certificates import Verdict
from pipeline.trust.labelling import (
    LEAST_CHANCE,
    Choice,
    KeyCap,
    agreement,
    chance_to_label,
    verdict_on,
    weighed,
)
from pipeline.trust.records import AnswerSignal, LabelledAnswer
from tests.trust.examples import NOON, answer, label

KEY = b"a key of tests"
FIRST_OF_DAY = NOON.replace(hour=0)


def test_what_sonnet_contradicted_is_always_given_and_what_it_confirmed_in_part() -> None:
    decided = answer(decided_by=Tier.SONNET)
    assert chance_to_label(decided, is_contradicted=True) == 1
    assert 0 < chance_to_label(decided, is_contradicted=False) < 1


def test_the_less_sure_an_answer_is_the_likelier_it_is_given() -> None:
    chances = [
        chance_to_label(answer(confidence=1 - doubt, signals=[]), is_contradicted=None)
        for doubt in (0.0, 0.01, 0.25, 1.0)
    ]
    assert chances == pytest.approx([LEAST_CHANCE, 0.1, 0.5, 1.0])
    signal = AnswerSignal(code="evidence_not_found", strength=0.36)
    doubted = answer(confidence=0.99, signals=[signal])
    assert chance_to_label(doubted, is_contradicted=None) == pytest.approx(0.6)


def test_beyond_the_cap_of_a_key_and_day_the_chance_falls() -> None:
    cap = KeyCap(2)
    many = [answer(n, whose="one", published_at=FIRST_OF_DAY + timedelta(n)) for n in (0, 40)]
    day = [
        answer(n, whose="one", published_at=FIRST_OF_DAY + timedelta(minutes=n))
        for n in range(1, 9)
    ]
    for each in random.Random(1).sample([*many, *day, answer(9)], 11):
        cap.take(each)
    assert [cap.factor(each) for each in day] == [1, *(min(1, 2 / n) for n in range(3, 10))]
    assert cap.factor(many[1]) == cap.factor(answer(9)) == 1


def test_later_answers_change_the_chance_of_no_earlier_one() -> None:
    cap = KeyCap(1)
    day = [answer(n, whose="one") for n in range(1, 30)]
    found = []
    for each in day:
        cap.take(each)
        found.append(cap.factor(each))
    assert found == [cap.factor(each) for each in day]


def test_answers_are_given_with_their_chance() -> None:
    chosen = sum(Choice(KEY, answer(n), 0.3).is_for("ada", []) for n in range(1, 10_001))
    assert abs(chosen - 3000) < 4 * sqrt(10_000 * 0.3 * 0.7)


def test_everybody_is_given_the_same_until_one_has_labelled_it() -> None:
    choices = [Choice(KEY, answer(n), 0.5) for n in range(1, 1001)]
    for_ada = {n for n, each in enumerate(choices) if each.is_for("ada", [])}
    for_bob = {n for n, each in enumerate(choices) if each.is_for("bob", [])}
    after = {n for n in for_ada if choices[n].is_for("bob", [label()])}
    assert for_ada == for_bob
    assert 0.05 < len(after) / len(for_ada) < 0.16
    assert not any(choices[n].is_for("ada", [label()]) for n in for_ada)
    both = [label(), label(person="bob")]
    assert not any(choices[n].is_for("eve", both) for n in for_ada)


def test_a_correction_that_came_back_keeps_nobody_from_being_asked() -> None:
    sure = Choice(KEY, answer(), 1.0)
    assert sure.is_for("ada", [label(origin="feedback", person="crm", chance=None)])


def labelled(*verdicts: bool, number: int = 1) -> LabelledAnswer:
    people = (label(number, right=right, person=f"p{at}") for at, right in enumerate(verdicts))
    return LabelledAnswer(answer(number), list(people))


def test_agreement_is_what_goes_beyond_chance() -> None:
    # The example of Cohen's coefficient that textbooks use: 20 and 15 agreed of 50.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10
    pairs += [(False, False)] * 15
    found = agreement([labelled(*pair, number=n) for n, pair in enumerate(pairs, start=1)])
    assert (found.pairs, found.agreed) == (50, 35)
    assert found.kappa == pytest.approx(0.4)


def test_agreement_is_not_known_without_pairs_or_with_equal_verdicts_alone() -> None:
    assert agreement([labelled(True)]).kappa is None
    assert agreement([labelled(True, True)]).kappa is None


def test_a_verdict_weighs_by_both_draws_and_is_wrong_where_anybody_says_so() -> None:
    found = weighed([labelled(True, number=1), labelled(True, False, number=2)])
    assert found == [Verdict("key-1", False, 0.005), Verdict("key-2", True, 0.005)]


def test_an_answer_is_wrong_where_the_last_word_of_anybody_says_so() -> None:
    ada, bob = label(1, right=True), label(1, right=False, person="bob")
    verdict = verdict_on(answer(1), [ada, bob])
    assert verdict is not None
    assert verdict.is_wrong
    assert verdict.chance == pytest.approx(0.005)
    changed = verdict_on(answer(1), [ada, bob, label(1, right=True, person="bob")])
    assert changed is not None
    assert not changed.is_wrong
    assert verdict_on(answer(1), [label(1, chance=None)]) is None


def test_labels_that_nobody_drew_are_refused_unless_they_are_left_out() -> None:
    came_back = label(origin="feedback", person="crm", chance=None, right=False)
    mixed = [LabelledAnswer(answer(), [label(), came_back])]
    with pytest.raises(UsageError, match="--origin sample"):
        weighed(mixed)
    assert weighed(mixed, ["sample"]) == [Verdict("key-1", False, 0.005)]


def test_the_weighed_share_of_errors_is_that_of_all_answers() -> None:
    """Errors are frequent where answers are unsure, which are labelled more often."""
    chance, rng = {True: 0.8, False: 0.1}, random.Random(3)
    answers = [(n, rng.random() < 0.2) for n in range(1, 20_001)]
    wrong = {n: rng.random() < (0.3 if is_unsure else 0.02) for n, is_unsure in answers}
    given = [
        LabelledAnswer(
            answer(n, chance=1.0), [label(n, right=not wrong[n], chance=chance[is_unsure])]
        )
        for n, is_unsure in answers
        if Choice(KEY, answer(n), chance[is_unsure]).is_for("ada", [])
    ]
    verdicts = weighed(given)
    total = sum(1 / each.chance for each in verdicts)
    errors = sum(1 / each.chance for each in verdicts if each.is_wrong)
    assert abs(errors / total - sum(wrong.values()) / len(wrong)) < 0.01
    assert sum(each.is_wrong for each in verdicts) / len(verdicts) > 0.15
