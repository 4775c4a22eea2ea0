"""The policy: signals and thresholds in, doubts out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.cascade.policy import (
    DEFAULT_THRESHOLD,
    FAILURES,
    Policy,
    StagePolicy,
    audit_doubts,
)
from pipeline.config import Settings, SonnetThresholds, Thresholds, load_settings
from pipeline.model.questions import Signal
from pipeline.model.records import Doubt, Tier
from tests.cascade.stand_ins import NOON

CODES = sorted(set(Thresholds.model_fields) - {"other"})

signals = st.builds(
    Signal,
    code=st.sampled_from([*CODES, *sorted(FAILURES), "own_code"]),
    strength=st.floats(0, 1),
    detail=st.text(max_size=5),
)
thresholds = st.builds(
    Thresholds,
    other=st.dictionaries(st.just("own_code"), st.floats(0, 2), max_size=1),
    **{code: st.floats(0, 2) for code in CODES},
)


def test_a_signal_counts_from_its_threshold_on() -> None:
    at = Thresholds(arithmetic=0.4)
    assert StagePolicy(at).doubts([Signal("arithmetic", 0.4, "a")])
    assert not StagePolicy(at).doubts([Signal("arithmetic", 0.39, "a")])


def test_a_signal_of_no_strength_never_counts() -> None:
    assert not StagePolicy(Thresholds(arithmetic=0)).doubts([Signal("arithmetic", 0.0, "a")])


def test_a_threshold_above_one_switches_a_code_off() -> None:
    assert not StagePolicy(Thresholds(unclear=1.01)).doubts([Signal("unclear", 1.0, "a")])


def test_an_answer_that_never_came_always_counts() -> None:
    never = Thresholds(**dict.fromkeys(CODES, 2.0))
    for code in FAILURES:
        assert StagePolicy(never).doubts([Signal(code, 1.0, "a")])


def test_a_code_of_ones_own_has_the_threshold_that_is_set_or_the_default() -> None:
    for code in ("own_code", "other"):
        assert StagePolicy(Thresholds()).doubts([Signal(code, DEFAULT_THRESHOLD, "a")])
        assert not StagePolicy(Thresholds()).doubts([Signal(code, DEFAULT_THRESHOLD - 0.01, "a")])
    strict = StagePolicy(Thresholds(other={"own_code": 0.9}))
    assert strict.doubts([Signal("own_code", 0.9, "a")])
    assert not strict.doubts([Signal("own_code", 0.89, "a")])


def test_doubts_say_what_the_signals_said_strongest_first_and_once() -> None:
    found = StagePolicy(Thresholds()).doubts(
        [
            Signal("unclear", 0.9, "b"),
            Signal("arithmetic", 1.0, "z"),
            Signal("unclear", 0.9, "b"),
            Signal("unclear", 0.9, "a"),
        ]
    )
    assert [(doubt.code, doubt.detail) for doubt in found] == [
        ("arithmetic", "z"),
        ("unclear", "a"),
        ("unclear", "b"),
    ]


@given(st.lists(signals), thresholds)
def test_it_is_total_and_doubts_nothing_that_was_not_signalled(
    given_signals: list[Signal], at: Thresholds
) -> None:
    said = {(signal.code, signal.detail) for signal in given_signals}
    assert {(doubt.code, doubt.detail) for doubt in StagePolicy(at).doubts(given_signals)} <= said


@given(st.lists(signals).flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_of_signals_does_not_matter(pair: tuple[list[Signal], list[Signal]]) -> None:
    ordered, shuffled = pair
    assert StagePolicy(Thresholds()).doubts(ordered) == StagePolicy(Thresholds()).doubts(shuffled)


@given(st.lists(signals), thresholds, st.sampled_from(CODES), st.floats(0, 2))
def test_raising_a_threshold_never_adds_a_doubt(
    given_signals: list[Signal], at: Thresholds, code: str, by: float
) -> None:
    raised = at.model_copy(update={code: getattr(at, code) + by})
    assert set(StagePolicy(raised).doubts(given_signals)) <= set(
        StagePolicy(at).doubts(given_signals)
    )


@given(st.lists(signals), signals, thresholds)
def test_another_signal_never_takes_a_doubt_away(
    given_signals: list[Signal], more: Signal, at: Thresholds
) -> None:
    assert set(StagePolicy(at).doubts(given_signals)) <= set(
        StagePolicy(at).doubts([*given_signals, more])
    )


def with_thresholds(**table: object) -> Settings:
    return Settings.model_validate({"thresholds": table})


def test_what_is_set_for_every_stage_holds_where_nothing_more_special_is_set() -> None:
    policy = Policy.from_settings(
        with_thresholds(
            low_confidence=0.6,
            unclear=2,
            sonnet={"low_confidence": 0.7},
            stages={
                "tickets": {"low_confidence": 0.4, "labels": {"sales": {"low_confidence": 0.2}}},
                "texts": {"sonnet": {"low_confidence": 0.8}},
            },
        )
    )
    found = {
        (stage, tier, label): policy[stage, tier].thresholds_of(label)["low_confidence"]
        for stage, tier, label in [
            ("images", Tier.HAIKU, None),
            ("images", Tier.SONNET, None),
            ("texts", Tier.HAIKU, None),
            ("texts", Tier.SONNET, None),
            ("tickets", Tier.HAIKU, "billing"),
            ("tickets", Tier.HAIKU, "Sales"),
            ("tickets", Tier.SONNET, "sales"),
        ]
    }
    assert list(found.values()) == [0.6, 0.7, 0.6, 0.8, 0.4, 0.2, 0.7]
    assert policy["tickets", Tier.HAIKU].thresholds_of("sales")["unclear"] == 2


def test_each_stage_and_tier_has_its_own_thresholds() -> None:
    settings = with_thresholds(
        stages={"tickets": {"unclear": 2, "sonnet": {"low_confidence": 0.9}}}
    )
    policy = Policy.from_settings(settings)
    unclear, unsure = Signal("unclear", 1.0, "a"), Signal("low_confidence", 0.6, "b")
    assert not policy["tickets", Tier.HAIKU].doubts([unclear])
    assert policy["tickets", Tier.SONNET].doubts([unclear])
    assert policy["invoices", Tier.HAIKU].doubts([unclear])
    assert not policy["tickets", Tier.SONNET].doubts([unsure])
    assert policy["invoices", Tier.SONNET].doubts([unsure])


def test_a_stage_that_is_not_in_the_settings_has_the_defaults_of_its_tier() -> None:
    policy = Policy({})
    unsure = Signal("low_confidence", 0.4, "a")
    assert policy["own", Tier.HAIKU].doubts([unsure])
    assert not policy["own", Tier.SONNET].doubts([unsure])


def test_setting_one_threshold_of_sonnet_leaves_the_others_as_they_were() -> None:
    policy = Policy.from_settings(with_thresholds(stages={"tickets": {"sonnet": {"unclear": 1}}}))
    found = policy["tickets", Tier.SONNET].thresholds
    assert found.model_dump() == SonnetThresholds(unclear=1).model_dump()


def test_only_what_a_person_can_settle_goes_from_sonnet_to_a_person() -> None:
    signalled = [Signal(code, 0.8, "a") for code in CODES]
    doubted = {doubt.code for doubt in StagePolicy(SonnetThresholds()).doubts(signalled)}
    assert doubted == {
        "low_confidence", "unclear", "evidence_not_found", "arithmetic", "ambiguous_amount",
        "boundaries", "broken_form", "illegible", "unsupported_claim", "changed_text",
        "example_failed",
    }  # fmt: skip


@given(thresholds, thresholds, st.lists(st.sampled_from(CODES), unique=True))
def test_what_a_label_does_not_set_stays_as_the_stage_has_it(
    of_stage: Thresholds, given_own: Thresholds, names: list[str]
) -> None:
    own = Thresholds.model_validate({name: getattr(given_own, name) for name in names})
    changed = of_stage.changed_by(own)
    for code in CODES:
        assert getattr(changed, code) == getattr(given_own if code in names else of_stage, code)
    assert changed.other == of_stage.other


def test_a_label_may_be_held_to_other_thresholds_than_its_stage() -> None:
    settings = with_thresholds(
        stages={
            "tickets": {
                "labels": {
                    "Billing": {"low_confidence": 0.1, "sonnet": {"low_confidence": 0.3}},
                }
            }
        }
    )
    policy = Policy.from_settings(settings)
    for tier, strength in ((Tier.HAIKU, 0.2), (Tier.SONNET, 0.4)):
        unsure = [Signal("low_confidence", strength, "a")]
        assert policy["tickets", tier].doubts(unsure, label="billing")
        assert not policy["tickets", tier].doubts(unsure, label="sales")
        assert not policy["tickets", tier].doubts(unsure)
        assert not policy["images", tier].doubts(unsure, label="billing")


@pytest.mark.parametrize(
    ("stage", "said"),
    [("tickets", "billing, technical_support"), ("invoices", "it has none")],
)
def test_thresholds_of_a_label_that_is_not_there_are_refused(stage: str, said: str) -> None:
    with pytest.raises(ValidationError, match=f"'biling'.*{said}"):
        with_thresholds(stages={stage: {"labels": {"biling": {"unclear": 1}}}})


def test_thresholds_of_a_stage_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValidationError, match="no stage 'ticket'; there are tickets, invoices"):
        with_thresholds(stages={"ticket": {"unclear": 1}})


def test_thresholds_of_a_label_come_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_THRESHOLDS__STAGES__TICKETS__LABELS__SALES__UNCLEAR", "2")
    policy = Policy.from_settings(load_settings())
    unclear = [Signal("unclear", 1.0, "a")]
    assert not policy["tickets", Tier.HAIKU].doubts(unclear, label="sales")
    assert policy["tickets", Tier.HAIKU].doubts(unclear, label="billing")


def test_only_the_first_tier_is_audited_and_only_by_its_share() -> None:
    policy = Policy({("notes", Tier.HAIKU): StagePolicy(Thresholds(), audit_share=1)})

    def audit(tier: Tier, stage: str = "notes") -> Sequence[Doubt]:
        return audit_doubts(stage, "n-1", NOON, policy[stage, tier].audit_share)

    assert [doubt.code for doubt in audit(Tier.HAIKU)] == ["audit"]
    assert not audit(Tier.SONNET)
    assert not audit(Tier.HAIKU, "others")
