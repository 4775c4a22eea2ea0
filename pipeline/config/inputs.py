"""The topics that a team has already: `[stages.<stage>.input]`, `.map`, `.output`, `[registry]`.

What is set here says where a stage's records come from and in which form, which of their fields
the stage reads, and where and in which form its results go.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, SecretStr, WithJsonSchema, model_validator

from pipeline.config.tables import Seconds, Section, setting
from pipeline.model.expressions import Expression

InputFormat = Literal["json", "registry", "email", "text"]
InputEnvelope = Literal["cloudevents", "debezium"]
Attachments = Literal["ignore", "each", "together"]
OutputFormat = Literal["json", "avro", "json_schema", "protobuf"]
OutputShape = Literal["envelope", "flat"]
SubjectName = Literal["topic", "record", "topic_record"]
_OURS = ("ce_", "dlq-", "__value_schema_id", "content-type", "traceparent", "tracestate")


def _compiles(pattern: str) -> str:
    try:
        re.compile(f"(?:{pattern})")
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


class InputSettings(Section):
    """Where a stage's raw records come from, and in which form."""

    topics: list[str] = setting(
        [], "topics that are read, by their whole names; `<stage>.raw` if no pattern is set either"
    )
    pattern: Pattern | None = setting(
        None,
        "a regular expression: topics whose whole name it matches are read, new ones as they come; "
        "what the pipeline writes is never among them",
    )
    format: InputFormat = setting(
        "json", "`registry`: Avro, JSON Schema or Protobuf, as the schema registry says"
    )
    envelope: InputEnvelope | None = setting(
        None, "what is around the event; CloudEvents in JSON are seen without it"
    )
    attachments: Attachments = setting(
        "ignore",
        "of e-mail. each: the image or PDF that is attached is the event's file; together: what is "
        "attached as text is appended to the mail's",
    )
    message_indexes: bool = setting(
        True,
        "of Protobuf by a registry: whether records say which message of the schema they are; "
        "kafkajs's registry client leaves that out, and the first one is meant",
    )


class OutputSettings(Section):
    """Where a stage's results go, and in which form."""

    topic: str | None = setting(None, "its whole name; `<stage>.enriched` if unset")
    tombstones: bool = setting(
        False, "whether a tombstone, or a delete of Debezium, is passed on under its key"
    )
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
        named = {f"headers.{name}": text for name, text in self.headers.items()}
        if self.key is not None:
            named["key"] = self.key
        for name, text in named.items():
            try:
                jmespath.compile(text)
            except JMESPathError as error:
                raise ValueError(f"{name}: `{text}` is not JMESPath: {error}") from None
        if self.tombstones and self.key is not None:
            raise ValueError("`tombstones` are published under the raw record's key: unset `key`")
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


@dataclass(frozen=True, slots=True)
class MappedField:
    """A field that the stage reads, and where its value is in what comes.

    `path` are its names from the outermost on. Several `parts`, or one with a heading, are joined
    as a text, each under its heading; a heading is empty where there is none.
    """

    path: tuple[str, ...]
    parts: tuple[tuple[str, Expression], ...]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_joined(self) -> bool:
        return len(self.parts) > 1 or bool(self.parts[0][0])

    @property
    def is_literal(self) -> bool:
        """Whether it is the same whatever comes."""
        return all(expression.is_literal for _, expression in self.parts)


def mapped_fields(mapping: Mapping[str, Any]) -> Iterator[MappedField]:
    """Read `[stages.<stage>.map]`; raises `ValueError`, which names the field, if it is wrong."""
    for name, given in mapping.items():
        nested = given.items() if isinstance(given, Mapping) else [(None, given)]
        for inner, value in nested:
            path = (name,) if inner is None else (name, inner)
            try:
                yield MappedField(path, _parts(value))
            except ValueError as error:
                raise ValueError(f"{'.'.join(path)}: {error}") from None


def _parts(given: object) -> tuple[tuple[str, Expression], ...]:
    if given == []:
        raise ValueError("an empty list: give it at least one expression")
    return tuple(map(_part, given if isinstance(given, list) else [given]))


def _part(given: object) -> tuple[str, Expression]:
    match given:
        case str():
            return "", Expression(given)
        case {"heading": str(heading), "value": str(value), **rest} if not rest:
            return heading, Expression(value)
    raise ValueError(
        "an expression is needed, a list of expressions, or in a list "
        '{heading = "...", value = "expression"}'
    )


def passed_on(pass_through: list[Any]) -> Iterator[tuple[str, Expression]]:
    """Read `pass_through`: names below `source.extra`, and what is there; raises `ValueError`."""
    for given in pass_through:
        match given:
            case str():
                expression = Expression(given)
                if not (path := expression.path):
                    raise ValueError(
                        f'`{given}` has no name of its own: write {{name = "...", value = "..."}}'
                    )
                yield path[-1], expression
            case {"name": str(name), "value": str(value), **rest} if not rest:
                yield name, Expression(value)
            case _:
                raise ValueError('an expression or {name = "...", value = "expression"} is needed')


def _checked_map(mapping: dict[str, Any]) -> dict[str, Any]:
    list(mapped_fields(mapping))
    return mapping


def _checked_where(where: str) -> str:
    Expression(where)
    return where


def _checked_pass_through(pass_through: list[Any]) -> list[Any]:
    names = [name for name, _ in passed_on(pass_through)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two of the same name: {', '.join(twice)}")
    return pass_through


MapTable = Annotated[
    dict[str, Any],
    AfterValidator(_checked_map),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Where = Annotated[str, AfterValidator(_checked_where)]
PassThrough = Annotated[
    list[Any],
    AfterValidator(_checked_pass_through),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
