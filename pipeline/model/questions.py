"""What a stage asks and what comes back: the seam between stages and models.

Stages build a `Question` and know no API; `pipeline.claude` answers it and knows no stage.

Signals: what speaks against an answer, before it is decided whether it counts.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, JsonValue

from pipeline.model.records import Tier, Usage


@dataclass(frozen=True, slots=True)
class Signal:
    """A reason to doubt an answer, of a strength from 0 (none) to 1 (certain).

    `code` is a field of `pipeline.config.Thresholds`, or a stage's own; the threshold decides
    whether it counts. `fields` of the result are what it is about; with none it is all of it.
    """

    code: str
    strength: float
    detail: str
    fields: tuple[str, ...] = ()


AnswerT = TypeVar("AnswerT", bound=BaseModel)
AnswerT_co = TypeVar("AnswerT_co", bound=BaseModel, covariant=True)
ImageType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the event's own text: data, never an instruction; delimited by the asker."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was checked and scaled; of an animation it is the first frame."""

    media_type: ImageType
    data: bytes = field(repr=False)
    is_animated: bool = False


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a model sees of an image: pixels of the long edge, and tokens, one a square of 28."""

    long_edge: int
    tokens: int


HIGH_RESOLUTION = ImageLimits(long_edge=2576, tokens=4784)
"""Claude 4.7 and later (vision guide, August 2026; of Haiku 5.5 its migration guide, October)."""


@dataclass(frozen=True, slots=True)
class Pdf:
    """A PDF file that was checked; `attached` are XML files in it, where they were asked for."""

    data: bytes = field(repr=False)
    attached: tuple[bytes, ...] = field(default=(), repr=False)


Part = Text | Image | Pdf


@dataclass(frozen=True, slots=True)
class Question(Generic[AnswerT_co]):
    """One event, asked.

    Args:
        stage: Name of the stage, for limits, budgets and metrics.
        instructions: The static part of the prompt. The same bytes for every event of a stage,
            in every process, so that the prompt cache can hold it.
        parts: The event's content, in the order the model shall see it.
        answer_model: What the answer must be.
        answer_schema: The JSON schema sent with the request; property order is answer order.
        max_output_tokens: Enough for the longest answer that makes sense.
        personal: Values of the event's fields that are masked wherever they stand in `parts`.
        tenant: Whose event it is: tenants share the rate limits fairly.
    """

    stage: str
    instructions: str
    parts: tuple[Part, ...]
    answer_model: type[AnswerT_co]
    answer_schema: Mapping[str, JsonValue]
    max_output_tokens: int
    personal: tuple[Text, ...] = field(default=(), repr=False)
    tenant: str = ""

    @property
    def digest(self) -> str:
        """Hex digest of the content that was asked: equal digests, equal questions."""
        digest = hashlib.blake2b(digest_size=16)
        for chunk in self._chunks():
            digest.update(len(chunk).to_bytes(8, "big"))
            digest.update(chunk)
        return digest.hexdigest()

    def _chunks(self) -> list[bytes]:
        chunks = [self.stage.encode(), self.instructions.encode()]
        for part in self.parts:
            match part:
                case Text(name, text):
                    chunks += [name.encode(), text.encode()]
                case Image(media_type, data, _):
                    chunks += [media_type.encode(), data]
                case Pdf(data):
                    chunks += [b"application/pdf", data]
        return chunks


@dataclass(frozen=True, slots=True)
class MultiStepQuery(Generic[AnswerT_co]):
    """One event, asked in several calls: what is asked next follows from what was answered.

    Args:
        questions: Asked side by side; one at least.
        then: Makes the next step, or the whole answer, of their answers, which come in the order
            of the questions. A pure function of the answers.
    """

    questions: tuple[Question[Any], ...]
    then: (
        "Callable[[tuple[Any, ...]],"
        " Question[AnswerT_co] | MultiStepQuery[AnswerT_co] | AnswerT_co]"
    )


Query = Question[AnswerT_co] | MultiStepQuery[AnswerT_co]
"""What a stage asks about one event: mostly one question."""


@dataclass(frozen=True, slots=True)
class KnownResult(Generic[AnswerT_co]):
    """What an event says itself, so that no model need be asked.

    Args:
        result: What is published, as the stage's `result()` would give it.
        signals: What speaks against it. Where one counts, the event is asked about as any other,
            and the answer is doubted for the same reason.
        query: Builds what is asked then, with the errors of a stage's `question()`.
    """

    result: BaseModel
    signals: tuple[Signal, ...]
    query: Callable[[], Query[AnswerT_co]]


def first_questions(query: Query[Any]) -> tuple[Question[Any], ...]:
    return (query,) if isinstance(query, Question) else query.questions


@dataclass(frozen=True, slots=True)
class Response(Generic[AnswerT]):
    """A usable answer, validated against the question's answer model.

    `model` is as the API names it; `seconds` are without the wait for limits; `signals` speak
    against the answer whatever its content is. `prompt` is a digest of all that was sent but the
    event, `provider` where it was sent to; empty where an asker does not say.
    """

    answer: AnswerT
    model: str
    usage: Usage
    seconds: float
    signals: tuple[Signal, ...] = ()
    prompt: str = ""
    provider: str = ""


class Asker(Protocol):
    """Asks a model; `pipeline.claude.gateway.Gateway` is the real one."""

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Ask, waiting as long as limits, outages and budgets demand.

        Raises:
            AnswerError: One of its subclasses, where the answer is no use.
        """
        ...
