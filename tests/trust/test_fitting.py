"""Fitting a score: never worse than today's rule without saying so, better where labels show it."""

import random

import pytest

from pipeline.config import Thresholds as Table
from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal

pytest.importorskip("sklearn", reason="the extra `trust` is not installed")
from pipeline.trust.fitting import (
    FEWEST,
    MANY,
    Example,
    Thresholds,
    compare,
    fit,
)
from pipeline.trust.score import rule_doubt

RULE = Thresholds({**vars(Table()), "other": 0.5})


def answers(number: int, *, seed: int = 1, useful: bool = True) -> list[Example]:
    """Answers that are wrong as often as two signals say, of which the rule hears one too loudly.

    Without `useful` signals they say nothing.
    """
    dice = random.Random(seed)
    found = []
    for at in range(number):
        unsure, far, several = dice.random(), dice.random(), dice.random() < 0.5
        p_wrong = min(0.95, 0.5 * unsure**2 + 0.5 * far**2) if useful else 0.3
        signals = (
            Signal("low_confidence", unsure, ""),
            Signal("out_of_scope", 0.9 * far, ""),
            # Says nothing of right or wrong, and sends half of all on by the rule.
            *([Signal("several_matters", 1.0, "")] if several else []),
        )
        found.append(Example(f"k{at}", signals, dice.random() < p_wrong))
    return found


def escalated(examples: list[Example], test: list[Example]) -> tuple[float, float]:
    """By the rule and by a score of these examples, at equal risk on others."""
    found = fit(examples, RULE, stage="tickets", asks="")
    compared, _ = compare(
        "",
        [found.score.p_wrong(each.signals) for each in test],
        [rule_doubt(each.signals, RULE.usual) for each in test],
        [each.wrong for each in test],
        weights=[1.0] * len(test),
        keys=[each.key for each in test],
    )
    return compared.rule, compared.score


@pytest.mark.parametrize("labels", [180, MANY])
def test_fewer_are_escalated_at_equal_risk_where_signals_say_more_than_the_rule(
    labels: int,
) -> None:
    rule, score = escalated(answers(labels), answers(1500, seed=2))
    assert score < rule - 0.1


def test_where_the_rule_accepts_nothing_there_is_nothing_to_compare() -> None:
    sure = (Signal("low_confidence", 1.0, ""),)
    examples = [Example(f"k{at}", sure, at % 2 == 0) for at in range(100)]
    with pytest.raises(UsageError, match="not better than the rule"):
        fit(examples, RULE, stage="tickets", asks="")


def test_few_labels_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(UsageError, match=str(FEWEST)):
        fit(answers(FEWEST - 1), RULE, stage="tickets", asks="")
    right = [Example(each.key, each.signals, wrong=False) for each in answers(100)]
    with pytest.raises(UsageError, match="0 of them of wrong answers"):
        fit(right, RULE, stage="tickets", asks="")


def test_a_file_of_the_same_labels_is_the_same_to_the_byte() -> None:
    one, other = (
        fit(answers(MANY), RULE, stage="tickets", asks="").score.model_dump_json() for _ in range(2)
    )
    assert one == other


def test_a_rare_draw_counts_for_all_that_it_stands_for() -> None:
    every = answers(480)
    is_far = [each.signals[1].strength > 0.45 for each in every]
    kept = [
        Example(each.key, each.signals, each.wrong, chance=0.25 if far else 1.0)
        for at, (each, far) in enumerate(zip(every, is_far, strict=True))
        if not far or at % 4 == 0
    ]
    found, whole = (fit(each, RULE, stage="tickets", asks="").whole for each in (kept, every))
    assert found.labels < whole.labels
    assert found.rule == pytest.approx(whole.rule, abs=0.05)
    assert found.score == pytest.approx(whole.score, abs=0.15)


def test_what_no_score_may_decide_is_escalated_by_both() -> None:
    plain = answers(200)
    hard = [
        Example(f"h{at}", (Signal("suspected_injection", 1.0, ""),), wrong=False)
        for at in range(100)
    ]
    failed = [Example(f"f{at}", (), wrong=True, failed=True) for at in range(100)]
    alone = fit(plain, RULE, stage="tickets", asks="").whole
    among = fit([*plain, *hard, *failed], RULE, stage="tickets", asks="").whole
    assert among.labels == alone.labels == 200
    assert 1 - among.score == pytest.approx((1 - alone.score) / 2)
    assert 1 - among.rule == pytest.approx((1 - alone.rule) / 2)


def test_each_field_has_a_model_of_its_own_and_what_is_too_seldom_wrong_has_none() -> None:
    dice = random.Random(3)
    examples = []
    for at in range(400):
        odd, absent, unsure = dice.random() < 0.4, dice.random() < 0.4, dice.random() / 2
        signals = (
            *([Signal("implausible", 1.0, "", ("issue_date",))] if odd else []),
            *([Signal("evidence_not_found", 0.9, "", ("vendor",))] if absent else []),
            Signal("low_confidence", unsure, ""),
        )
        date, vendor = (
            dice.random() < (0.8 if odd else 0.4 * unsure**2),
            dice.random() < (0.7 if absent else 0.4 * unsure**2),
        )
        wrong = {"issue_date": date, "vendor": vendor, "currency": False}
        examples.append(Example(f"k{at}", signals, date or vendor, wrong))
    found = fit(examples, RULE, stage="invoices", asks="")
    assert {"issue_date", "vendor"} == found.score.fields.keys()
    assert "currency" in found.left_out
    doubted_date = [Signal("implausible", 1.0, "", ("issue_date",))]
    assert found.score.p_wrong(doubted_date, "issue_date") > 0.5
    assert found.score.p_wrong(doubted_date, "vendor") < 0.3
    assert found.score.p_wrong(doubted_date) > 0.5
