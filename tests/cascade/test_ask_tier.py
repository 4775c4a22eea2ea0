"""One answer out of several calls: what is asked when, what it costs, and what a failure does."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pipeline.cascade.deciding import TierAnswer, ask_tier
from pipeline.model.errors import (
    AnswerError,
    InvalidEvent,
    Malformed,
    NoRoom,
    Refused,
    Rejected,
    StageFailed,
    TruncatedResponse,
)
from pipeline.model.questions import MultiStepQuery, Query, Question, Response, Signal, Text
from pipeline.model.records import Tier, Usage
from tests.cascade.stand_ins import SPENT, Note, NoteAnswer, NoteStage, ScriptedAsker

NOTE = Note(id="n-1", text="all is well")
STAGE = NoteStage()


def answer(mood: str, *, doubtful: bool = False) -> NoteAnswer:
    return NoteAnswer(mood=mood, doubtful=doubtful, confidence=0.95, unclear=False)


def spent(kind: type[AnswerError]) -> AnswerError:
    return kind("no use", usage=SPENT, model="model-haiku", seconds=0.5)


def about(text: str) -> Question[NoteAnswer]:
    return STAGE.question(Note(id="n-1", text=text))


async def tier_answer_to(
    asker: ScriptedAsker, inquiry: Query[NoteAnswer], tier: Tier = Tier.HAIKU
) -> TierAnswer[NoteAnswer]:
    return await ask_tier(asker, tier, STAGE, NOTE, inquiry)


async def test_one_question_brings_its_answer_with_what_speaks_against_it() -> None:
    found = await tier_answer_to(ScriptedAsker(answer("glad", doubtful=True)), about("well"))

    assert found.answer is not None
    assert found.answer.mood == "glad"
    assert {signal.code for signal in found.signals} == {"low_confidence", "evidence_not_found"}
    assert (found.usage, found.seconds, found.model) == (SPENT, 0.5, "model-haiku")


async def test_what_is_asked_next_follows_from_the_answer_and_both_calls_are_priced() -> None:
    asked: list[str] = []

    def then(answers: tuple[NoteAnswer, ...]) -> Question[NoteAnswer]:
        asked.append(answers[0].mood)
        return about(answers[0].mood)

    found = await tier_answer_to(
        ScriptedAsker(answer("first"), answer("second")), MultiStepQuery((about("well"),), then)
    )

    assert asked == ["first"]
    assert found.answer is not None
    assert found.answer.mood == "second"
    assert found.usage == SPENT + SPENT
    assert found.seconds == 1.0


async def test_answers_come_in_the_order_of_the_questions_and_may_be_joined_without_a_call() -> (
    None
):
    def join(answers: tuple[NoteAnswer, ...]) -> NoteAnswer:
        return answer("+".join(each.mood for each in answers))

    steps = MultiStepQuery((about("a"), about("b"), about("c")), join)

    found = await tier_answer_to(ScriptedAsker(answer("1"), answer("2"), answer("3")), steps)

    assert found.answer is not None
    assert found.answer.mood == "1+2+3"
    assert found.usage.calls == 3


async def test_questions_of_one_step_are_under_way_together() -> None:
    under_way = asyncio.Barrier(3)

    class MeetingAsker:
        async def ask(
            self, question: Question[Any], tier: Tier, *, max_output_tokens: int | None = None
        ) -> Response[Any]:
            await under_way.wait()
            (part,) = question.parts
            assert isinstance(part, Text)
            return Response(answer(part.text), "model", SPENT, 0.5)

    steps = MultiStepQuery((about("a"), about("b"), about("c")), lambda answers: answers[2])

    async with asyncio.timeout(5):
        found = await ask_tier(MeetingAsker(), Tier.HAIKU, STAGE, NOTE, steps)

    assert found.answer is not None
    assert found.answer.mood == "c"


async def test_each_question_is_repeated_by_itself() -> None:
    asker = ScriptedAsker(answer("first"), spent(TruncatedResponse), answer("second"))

    found = await tier_answer_to(asker, MultiStepQuery((about("a"),), lambda _: about("b")))

    assert [limit for _, limit in asker.asked] == [100, 100, 200]
    assert found.answer is not None
    assert found.usage.calls == 3


async def test_without_one_of_the_answers_there_is_none_and_nothing_more_is_asked() -> None:
    asker = ScriptedAsker(answer("a"), spent(Refused), answer("c"))

    def never(answers: tuple[NoteAnswer, ...]) -> NoteAnswer:
        raise AssertionError(answers)

    found = await tier_answer_to(asker, MultiStepQuery((about("a"), about("b"), about("c")), never))

    assert found.answer is None
    assert [signal.code for signal in found.signals] == ["refused"]
    assert found.usage == Usage() + SPENT + SPENT + SPENT


async def test_a_follow_up_that_stays_without_an_answer_leaves_none() -> None:
    asker = ScriptedAsker(answer("a"), spent(Malformed), spent(Malformed))

    found = await tier_answer_to(asker, MultiStepQuery((about("a"),), lambda _: about("b")))

    assert found.answer is None
    assert [signal.code for signal in found.signals] == ["malformed"]
    assert found.usage.calls == 3


async def test_a_rejected_follow_up_says_how_many_calls_were_made() -> None:
    asker = ScriptedAsker(answer("a"), spent(Rejected))

    with pytest.raises(InvalidEvent) as caught:
        await tier_answer_to(asker, MultiStepQuery((about("a"),), lambda _: about("b")))

    assert caught.value.reason == "rejected_by_api"
    assert caught.value.attempts == 2


async def test_a_bug_in_an_answer_model_costs_the_event_alone() -> None:
    asker = ScriptedAsker(answer("a"), spent(StageFailed))

    with pytest.raises(InvalidEvent) as caught:
        await tier_answer_to(asker, MultiStepQuery((about("a"), about("b")), lambda _: about("c")))

    assert caught.value.reason == "stage_failed"
    assert caught.value.attempts == 2


async def test_a_bug_in_what_follows_costs_the_event_alone() -> None:
    with pytest.raises(InvalidEvent) as caught:
        await tier_answer_to(
            ScriptedAsker(answer("a")), MultiStepQuery((about("a"),), lambda answers: answers[1])
        )

    assert caught.value.reason == "stage_failed"


@pytest.mark.parametrize("slow", [True, False])
async def test_slow_checks_leave_the_event_loop_alone(slow: bool) -> None:
    class Checked(NoteStage):
        checks_slowly = slow

        def signals(self, event: Note, answer: NoteAnswer) -> Sequence[Signal]:
            self.thread = threading.current_thread()
            return super().signals(event, answer)

    stage = Checked()
    found = await ask_tier(
        ScriptedAsker(answer("glad", doubtful=True)), Tier.HAIKU, stage, NOTE, about("x")
    )
    assert "evidence_not_found" in {signal.code for signal in found.signals}
    assert (stage.thread is not threading.main_thread()) is slow


async def test_a_bug_in_a_function_without_a_name_costs_the_event_too() -> None:
    def follows(answers: tuple[NoteAnswer, ...], *, mood: str) -> NoteAnswer:
        raise KeyError(mood)

    steps = MultiStepQuery((about("well"),), partial(follows, mood="glad"))
    with pytest.raises(InvalidEvent, match=r"follows\(\) failed with KeyError") as caught:
        await tier_answer_to(ScriptedAsker(answer("glad")), steps)
    assert caught.value.reason == "stage_failed"


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_full_context_is_not_asked_about_with_a_larger_limit(tier: Tier) -> None:
    asker = ScriptedAsker(spent(NoRoom), answer("glad"))
    found = await tier_answer_to(asker, about("well"), tier)
    assert found.answer is None
    assert [signal.code for signal in found.signals] == ["cut_off"]
    assert found.usage.calls == 1


async def test_what_speaks_against_how_an_answer_was_written_is_a_signal() -> None:
    doubt = Signal("broken_form", 1.0, "a key twice")

    class Doubting(ScriptedAsker):
        async def ask(self, *asked: Any, **options: Any) -> Response[Any]:  # noqa: ANN401
            return replace(await super().ask(*asked, **options), signals=(doubt,))

    found = await tier_answer_to(Doubting(answer("glad")), about("well"))
    assert found.answer is not None
    assert doubt in found.signals
