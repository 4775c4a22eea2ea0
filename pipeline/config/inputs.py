"""The topics that a team has already: `[stages.<stage>.input]`, `.map`, `.output`, `[registry]`.

What is set here says where a stage's records come from and in which form, which of their fields
the stage reads, and where and in which form its results go.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from pipeline.config.tables import Section, setting

InputFormat = Literal["json", "registry", "email", "text"]
InputEnvelope = Literal["cloudevents", "debezium"]
OutputFormat = Literal["json", "avro", "json_schema", "protobuf"]


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


class OutputSettings(Section):
    """Where a stage's results go, and in which form."""

    topic: str | None = setting(None, "its whole name; `<stage>.enriched` if unset")
    format: OutputFormat = setting("json", "of the enriched record")


class RegistrySettings(Section):
    """The schema registry: one that speaks Confluent's API."""

    url: str | None = setting(None, pattern=r"^https?://", description="where it is")
