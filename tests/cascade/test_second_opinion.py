"""A second opinion of the first tier, as it changes what becomes of an event."""

from typing import Any

import pytest

from pipeline.cascade.deciding import CascadePolicy, Decision
from pipeline.cascade.policy import Policy, StagePolicy
from pipeline.config import Thresholds
from pipeline.model.errors import AnswerError, Malformed, Refused, Rejected
from pipeline.model.questions import Question
from pipeline.model.records import Tier, Usage
from tests.cascade.stand_ins import NOON, SPENT, Note, NoteAnswer, NoteStage, ScriptedAsker

NOTE = Note(id="n-1", text="all is well")
POLICY = Policy({("notes", Tier.HAIKU): StagePolicy(Thresholds(), second_opinion=True)})


class NoteStageOfTwoWords(NoteStage):
    """Has other words for its question, which fail on request."""

    def second_question(self, event: Note) -> Question[NoteAnswer]:
        if event.text == "no other words":
            raise KeyError(event.text)
        return self.question(event)


def says(mood: str, confidence: float, **more: bool) -> NoteAnswer:
    return NoteAnswer.model_validate(
        {"mood": mood, "confidence": confidence, "unclear": False, **more}
    )


def spent(kind: type[AnswerError]) -> AnswerError:
    return kind("no use", usage=SPENT, model="model-haiku", seconds=0.5)


async def judged(
    *script: NoteAnswer | AnswerError,
    stage: NoteStage | None = None,
    event: Note = NOTE,
    tier: Tier = Tier.HAIKU,
) -> tuple[Decision[Any], int]:
    asker = ScriptedAsker(*script)
    stage = stage or NoteStageOfTwoWords()
    judgement = await CascadePolicy(asker, POLICY, tier).decide(stage, event, at=NOON)
    return judgement, len(asker.asked)


def codes(judgement: Decision[Any]) -> list[str]:
    return [doubt.code for doubt in judgement.doubts]


async def test_two_answers_that_agree_stand_and_both_are_paid() -> None:
    judgement, asked = await judged(says("glad", 0.6), says("Glad ", 0.55))

    assert not judgement.doubts
    assert judgement.answer == says("glad", 0.6)
    assert (asked, judgement.usage, judgement.seconds) == (2, SPENT + SPENT, 1.0)


async def test_two_answers_that_disagree_are_doubted_and_the_doubt_is_listed() -> None:
    judgement, _ = await judged(says("glad", 0.6), says("sad", 0.9))

    assert codes(judgement) == ["second_opinion", "low_confidence"]
    assert judgement.doubts[0].detail == "A second answer disagrees: mood."


async def test_an_answer_that_would_have_been_accepted_is_not_where_a_second_one_disagrees() -> (
    None
):
    judgement, _ = await judged(says("glad", 0.8), says("sad", 0.8))

    assert codes(judgement) == ["second_opinion"]


@pytest.mark.parametrize("confidence", [0.3, 0.9])
async def test_what_is_hopeless_or_sure_is_asked_once(confidence: float) -> None:
    _, asked = await judged(says("glad", confidence))
    assert asked == 1


async def test_what_is_escalated_anyway_is_asked_once() -> None:
    judgement, asked = await judged(says("glad", 0.6, doubtful=True))
    assert asked == 1
    assert codes(judgement) == ["evidence_not_found", "low_confidence"]


async def test_an_agreement_that_is_itself_doubted_confirms_nothing() -> None:
    judgement, asked = await judged(says("glad", 0.6), says("glad", 0.6, doubtful=True))
    assert asked == 2
    assert codes(judgement) == ["low_confidence"]


@pytest.mark.parametrize(
    ("failures", "usage"),
    [
        ([spent(Refused)], SPENT + SPENT),
        ([spent(Malformed), spent(Malformed)], SPENT + SPENT + SPENT),
        ([spent(Rejected)], SPENT),
    ],
)
async def test_a_second_answer_that_never_comes_leaves_the_first_as_it_was(
    failures: list[AnswerError], usage: Usage
) -> None:
    judgement, _ = await judged(says("glad", 0.8), *failures)
    assert not judgement.doubts
    assert judgement.answer == says("glad", 0.8)
    assert judgement.usage == usage


async def test_a_stage_whose_other_words_fail_keeps_its_first_answer() -> None:
    event = Note(id="n-2", text="no other words")
    judgement, asked = await judged(says("glad", 0.8), event=event)
    assert not judgement.doubts
    assert asked == 1


async def test_a_stage_without_other_words_and_the_second_tier_are_asked_once() -> None:
    assert (await judged(says("glad", 0.8), stage=NoteStage()))[1] == 1
    assert (await judged(says("glad", 0.8), tier=Tier.SONNET))[1] == 1
