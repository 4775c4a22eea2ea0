"""What a stage asks, where it asks a single question."""

from typing import TypeVar

from pydantic import BaseModel

from pipeline.questions import Inquiry, Question

AnswerT = TypeVar("AnswerT", bound=BaseModel)


def single(inquiry: Inquiry[AnswerT]) -> Question[AnswerT]:
    """The one question of an inquiry that has no more."""
    assert isinstance(inquiry, Question)
    return inquiry
