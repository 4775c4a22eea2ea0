"""Puts labelled events to both tiers, the way they are put in production."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cascade.ask_tier import TierAnswer, unanswered
from pipeline.cascade.judge import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.reading import AnyStage, Reading, published_result
from pipeline.cascade.stage_guard import of_stage
from pipeline.claude.gateway import Gateway
from pipeline.evaluate.labels import Labelled, Scoring
from pipeline.evaluate.recording import Recording
from pipeline.evaluate.strategies import Case, TierOutcome
from pipeline.model.errors import FileUnavailable, InvalidEvent
from pipeline.model.questions import Query
from pipeline.model.records import Tier
from pipeline.stages.api import RawEvent, label_of

AT_ONCE = 64
"""Events that are asked about at the same time, where nobody knows better."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that would become a dead letter, and so is in no table."""

    id: str
    reason: str
    detail: str


Told = Callable[[int], None]
"""Told of each answer, with a 1."""


class Interview:
    """Asks both tiers about labelled events.

    Args:
        stage: What is asked.
        policy: Says where a second opinion is wanted.
        scoring: What makes an answer right.
        recording: Where answers come from.
        gateway: Says how many questions are worth asking at once; None where nobody is asked.
    """

    def __init__(
        self,
        stage: AnyStage,
        policy: Policy,
        scoring: Scoring,
        recording: Recording,
        gateway: Gateway | None,
    ) -> None:
        self._stage = stage
        self._policy = policy
        self._scoring = scoring
        self._recording = recording
        self._gateway = gateway
        self._reading = Reading()
        self.inquiries: list[Query[Any]] = []

    async def cases(
        self, events: Sequence[Labelled], on_answer: Told
    ) -> tuple[list[Case], list[DeadLetter]]:
        """Ask about all of them; each is in exactly one of the two lists, in the given order.

        Raises:
            NotRecorded: An answer is missing and nobody is to be asked.
        """
        answered = await self._ask_all(events, Tier.HAIKU, on_answer)
        usable = [
            event
            for event, outcome in zip(events, answered, strict=True)
            if not isinstance(outcome, DeadLetter)
        ]
        again = await self._ask_all(usable, Tier.SONNET, on_answer)
        second = {event.id: outcome for event, outcome in zip(usable, again, strict=True)}
        cases, dead = [], []
        for event, haiku in zip(events, answered, strict=True):
            sonnet = second.get(event.id)
            if isinstance(haiku, DeadLetter):
                dead.append(haiku)
            elif isinstance(sonnet, DeadLetter):
                dead.append(sonnet)
            elif sonnet is not None:
                label = event.truth.get(self._scoring.label) if self._scoring.label else None
                named = None if label is None else str(label)
                cases.append(Case(event.id, named, event.out_of_scope, event.truth, haiku, sonnet))
        return cases, dead

    async def _ask_all(
        self, events: Sequence[Labelled], tier: Tier, on_answer: Told
    ) -> list[TierOutcome | DeadLetter]:
        room = asyncio.Semaphore(self._at_once(tier))

        async def one(event: Labelled) -> TierOutcome | DeadLetter:
            async with room:
                outcome = await self._ask(event, tier)
            on_answer(1)
            return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(event)) for event in events]
        return [task.result() for task in tasks]

    def _at_once(self, tier: Tier) -> int:
        if self._gateway is None:
            return AT_ONCE
        return max(AT_ONCE, self._gateway.at_once(self._stage.name, tier))

    async def _ask(self, labelled: Labelled, tier: Tier) -> TierOutcome | DeadLetter:
        stage = self._stage
        try:
            headers = {name: value for name, value in labelled.headers if value is not None}
            event: RawEvent = of_stage(
                stage.name, stage.parse, labelled.value, key=None, headers=headers
            )
            hearing = await self._hear(event, tier)
        except InvalidEvent as invalid:
            return DeadLetter(labelled.id, invalid.reason.value, invalid.detail)
        return self._compared(labelled, event, hearing)

    async def _hear(self, event: RawEvent, tier: Tier) -> TierAnswer[Any]:
        stage = self._stage
        try:
            inquiry = await self._reading.ask_about(stage, event)
        except FileUnavailable as failure:
            return unanswered(failure)
        if tier is Tier.HAIKU:
            self.inquiries.append(inquiry)
        return await CascadePolicy(self._recording.session(), self._policy, tier).ask_tier(
            stage, event, inquiry
        )

    def _compared(
        self, labelled: Labelled, event: RawEvent, hearing: TierAnswer[Any]
    ) -> TierOutcome:
        answer, stage = hearing.answer, self._stage
        result = published_result(stage, event, answer)
        fields = self._scoring.compare(labelled.truth, result or {})
        if result is None:
            # Nothing is not a right answer, even where there is nothing to be found.
            fields = dict.fromkeys(fields, False)
        return TierOutcome(
            right=not labelled.out_of_scope and self._scoring.is_right(fields),
            fields=fields,
            said=None if answer is None else label_of(stage, answer),
            gave_up=answer is None or answer.unclear,
            confidence=None if answer is None else answer.stated_confidence,
            signals=hearing.signals,
            usage=hearing.usage,
            seconds=hearing.seconds,
            model=hearing.model,
            result=result,
        )
