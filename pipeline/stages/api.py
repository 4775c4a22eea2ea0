"""What a stage is, which stages there are, and what a stage of your own is made of.

A stage knows neither Kafka nor the API: it is data and pure functions. The names of `__all__` stay,
whatever is moved about behind them; docs/STAGES.md shows how they are used.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from pipeline.config import (
    Extracting,
    Label,
    Labels,
    OwnStage,
    Settings,
    StageSettings,
    StagesSettings,
)
from pipeline.model.errors import InvalidEvent, Unavailable, UsageError
from pipeline.model.questions import (
    Image,
    KnownResult,
    MultiStepQuery,
    Pdf,
    Query,
    Question,
    Signal,
    Text,
)
from pipeline.model.records import ENRICHED_VERSION, STRUCTURED_VERSION, DeadLetterReason, Evidence
from pipeline.stages.checks.evidence import (
    numbers_missing,
    quote_found,
    quote_signals,
    quotes_found,
)
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.scope import Encoder, Likeness, MiniLm, Scope
from pipeline.stages.checks.text_index import TextIndex, value_signals
from pipeline.stages.checks.text_quality import (
    blank_signals,
    damage_signals,
    is_blank,
    language_signals,
    length_signals,
    stated,
    visible,
)
from pipeline.stages.classify import Classify
from pipeline.stages.code import Code
from pipeline.stages.documents import Documents
from pipeline.stages.extract import Extract
from pipeline.stages.fields.amounts import parse_amount, read_amount
from pipeline.stages.fields.asking import (
    Answer,
    Deciding,
    LabelClassifier,
    LabelSet,
    Section,
    answer_schema,
    build_instructions,
    differences,
    label_lines,
    label_of,
    label_type,
    rephrase,
    restrict_labels,
    reverse_labels,
    runner_up_signals,
)
from pipeline.stages.fields.dates import parse_date
from pipeline.stages.fields.extraction import Extracted, FieldExtractor
from pipeline.stages.files.raw_events import FileEvent, Files, JsonStage, RawEvent
from pipeline.stages.images import Images
from pipeline.stages.invoices import Invoices
from pipeline.stages.requests import Requests
from pipeline.stages.texts import Texts
from pipeline.stages.tickets import Tickets

__all__ = [
    "Answer", "DeadLetterReason", "Deciding", "Evidence", "Extracted", "Extracting",
    "FieldExtractor", "FileEvent", "Files", "Image", "InvalidEvent", "JsonStage", "KnownResult",
    "Label", "LabelClassifier", "LabelSet", "Labels", "Likeness", "Locating", "MultiStepQuery",
    "Pdf", "Places", "Query", "Question", "RawEvent", "Rewording", "Scope", "Section", "Signal",
    "Stage", "StageSettings", "Structured", "Text", "TextIndex", "Unavailable", "answer_schema",
    "blank_signals", "build_instructions", "build_stages", "damage_signals", "differences",
    "encoder_for", "injection_signals", "is_blank", "label_lines", "label_of", "label_type",
    "language_signals", "length_signals", "numbers_missing", "parse_amount", "parse_date",
    "quote_found", "quote_signals", "quotes_found", "read_amount", "rephrase",
    "restrict_labels", "reverse_labels", "runner_up_signals", "stage_named", "stated",
    "value_signals", "visible",
]  # fmt: skip
RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)


class Stage(Protocol, Generic[RawT, AnswerT]):
    """A kind of event: how it is read, what is asked of it, how an answer is checked."""

    @property
    def name(self) -> str:
        """Names topics, group, settings and metrics; lower case."""

    @property
    def raw_model(self) -> type[RawT]:
        """The raw event, for schemas."""

    @property
    def result_model(self) -> type[BaseModel]:
        """What is published as `result`, for schemas; independent of a team's own taxonomy."""

    @property
    def reads_files(self) -> bool:
        """Whether `question()` may decode files, and so is called outside the event loop."""

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> RawT:
        """Read a raw record; an InvalidEvent says that it is not what this stage takes."""

    def question(self, event: RawT) -> Query[AnswerT]:
        """Ask about the event; an InvalidEvent says that its file is wrong or breaks a limit."""

    def signals(self, event: RawT, answer: AnswerT) -> Sequence[Signal]:
        """Everything that speaks against the answer, however weakly."""

    def result(self, event: RawT, answer: AnswerT) -> BaseModel:
        """What is published: an instance of `result_model`."""


RawT_contra = TypeVar("RawT_contra", bound=RawEvent, contravariant=True)
AnswerT_contra = TypeVar("AnswerT_contra", bound=Answer, contravariant=True)


@runtime_checkable
class Rewording(Protocol, Generic[RawT_contra]):
    """A stage that can ask the same in other words."""

    def second_question(self, event: RawT_contra) -> Query[Any]:
        """Ask about the event again: other instructions, the same answer and errors."""


@runtime_checkable
class Structured(Protocol, Generic[RawT_contra]):
    """A stage some of whose events say themselves, as data, what would be asked about them."""

    def read_or_ask(self, event: RawT_contra) -> KnownResult[Any] | Query[Any]:
        """Read the event's own data, or ask about it; called instead of `question()`, as that is.

        An InvalidEvent says that its file is wrong or breaks a limit.
        """


@runtime_checkable
class Locating(Protocol[RawT_contra, AnswerT_contra]):
    """A stage that says where in the event the values of its results were read."""

    def evidence(self, event: RawT_contra, answer: AnswerT_contra) -> Iterable[Evidence]:
        """The places; a failure costs them, and not the event."""


def enriched_version(stage: Stage[Any, Any]) -> int:
    """The version of the schema of its enriched records, whatever its settings are."""
    return STRUCTURED_VERSION if hasattr(stage, "read_or_ask") else ENRICHED_VERSION


def build_stages(
    settings: StagesSettings, encoder: Encoder | None = None
) -> Mapping[str, Stage[Any, Any]]:
    """Build every stage, by name, whether it is enabled or not.

    Texts are compared with the examples of labels by the encoder; without one by words, which is
    enough where no answers are checked. A UsageError says that a class of your own is not a stage.
    """
    tables, stages = settings.by_name(), dict[str, Stage[Any, Any]]()
    for name, table in tables.items():
        own = settings.own.get(name)
        if own is not None and own.build is not None:
            stages[name] = _built(own, table)
            continue
        kind = _KINDS[own.kind if own is not None else name]
        named = _named(kind, name)
        stages[name] = named(table, encoder) if kind in _COMPARING else named(table)
    return MappingProxyType(stages)


_KINDS: Mapping[str, type[Any]] = {
    "tickets": Tickets,
    "invoices": Invoices,
    "images": Images,
    "documents": Documents,
    "requests": Requests,
    "code": Code,
    "texts": Texts,
    "classify": Classify,
    "extract": Extract,
}
_COMPARING = frozenset({Tickets, Requests, Texts, Classify})
"""They compare texts with the examples of labels."""


def _named(kind: type[Any], name: str) -> type[Any]:
    """The class under another name, which is all that stages of a kind do not have alike."""
    if kind.name == name:
        return kind
    return type(kind.__name__, (kind,), {"name": name, "__module__": kind.__module__})


def stage_named(settings: StagesSettings, name: str) -> Stage[Any, Any]:
    """The stage of that name, comparing by words; a UsageError says that there is none."""
    stages = build_stages(settings)
    if name not in stages:
        raise UsageError(f"There is no stage {name!r}; there are {', '.join(stages)}.")
    return stages[name]


def raw_model_of(settings: StagesSettings, kind: str) -> type[RawEvent]:
    """What events of a kind are, whether or not there is a stage of it."""
    found: type[Any] | Stage[Any, Any] = _KINDS.get(kind) or stage_named(settings, kind)
    model: type[RawEvent] = found.raw_model
    return model


def encoder_for(settings: Settings) -> Encoder | None:
    """The sentence encoder, where it is set to be used; a UsageError says it is not installed."""
    return MiniLm() if settings.escalation.scope == "encoder" else None


def _built(own: OwnStage, settings: StageSettings) -> Stage[Any, Any]:
    build: Any = own.build
    if own.kind:
        if not isinstance(build, type):
            raise UsageError(f"{own.origin}: {own.kind} is no class, so there cannot be two of it.")
        build = _named(build, own.name)
    stage: Stage[Any, Any] = build(settings)
    if missing := [member for member in _MEMBERS if not hasattr(stage, member)]:
        raise UsageError(
            f"The stage {own.origin} lacks {', '.join(missing)}: see docs/STAGES.md for what a "
            "stage has."
        )
    if stage.name != own.name:
        raise UsageError(
            f"The stage {own.origin} calls itself {stage.name!r}: `name` has to be the class's "
            "own, and not be set again."
        )
    return stage


_MEMBERS = (
    "name", "raw_model", "result_model", "reads_files", "parse", "question", "signals", "result",
)  # fmt: skip
