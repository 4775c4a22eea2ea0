"""What each stage asks, and how much it takes: `[stages.<name>]`.

`StageSettings` is what every stage has; the seven that come with the pipeline add their own to it.

Stages of one's own are found by an entry point, or named in `stage_modules`, before these tables
are read, so that theirs are held to their own models like any other. Such a stage is a class with
a `name`, a `settings_model`, and the methods of `pipeline.stages.api.Stage`; docs/STAGES.md
shows one.
"""

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from pipeline.config.labels import Extracting, Label, Labels, checked_labels
from pipeline.config.units import Bytes, Count, Dollars, LanguageCode, Ordering, Section, Share
from pipeline.model.errors import UsageError

_BYTES_PER_CHAR = 12
"""The most that JSON takes for one: a pair of escaped surrogates."""
_OTHER_BYTES = 256 << 10
"""Of an event, beside its text: the fields that the stage does not know."""
_MOST_JSON = 8 << 20
"""Of an event, however long its texts may be: it is held in memory while it is read."""


class StageSettings(Section):
    """What every stage has."""

    ordering: Ordering = Field("key", description="what runs one at a time, in order")
    max_text_chars: Count = Field(200_000, description="longer texts are dead letters")
    audit_share: Share = Field(
        0.01, description="share of the keys whose events go to Sonnet whatever Haiku says"
    )
    events_per_request: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="small events that share one request to Haiku; evaluate before raising it"
    )
    budget_usd_per_hour: Dollars | None = Field(
        None, description="what the stage may spend in an hour (UTC); above it, its intake waits"
    )
    budget_usd_per_day: Dollars | None = Field(
        None, description="what the stage may spend in a day (UTC)"
    )

    @property
    def largest_event(self) -> int:
        """Bytes: what no text of the allowed length can take is refused before it is read."""
        return min(_MOST_JSON, self.max_text_chars * _BYTES_PER_CHAR + _OTHER_BYTES)

    def deciding_labels(self) -> Sequence[Label]:
        """The labels of which an answer of this stage is one; empty where it has none."""
        return ()


GROUP = "haiku_pipeline.stages"
"""The entry points of installed packages that are looked for."""
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_REFERENCE = re.compile(r"[\w.]+:\w+")
_TAKEN = frozenset({"escalations", "review", "all"})
"""A stage of its own, a topic, and the metrics' word for the sum of all stages."""


@dataclass(frozen=True, slots=True)
class OwnStage:
    """A stage that does not come with the pipeline.

    Args:
        name: Of its topics, settings and metrics.
        settings_model: What `[stages.<name>]` may hold.
        build: Makes the stage of its settings.
        origin: Where it was found, for error messages.
    """

    name: str
    settings_model: type[StageSettings]
    build: Callable[[Any], Any]
    origin: str


def find_stages(references: Sequence[str]) -> tuple[OwnStage, ...]:
    """Import the stages that are named, and those of installed packages.

    Args:
        references: `package.module:Class`; the current folder is searched last.

    Raises:
        UsageError: One of them cannot be imported, is no stage, or has another's name.
    """
    if references and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    found: dict[str, OwnStage] = {}
    for origin, load in (*_named(references), *_installed()):
        stage = _checked(origin, load)
        known = found.get(stage.name)
        if known is not None and known.build is not stage.build:
            raise UsageError(
                f"There are two stages {stage.name!r}, {known.origin} and {origin}: rename one."
            )
        found.setdefault(stage.name, stage)
    return tuple(found.values())


def _named(references: Sequence[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    for reference in references:
        if not _REFERENCE.fullmatch(reference):
            raise UsageError(
                f"stage_modules: {reference!r} is no stage: write it as 'package.module:Class'."
            )
        entry = EntryPoint(name=reference, value=reference, group=GROUP)
        yield reference, entry.load


def _installed() -> Iterator[tuple[str, Callable[[], Any]]]:
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        yield f"{entry.value}{package}", entry.load


def _checked(origin: str, load: Callable[[], Any]) -> OwnStage:
    importlib.invalidate_caches()
    try:
        stage = load()
    except Exception as error:
        raise UsageError(
            f"The stage {origin} cannot be imported ({type(error).__name__}: {error}): "
            "fix it, or do not name or install it."
        ) from error
    name, model = getattr(stage, "name", None), getattr(stage, "settings_model", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"The stage {origin} needs a `name` of lower-case letters, digits and single "
            f"underscores, not {name!r}."
        )
    if not isinstance(model, type) or not issubclass(model, StageSettings):
        raise UsageError(f"The stage {origin} needs a `settings_model` that extends StageSettings.")
    if name in _TAKEN or hasattr(BaseModel, name):
        raise UsageError(f"The stage {origin} cannot be called {name!r}: choose another name.")
    return OwnStage(name, model, stage, origin)


class TicketSettings(Extracting, StageSettings):
    """Classification and routing of support tickets."""

    intents: Labels = Field(
        description="of which each event is one",
        default_factory=lambda: [
            Label(
                name="billing",
                description="Invoices, charges, payments, refunds, prices of an existing plan.",
            ),
            Label(
                name="technical_support",
                description="Something does not work: errors, outages, log-in, set-up, bugs.",
            ),
            Label(
                name="sales",
                description="Wants to buy, upgrade, compare plans, get a quote or a demo.",
            ),
            Label(
                name="general_inquiry",
                description="Everything else: opening hours, feedback, jobs, the company.",
            ),
        ],
    )
    languages: list[LanguageCode] = Field(
        default_factory=list, description="ISO 639-1 codes that are expected; empty for any"
    )

    def deciding_labels(self) -> Sequence[Label]:
        """The intents."""
        return self.intents


class S3Settings(Section):
    """Which object store `s3://` claim-checks are redeemed at.

    Credentials and region are boto3's own: `AWS_ACCESS_KEY_ID`, `AWS_DEFAULT_REGION`, ...
    """

    endpoint_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]+/?$",
        description="of a store that speaks the S3 protocol; AWS's own if unset",
    )
    allow_private: bool = Field(
        False, description="whether the store may be in a private network or on this host"
    )


class FileSettings(StageSettings):
    """What stages that take files have: limits that hold before anything is decoded."""

    max_event_bytes: Bytes = Field(8 << 20, description="larger events are dead letters")
    max_image_pixels: Count = Field(50_000_000, description="larger images are dead letters")
    image_long_edge: Annotated[int, Field(ge=1, le=8000)] = Field(
        1568, description="pixels images are scaled down to; models see up to 2,576"
    )
    max_pdf_pages: Count = Field(100, description="longer PDF files are dead letters")
    uri_allow: list[str] = Field(
        default_factory=list,
        description="prefixes a claim-check `uri` may start with, e.g. 'file:///data/in/' or "
        "'s3://bucket/in/' (the extra s3)",
    )
    s3: S3Settings = Field(default_factory=S3Settings)

    @property
    def largest_event(self) -> int:
        """Bytes of an event, or of the file that its `uri` points to."""
        return self.max_event_bytes


InvoiceField = Literal[
    "invoice_number", "issue_date", "due_date", "vendor", "buyer", "currency", "line_items",
    "allowances", "charges", "net", "tax", "gross", "prepaid", "due",
]  # fmt: skip


class InvoiceSettings(Extracting, FileSettings):
    """Extraction of invoices."""

    required_fields: list[InvoiceField] = Field(
        ["invoice_number", "issue_date", "vendor", "currency", "gross"],
        description="fields whose absence is a doubt; for till receipts leave out the number",
    )
    amount_tolerance: Decimal = Field(
        Decimal("0.02"), ge=0, description="difference that sums may have, in the currency's units"
    )


class ImageSettings(Extracting, FileSettings):
    """Classification of document images."""

    document_types: Labels = Field(
        description="of which each image is one",
        default_factory=lambda: [
            Label(name="invoice", description="Asks for payment of goods or services."),
            Label(name="receipt", description="Proves that something was paid."),
            Label(name="contract", description="An agreement with parties and clauses."),
            Label(name="form", description="Fields to fill in, blank or filled."),
            Label(name="letter", description="Prose from a sender to a recipient."),
            Label(name="other", description="None of these."),
        ],
    )

    def deciding_labels(self) -> Sequence[Label]:
        """The document types."""
        return self.document_types


class DocumentSettings(Extracting, StageSettings):
    """Summaries of documents and meetings."""

    max_text_chars: Count = Field(2_000_000, description="longer texts are dead letters")
    part_tokens: Annotated[int, Field(ge=1_000, le=80_000)] = Field(
        40_000,
        description="about how many tokens are asked about at once: longer documents are asked in "
        "parts, then joined, because a prompt of more than 100,000 costs Haiku five times as much",
    )
    max_sentences: Annotated[int, Field(ge=1, le=30)] = Field(
        3, description="of a summary, where the event does not say"
    )
    languages: list[LanguageCode] = Field(
        default_factory=list, description="ISO 639-1 codes that are expected; empty for any"
    )


class Agent(Label):
    """One agent that requests are given to."""

    tier: Literal["haiku", "sonnet"] = Field(
        "haiku", description="the model that serves what this agent gets, unless more is asked"
    )


class RequestSettings(StageSettings):
    """The policy gate: which agent, which tools and which model a request gets."""

    agents: Annotated[list[Agent], Field(min_length=2), AfterValidator(checked_labels)] = Field(
        description="of which each request gets one",
        default_factory=lambda: [
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
    tools: Labels = Field(
        description="that a request may be given",
        default_factory=lambda: [
            Label(name="web_search", description="Finds pages and current facts."),
            Label(name="calculator", description="Arithmetic, units, currencies."),
            Label(name="calendar", description="Reads and books appointments and rooms."),
            Label(name="mail", description="Reads, writes and sends messages."),
            Label(name="files", description="Reads, renames, converts and stores files."),
            Label(name="code_runner", description="Runs code and tests."),
            Label(name="database", description="Reads and changes the company's own records."),
        ],
    )
    long_request_tokens: Count = Field(
        50_000, description="about how many tokens of a request make it one for Sonnet"
    )

    def deciding_labels(self) -> Sequence[Label]:
        """The agents."""
        return self.agents


class CodeSettings(StageSettings):
    """Documentation of functions and classes."""

    max_text_chars: Count = Field(40_000, description="longer sources are dead letters")
    python_style: Literal["google", "numpy"] = Field("google", description="of docstrings")


class TextSettings(Extracting, StageSettings):
    """Clean-up of messy text, and what can be extracted from it."""

    max_text_chars: Count = Field(20_000, description="longer texts are dead letters")
    intents: Labels = Field(
        description="of which each event is one",
        default_factory=lambda: [
            Label(name="request", description="Wants something done, sent, booked or changed."),
            Label(name="question", description="Wants to know something."),
            Label(name="complaint", description="Says that something is wrong or late."),
            Label(name="confirmation", description="Confirms, accepts or thanks."),
            Label(name="cancellation", description="Ends a contract, an order or an appointment."),
            Label(name="information", description="Tells or announces, and wants nothing."),
            Label(name="other", description="None of these."),
        ],
    )

    def deciding_labels(self) -> Sequence[Label]:
        """The intents."""
        return self.intents


class StagesSettings(Section):
    """One table a stage; of the stages that come with the pipeline unless extended."""

    own: ClassVar[Mapping[str, OwnStage]] = MappingProxyType({})
    """Stages that do not come with the pipeline, by name."""

    tickets: TicketSettings = Field(default_factory=TicketSettings)
    invoices: InvoiceSettings = Field(default_factory=InvoiceSettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    documents: DocumentSettings = Field(default_factory=DocumentSettings)
    requests: RequestSettings = Field(default_factory=RequestSettings)
    code: CodeSettings = Field(default_factory=CodeSettings)
    texts: TextSettings = Field(default_factory=TextSettings)

    @classmethod
    def extended_by(cls, own: Sequence[OwnStage]) -> "type[StagesSettings]":
        """The same with a table for each of these stages.

        Raises:
            UsageError: One of them is called like a stage that comes with the pipeline.
        """
        if not own:
            return cls
        for stage in own:
            if stage.name in cls.model_fields or hasattr(cls, stage.name):
                raise UsageError(
                    f"The stage {stage.origin} is called {stage.name!r} like one that comes with "
                    "the pipeline: choose another name."
                )
        tables: dict[str, Any] = {
            stage.name: (stage.settings_model, Field(default_factory=stage.settings_model))
            for stage in own
        }
        extended: type[StagesSettings] = create_model(cls.__name__, __base__=cls, **tables)
        extended.own = MappingProxyType({stage.name: stage for stage in own})
        return extended

    def by_name(self) -> Mapping[str, StageSettings]:
        """The settings of every stage."""
        return MappingProxyType(dict(self))

    def of(self, name: str) -> StageSettings | None:
        """The settings of a stage; None where there is no such stage."""
        return self.by_name().get(name)

    @model_validator(mode="before")
    @classmethod
    def _tables_are_of_stages(cls, tables: Any) -> Any:  # noqa: ANN401 - as pydantic gives it
        if isinstance(tables, dict):
            for name in tables:
                if name not in cls.model_fields:
                    raise ValueError(
                        f"there is no stage {name!r}; there are {', '.join(cls.model_fields)}; "
                        "one's own are named in `stage_modules`"
                    )
        return tables
