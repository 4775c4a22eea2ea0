"""One answer of one tier: asked in as many calls as it takes, repeated where that helps, priced.

What the answer is worth is weighed here, as signals; whether it is accepted is decided elsewhere
(`pipeline.cascade.judge`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.cascade.policy import limit_for_repetition, signal_of, statement_signals
from pipeline.cascade.reading import is_long
from pipeline.cascade.stage_guard import of_stage
from pipeline.model.errors import AnswerError, InvalidEvent, Rejected
from pipeline.model.questions import Asker, MultiStepQuery, Query, Question, Response, Signal
from pipeline.model.records import DeadLetterReason, Tier, Usage
from pipeline.stages.api import Answer, RawEvent, Stage

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class TierAnswer(Generic[AnswerT]):
    """What one tier said about an event, before anybody decides whether that is good enough.

    Args:
        answer: Null where no usable answer came.
        signals: What speaks against the answer, or why there is none.
        usage: Of all calls that were made, repetitions included.
        model: The model that was asked last, as the API names it.
        seconds: Spent in calls, summed.
    """

    answer: AnswerT | None
    signals: tuple[Signal, ...]
    usage: Usage
    model: str
    seconds: float


async def ask_tier(
    asker: Asker,
    tier: Tier,
    stage: Stage[RawT, AnswerT],
    event: RawT,
    inquiry: Query[AnswerT],
) -> TierAnswer[AnswerT]:
    """Ask one tier and check its answer, without judging it.

    Args:
        asker: Waits out whatever can be waited out.
        tier: Who is asked.
        stage: Checks the answer.
        event: What it is about.
        inquiry: What the stage asks about it.

    Raises:
        InvalidEvent: The API takes no such request, or the stage failed over an answer.
    """
    calls: list[_Called] = []
    while True:
        steps = MultiStepQuery((inquiry,), _the_only) if isinstance(inquiry, Question) else inquiry
        made = await _call_all(asker, tier, steps.questions)
        calls += made
        if failures := [call.failure for call in made if call.failure is not None]:
            _refuse_rejected(failures, attempts=sum(call.attempts for call in calls))
            return _tier_answer(None, dict.fromkeys(map(signal_of, failures)), calls)
        answers = tuple(call.reply.answer for call in made if call.reply is not None)
        follows = of_stage(stage.name, steps.then, answers)
        if not isinstance(follows, Question | MultiStepQuery):
            checked = await _checked(stage, event, follows)
            read = [signal for call in calls if call.reply for signal in call.reply.signals]
            return _tier_answer(follows, [*read, *statement_signals(follows), *checked], calls)
        inquiry = follows


def unanswered(failure: AnswerError) -> TierAnswer[Any]:
    """What comes of an event about which nothing could be asked."""
    return TierAnswer(
        None,
        (signal_of(failure),),
        usage=failure.usage,
        model=failure.model,
        seconds=failure.seconds,
    )


async def _checked(stage: Stage[RawT, AnswerT], event: RawT, answer: AnswerT) -> Sequence[Signal]:
    # A stage that says nothing of it has fast checks.
    if getattr(stage, "checks_slowly", False) or is_long(event):
        return await asyncio.to_thread(of_stage, stage.name, stage.signals, event, answer)
    return of_stage(stage.name, stage.signals, event, answer)


@dataclass(frozen=True, slots=True)
class _Called:
    """One question, put as often as that helped."""

    reply: Response[Any] | None
    failure: AnswerError | None
    usage: Usage
    model: str
    seconds: float
    attempts: int


def _tier_answer(
    answer: AnswerT | None, signals: Iterable[Signal], calls: Sequence[_Called]
) -> TierAnswer[AnswerT]:
    return TierAnswer(
        answer,
        tuple(signals),
        usage=Usage.total(call.usage for call in calls),
        model=calls[-1].model,
        seconds=sum(call.seconds for call in calls),
    )


async def _call_all(
    asker: Asker, tier: Tier, questions: Sequence[Question[Any]]
) -> Sequence[_Called]:
    if len(questions) == 1:
        return [await _call(asker, tier, questions[0])]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_call(asker, tier, question)) for question in questions]
    return [task.result() for task in tasks]


async def _call(asker: Asker, tier: Tier, question: Question[Any]) -> _Called:
    spent: list[Usage] = []
    seconds, attempt = 0.0, 1
    limit = question.max_output_tokens
    while True:
        try:
            reply = await asker.ask(question, tier, max_output_tokens=limit)
        except AnswerError as failure:
            spent.append(failure.usage)
            seconds += failure.seconds
            next_limit = limit_for_repetition(failure, attempt=attempt, limit=limit)
            if next_limit is None:
                usage = Usage.total(spent)
                return _Called(None, failure, usage, failure.model, seconds, attempt)
            limit, attempt = next_limit, attempt + 1
        else:
            usage = Usage.total((*spent, reply.usage))
            return _Called(reply, None, usage, reply.model, seconds + reply.seconds, attempt)


def _refuse_rejected(failures: Sequence[AnswerError], *, attempts: int) -> None:
    for failure in failures:
        if isinstance(failure, Rejected):
            reason = DeadLetterReason.REJECTED_BY_API
            raise InvalidEvent(reason, failure.detail, attempts=attempts) from failure


def _the_only(answers: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the question asks for
    return answers[0]
