"""What values settings may have, and the tables that are not of a stage.

Each field is a setting: its default, its unit and its meaning are written to docs/SETTINGS.md.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from pipeline.privacy.masking import FilesRule, Masking, Rules
from pipeline.privacy.recognition import Kind

Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "seconds"})]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1, json_schema_extra={"unit": "bytes"})]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Dollars = Annotated[Decimal, Field(gt=0, json_schema_extra={"unit": "US dollars"})]
Delivery = Literal["exactly_once", "at_least_once"]
Ordering = Literal["key", "partition", "none"]


class Section(BaseModel):
    """One table of the settings; a name that is not a setting is an error."""

    model_config = ConfigDict(extra="forbid")


class KafkaSettings(Section):
    """How the brokers are reached and how the consumer groups behave."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    client_id: str = Field("haiku-pipeline", description="what brokers log, and count quotas by")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="what the brokers' listener speaks"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how the account is proven"
    )
    sasl_username: str | None = Field(None, description="the account")
    sasl_password: SecretStr | None = Field(None, description="its password")
    ssl_ca_file: Path | None = Field(None, description="CA certificates; the system's if unset")
    ssl_cert_file: Path | None = Field(None, description="client certificate, PEM")
    ssl_key_file: Path | None = Field(None, description="client key, PEM")
    ssl_key_password: SecretStr | None = Field(None, description="of the client key")
    ssl_check_hostname: bool = Field(
        True, description="whether a broker's certificate must be for its host name"
    )
    group_prefix: str = Field("pipeline.", description="the group of a stage is prefix + stage")
    group_instance_id: str | None = Field(
        None, description="static membership: unique for each process, stable over its restarts"
    )
    request_timeout: Seconds = Field(30, description="that a broker has to answer a request")
    session_timeout: Seconds = Field(
        20, description="without a heartbeat, after which a member counts as dead"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="where a group begins that has committed nothing yet"
    )
    fetch_max_bytes: Bytes = Field(
        16 << 20, description="of one fetch from one broker; a quarter of it from one partition"
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "lz4", description="of what is published"
    )
    idle_fetch_pause: float = Field(
        0,
        ge=0,
        json_schema_extra={"unit": "seconds"},
        description="without a fetch after one that brought nothing; 0 but for brokers "
        "that answer an idle fetch at once",
    )

    @property
    def heartbeat_interval(self) -> float:
        """Seconds; a member misses six before it counts as dead, where Kafka advises three."""
        return 0.15 * self.session_timeout

    @property
    def partition_fetch_max_bytes(self) -> int:
        """Of one fetch, each partition: four must fit, or one large backlog starves the others."""
        return max(1, self.fetch_max_bytes // 4)


class TopicSettings(Section):
    """Names and creation of topics."""

    prefix: str = Field("", description="put before every topic, e.g. 'acme.'")
    escalations: str = Field("escalations", description="what Haiku could not settle, for Sonnet")
    review: str = Field("review", description="what Sonnet could not settle either, for people")
    dead_letters: str = Field("dead-letters", description="records that cannot be handled")
    replayed: ClassVar[str] = "dead-letters.replayed"
    """Which dead letters were replayed; compacted. The pipeline's own, as the next two are."""
    resolved: ClassVar[str] = "review.resolved"
    """Which reviews a person has resolved; compacted."""
    backfills: ClassVar[str] = "backfills"
    """What became of each message batch of a backfill; compacted."""
    partitions: Count = Field(6, description="of each topic that `pipeline topics create` makes")
    replication_factor: int = Field(-1, description="-1: the brokers' own default")
    max_message_bytes: Bytes = Field(16 << 20, description="the largest record a topic takes")


class StreamSettings(Section):
    """How events move. Each number is for one process."""

    max_unfinished: Annotated[int, Field(ge=1, le=1000)] = Field(
        1000, description="unfinished events a partition; above 1,000 the ledger may not fit"
    )
    max_in_flight: Count = Field(512, description="events being worked on, all partitions, a stage")
    max_in_flight_bytes: Bytes = Field(256 << 20, description="payload of those events")
    commit_interval: Seconds = Field(
        0.15,
        description="at least between two commits of a partition; half of it is what a result "
        "waits on average while they come all the time",
    )
    drain_budget: Seconds = Field(
        5, description="that running calls get on revocation or stop before they are left"
    )
    transaction_timeout: Seconds = Field(60, description="until brokers abort a transaction")
    stuck_after: Seconds = Field(
        180, description="assigned without progress or poll, after which the process ends"
    )
    dead_letter_ratio: Share = Field(
        0.5,
        description="share of the last 200 keys, with dead letters by a fault of ours or after "
        "good ends, above which intake stops; 1 for never",
    )


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = Field("127.0.0.1", description="the address that is listened on; 0.0.0.0: all")
    port: int = Field(8080, ge=0, le=65535, description="0: a free one")
    names: list[str] = Field(
        default_factory=list,
        description="host names that requests may use, beside addresses, localhost and the "
        "machine's own: those of a proxy or a service; '*.example.com' for all below it",
    )
    recent_records: int = Field(
        20,
        ge=0,
        le=200,
        description="last records that the dashboard shows, with their results; 0: none, which "
        "keeps results off the port",
    )


class DecodingSettings(Section):
    """The child processes that decode files, for all stages of a process together."""

    decoders: Count = Field(2, description="files decoded at the same time")
    decode_seconds: Seconds = Field(
        20,
        description="that a file may take, its wait for a decoder not counted; longer is a dead "
        "letter. The largest images take 1 to 2 s of a core",
    )
    decode_memory_mib: Annotated[int, Field(ge=64, json_schema_extra={"unit": "MiB"})] = Field(
        512, description="that a file may take beyond what a decoder has at start"
    )


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is logged"
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON elsewhere"
    )


class TracingSettings(Section):
    """Traces of events, by OpenTelemetry (extra `otel`); off as long as no endpoint is set.

    What the exporter needs beside it, e.g. `OTEL_EXPORTER_OTLP_HEADERS`, is read by it alone.
    """

    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="where spans go, by OTLP over HTTP, e.g. http://127.0.0.1:4318/v1/traces",
    )
    sample_ratio: Share = Field(
        1,
        description="share of the traces begun here that is recorded; publishers decide on theirs",
    )


class ModelSettings(Section):
    """Which models the two tiers are."""

    haiku: str = Field("claude-haiku-5-5", description="the model that is asked about every event")
    sonnet: str = Field("claude-sonnet-5-5", description="the model that is asked where it doubts")


class TokenPrices(Section):
    """US dollars a million tokens."""

    input: Decimal = Field(description="input that no cache has to do with")
    output: Decimal = Field(description="what the model answers")
    cache_write_5m: Decimal = Field(description="input that is cached for five minutes")
    cache_write_1h: Decimal = Field(description="input that is cached for an hour")
    cache_read: Decimal = Field(description="input that comes out of the cache")


class ClaudeSettings(Section):
    """How the models are asked. Each number is for one process."""

    concurrency: Count = Field(
        256,
        description="calls in flight, each model; beside those that hang or belong to an event in"
        " trouble while others are answered: at most three quarters as many, or 32",
    )
    call_timeout: Seconds = Field(60, description="that a call may take at most")
    haiku_effort: Literal["low", "medium", "high"] = Field(
        "low", description="how much Haiku thinks about an answer: more is slower and costs more"
    )
    sonnet_effort: Literal["low", "medium", "high"] = Field(
        "low", description="how much Sonnet thinks about an answer"
    )
    backoff_max: Seconds = Field(
        30, description="between repetitions at most; the first comes after 0.5"
    )
    attempts_per_event: Count = Field(
        8, description="failures while others are answered that make it the event's own trouble"
    )
    attempts_seconds: Seconds = Field(60, description="over which they must extend at least")
    prompt_cache: Literal["5m", "1h", "off"] = Field(
        "5m", description="how long the API keeps the static prefix of a prompt after its last use"
    )
    answer_cache: Literal["memory", "disk", "off"] = Field(
        "memory", description="where answers to identical questions are kept, to be reused"
    )
    answer_cache_ttl: Seconds = Field(86_400, description="that an answer may be reused")
    prices: dict[str, TokenPrices] = Field(
        default_factory=dict, description="by model id; replaces the built-in price"
    )
    budget_usd_per_hour: Dollars | None = Field(
        None, description="what all stages may spend in an hour (UTC); above it, intake waits"
    )
    budget_usd_per_day: Dollars | None = Field(
        None, description="what all stages may spend in a day (UTC)"
    )
    state_dir: Path = Field(
        Path(".haiku-pipeline"),
        description="where a process keeps what it spent (with a budget) and answers (on disk)",
    )

    @property
    def spend_path(self) -> Path:
        return self.state_dir / "spend.sqlite3"

    @property
    def answers_path(self) -> Path:
        return self.state_dir / "answers.sqlite3"


class BackfillSettings(Section):
    """How `pipeline backfill` cuts a backlog into batches, and how it waits for them."""

    batch_events: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10_000, description="events a batch; the API takes 100,000 requests"
    )
    batches_at_once: Count = Field(
        10, description="batches that are submitted and not published; the API's queue has a limit"
    )
    poll_interval: Seconds = Field(30, description="between looks at a batch")
    settle: Seconds = Field(
        120,
        description="after which a batch that may have been submitted, and that the API "
        "does not list, counts as not submitted",
    )


class StagePrivacySettings(Section):
    """What is masked in the events of one stage."""

    mask: list[Kind] | None = Field(None, description="in place of `privacy.mask`")
    fields: list[str] = Field(
        default_factory=list,
        description="of its events, unknown ones too, whose values are masked wherever they stand "
        "in what is asked: names, customer ids",
    )


class PrivacySettings(Section):
    """What no model sees: it is masked before an event is asked about, and put back afterwards."""

    mask: list[Kind] = Field(
        default_factory=list,
        description="kinds of personal data that are masked in the events of every stage",
    )
    files: FilesRule = Field(
        "ask",
        description="what becomes of images and PDF files, which cannot be masked, where a stage "
        "masks anything: `refuse` makes them dead letters",
    )
    stages: dict[str, StagePrivacySettings] = Field(
        default_factory=dict, description="by stage: what is masked in its events"
    )

    def masking(self) -> Masking:
        default = frozenset(self.mask)
        return Masking(
            Rules(default),
            {
                name: Rules(
                    default if own.mask is None else frozenset(own.mask), frozenset(own.fields)
                )
                for name, own in self.stages.items()
            },
            self.files,
        )


class EscalationSettings(Section):
    """How much Sonnet is asked about at most, of all stages, and when Haiku is asked twice."""

    max_share: Share | None = Field(
        None,
        description="of recent events (5 minutes), that Sonnet is asked about; what is above it "
        "waits in Kafka; no cap where not set",
    )
    per_minute: float = Field(
        10, gt=0, description="escalated events a process takes beyond the share, so that all drain"
    )
    scope: Literal["words", "encoder"] = Field(
        "words",
        description="what tells how like the labels' examples a text of tickets, requests or texts "
        "is: the words they share, or a sentence encoder (the extra `encoder`)",
    )
    second_opinion: dict[str, Share] = Field(
        default_factory=dict,
        description="by stage that asks Haiku again, in other words, where its first answer is "
        "unsure and it pays at the prices of the day: the share of second opinions that spare a "
        "call to Sonnet, as `pipeline evaluate` measures it; 0.3 where nobody did",
    )
