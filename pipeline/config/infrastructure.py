"""How the brokers are reached, and which topics there are.

How events move.

What operators look at: the HTTP port, the log and the traces; and what files may take.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from pipeline.config.units import Bytes, Count, Seconds, Section, Share


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
    replayed: str = Field(
        "dead-letters.replayed", description="which dead letters were replayed; compacted"
    )
    resolved: str = Field(
        "review.resolved", description="which reviews a person has resolved; compacted"
    )
    backfills: str = Field(
        "backfills", description="what became of each message batch of a backfill; compacted"
    )
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
        0.02, description="seconds at least between two commits of a partition"
    )
    commit_count: Count = Field(500, description="results a partition after which it commits early")
    drain_budget: Seconds = Field(
        5, description="seconds that running calls get on revocation or stop before they are left"
    )
    transaction_timeout: Seconds = Field(60, description="seconds until brokers abort one")
    stuck_after: Seconds = Field(
        180, description="seconds assigned without progress or poll, after which the process ends"
    )
    dead_letter_window: Count = Field(
        200, description="keys, those seen last, that the ratio is taken of"
    )
    dead_letter_ratio: Share = Field(
        0.5,
        description="share of these keys, with dead letters by a fault of ours or after good ends, "
        "above which intake stops; 1 for never",
    )


class HttpSettings(Section):
    """The one port: dashboard, metrics, health."""

    host: str = "127.0.0.1"
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
        description="a file may take, its wait for a decoder not counted; longer is a dead letter. "
        "The largest images take 1 to 2 s of a core",
    )
    decode_memory_mib: Annotated[int, Field(ge=64)] = Field(
        512, description="MiB that a file may take beyond what a decoder has at start"
    )


class LogSettings(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
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
        description="share of the traces begun here that is recorded; publishers decide of theirs",
    )
    service_name: str = Field("haiku-pipeline", description="what spans say they come from")
