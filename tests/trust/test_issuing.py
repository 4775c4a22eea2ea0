"""A certificate is made of labelled answers of what is in force, and of nothing else."""

from datetime import datetime, timedelta

import pytest

from pipeline.model.errors import UsageError
from pipeline.model.records import Provenance, Tier
from pipeline.trust.certificate_file import (
    CertificateFile,
    CertifiedStage,
    InForce,
    StageCertificate,
    TierThresholds,
    answered_otherwise,
    differences,
    differing_thresholds,
)
from pipeline.trust.certificates import ErrorBudget
from pipeline.trust.issuing import STRICTER_ACCEPTS, Wish, issue
from pipeline.trust.records import AnswerSignal, LabelledAnswer
from tests.trust.examples import NOON, answer, label

THRESHOLDS = {
    Tier.HAIKU: TierThresholds(default={"low_confidence": 0.3, "other": 0.5}),
    Tier.SONNET: TierThresholds(default={"low_confidence": 0.5, "other": 0.5}),
}
IN_FORCE = InForce("rest", THRESHOLDS)
ISSUED = NOON + timedelta(days=1)


def wish(
    *, target: float = 0.95, at_once: bool = True, at: datetime = ISSUED, settings: str = "rest"
) -> Wish:
    return Wish("tickets", target, InForce(settings, THRESHOLDS), "s", at_once, "a file", at)


def labelled(right: int, wrong: int = 0, **changed: object) -> list[LabelledAnswer]:
    """So many answers with a verdict each."""
    return [
        LabelledAnswer(answer(n, **changed), [label(n, right=n >= wrong)])
        for n in range(right + wrong)
    ]


def certified(answers: list[LabelledAnswer]) -> StageCertificate:
    found = issue(wish(), answers, None).certificate
    assert found is not None
    return found


def test_too_few_labels_certify_nothing_and_are_in_the_ledger() -> None:
    found = issue(wish(), labelled(59), None)
    assert found.certificate is None
    [trial] = found.trials
    assert (trial.number, trial.labels, trial.errors, trial.holds) == (1, 59, 0, False)


def test_a_certificate_says_what_is_certified_of_which_answers_and_what_it_depends_on() -> None:
    found = certified(labelled(80))
    assert [(each.scope, each.method, each.holds) for each in found.statements] == [
        ("haiku", "exact", True),
        ("stream", "exact", True),
    ]
    assert found.alpha == ErrorBudget().of_trial(1)
    by = found.depends_on.answered_by[Tier.HAIKU]
    assert (by.provider, by.model, by.prompts) == ("anthropic", "claude-haiku-5-5", ["p"])
    assert found.depends_on.signal_codes == ["low_confidence"]
    assert found.reference.smallest_chance == pytest.approx(0.005)
    assert (found.labels.first, found.labels.last) == (NOON, NOON + timedelta(minutes=79))
    assert differences(found.depends_on, IN_FORCE) == ()
    file = CertificateFile(stages={"tickets": CertifiedStage(certificate=found, trials=[])})
    assert CertificateFile.model_validate_json(file.model_dump_json(by_alias=True)) == file


def test_a_tier_is_certified_only_if_those_before_it_are() -> None:
    sonnet = labelled(90, decided_by=Tier.SONNET, model="claude-sonnet-5-5")
    wrong = [LabelledAnswer(answer(1000 + n), [label(1000 + n, right=n > 40)]) for n in range(90)]
    found = issue(wish(), [*sonnet, *wrong], None)
    assert found.certificate is None
    assert not found.trials[0].holds


@pytest.mark.parametrize(
    "changed",
    [
        {"provenance": Provenance(provider="anthropic", prompt="p", settings="other")},
        {"stage": "invoices"},
    ],
)
def test_answers_that_something_else_made_do_not_count(changed: dict[str, object]) -> None:
    others = [
        LabelledAnswer(answer(500 + n, **changed), [label(500 + n, right=False)]) for n in range(50)
    ]
    found = certified([*labelled(80), *others])
    assert found.statements[0].labels == 80


def test_of_two_models_only_the_answers_of_the_last_one_count() -> None:
    before = labelled(40, model="claude-haiku-4-5")
    after = [LabelledAnswer(answer(100 + n), [label(100 + n)]) for n in range(80)]
    found = certified([*before, *after])
    assert found.statements[0].labels == 80
    assert found.labels.left_out == 40


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([], "no labelled answers of tickets"),
        ([LabelledAnswer(answer(1), [label(1, chance=None)])], "no share can be estimated"),
        (
            [
                LabelledAnswer(
                    answer(1, provenance=Provenance(provider="a", prompt="p", settings="x")),
                    [label(1)],
                )
            ],
            "the settings in force here",
        ),
    ],
)
def test_what_cannot_be_weighed_or_is_of_other_settings_is_refused(
    answers: list[LabelledAnswer], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        issue(wish(), answers, None)


def test_each_further_attempt_may_be_wrong_less_often() -> None:
    first = issue(wish(), labelled(10), None)
    second = issue(wish(settings="another prompt"), labelled(20), first)
    third = issue(wish(settings="a third one"), labelled(30), second)
    assert [each.number for each in third.trials] == [1, 2, 3]
    assert sum(each.alpha for each in third.trials) < ErrorBudget().alpha
    assert third.trials[2].alpha == ErrorBudget().of_trial(3)


def test_more_labels_of_the_same_thing_as_they_come_are_another_look_and_no_other_trial() -> None:
    first = issue(wish(at_once=False), labelled(10), None)
    again = issue(wish(at_once=False), labelled(200), first)
    [trial] = again.trials
    assert (trial.number, trial.looks, trial.labels) == (1, 2, 200)
    assert again.certificate is not None
    # Looked at exactly each time is a trial each time.
    exact = issue(wish(), labelled(20), issue(wish(), labelled(10), None))
    assert [each.number for each in exact.trials] == [1, 2]


def test_an_attempt_that_fails_leaves_the_certificate_as_it_is() -> None:
    first = issue(wish(), labelled(80), None)
    again = issue(wish(), labelled(10, 10), first)
    assert again.certificate == first.certificate
    assert [each.holds for each in again.trials] == [True, False]


def test_stricter_thresholds_doubt_the_least_sure_fifth_at_most() -> None:
    unsure = [
        LabelledAnswer(
            answer(n, signals=[AnswerSignal(code="low_confidence", strength=n / 400)]), [label(n)]
        )
        for n in range(100)
    ]
    found = certified(unsure)
    cut = found.stricter[Tier.HAIKU].default["low_confidence"]
    accepted = sum(n / 400 < cut for n in range(100)) / 100
    assert STRICTER_ACCEPTS <= accepted < 0.9
    assert found.stricter[Tier.SONNET] == THRESHOLDS[Tier.SONNET]
    # Where all are equally sure, nothing stricter would doubt a fifth only.
    assert certified(labelled(80)).stricter == THRESHOLDS


def test_what_is_different_has_a_name() -> None:
    depends_on = certified(labelled(80)).depends_on
    changed = {
        **THRESHOLDS,
        Tier.HAIKU: TierThresholds(default={"low_confidence": 0.4, "other": 0.5}),
    }
    assert differences(depends_on, InForce("new", changed)) == ("settings", "thresholds")
    assert differing_thresholds(depends_on.thresholds, changed) == [
        "haiku's low_confidence is 0.4, certified 0.3"
    ]
    as_certified = {"provider": "anthropic", "model": "claude-haiku-5-5", "prompt": "p"}
    assert answered_otherwise(depends_on, Tier.HAIKU, **as_certified) == ()
    others = {"provider": "bedrock", "model": "m", "prompt": "q"}
    assert answered_otherwise(depends_on, Tier.HAIKU, **others) == ("provider", "model", "prompt")
    assert answered_otherwise(depends_on, Tier.SONNET, **as_certified) == ("model",)
