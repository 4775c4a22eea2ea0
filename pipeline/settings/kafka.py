"""How the brokers are reached, and which topics there are."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from pipeline.settings.units import Bytes, Count, Seconds, Section


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
