"""Asks one tier about an event, repeats where that helps, and judges the answer."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.errors import AnswerError, Invalid, Rejected
from pipeline.escalation.failures import limit_for_repetition, signal_of
from pipeline.escalation.policy import Policy
from pipeline.escalation.statement import statement_signals
from pipeline.events import DeadLetterReason, Doubt, Tier, Usage
from pipeline.processing.boundary import of_stage
from pipeline.questions import Asker, Question
from pipeline.signals import Signal
from pipeline.stages.stage import Answer, RawEvent, Stage

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Hearing(Generic[AnswerT]):
    """What one tier said about an event, before anybody decides whether that is good enough.

    Args:
        answer: Null where no usable answer came.
        signals: Everything that speaks against it, however weakly.
        usage: Of all calls that were made, repetitions included.
        model: The model that was asked last, as the API names it.
        seconds: Spent in calls.
    """

    answer: AnswerT | None
    signals: tuple[Signal, ...]
    usage: Usage
    model: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Judgement(Generic[AnswerT]):
    """What asking one tier came to.

    Args:
        answer: Null where no usable answer came.
        doubts: Empty if, and only if, the answer is accepted.
        usage: Of all calls that were made, repetitions included.
        model: The model that was asked last, as the API names it.
        seconds: Spent in calls.
    """

    answer: AnswerT | None
    doubts: tuple[Doubt, ...]
    usage: Usage
    model: str
    seconds: float


class Judge:
    """Asks one tier and judges what it says.

    Args:
        asker: Waits out whatever can be waited out.
        policy: Which signals are doubts.
        tier: Who is asked.
    """

    def __init__(self, asker: Asker, policy: Policy, tier: Tier) -> None:
        self._asker = asker
        self._policy = policy
        self.tier = tier

    async def __call__(
        self, stage: Stage[RawT, AnswerT], event: RawT, question: Question[AnswerT]
    ) -> Judgement[AnswerT]:
        """Ask and judge.

        Raises:
            Invalid: The API takes no such request, or the stage failed over the answer.
        """
        heard = await hear(self._asker, self.tier, stage, event, question)
        doubts = self._policy.doubts(stage.name, self.tier, heard.signals)
        return Judgement(heard.answer, doubts, heard.usage, heard.model, heard.seconds)


async def hear(
    asker: Asker,
    tier: Tier,
    stage: Stage[RawT, AnswerT],
    event: RawT,
    question: Question[AnswerT],
) -> Hearing[AnswerT]:
    """Ask one tier and check its answer, without judging it.

    Raises:
        Invalid: The API takes no such request, or the stage failed over the answer.
    """
    usage, seconds, attempt = Usage(), 0.0, 1
    limit = question.max_output_tokens
    while True:
        try:
            reply = await asker.ask(question, tier, max_output_tokens=limit)
        except Rejected as failure:
            reason = DeadLetterReason.REJECTED_BY_API
            raise Invalid(reason, failure.detail, attempts=attempt) from failure
        except AnswerError as failure:
            usage += failure.usage
            seconds += failure.seconds
            next_limit = limit_for_repetition(failure, attempt=attempt, limit=limit)
            if next_limit is None:
                return Hearing(None, (signal_of(failure),), usage, failure.model, seconds)
            limit, attempt = next_limit, attempt + 1
        else:
            checked = of_stage(stage.name, stage.signals, event, reply.answer)
            signals = (*statement_signals(reply.answer), *checked)
            usage += reply.usage
            seconds += reply.seconds
            return Hearing(reply.answer, signals, usage, reply.model, seconds)
