"""Paying once: identical questions share a call, and what was answered is answered again."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from pipeline.claude.answers import AnswerFile, Answers, Kept, key_of
from pipeline.claude.calls import Delivery, Order
from pipeline.claude.flights import Flight, Flights
from pipeline.claude.observer import ClaudeObserver, ReuseKind
from pipeline.errors import AnswerError
from pipeline.events import Usage
from pipeline.questions import Reply

Landed = Delivery | Kept
Call = Callable[[Order, Flight[Landed]], Coroutine[Any, Any, Delivery]]

NOT_PAID = Usage(reused=1)


class Reuse:
    """Looks for an answer before it makes a call.

    Args:
        answers: In memory.
        file: On disk; None where the settings keep none.
        call: Makes a call.
        observer: Told of what was not paid again.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        answers: Answers,
        file: AnswerFile | None,
        call: Call,
        *,
        observer: ClaudeObserver,
        now: Callable[[], float],
    ) -> None:
        self._answers = answers
        self._file = file
        self._call = call
        self._observer = observer
        self._now = now
        self._flights: Flights[Landed] = Flights()

    async def ask(self, order: Order) -> Reply[Any]:
        """Answer from what is known, from a call under way, or by a call.

        Raises:
            AnswerError: The answer is no use.
        """
        key = key_of(order.body)
        kept = self._answers.get(key)
        if kept is not None and (reply := self._again(order, kept, "memory")) is not None:
            return reply

        async def fly(flight: Flight[Landed]) -> Landed:
            return await self._look_or_call(key, order, flight)

        task, shared = await self._flights.join(key, fly)
        try:
            landed = task.result()
        except AnswerError as error:
            if not shared:
                raise
            self._tell(order, "in_flight")
            raise type(error)(
                error.detail, usage=NOT_PAID, model=error.model, seconds=0.0
            ) from error
        if isinstance(landed, Delivery) and not shared:
            return reply_of(landed)
        found = landed if isinstance(landed, Kept) else self._kept(landed)
        reply = self._again(order, found, "in_flight" if shared else "disk")
        if reply is None:
            return reply_of(await self._call(order, Flight(key, 1)))
        if isinstance(landed, Delivery):
            return replace(reply, signals=landed.answered.signals)
        return reply

    async def save(self) -> None:
        """Write down what is new."""
        if self._file is not None:
            await self._file.save()

    async def close(self) -> None:
        """Give up the calls under way."""
        await self._flights.close()

    async def _look_or_call(self, key: bytes, order: Order, flight: Flight[Landed]) -> Landed:
        if self._file is not None and (kept := await self._file.get(key)) is not None:
            self._answers.put(key, kept)
            return kept
        delivery = await self._call(order, flight)
        if delivery.answered.signals:
            # What was doubtful once would be trusted the next time.
            return delivery
        kept = self._kept(delivery)
        self._answers.put(key, kept)
        if self._file is not None:
            self._file.put(key, kept)
        return delivery

    def _kept(self, delivery: Delivery) -> Kept:
        answered = delivery.answered
        return Kept(answered.json, answered.model, self._now())

    def _again(self, order: Order, kept: Kept, kind: ReuseKind) -> Reply[Any] | None:
        """The reply that an answer makes for this question; None where it is no answer to it."""
        try:
            answer = order.question.answer_model.model_validate_json(kept.json)
        except ValidationError:
            # The stage's own checks have changed since, although its request has not.
            return None
        self._tell(order, kind)
        return Reply(answer, kept.model, NOT_PAID, 0.0)

    def _tell(self, order: Order, kind: ReuseKind) -> None:
        self._observer.reused(order.question.stage, order.lane.model, kind)


def reply_of(delivery: Delivery) -> Reply[Any]:
    """The reply of a call that was made."""
    answered = delivery.answered
    return Reply(
        answered.answer, answered.model, delivery.usage, delivery.seconds, answered.signals
    )
