"""The same question in other words: for a second opinion that is more than an echo.

The wording is as fixed as the first one, so that the prompt cache holds it as well.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pipeline.questions import Inquiry, Question, Steps
from pipeline.stages.stage import Answer, RawEvent

RawT_contra = TypeVar("RawT_contra", bound=RawEvent, contravariant=True)
AnswerT = TypeVar("AnswerT", bound=Answer)
T = TypeVar("T")

_HEADING = "\n\n## "
_PROCEDURE = """\
How to go about it
A colleague has looked at this content in a hurry, and nobody knows whether they were right. Read \
it from its beginning as if nobody had. Wherever you have to choose, name to yourself the two \
choices that a careful person could defend, look for the words of the content that rule one of \
them out, and keep the other. The order in which things are listed here means nothing, and \
neither does how often a word occurs."""


@runtime_checkable
class Rewording(Protocol, Generic[RawT_contra]):
    """A stage that can ask the same in other words."""

    def second_question(self, event: RawT_contra) -> Inquiry[Any]:
        """Ask about the event again: other instructions, the same answer.

        Raises:
            Invalid: As `question` does.
        """
        ...


def reworded(inquiry: Inquiry[AnswerT]) -> Inquiry[AnswerT]:
    """Ask the same with the instructions in another order, and another way to go about it.

    The order of labels is not changed here: a stage lists them backwards (`backwards`).
    """
    if isinstance(inquiry, Question):
        return replace(inquiry, instructions=in_other_words(inquiry.instructions))
    questions = tuple(
        replace(each, instructions=in_other_words(each.instructions)) for each in inquiry.questions
    )
    return Steps(questions, lambda answers: _reworded_step(inquiry.then(answers)))


def in_other_words(instructions: str) -> str:
    """Turn the order of the sections round, and say how to go about it.

    What comes first stays there (who is asked, that content is data), and so does what comes
    last (what the answer states about itself).
    """
    role, *sections = instructions.rstrip("\n").split(_HEADING)
    first, between, last = sections[:1], sections[1:-1], sections[1:][-1:]
    return _HEADING.join([role, *first, _PROCEDURE, *reversed(between), *last]) + "\n"


def backwards(labels: Sequence[T]) -> list[T]:
    """The labels in the opposite order: models favour what is listed first."""
    return list(reversed(labels))


def _reworded_step(step: Any) -> Any:  # noqa: ANN401 - a further step, or the answer
    return reworded(step) if isinstance(step, Question | Steps) else step
