"""The topics that a team has already: `[stages.<stage>.input]`, `.map`, `.output`, `[registry]`.

What is set here says where a stage's records come from and in which form, which of their fields
the stage reads, and where and in which form its results go.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, model_validator

from pipeline.config.tables import Seconds, Section, setting

InputFormat = Literal["json", "registry", "email", "text"]
InputEnvelope = Literal["cloudevents", "debezium"]
OutputFormat = Literal["json", "avro", "json_schema", "protobuf"]
OutputShape = Literal["envelope", "flat"]
SubjectName = Literal["topic", "record", "topic_record"]
_OURS = ("ce_", "dlq-", "__value_schema_id", "content-type", "traceparent", "tracestate")


class InputSettings(Section):
    """Where a stage's raw records come from, and in which form."""

    topics: list[str] = setting([], "topics that are read, as they are called; else `<stage>.raw`")
    pattern: str | None = setting(None, "a regular expression: topics whose whole name it matches")
    format: InputFormat = setting(
        "json", "`registry`: Avro, JSON Schema or Protobuf, as the schema registry says"
    )
    envelope: InputEnvelope | None = setting(
        None, "what is around the event; CloudEvents in JSON are seen without it"
    )
    message_indexes: bool = setting(
        True,
        "of Protobuf by a registry: whether records say which message of the schema they are; "
        "kafkajs's registry client leaves that out, and the first one is meant",
    )


class OutputSettings(Section):
    """Where a stage's results go, and in which form."""

    topic: str | None = setting(None, "as it is called; else `<stage>.enriched`")
    format: OutputFormat = setting(
        "json",
        "of the enriched record; all but `json` are a schema registry's, which has to know the "
        "schema: `pipeline schemas register`",
    )
    subject: SubjectName = setting(
        "topic",
        "what a schema is registered as: `<topic>-value`, the record's full name, or both with a "
        "hyphen between them",
    )
    shape: OutputShape = setting(
        "envelope", "`flat`: only the columns of a table, without nesting, instead of the envelope"
    )
    flat_topic: str | None = setting(
        None, "as it is called: gets the flat record beside the envelope, in one transaction"
    )
    key: str | None = setting(
        None,
        "JMESPath over the enriched record, e.g. `event_id` or `result.intent`: the key that it is "
        "published under; the raw record's if unset",
    )
    headers: dict[str, str] = setting(
        {},
        "more headers, each JMESPath over the enriched record; a fixed text is in quotes: "
        "`team = \"'support'\"`",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.shape == "flat" and self.flat_topic is not None:
            raise ValueError("`flat_topic` is for a flat record beside the envelope: unset `shape`")
        if taken := sorted(name for name in self.headers if name.lower().startswith(_OURS)):
            raise ValueError(f"the pipeline writes these headers itself: {', '.join(taken)}")
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the enriched record is published as it is where nothing of this is set."""
        return (
            self.format == "json"
            and self.shape == "envelope"
            and self.flat_topic is None
            and self.key is None
            and not self.headers
        )


class RegistrySettings(Section):
    """The schema registry: one that speaks Confluent's API."""

    url: str | None = setting(
        None,
        pattern=r"^https?://[^@]+$",
        description="where it is; several of one registry comma-separated, tried in order",
    )
    username: str | None = setting(None, "the account, or the API key")
    password: SecretStr | None = setting(None, "its password, or the API secret")
    token: SecretStr | None = setting(None, "a bearer token, instead of an account")
    token_file: Path | None = setting(
        None, "where a bearer token is, read for each request: something else renews it"
    )
    headers: dict[str, str] = setting(
        {}, "sent along, such as Confluent Cloud's `target-sr-cluster` beside a token"
    )
    ca_file: Path | None = setting(None, "CA certificates; the system's if unset")
    cert_file: Path | None = setting(None, "client certificate, PEM")
    key_file: Path | None = setting(None, "client key, PEM")
    key_password: SecretStr | None = setting(None, "of the client key")
    timeout: Seconds = setting(10, "that it has to answer a request")
    id_bytes: Literal[4, 8] = setting(
        4, "of the schema id in a record's value: 8 for writers that use Apicurio's older form"
    )

    @model_validator(mode="after")
    def _is_one_account(self) -> Self:
        ways = [self.username, self.token, self.token_file]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("one of `username`, `token` and `token_file` says who asks, not two")
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` go together")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("`cert_file` and `key_file` go together")
        return self
