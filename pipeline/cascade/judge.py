"""Asks one tier about an event and judges the answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from pipeline.cascade.ask_tier import TierAnswer, ask_tier, unanswered
from pipeline.cascade.policy import TROUBLES, Policy
from pipeline.cascade.reading import AnyStage, Reading
from pipeline.cascade.second_opinion import LIFTED, weighed
from pipeline.model.errors import FileUnavailable, InvalidEvent
from pipeline.model.questions import Asker, Query
from pipeline.model.records import Doubt, Tier, Usage
from pipeline.stages.api import Answer, RawEvent, Stage, differences, label_of

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decision(Generic[AnswerT]):
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


def warn_of_trouble(
    stage: AnyStage, event: RawEvent, doubts: Sequence[Doubt], before: Sequence[Doubt] = ()
) -> None:
    """Name an event in the log that failed while others did not; once, and not at each tier.

    Args:
        stage: Whose event.
        event: Which.
        doubts: Of this tier.
        before: Of the tier before.
    """
    reported = {doubt.code for doubt in before}
    for doubt in doubts:
        if doubt.code in TROUBLES - reported:
            log.warning(doubt.code, stage=stage.name, event_id=event.id, because=doubt.detail)


class CascadePolicy:
    """Asks one tier and judges what it says.

    Args:
        asker: Waits out whatever can be waited out.
        policy: Which signals are doubts.
        tier: Who is asked.
        reading: Builds the questions.
    """

    def __init__(
        self, asker: Asker, policy: Policy, tier: Tier, reading: Reading | None = None
    ) -> None:
        self._asker = asker
        self._policy = policy
        self.tier = tier
        self._reading = reading or Reading()

    async def __call__(
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        *,
        key: bytes,
    ) -> Decision[AnswerT]:
        """Ask and judge.

        Args:
            stage: Checks the answer.
            event: What it is about.
            key: Of the record; decides whether the event is in the random sample.

        Raises:
            InvalidEvent: The event's file is not what it says it is, the API takes no such request,
                or the stage failed over the answer.
        """
        try:
            inquiry = await self._reading.ask_about(stage, event)
        except FileUnavailable as failure:
            found: TierAnswer[AnswerT] = unanswered(failure)
        else:
            found = await self.ask_tier(stage, event, inquiry)
        audited = self._policy.audit(stage.name, self.tier, key)
        doubts = (*self._doubts(stage, found), *audited)
        return Decision(found.answer, doubts, found.usage, found.model, found.seconds)

    async def ask_tier(
        self, stage: Stage[RawT, AnswerT], event: RawT, inquiry: Query[AnswerT]
    ) -> TierAnswer[AnswerT]:
        """Ask, once more where the policy wants a second opinion, and judge nothing.

        Args:
            stage: Checks the answer.
            event: What it is about.
            inquiry: What the stage asks about it.

        Raises:
            InvalidEvent: The API takes no such request, or the stage failed over the answer.
        """
        first = await ask_tier(self._asker, self.tier, stage, event, inquiry)
        if first.answer is None or not self._policy.of(stage.name, self.tier).second_opinion:
            return first
        if not self._policy.wants_second_opinion(
            stage.name,
            self.tier,
            confidence=first.answer.confidence,
            doubts=self._doubts(stage, first),
        ):
            return first
        return await self._with_second_opinion(stage, event, first, first.answer)

    def _doubts(self, stage: Stage[RawT, AnswerT], first: TierAnswer[AnswerT]) -> tuple[Doubt, ...]:
        label = None if first.answer is None else label_of(stage, first.answer)
        return self._policy.doubts(stage.name, self.tier, first.signals, label=label)

    async def _with_second_opinion(
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        first: TierAnswer[AnswerT],
        answer: AnswerT,
    ) -> TierAnswer[AnswerT]:
        """The first answer with what a second one says of it, and the price of both.

        A second one that is itself doubted confirms nothing, and one that never comes says
        nothing: the event is not at fault, since it was answered once.
        """
        try:
            inquiry = await self._reading.ask_again_about(stage, event)
            if inquiry is None:
                return first
            second = await ask_tier(self._asker, self.tier, stage, event, inquiry)
        except (InvalidEvent, FileUnavailable) as failure:
            log.warning("no_second_opinion", stage=stage.name, because=failure.detail)
            return first
        signals = first.signals
        if second.answer is not None:
            differ = differences(stage, answer.model_dump(), second.answer.model_dump())
            is_sound = all(doubt.code in LIFTED for doubt in self._doubts(stage, second))
            if differ or (differ is not None and is_sound):
                signals = weighed(first.signals, differ)
        return replace(
            first,
            signals=signals,
            usage=first.usage + second.usage,
            seconds=first.seconds + second.seconds,
        )
