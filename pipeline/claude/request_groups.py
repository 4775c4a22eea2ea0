"""Questions that travel together: gathers small events of one stage into joint requests.

An event whose answer is missing, invalid or doubtful is asked again alone, so the worst that a
joint request can do is to cost more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import BaseModel

from pipeline.claude.attempts import Bounds
from pipeline.claude.cache.prompt_cache import Prompt
from pipeline.claude.cache.single_flight import InFlightCall
from pipeline.claude.calls import Caller, CompletedCall, ModelRequest
from pipeline.claude.joint_requests import (
    JointAnswer,
    joint_content,
    may_join,
    read_item,
    read_items,
    shares,
)
from pipeline.claude.responses import Answered
from pipeline.model.errors import AnswerError
from pipeline.model.questions import Part, Question
from pipeline.model.records import Usage

LINGER_SECONDS = 0.05
"""That an event waits for others to share a request with; a call takes many times that."""
BOUNDS = Bounds(attempts=2, seconds=0)
"""When a request fails while others are answered, it is for one of its events: all go alone."""
Doubtful = Callable[[str, BaseModel], bool]
"""Whether an answer of a stage is doubtful enough to ask again, the event alone."""
Steers = Callable[[Sequence[Part]], bool]
"""Whether an event may be meant to steer the model, and with it the answers to its neighbours."""


def says_unclear(stage: str, answer: BaseModel) -> bool:
    """The least of doubts: the answer itself says that it is unclear."""
    del stage
    return bool(getattr(answer, "unclear", False))


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """How a stage's events travel.

    Args:
        most: Events in a request.
        linger: Seconds that the first waits for others.
    """

    most: int
    linger: float


@dataclass(frozen=True, slots=True, eq=False)
class _PendingItem:
    order: ModelRequest
    flight: InFlightCall[Any]
    outcome: "asyncio.Future[tuple[Answered[Any] | None, Usage, float]]"


class Coalescer:
    """Makes calls like `Caller.call`, for several orders at once where they may share one.

    Args:
        caller: Makes the calls.
        joint_prompt: The prompt for several events that belongs to an order's.
        doubtful: Decides which answers are asked again alone.
        steers: Decides which events are asked alone from the start.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        joint_prompt: Callable[[ModelRequest], Prompt],
        doubtful: Doubtful = says_unclear,
        steers: Steers = lambda _: False,
    ) -> None:
        self._caller = caller
        self._joint_prompt = joint_prompt
        self._doubtful = doubtful
        self._steers = steers
        self._gathering: dict[Prompt, list[_PendingItem]] = {}
        self._timers: dict[Prompt, asyncio.TimerHandle] = {}
        self._journeys: set[asyncio.Task[None]] = set()

    async def call(
        self, order: ModelRequest, flight: InFlightCall[Any], company: RequestGroup
    ) -> CompletedCall:
        """Ask, together with others if any come in time.

        Raises:
            AnswerError: The answer is no use, asked alone as well.
        """
        question = order.question
        if (
            order.max_output_tokens != question.max_output_tokens
            or not may_join(question.parts)
            or self._steers(question.parts)
        ):
            return await self._caller.call(order, flight)
        answered, share, seconds = await self._travel(order, flight, company)
        if answered is not None:
            return CompletedCall(answered, share, seconds)
        try:
            alone = await self._caller.call(order, flight)
        except AnswerError as error:
            error.usage = share + error.usage
            error.seconds += seconds
            raise
        return CompletedCall(alone.answered, share + alone.usage, seconds + alone.seconds)

    async def close(self) -> None:
        """Give up what is under way."""
        for timer in self._timers.values():
            timer.cancel()
        for journey in self._journeys:
            journey.cancel()
        if self._journeys:
            await asyncio.wait(self._journeys)

    async def _travel(
        self, order: ModelRequest, flight: InFlightCall[Any], company: RequestGroup
    ) -> tuple[Answered[Any] | None, Usage, float]:
        loop = asyncio.get_running_loop()
        traveller = _PendingItem(order, flight, loop.create_future())
        gathered = self._gathering.setdefault(order.prompt, [])
        gathered.append(traveller)
        if len(gathered) >= company.most:
            self._depart(order.prompt)
        elif len(gathered) == 1:
            self._timers[order.prompt] = loop.call_later(company.linger, self._depart, order.prompt)
        return await traveller.outcome

    def _depart(self, prompt: Prompt) -> None:
        if (timer := self._timers.pop(prompt, None)) is not None:
            timer.cancel()
        # Who was cancelled while it waited stays behind.
        travellers = [t for t in self._gathering.pop(prompt, []) if not t.outcome.done()]
        if not travellers:
            return
        if len(travellers) == 1:
            travellers[0].outcome.set_result((None, Usage(), 0.0))
            return
        journey = asyncio.get_running_loop().create_task(self._journey(travellers))
        self._journeys.add(journey)
        journey.add_done_callback(partial(self._arrived, travellers))

    def _arrived(self, travellers: Sequence[_PendingItem], journey: "asyncio.Task[None]") -> None:
        self._journeys.discard(journey)
        if journey.cancelled():
            for traveller in travellers:
                traveller.outcome.cancel()
        elif (error := journey.exception()) is not None:
            for traveller in travellers:
                if not traveller.outcome.done():
                    traveller.outcome.set_exception(error)

    async def _journey(self, travellers: Sequence[_PendingItem]) -> None:
        order = self._joint_order(travellers)
        weights = [traveller.order.weight for traveller in travellers]
        # From here on each is paid for, whether it is still wanted or not.
        for traveller in travellers:
            traveller.flight.sending = True
        try:
            delivery = await self._caller.call(order)
        except AnswerError as error:
            # Whatever is wrong, it may be wrong with one of them alone.
            ends: list[Answered[Any] | None] = [None] * len(travellers)
            usage, seconds = error.usage, error.seconds
        else:
            ends = self._read(delivery, travellers)
            usage, seconds = delivery.usage, delivery.seconds
        finally:
            for traveller in travellers:
                traveller.flight.sending = False
        for traveller, end, share in zip(travellers, ends, shares(usage, weights), strict=True):
            if not traveller.outcome.done():
                traveller.outcome.set_result((end, share, seconds))

    def _joint_order(self, travellers: Sequence[_PendingItem]) -> ModelRequest:
        first = travellers[0].order
        prompt = self._joint_prompt(first)
        limit = sum(traveller.order.max_output_tokens for traveller in travellers)
        events = [traveller.order.question.parts for traveller in travellers]
        question: Question[Any] = replace(
            first.question,
            answer_model=JointAnswer,
            parts=tuple(part for parts in events for part in parts),
            max_output_tokens=limit,
        )
        return ModelRequest(
            question=question,
            tier=first.tier,
            prompt=prompt,
            lane=first.lane,
            body=prompt.template.body(joint_content(events), max_output_tokens=limit),
            weight=sum(traveller.order.weight for traveller in travellers),
            max_output_tokens=limit,
            bounds=BOUNDS,
        )

    def _read(
        self, delivery: CompletedCall, travellers: Sequence[_PendingItem]
    ) -> list[Answered[Any] | None]:
        whole = delivery.answered
        if whole.signals:
            # It is not known whose part of it is in doubt.
            return [None] * len(travellers)
        items = read_items(whole.answer, len(travellers))
        return [
            self._read_one(whole, item, traveller.order)
            for item, traveller in zip(items, travellers, strict=True)
        ]

    def _read_one(
        self,
        whole: Answered[Any],
        item: Any,  # noqa: ANN401 - any JSON value
        order: ModelRequest,
    ) -> Answered[Any] | None:
        repair = order.prompt.repair
        read = read_item(item, order.question.answer_model, repair)
        if read is None or self._doubtful(order.question.stage, read[0]):
            return None
        return Answered(*read, whole.model, whole.bill)
