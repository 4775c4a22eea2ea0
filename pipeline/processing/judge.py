"""Asks one tier about an event and judges the answer."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.escalation.policy import Policy
from pipeline.events import Doubt, Tier, Usage
from pipeline.processing.hearing import hear
from pipeline.questions import Asker, Inquiry
from pipeline.stages.deciding import label_of
from pipeline.stages.stage import Answer, RawEvent, Stage

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Judgement(Generic[AnswerT]):
    """What asking one tier came to.

    Args:
        answer: Null where no usable answer came.
        doubts: Empty if, and only if, the answer is accepted.
        usage: Of all calls that were made, repetitions included.
        model: The model that was asked last, as the API names it.
        seconds: Spent in calls, summed.
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
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        inquiry: Inquiry[AnswerT],
        *,
        key: bytes,
    ) -> Judgement[AnswerT]:
        """Ask and judge.

        Args:
            stage: Checks the answer.
            event: What it is about.
            inquiry: What the stage asks about it.
            key: Of the record; decides whether the event is in the random sample.

        Raises:
            Invalid: The API takes no such request, or the stage failed over the answer.
        """
        heard = await hear(self._asker, self.tier, stage, event, inquiry)
        label = None if heard.answer is None else label_of(stage, heard.answer)
        doubts = (
            *self._policy.doubts(stage.name, self.tier, heard.signals, label=label),
            *self._policy.audit(stage.name, self.tier, key),
        )
        return Judgement(heard.answer, doubts, heard.usage, heard.model, heard.seconds)
