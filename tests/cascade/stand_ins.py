"""A small stage, an asker that says what a test wants, and records to feed them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from pipeline.model.errors import AnswerError, InvalidEvent
from pipeline.model.questions import Question, Response, Signal, Text
from pipeline.model.records import DeadLetterReason, Tier, Usage
from pipeline.stages.api import Answer, RawEvent
from pipeline.stream.records import Headers, Outcome, Received

AnswerT = TypeVar("AnswerT", bound=BaseModel)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPENT = Usage(calls=1, input_tokens=100, output_tokens=10, cost_usd="0.001")


class Note(RawEvent):
    """A raw event."""

    text: str


class NoteAnswer(Answer):
    """An answer; `doubtful` makes the stage raise a signal."""

    mood: str
    doubtful: bool = False


class NoteResult(BaseModel):
    """What is published."""

    mood: str


class NoteStage:
    """The smallest stage that does all a stage can do, failing included."""

    name = "notes"
    raw_model = Note
    result_model = NoteResult
    deciding = ("mood",)
    reads_files = False

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> Note:
        try:
            return Note.model_validate_json(value)
        except ValidationError as error:
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, "text: missing") from error

    def question(self, event: Note) -> Question[NoteAnswer]:
        if event.text == "a bug":
            raise KeyError(event.text)
        return Question(
            stage=self.name,
            instructions="Say the mood.",
            parts=(Text("note", event.text),),
            answer_model=NoteAnswer,
            answer_schema=NoteAnswer.model_json_schema(),
            max_output_tokens=100,
        )

    def signals(self, event: Note, answer: NoteAnswer) -> Sequence[Signal]:
        return [Signal("evidence_not_found", 1.0, "not there")] if answer.doubtful else []

    def result(self, event: Note, answer: NoteAnswer) -> NoteResult:
        return NoteResult(mood=answer.mood)


class ScriptedAsker:
    """Gives what a test put in, in order, and remembers what it was asked."""

    def __init__(self, *script: Answer | AnswerError) -> None:
        self._script = list(script)
        self.asked: list[tuple[Tier, int | None]] = []

    async def ask(
        self, question: Question[Any], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[Any]:
        self.asked.append((tier, max_output_tokens))
        step = self._script.pop(0)
        if isinstance(step, AnswerError):
            raise step
        return Response(answer=step, model=f"model-{tier}", usage=SPENT, seconds=0.5)


def received(value: object, *, topic: str = "notes.raw", headers: Headers = ()) -> Received:
    """A record with `value` as JSON, or as it is where it is bytes."""
    return Received(
        topic=topic,
        partition=3,
        offset=42,
        key=b"customer-7",
        value=value if isinstance(value, bytes) else orjson.dumps(value),
        headers=headers,
        timestamp=NOON,
        received_at=NOON,
    )


def published(outcome: Outcome) -> dict[str, Any]:
    """The value of the one record of an outcome."""
    (out,) = outcome.records
    assert out.value is not None
    value: dict[str, Any] = orjson.loads(out.value)
    return value
