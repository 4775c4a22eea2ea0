"""An asker without an API, for tests of whatever asks."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from pipeline.events import Tier, Usage
from pipeline.questions import AnswerT, Question, Reply


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put to the fake."""

    question: Question[Any]
    tier: Tier
    max_output_tokens: int | None


FAKE_USAGE = Usage(calls=1, input_tokens=100, output_tokens=20, cost_usd=Decimal("0.00002"))
"""What each answer of the fake costs."""


class FakeAsker:
    """Answers as it is told, at once; remembers what it was asked.

    Args:
        answer: Returns the answer to a question; what it raises is raised, for instance a
            `pipeline.errors.Refused`.
        model: The model that answers, by tier.
    """

    def __init__(
        self,
        answer: Callable[[Question[Any], Tier], BaseModel],
        *,
        model: Callable[[Tier], str] = lambda tier: f"fake-{tier.value}",
    ) -> None:
        self._answer = answer
        self._model = model
        self.asked: list[Asked] = []

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Reply[AnswerT]:
        """Answer as told."""
        self.asked.append(Asked(question, tier, max_output_tokens))
        answer = self._answer(question, tier)
        if not isinstance(answer, question.answer_model):
            raise TypeError(f"{question.stage} asks for a {question.answer_model.__name__}")
        return Reply(answer=answer, model=self._model(tier), usage=FAKE_USAGE, seconds=0.0)
