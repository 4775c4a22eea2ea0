"""The topics that a team has already: `[stages.<stage>.input]`, `.map`, `.output`, `[registry]`.

What is set here says where a stage's records come from and in which form, which of their fields
the stage reads, and where and in which form its results go.
"""

from typing import Literal

from pipeline.config.tables import Section, setting

InputFormat = Literal["json", "registry", "email", "text"]
InputEnvelope = Literal["cloudevents", "debezium"]
Attachments = Literal["ignore", "each", "together"]
OutputFormat = Literal["json", "avro", "json_schema", "protobuf"]


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
    attachments: Attachments = setting(
        "ignore",
        "of e-mail. each: the image or PDF that is attached is the event's file; together: what is "
        "attached as text is appended to the mail's",
    )


class OutputSettings(Section):
    """Where a stage's results go, and in which form."""

    topic: str | None = setting(None, "as it is called; else `<stage>.enriched`")
    format: OutputFormat = setting("json", "of the enriched record")
    tombstones: bool = setting(
        False, "whether a tombstone, or a delete of Debezium, is passed on under its key"
    )


class RegistrySettings(Section):
    """The schema registry: one that speaks Confluent's API."""

    url: str | None = setting(None, pattern=r"^https?://", description="where it is")
