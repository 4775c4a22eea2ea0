"""What a stage asks, where it asks a single question."""

from typing import TypeVar

from pydantic import BaseModel

from pipeline.model.questions import Query, Question

AnswerT = TypeVar("AnswerT", bound=BaseModel)


def single(inquiry: Query[AnswerT]) -> Question[AnswerT]:
    """The one question of an inquiry that has no more."""
    assert isinstance(inquiry, Question)
    return inquiry
