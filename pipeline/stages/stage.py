"""What a stage is. A stage knows neither Kafka nor the API; it is data and pure functions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipeline.questions import Inquiry
from pipeline.raw_json import PassedOn, RawJson
from pipeline.signals import Signal


class RawEvent(BaseModel):
    """What every raw event has; unknown fields are kept and passed through."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    __pydantic_extra__: dict[str, Annotated[Any, PassedOn]]

    id: str = Field(
        min_length=1, max_length=256, description="The publisher's own id of the event."
    )

    @property
    def unknown_fields(self) -> dict[str, JsonValue | RawJson]:
        """The fields the stage does not know, for `source.extra`; as bytes where just read."""
        return self.model_extra or {}


class Answer(BaseModel):
    """What every answer states about itself, beside what was asked for.

    These fields are the model's own opinion of its answer; they are judged, not published.
    A subclass puts its evidence first: properties are answered in order, and evidence that
    comes before the verdict makes the verdict better. For the same reason these two are asked
    last, wherever a subclass has its own (`pipeline.stages.schema`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    confidence: float = Field(
        description="How likely this answer is right as a whole, from 0 to 1."
    )
    unclear: bool = Field(
        description="True if a careful person could not settle this from the content alone."
    )

    @property
    def stated_confidence(self) -> float:
        """The confidence within 0 and 1: the schema cannot hold a model to a range."""
        return min(1.0, max(0.0, self.confidence))


RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)


class Stage(Protocol, Generic[RawT, AnswerT]):
    """A kind of event: how it is read, what is asked of it, how an answer is checked."""

    @property
    def name(self) -> str:
        """Names topics, group, settings and metrics; lower case."""
        ...

    @property
    def raw_model(self) -> type[RawT]:
        """The raw event, for schemas."""
        ...

    @property
    def result_model(self) -> type[BaseModel]:
        """What is published as `result`, for schemas; independent of a team's own taxonomy."""
        ...

    @property
    def reads_files(self) -> bool:
        """Whether `question()` may decode files, and so is called outside the event loop."""
        ...

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> RawT:
        """Read a raw record.

        Raises:
            Invalid: The event is not what this stage takes.
        """
        ...

    def question(self, event: RawT) -> Inquiry[AnswerT]:
        """Ask about the event: in one question, or in steps where one does not do.

        Raises:
            Invalid: The event's file is not what it says it is, or breaks a limit.
        """
        ...

    def signals(self, event: RawT, answer: AnswerT) -> Sequence[Signal]:
        """Everything that speaks against the answer, however weakly."""
        ...

    def result(self, event: RawT, answer: AnswerT) -> BaseModel:
        """What is published: an instance of `result_model`."""
        ...


@runtime_checkable
class Checking(Protocol):
    """A stage that says how long its checks take."""

    @property
    def checks_slowly(self) -> bool:
        """Whether `signals()` takes milliseconds, and so is called outside the event loop."""
        ...
