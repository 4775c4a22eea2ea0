"""Every setting: its default, its unit, its meaning.

The environment (`PIPELINE_KAFKA__BOOTSTRAP_SERVERS=...`) wins over `pipeline.toml`, which wins
over the defaults below. `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` keep the meaning that the
SDK gives them and are read by the SDK alone.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pipeline.errors import WrongUse

Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
Dollars = Annotated[Decimal, Field(gt=0)]
Delivery = Literal["exactly_once", "at_least_once"]
Ordering = Literal["key", "partition", "none"]


class Section(BaseModel):
    """One table of the settings; a name that is not a setting is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid")


class KafkaSettings(Section):
    """How the brokers are reached and how the consumer groups behave."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    client_id: str = "haiku-pipeline"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_file: Path | None = Field(None, description="CA certificates; the system's if unset")
    ssl_cert_file: Path | None = Field(None, description="client certificate, PEM")
    ssl_key_file: Path | None = Field(None, description="client key, PEM")
    ssl_key_password: SecretStr | None = None
    ssl_check_hostname: bool = True
    group_prefix: str = Field("pipeline.", description="the group of a stage is prefix + stage")
    group_instance_id: str | None = Field(
        None, description="static membership: unique for each process, stable over its restarts"
    )
    connect_timeout: Seconds = Field(
        10, description="seconds within which a broker must have accepted a first connection"
    )
    request_timeout: Seconds = Field(30, description="seconds a broker has to answer a request")
    session_timeout: Seconds = Field(
        20, description="seconds without a heartbeat after which a member counts as dead"
    )
    heartbeat_interval: Seconds = Field(3, description="seconds; at most a third of the session")
    max_poll_interval: Seconds = Field(
        120, description="seconds without a poll after which a member counts as stuck"
    )
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    fetch_max_bytes: Bytes = Field(16 << 20, description="of one fetch from one broker")
    partition_fetch_max_bytes: Bytes = Field(4 << 20, description="of one fetch, each partition")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    idle_fetch_pause: float = Field(
        0,
        ge=0,
        description="seconds without a fetch after one that brought nothing; 0 but for brokers "
        "that answer an idle fetch at once",
    )


class TopicSettings(Section):
    """Names and creation of topics."""

    prefix: str = Field("", description="put before every topic, e.g. 'acme.'")
    escalations: str = "escalations"
    review: str = "review"
    dead_letters: str = "dead-letters"
    partitions: Count = Field(6, description="of each topic that `pipeline topics create` makes")
    replication_factor: int = Field(-1, description="-1: the brokers' own default")
    max_message_bytes: Bytes = Field(16 << 20, description="the largest record a topic takes")


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535, description="0: a free one")


class ModelSettings(Section):
    """Which models the two tiers are."""

    haiku: str = "claude-haiku-5-5"
    sonnet: str = "claude-sonnet-5-5"


class StreamSettings(Section):
    """How events move. Each number is for one process."""

    max_unfinished: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="unfinished events a partition; above 1,000 the ledger may not fit"
    )
    max_in_flight: Count = Field(512, description="events being worked on, all partitions, a stage")
    max_in_flight_bytes: Bytes = Field(256 << 20, description="payload of those events")
    commit_interval: Seconds = Field(
        0.1, description="seconds at most between a result and its commit"
    )
    commit_count: Count = Field(500, description="results a partition after which it commits early")
    drain_budget: Seconds = Field(
        5, description="seconds that running calls get on revocation or stop before they are left"
    )
    transaction_timeout: Seconds = Field(60, description="seconds until brokers abort one")
    stuck_after: Seconds = Field(
        180, description="seconds assigned without progress or poll, after which the process ends"
    )
    dead_letter_window: Count = Field(200, description="recent events the ratio is taken of")
    dead_letter_ratio: Share = Field(
        0.5, description="share of dead letters in the window above which intake stops"
    )


class TokenPrices(Section):
    """US dollars a million tokens."""

    input: Decimal
    output: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal
    cache_read: Decimal


class ClaudeSettings(Section):
    """How the models are asked. Each number is for one process."""

    concurrency: Count = Field(256, description="calls in flight, each model")
    connect_timeout: Seconds = 5
    call_timeout: Seconds = Field(60, description="seconds a call may take at most")
    haiku_effort: Literal["low", "medium", "high"] = "low"
    sonnet_effort: Literal["low", "medium", "high"] = "low"
    backoff_first: Seconds = Field(0.5, description="seconds before the first repetition")
    backoff_max: Seconds = Field(30, description="seconds between repetitions at most")
    breaker_failures: Count = Field(5, description="failures in a row that open a model's breaker")
    breaker_open: Seconds = Field(5, description="seconds before an open breaker probes")
    prompt_cache: bool = Field(True, description="mark the static prefix for the prompt cache")
    prompt_cache_ttl: Literal["5m", "1h"] = "5m"
    answer_cache: Literal["memory", "disk", "off"] = "memory"
    answer_cache_entries: Count = 10_000
    answer_cache_ttl: Seconds = Field(86_400, description="seconds an answer may be reused")
    answer_cache_path: Path = Path(".haiku-pipeline/answers.sqlite3")
    prices: dict[str, TokenPrices] = Field(
        default_factory=dict, description="by model id; replaces the built-in price"
    )
    budget_usd_per_hour: Dollars | None = None
    budget_usd_per_day: Dollars | None = None
    budget_path: Path = Field(
        Path(".haiku-pipeline/spend.sqlite3"), description="spend so far, kept over restarts"
    )


class Label(Section):
    """One category of a team's own taxonomy."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str = Field("", max_length=500)
    examples: list[str] = Field(default_factory=list)
    queue: str | None = Field(None, description="where such tickets go; the label's name if unset")


def _unique_names(labels: list[Label]) -> list[Label]:
    folded = [label.name.casefold() for label in labels]
    if twice := sorted({name for name in folded if folded.count(name) > 1}):
        raise ValueError(f"labels that differ in case only, or not at all: {', '.join(twice)}")
    return labels


Labels = Annotated[list[Label], Field(min_length=2), AfterValidator(_unique_names)]


class Thresholds(Section):
    """When a doubt counts: each is the strength, 0 to 1, from which a signal is one.

    A confidence of 0.75 is a `low_confidence` signal of strength 0.25. Above 1: never. An answer
    that never came (refused, cut off, malformed) has no threshold: there is nothing to accept.
    """

    low_confidence: float = Field(0.3, ge=0, description="1 - the stated confidence")
    unclear: float = Field(0.5, ge=0, description="1 where the answer says so")
    runner_up_close: float = Field(
        0.33, ge=0, description="odds of another label, where the answer names one"
    )
    several_matters: float = Field(0.5, ge=0, description="1 where one event is really two")
    evidence_not_found: float = Field(
        0.5, ge=0, description="quotes or amounts that are not in the text"
    )
    arithmetic: float = Field(0.5, ge=0, description="sums that do not add up")
    missing_field: float = Field(0.5, ge=0, description="fields that a whole document has")
    implausible: float = Field(0.5, ge=0, description="dates, currencies, codes that do not exist")
    broken_form: float = Field(
        0.5, ge=0, description="an answer that is not in the form that was asked for"
    )
    illegible: float = Field(0.5, ge=0, description="0.4 for partly, 1 for not at all")
    long_input: float = Field(0.5, ge=0, description="0.5 at about 50,000 tokens, 1 at twice that")
    suspected_injection: float = Field(
        0.5, ge=0, description="content that speaks to the model instead of to people"
    )
    other: dict[str, float] = Field(
        default_factory=dict, description="for codes of one's own stages; 0.5 where not given"
    )


class SonnetThresholds(Thresholds):
    """The same for the second tier, where the next to be asked is a person.

    What a person could not settle either, or what the stronger model is there for, is left out.
    """

    low_confidence: float = Field(0.5, ge=0, description="1 - the stated confidence")
    runner_up_close: float = Field(2, ge=0, description="off: Sonnet's choice stands")
    several_matters: float = Field(2, ge=0, description="off: Sonnet's choice stands")
    missing_field: float = Field(2, ge=0, description="off: the document lacks it")
    implausible: float = Field(0.9, ge=0, description="values that do not exist at all")
    long_input: float = Field(2, ge=0, description="off: Sonnet is who takes long texts")
    suspected_injection: float = Field(2, ge=0, description="off: Sonnet is who takes these")


class StageSettings(Section):
    """What every stage has."""

    ordering: Ordering = Field("key", description="what runs one at a time, in order")
    max_event_bytes: Bytes = Field(8 << 20, description="larger events are dead letters")
    max_text_chars: Count = Field(200_000, description="longer texts are dead letters")
    thresholds: Thresholds = Field(
        default_factory=Thresholds, description="what sends Haiku's answer to Sonnet"
    )
    sonnet_thresholds: SonnetThresholds = Field(
        default_factory=SonnetThresholds, description="what sends Sonnet's answer to review"
    )
    answer_cache: bool = Field(True, description="reuse the answer to an identical question")
    events_per_request: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="small events that share one request to Haiku; evaluate before raising it"
    )
    linger_ms: Annotated[int, Field(ge=1, le=10_000)] = Field(
        50, description="milliseconds an event waits for others to share a request with"
    )
    budget_usd_per_hour: Dollars | None = None
    budget_usd_per_day: Dollars | None = None


class TicketSettings(StageSettings):
    """Classification and routing of support tickets."""

    intents: Labels = Field(
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


class FileSettings(StageSettings):
    """What stages that take files have: limits that hold before anything is decoded."""

    max_image_pixels: Count = Field(50_000_000, description="larger images are dead letters")
    image_long_edge: Annotated[int, Field(ge=1, le=8000)] = Field(
        1568, description="pixels images are scaled down to; the API takes 8,000"
    )
    decode_at_once: Count = Field(
        2, description="files decoded at the same time; each takes up to 16 bytes a pixel"
    )
    max_pdf_pages: Count = Field(100, description="longer PDF files are dead letters")
    uri_allow: list[str] = Field(
        default_factory=list,
        description="prefixes a claim-check `uri` may start with, e.g. 'file:///data/in/'",
    )


InvoiceField = Literal[
    "invoice_number", "issue_date", "due_date", "vendor", "buyer", "currency", "line_items",
    "allowances", "charges", "net", "tax", "gross", "prepaid", "due",
]  # fmt: skip


class InvoiceSettings(FileSettings):
    """Extraction of invoices."""

    required_fields: list[InvoiceField] = Field(
        ["invoice_number", "issue_date", "vendor", "currency", "gross"],
        description="fields whose absence is a doubt; for till receipts leave out the number",
    )
    amount_tolerance: Decimal = Field(
        Decimal("0.02"), ge=0, description="difference that sums may have, in the currency's units"
    )


class ImageSettings(FileSettings):
    """Classification of document images."""

    document_types: Labels = Field(
        default_factory=lambda: [
            Label(name="invoice", description="Asks for payment of goods or services."),
            Label(name="receipt", description="Proves that something was paid."),
            Label(name="contract", description="An agreement with parties and clauses."),
            Label(name="form", description="Fields to fill in, blank or filled."),
            Label(name="letter", description="Prose from a sender to a recipient."),
            Label(name="other", description="None of these."),
        ],
    )


class DocumentSettings(StageSettings):
    """Summaries of documents and meetings."""

    max_sentences: Annotated[int, Field(ge=1, le=30)] = Field(
        3, description="of a summary, where the event does not say"
    )


class Agent(Label):
    """One agent that requests are given to."""

    tier: Literal["haiku", "sonnet"] = Field(
        "haiku", description="the model that serves what this agent gets, unless more is asked"
    )


def _unique_agents(agents: list[Agent]) -> list[Agent]:
    _unique_names(list(agents))
    return agents


class RequestSettings(StageSettings):
    """The policy gate: which agent, which tools and which model a request gets."""

    agents: Annotated[list[Agent], Field(min_length=2), AfterValidator(_unique_agents)] = Field(
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


class CodeSettings(StageSettings):
    """Documentation of functions and classes."""

    max_text_chars: Count = Field(40_000, description="longer sources are dead letters")
    python_style: Literal["google", "numpy"] = Field("google", description="of docstrings")


class TextSettings(StageSettings):
    """Clean-up of messy text, and what can be extracted from it."""

    max_text_chars: Count = Field(20_000, description="longer texts are dead letters")
    intents: Labels = Field(
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


class StagesSettings(Section):
    """One table a stage."""

    tickets: TicketSettings = Field(default_factory=TicketSettings)
    invoices: InvoiceSettings = Field(default_factory=InvoiceSettings)
    images: ImageSettings = Field(default_factory=ImageSettings)
    documents: DocumentSettings = Field(default_factory=DocumentSettings)
    requests: RequestSettings = Field(default_factory=RequestSettings)
    code: CodeSettings = Field(default_factory=CodeSettings)
    texts: TextSettings = Field(default_factory=TextSettings)


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere"
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_",
        env_nested_delimiter="__",
        toml_file="pipeline.toml",
        extra="forbid",
    )

    delivery: Delivery = "exactly_once"
    enabled: list[str] = Field(
        default_factory=lambda: ["tickets", "invoices", "images", "escalations"],
        description="stages that `pipeline run` serves when none is named",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)
    stream: StreamSettings = Field(default_factory=StreamSettings)
    claude: ClaudeSettings = Field(default_factory=ClaudeSettings)
    stages: StagesSettings = Field(default_factory=StagesSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then `pipeline.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _heartbeats_fit_the_session(self) -> Self:
        if self.kafka.heartbeat_interval * 3 > self.kafka.session_timeout:
            raise ValueError("kafka.heartbeat_interval must be at most a third of session_timeout")
        return self


def load_settings() -> Settings:
    """Read the settings from the environment and `pipeline.toml`.

    Raises:
        WrongUse: Naming each setting that is wrong, and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc']) or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise WrongUse(f"The settings are wrong: {faults}.") from error
