"""With a score in force: what it decides, what it may not, and which file is refused at start."""

from pathlib import Path

import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import (
    FAILURES,
    Policy,
    StagePolicy,
    asks_of,
    score_of,
    settings_digest,
)
from pipeline.config import Label, Settings, Thresholds
from pipeline.config.stages import TicketSettings
from pipeline.model.errors import UsageError
from pipeline.model.questions import Signal
from pipeline.model.records import Tier
from pipeline.trust.score import HARD, Model, Score, feature_names
from tests.cascade.stand_ins import NOON, Note, NoteAnswer, NoteStage, ScriptedAsker
from tests.cascade.test_own_data import StructuredStage
from tests.cascade.test_second_opinion import NoteStageOfTwoWords

NAMES = feature_names(["low_confidence", "several_matters", "out_of_scope"], of_field=False)
WEIGHTS = {"low_confidence": 6.0, "out_of_scope": 3.0}
"""Of several matters it has learned that they say nothing."""


def score(**changes: object) -> Score:
    whole = Model(
        features=NAMES, weights=tuple(WEIGHTS.get(each, 0.0) for each in NAMES), intercept=-3.0,
        threshold=0.5,
    )  # fmt: skip
    return Score.model_validate(
        {
            "stage": "tickets", "asks": asks_of(TicketSettings()), "fitted_on": "f", "labels": 100,
            "method": "logistic", "codes": ("low_confidence", "several_matters", "out_of_scope"),
            "thresholds": {"other": 0.5}, "whole": whole, **changes,
        }
    )  # fmt: skip


def with_score(**changes: object) -> StagePolicy:
    return StagePolicy(Thresholds(), score=score(), max_risk=0.5, **changes)  # type: ignore[arg-type]


def test_what_the_score_has_learned_counts_in_the_place_of_thresholds() -> None:
    several = [Signal("several_matters", 1.0, ""), Signal("low_confidence", 0.1, "")]
    assert StagePolicy(Thresholds()).doubts(several)
    assert not with_score().doubts(several)


def test_the_doubt_says_how_likely_and_what_speaks_most() -> None:
    signals = [Signal("low_confidence", 0.4, ""), Signal("out_of_scope", 0.8, "")]
    [doubt] = with_score().doubts(signals)
    assert doubt.code == "score"
    assert "0.86" in doubt.detail
    assert doubt.detail.endswith("most speaks: low_confidence, out_of_scope.")


@pytest.mark.parametrize("code", sorted(HARD | FAILURES | {"implausible"}))
def test_what_it_may_not_outweigh_or_does_not_know_counts_as_without_it(code: str) -> None:
    found = with_score().doubts([Signal(code, 1.0, ""), Signal("low_confidence", 0.0, "")])
    assert [each.code for each in found] == [code]


def test_a_threshold_of_a_label_stays_in_force() -> None:
    strict = {"legal": Thresholds(low_confidence=0.05)}
    policy = with_score(of_label=strict)
    signals = [Signal("low_confidence", 0.1, "")]
    assert [each.code for each in policy.doubts(signals, label="Legal")] == ["low_confidence"]
    assert not policy.doubts(signals, label="billing")


def test_thresholds_that_an_alarm_made_stricter_count_beside_a_score() -> None:
    in_force = with_score()
    before = in_force.as_certified()
    stricter = before.model_copy(update={"default": {**before.default, "low_confidence": 0.05}})
    fallen_back = in_force.falling_back_to(stricter)
    [doubt] = fallen_back.doubts([Signal("low_confidence", 0.1, "")])
    assert doubt.code == "low_confidence"
    assert not in_force.doubts([Signal("low_confidence", 0.1, "")])
    # What is as strict as before is the score's still.
    assert not fallen_back.doubts([Signal("several_matters", 1.0, "")])
    assert fallen_back.settings != in_force.settings


def test_a_certificate_of_settings_without_the_score_drops_it_on_an_alarm() -> None:
    in_force = with_score()
    alone = in_force.falling_back_to(in_force.as_certified(), with_score=False)
    [doubt] = alone.doubts([Signal("several_matters", 1.0, "")])
    assert doubt.code == "several_matters"
    assert alone.score is None


def set_to(folder: Path, found: Score, **more: object) -> Settings:
    file = folder / "score.json"
    file.write_text(found.model_dump_json(by_alias=True))
    return Settings.model_validate({"stages": {"tickets": {"score": str(file), **more}}})


def test_a_file_that_fits_is_in_force_for_the_first_tier_alone(tmp_path: Path) -> None:
    policy = Policy.from_settings(set_to(tmp_path, score()))
    assert policy["tickets", Tier.HAIKU].score == score()
    assert policy["tickets", Tier.HAIKU].max_risk == 0.5
    assert policy["tickets", Tier.SONNET].score is None
    assert policy["invoices", Tier.HAIKU].score is None
    stricter = Policy.from_settings(set_to(tmp_path, score(), max_risk=0.2))
    assert stricter["tickets", Tier.HAIKU].max_risk == 0.2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stage": "texts"}, "fitted to texts"),
        ({"asks": "others"}, "other labels or fields"),
        ({"codes": ("low_confidence", "gone")}, "no signal is called gone"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_to_do(
    changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    settings = set_to(tmp_path, score(**changes))
    with pytest.raises(UsageError, match=f"{why}.*pipeline trust fit tickets"):
        Policy.from_settings(settings)


def test_a_risk_without_a_score_is_refused() -> None:
    settings = Settings.model_validate({"stages": {"tickets": {"max_risk": 0.2}}})
    with pytest.raises(UsageError, match="needs stages"):
        Policy.from_settings(settings)


def test_other_labels_need_another_score(tmp_path: Path) -> None:
    labels = [Label(name="a").model_dump(), Label(name="b").model_dump()]
    with pytest.raises(UsageError, match="other labels"):
        score_of(set_to(tmp_path, score(), intents=labels), "tickets")


def test_the_digest_of_the_settings_covers_what_is_in_the_file_not_where_it_is(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    digest = settings_digest(set_to(tmp_path, score()), "tickets")
    assert settings_digest(set_to(elsewhere, score()), "tickets") == digest
    assert settings_digest(set_to(tmp_path, score(labels=101)), "tickets") != digest
    assert settings_digest(set_to(tmp_path, score(), max_risk=0.2), "tickets") != digest
    assert settings_digest(Settings(), "tickets") != digest


# In the flow of an event: what an answer of the stage's question is, and what is not.

NOTE_SCORE = score(stage="notes", asks="")
SURE_ALONE = NOTE_SCORE.model_copy(
    update={"whole": NOTE_SCORE.whole.model_copy(update={"intercept": 3.0})}
)
"""Takes every answer for wrong."""


async def decided(found: Score, stage: NoteStage, text: str, *script: NoteAnswer) -> list[str]:
    policy = StagePolicy(Thresholds(), score=found, max_risk=0.5, second_opinion=True)
    cascade = CascadePolicy(
        ScriptedAsker(*script), Policy({("notes", Tier.HAIKU): policy}), Tier.HAIKU
    )
    decision = await cascade.decide(stage, Note(id="n-1", text=text), at=NOON)
    return [each.code for each in decision.doubts]


def says(mood: str, confidence: float) -> NoteAnswer:
    return NoteAnswer(mood=mood, confidence=confidence, unclear=False)


async def test_an_answer_is_accepted_or_sent_on_by_the_score() -> None:
    assert await decided(NOTE_SCORE, NoteStage(), "well", says("glad", 0.95)) == []
    assert await decided(NOTE_SCORE, NoteStage(), "well", says("glad", 0.4)) == ["score"]


async def test_what_an_event_says_itself_is_no_answer_to_be_scored() -> None:
    assert await decided(SURE_ALONE, StructuredStage(), "mood: sad") == []


async def test_a_second_opinion_lifts_what_the_confidence_alone_made_doubtful() -> None:
    stage = NoteStageOfTwoWords()
    unsure = says("glad", 0.5)
    assert await decided(NOTE_SCORE, stage, "well", unsure, unsure) == []
    assert await decided(NOTE_SCORE, stage, "well", unsure, says("sad", 0.9)) == [
        "second_opinion",
        "score",
    ]
