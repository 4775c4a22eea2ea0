"""What each stage asks, and how much it takes: `[stages.<name>]`.

`StageSettings` is what every stage has; the seven that come with the pipeline add their own to it:
a team's own categories (`Label`), and further values that it wants extracted (`ExtraField`). Any
table with another name is one more stage of a kind: of one of the seven, of `classify` or
`extract`, or of a class of one's own.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, PrivateAttr, create_model, model_validator

from pipeline.config.inputs import (
    InputSettings,
    MapTable,
    OutputSettings,
    PassThrough,
    Where,
)
from pipeline.config.tables import (
    Bytes,
    Count,
    Dollars,
    LanguageCode,
    Ordering,
    Section,
    Share,
    setting,
)
from pipeline.model.errors import UsageError
from pipeline.model.questions import HIGH_RESOLUTION, ImageLimits

MOST_AT_ONCE = 20  # labels of one question; more are asked in two levels: a group, then a label
MOST_LABELS = 200  # without groups of the team's own: more would make groups of more than 20
MOST_FIELDS = 30
_TAKEN_FIELDS = frozenset({"confidence", "unclear"})
_TRAP = re.compile(r"reasoning|thinking|thought|(?:^|_)trace(?:$|_)")
"""Sonnet may refuse to fill in a property that is called like a train of thought."""
_BYTES_PER_CHAR = 12  # the most that JSON takes for one: a pair of escaped surrogates
_OTHER_BYTES = 256 << 10  # of an event, beside its text: the fields that the stage does not know
_MOST_JSON = 8 << 20  # bytes of an event at most: it is held in memory while it is read


class Label(Section):
    """One category of a team's own taxonomy."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="what the model answers")
    description: str = setting("", "for the model: what distinguishes it", max_length=500)
    examples: list[str] = setting([], "for the model; from three on, far texts are doubted")
    queue: str | None = setting(None, "where such tickets go; the label's name if unset")
    group: str | None = setting(
        None,
        pattern=r"^[\w.-]{1,64}$",
        description="of more than 20 labels: what is asked first; groups are formed if unset",
    )


LabelT = TypeVar("LabelT", bound=Label)


def checked_labels(labels: list[LabelT]) -> list[LabelT]:
    """Refuse labels that cannot be distinguished, or groups that do not make the choice smaller."""
    # Answers are compared without case.
    folded = Counter(label.name.casefold() for label in labels)
    if twice := sorted(name for name, count in folded.items() if count > 1):
        raise ValueError(f"labels that differ in case only, or not at all: {', '.join(twice)}")
    if len(labels) > MOST_AT_ONCE:
        _refuse_bad_groups(labels)
    return labels


def _refuse_bad_groups(labels: Sequence[Label]) -> None:
    without = [label.name for label in labels if label.group is None]
    if len(without) == len(labels):
        if len(labels) > MOST_LABELS:
            raise ValueError(
                f"{len(labels)} labels: give each a `group`, or have {MOST_LABELS} at most"
            )
        return
    if without:
        raise ValueError(f"give all labels a `group`, or none; without one: {', '.join(without)}")
    sizes = Counter(str(label.group) for label in labels)
    if large := sorted(f"{name} ({size})" for name, size in sizes.items() if size > MOST_AT_ONCE):
        raise ValueError(f"groups of more than {MOST_AT_ONCE} labels: split {', '.join(large)}")
    if len(sizes) > MOST_AT_ONCE:
        raise ValueError(f"{len(sizes)} groups: have {MOST_AT_ONCE} at most")
    folded = Counter(name.casefold() for name in sizes)
    if twice := sorted(name for name in sizes if folded[name.casefold()] > 1):
        raise ValueError(f"groups that differ in case only: {', '.join(twice)}")


Labels = Annotated[list[Label], Field(min_length=2), AfterValidator(checked_labels)]


def _labels(about: str, **described: str) -> Any:  # noqa: ANN401 - a field, as pydantic types it
    """A setting that has these labels unless a team gives its own; `about` is its description."""
    labels = [Label(name=name, description=text) for name, text in described.items()]
    return Field(labels, description=about)


FieldType = Literal["text", "number", "integer", "boolean", "date", "choice", "list"]


class ExtraField(Section):
    """One value to be extracted; it is published below `result.fields`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="below `result.fields`")
    type: FieldType = setting("text", "number: a decimal string; date: YYYY-MM-DD; list: of texts")
    description: str = Field(min_length=1, max_length=500, description="for the model")
    choices: list[str] = setting([], "of the type choice")
    required: bool = setting(False, "its absence is a doubt (`missing_field`)")
    quoted: bool = setting(
        True, "texts, numbers and dates must occur in the event's text, or are a doubt"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.name in _TAKEN_FIELDS or _TRAP.search(self.name):
            raise ValueError(f"a field cannot be called {self.name!r}: choose another name")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(f"{self.name}: `choices` go with the type choice, and only with that")
        folded = [choice.strip().casefold() for choice in self.choices]
        if self.choices and (len(set(folded)) < len(folded) or len(folded) < 2 or "" in folded):  # noqa: PLR2004
            raise ValueError(f"{self.name}: `choices` are two or more that differ, none empty")
        return self


def _unique_fields(fields: list[ExtraField]) -> list[ExtraField]:
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"fields of the same name: {', '.join(twice)}")
    return fields


ExtraFields = Annotated[
    list[ExtraField], Field(max_length=MOST_FIELDS), AfterValidator(_unique_fields)
]


class Extracting(Section):
    """What the settings of a stage have that extracts what a team wants."""

    fields: ExtraFields = setting(
        [], "values to extract, into `result.fields`; of the kind `extract` into `result` itself"
    )


_EVIDENCE = (
    "whether results say where in the event their values were read; review items do in any case"
)


class StageSettings(Section):
    """What every stage has."""

    ordering: Ordering = setting("key", "what runs one at a time, in order")
    max_text_chars: Count = setting(200_000, "longer texts are dead letters")
    evidence: bool = setting(False, _EVIDENCE)
    audit_share: Share = setting(0.01, "share of the events that go to Sonnet whatever Haiku says")
    score: Path | None = setting(
        None,
        "a file of `pipeline trust fit`: how likely an answer of Haiku is wrong decides, in the "
        "place of most thresholds",
    )
    max_risk: Share | None = setting(
        None,
        "that probability from which on an answer is doubted; unset, what the file says accepts "
        "no more wrong answers than the thresholds did",
    )
    events_per_request: Annotated[int, Field(ge=1, le=100)] = setting(
        1, "small events that share one request to Haiku; evaluate before raising it"
    )
    budget_usd_per_hour: Dollars | None = setting(
        None, "what the stage may spend in an hour (UTC); above it, its intake waits"
    )
    budget_usd_per_day: Dollars | None = setting(None, "what the stage may spend in a day (UTC)")
    input: InputSettings = InputSettings()
    map: MapTable = setting(
        {}, "where the stage's fields are in what comes: docs/MAPPING.md says how it is written"
    )
    where: Where | None = setting(
        None, "an expression: a record of which it is not true is passed over"
    )
    pass_through: PassThrough | None = setting(
        None,
        "expressions: what of a record goes to the result's `source.extra`; unset, all that "
        "neither the stage nor `map` reads",
    )
    output: OutputSettings = OutputSettings()

    @property
    def largest_event(self) -> int:
        """Bytes: what no text of the allowed length can take is refused before it is read."""
        return min(_MOST_JSON, self.max_text_chars * _BYTES_PER_CHAR + _OTHER_BYTES)

    def deciding_labels(self) -> Sequence[Label]:
        """The labels of which an answer of this stage is one; empty where it has none."""
        return ()


@dataclass(frozen=True, slots=True)
class OwnStage:
    """A stage that does not come with the pipeline: a class of one's own, or one more of a kind.

    `build` makes it of its settings, under its class's own name; None where its kind comes with
    the pipeline. `origin` is where it was found, for error messages. `kind` is empty for a class.
    """

    name: str
    settings_model: type[StageSettings]
    build: Callable[[Any], Any] | None
    origin: str
    kind: str = ""


class TicketSettings(Extracting, StageSettings):
    """Classification and routing of support tickets."""

    evidence: bool = setting(True, _EVIDENCE)
    intents: Labels = _labels(
        "of which each event is one",
        billing="Invoices, charges, payments, refunds, prices of an existing plan.",
        technical_support="Something does not work: errors, outages, log-in, set-up, bugs.",
        sales="Wants to buy, upgrade, compare plans, get a quote or a demo.",
        general_inquiry="Everything else: opening hours, feedback, jobs, the company.",
    )
    languages: list[LanguageCode] = setting([], "ISO 639-1 codes that are expected; empty for any")

    def deciding_labels(self) -> Sequence[Label]:
        return self.intents


class S3Settings(Section):
    """Which object store `s3://` claim-checks are redeemed at.

    Credentials and region are boto3's own: `AWS_ACCESS_KEY_ID`, `AWS_DEFAULT_REGION`, ...
    """

    endpoint_url: str | None = setting(
        None,
        pattern=r"^https?://[^/]+/?$",
        description="of a store that speaks the S3 protocol; AWS's own if unset",
    )
    allow_private: bool = setting(
        False, "whether the store may be in a private network or on this host"
    )


class FileSettings(StageSettings):
    """What stages that take files have: limits that hold before anything is decoded."""

    max_event_bytes: Bytes = setting(8 << 20, "larger events are dead letters")
    max_image_pixels: Count = setting(50_000_000, "larger images are dead letters")
    image_long_edge: Annotated[int, Field(ge=1, le=8000)] | None = setting(
        None,
        "pixels images are scaled down to; unset: as many as the model sees that is asked, 2,576 "
        "and before Claude 4.7 1,568. Fewer cost less",
    )
    max_pdf_pages: Count = setting(100, "longer PDF and TIFF files are dead letters")
    split: bool = setting(
        False,
        "whether a PDF or TIFF file may hold several documents: where each begins is asked first, "
        "and each becomes a record of its own (the extra split)",
    )
    uri_allow: list[str] = setting(
        [],
        "prefixes a claim-check `uri` may start with, e.g. 'file:///data/in/' or "
        "'s3://bucket/in/' (the extra s3)",
    )
    s3: S3Settings = S3Settings()
    _seen = PrivateAttr(HIGH_RESOLUTION)

    @property
    def largest_event(self) -> int:
        """Bytes of an event, or of the file that its `uri` points to."""
        return self.max_event_bytes

    @property
    def image_limits(self) -> ImageLimits:
        """What is sent of an image: no more than the model sees."""
        seen: ImageLimits = self._seen
        edge = self.image_long_edge
        return seen if edge is None else replace(seen, long_edge=min(edge, seen.long_edge))

    def seen_by(self, model: ImageLimits) -> Self:
        """The same settings where a model is asked that sees so much of an image."""
        same = self.model_copy()
        same._seen = model  # noqa: SLF001 - its own class
        return same


InvoiceField = Literal[
    "invoice_number", "issue_date", "due_date", "vendor", "buyer", "currency", "line_items",
    "allowances", "charges", "net", "tax", "gross", "prepaid", "due",
]  # fmt: skip


class InvoiceSettings(Extracting, FileSettings):
    """Extraction of invoices."""

    required_fields: list[InvoiceField] = setting(
        ["invoice_number", "issue_date", "vendor", "currency", "gross"],
        "fields whose absence is a doubt; for till receipts leave out the number",
    )
    amount_tolerance: Decimal = setting(
        Decimal("0.02"), "difference that sums may have, in the currency's units", ge=0
    )
    read_einvoices: bool = setting(
        True,
        "whether e-invoices (Factur-X, ZUGFeRD, XRechnung, UBL, CII) are read from their own data, "
        "and asked about only where these do not agree; XML files are taken only then",
    )


class ImageSettings(Extracting, FileSettings):
    """Classification of document images."""

    document_types: Labels = _labels(
        "of which each image is one",
        invoice="Asks for payment of goods or services.",
        receipt="Proves that something was paid.",
        contract="An agreement with parties and clauses.",
        form="Fields to fill in, blank or filled.",
        letter="Prose from a sender to a recipient.",
        other="None of these.",
    )

    def deciding_labels(self) -> Sequence[Label]:
        return self.document_types


class DocumentSettings(Extracting, StageSettings):
    """Summaries of documents and meetings."""

    max_text_chars: Count = setting(2_000_000, "longer texts are dead letters")
    part_tokens: Annotated[int, Field(ge=1_000, le=80_000)] = setting(
        40_000,
        "about how many tokens are asked about at once: longer documents are asked in "
        "parts, then joined, because a prompt of more than 100,000 costs Haiku five times as much",
    )
    max_sentences: Annotated[int, Field(ge=1, le=30)] = setting(
        3, "of a summary, where the event does not say"
    )
    languages: list[LanguageCode] = setting([], "ISO 639-1 codes that are expected; empty for any")


class Agent(Label):
    """One agent that requests are given to."""

    tier: Literal["haiku", "sonnet"] = setting(
        "haiku", "the model that serves what this agent gets, unless more is asked"
    )


class RequestSettings(StageSettings):
    """The policy gate: which agent, which tools and which model a request gets."""

    evidence: bool = setting(True, _EVIDENCE)
    agents: Annotated[list[Agent], Field(min_length=2), AfterValidator(checked_labels)] = Field(
        description="of which each request gets one",
        default=[
            Agent(
                name="code_agent",
                description="Writes, changes, explains or debugs code, queries and commands.",
            ),
            Agent(
                name="research_agent",
                description="Finds, compares and weighs sources, studies, options or arguments.",
                tier="sonnet",
            ),
            Agent(
                name="conversation_agent",
                description="Talks with a person: advice, comfort, teaching, writing for them.",
                tier="sonnet",
            ),
            Agent(
                name="tools_agent",
                description="Does something at once with tools: looks up, books, converts, sends.",
            ),
        ],
    )
    tools: Labels = _labels(
        "that a request may be given",
        web_search="Finds pages and current facts.",
        calculator="Arithmetic, units, currencies.",
        calendar="Reads and books appointments and rooms.",
        mail="Reads, writes and sends messages.",
        files="Reads, renames, converts and stores files.",
        code_runner="Runs code and tests.",
        database="Reads and changes the company's own records.",
    )

    def deciding_labels(self) -> Sequence[Label]:
        return self.agents


class CodeSettings(StageSettings):
    """Documentation of functions and classes."""

    evidence: bool = setting(True, _EVIDENCE)
    max_text_chars: Count = setting(40_000, "longer sources are dead letters")
    python_style: Literal["google", "numpy"] = setting("google", "of docstrings")
    run_examples: bool = setting(
        False,
        "whether examples of Python are asked for as interpreter sessions and run against the "
        "source, in a child that can open, start and signal nothing (Linux with seccomp)",
    )


class TextSettings(Extracting, StageSettings):
    """Clean-up of messy text, and what can be extracted from it."""

    max_text_chars: Count = setting(20_000, "longer texts are dead letters")
    intents: Labels = _labels(
        "of which each event is one",
        request="Wants something done, sent, booked or changed.",
        question="Wants to know something.",
        complaint="Says that something is wrong or late.",
        confirmation="Confirms, accepts or thanks.",
        cancellation="Ends a contract, an order or an appointment.",
        information="Tells or announces, and wants nothing.",
        other="None of these.",
    )

    def deciding_labels(self) -> Sequence[Label]:
        return self.intents


class GeneralSettings(Extracting, StageSettings):
    """What the general kinds have: what they ask is in the settings alone."""

    task: str = setting(
        "",
        "a sentence for the model: what the texts or documents are, and what is done with them",
        max_length=500,
    )
    languages: list[LanguageCode] = setting([], "ISO 639-1 codes that are expected; empty for any")


class ClassifySettings(GeneralSettings):
    """One of a team's labels for each text."""

    labels: Labels = Field(description="of which each event is one")

    def deciding_labels(self) -> Sequence[Label]:
        return self.labels


class ExtractSettings(GeneralSettings, FileSettings):
    """What a team wants to know of each text or file: the result has its `fields` and no others."""

    @model_validator(mode="after")
    def _extracts_something(self) -> Self:
        if not self.fields:
            raise ValueError("`fields` are what is extracted: name one at least")
        return self


class StagesSettings(Section):
    """One table a stage; of the stages that come with the pipeline unless extended."""

    own: ClassVar[Mapping[str, OwnStage]] = MappingProxyType({})
    """Stages that do not come with the pipeline, by name."""

    tickets: TicketSettings = TicketSettings()
    invoices: InvoiceSettings = InvoiceSettings()
    images: ImageSettings = ImageSettings()
    documents: DocumentSettings = DocumentSettings()
    requests: RequestSettings = RequestSettings()
    code: CodeSettings = CodeSettings()
    texts: TextSettings = TextSettings()

    @classmethod
    def extended_by(cls, own: Sequence[OwnStage]) -> "type[StagesSettings]":
        """The same with a table for each stage; `UsageError` if one has the name of another."""
        if not own:
            return cls
        for stage in own:
            is_kind = not stage.kind and stage.name in KINDS
            if stage.name in cls.model_fields or hasattr(cls, stage.name) or is_kind:
                raise UsageError(
                    f"The stage {stage.origin} is called {stage.name!r} like one that comes with "
                    "the pipeline: choose another name."
                )
        tables: dict[str, Any] = {
            stage.name: (
                stage.settings_model,
                # The table of one more of a kind is there: that is where it comes from. What is not
                # set in it, and has no default, is nothing that another value could differ from.
                Field(
                    default_factory=stage.settings_model.model_construct
                    if stage.kind
                    else stage.settings_model
                ),
            )
            for stage in own
        }
        extended: type[StagesSettings] = create_model(cls.__name__, __base__=cls, **tables)
        extended.own = MappingProxyType({stage.name: stage for stage in own})
        return extended

    def by_name(self) -> Mapping[str, StageSettings]:
        return MappingProxyType(dict(self))

    def of(self, name: str) -> StageSettings | None:
        return self.by_name().get(name)

    def seen_by(self, model: ImageLimits) -> Self:
        """The same tables where a model is asked that sees so much of an image."""
        tables = {name: table for name, table in self if isinstance(table, FileSettings)}
        return self.model_copy(
            update={name: table.seen_by(model) for name, table in tables.items()}
        )

    @model_validator(mode="before")
    @classmethod
    def _tables_are_of_stages(cls, tables: Any) -> Any:  # noqa: ANN401 - as pydantic gives it
        if isinstance(tables, dict):
            for name, table in tables.items():
                if name not in cls.model_fields:
                    raise ValueError(_no_stage(name, cls.model_fields, KINDS))
                own = cls.own.get(name)
                if isinstance(table, dict) and "kind" in table and not (own and own.kind):
                    raise ValueError(
                        f"{name} is itself a kind of stage: give one more of its kind another name"
                    )
        return tables


TableT = TypeVar("TableT", bound=StageSettings)
KINDS: Mapping[str, type[StageSettings]] = MappingProxyType(
    {
        **{name: type(table) for name, table in StagesSettings().by_name().items()},
        "classify": ClassifySettings,
        "extract": ExtractSettings,
    }
)
"""What a stage by settings may be one of, and what its table may hold; beside one's own classes."""


def stages_of_kinds(
    tables: Mapping[str, Any], own: Sequence[OwnStage] = ()
) -> tuple[OwnStage, ...]:
    """The stages that the tables make: each table whose name is none of a class, by its `kind`.

    Raises:
        UsageError: A table has no kind, or one that there is not; its name cannot be one.
    """
    classes = {stage.name: stage for stage in own}
    kinds = {**KINDS, **{name: stage.settings_model for name, stage in classes.items()}}
    found = []
    for name, table in tables.items():
        if name in StagesSettings.model_fields or name in classes:
            continue
        kind = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            there_are = (*StagesSettings.model_fields, *classes)
            because = _no_stage(name, there_are, kinds)
            if kind is not None:
                because = f"there is no kind {kind!r}; there are {', '.join(kinds)}"
            raise UsageError(f"The settings are wrong: stages.{name}: {because}.")
        if (wrong := why_no_name(name)) is not None:
            raise UsageError(f"The settings are wrong: stages.{name}: {wrong}.")
        build = classes[kind].build if kind in classes else None
        found.append(OwnStage(name, _table_of(kind, kinds[kind]), build, f"stages.{name}", kind))
    return tuple(found)


def _table_of(kind: str, base: type[TableT]) -> type[TableT]:
    """What the table of one more of a kind may hold."""
    fields: dict[str, Any] = {"kind": (Literal[kind], ...)}
    made: type[TableT] = create_model(base.__name__, __base__=base, **fields)
    return made


_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_TAKEN = frozenset({"escalations", "review", "all"})  # a stage, a topic, and the sum of stages


def why_no_name(name: str) -> str | None:
    """Why a stage cannot be called that; None where it can."""
    if not _NAME.fullmatch(name):
        return f"lower-case letters, digits and single underscores make a name, not {name!r}"
    if name in _TAKEN or hasattr(StagesSettings, name):
        return f"a stage cannot be called {name!r}: choose another name"
    return None


def _no_stage(name: str, there_are: Iterable[str], kinds: Iterable[str]) -> str:
    return (
        f"there is no stage {name!r}; there are {', '.join(there_are)}; one more of a kind says "
        f"which with `kind` ({', '.join(kinds)}), and one's own classes are named in "
        "`stage_modules`"
    )
