"""The envelope of every topic: what consumers read and operators replay.

`pipeline schemas` writes these models to `schemas/`. A change that would break a reader
makes a new version of the schema, never a silent change of an old one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

ResultT = TypeVar("ResultT")


ENRICHED_VERSION = 1
"""Of the schemas of all enriched topics: raised by a change that would break a reader."""


def enriched_schema(stage: str) -> str:
    """The field `schema` of a record of `<stage>.enriched`."""
    return f"{stage}.enriched/{ENRICHED_VERSION}"


SIMULATED = "simulated-"
"""How the names of models begin that are none: the simulated API's, in every record it decided."""


def is_simulated(model: str) -> bool:
    """Whether a model, by the name that is in a record, is a stand-in for one."""
    return model.startswith(SIMULATED)


def _parse_decimal(value: Any) -> Any:  # noqa: ANN401 - a pydantic validator takes anything
    return Decimal(value) if isinstance(value, str) else value


def _to_rfc3339(moment: datetime) -> str:
    """Millisecond RFC 3339 in UTC, the one format of every timestamp that is published."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


Money = Annotated[
    Decimal,
    BeforeValidator(_parse_decimal, json_schema_input_type=str),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
    Field(description="US dollars, exact, as a decimal string."),
]
Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(_to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class Tier(StrEnum):
    """Which of the two models, whatever their ids are set to."""

    HAIKU = "haiku"
    SONNET = "sonnet"


class Record(BaseModel):
    """What all published values share: readers may meet new fields, writers add none unsaid."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def added(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """The sum of two costs; an unknown one makes it unknown."""
    return None if one is None or other is None else one + other


class Usage(Record):
    """What the answers behind a record cost, summed over models, repetitions included."""

    calls: int = Field(0, description="Requests that were sent and answered.")
    reused: int = Field(
        0, description="Answers taken from an identical question, in flight or recent: not paid."
    )
    input_tokens: int = Field(0, description="Prompt tokens outside the prompt cache.")
    cache_read_tokens: int = Field(0, description="Prompt tokens read from the prompt cache.")
    cache_write_tokens: int = Field(0, description="Prompt tokens written to the prompt cache.")
    output_tokens: int = Field(0, description="Answer tokens, thinking included.")
    cost_usd: Money | None = Field(
        Decimal(0),
        description="Null where the price of the model that answered is not in the price table, or "
        "where its answer does not say what was used.",
    )

    def __add__(self, other: "Usage") -> "Usage":
        """Sum both; an unknown cost makes the sum unknown."""
        return Usage(
            calls=self.calls + other.calls,
            reused=self.reused + other.reused,
            input_tokens=self.input_tokens + other.input_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=added(self.cost_usd, other.cost_usd),
        )

    @classmethod
    def total(cls, usages: "Iterable[Usage]") -> "Usage":
        """The sum of any number; where there is but one, as mostly, it is that one."""
        first, *others = tuple(usages) or (cls(),)
        return sum(others, first)


class Doubt(Record):
    """One reason why an answer was not accepted."""

    code: str = Field(description="A short stable code, e.g. `low_confidence`.")
    detail: str = Field(description="A sentence for a person.")


class Source(Record):
    """Where the raw event came from."""

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp: Timestamp = Field(description="The raw record's own Kafka timestamp.")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict, description="Fields of the raw event the stage does not know."
    )


class Timing(Record):
    """When, and how long the models took."""

    received_at: Timestamp
    enriched_at: Timestamp
    model_seconds: float = Field(description="Seconds spent in model calls, both tiers.")


class EscalationSummary(Record, Generic[ResultT]):
    """Why the first answer was not accepted, and what it was."""

    doubts: list[Doubt]
    haiku_result: ResultT | None = Field(description="Null where there was no usable answer.")


class Enriched(Record, Generic[ResultT]):
    """A record of `<stage>.enriched`."""

    schema_: str = Field(alias="schema", description="`<stage>.enriched/<version>`")
    event_id: str
    stage: str
    result: ResultT
    decided_by: Literal["haiku", "sonnet", "human"]
    confidence: float | None = Field(
        ge=0, le=1, description="The deciding model's own statement; null where a person decided."
    )
    escalation: EscalationSummary[ResultT] | None
    model: str = Field(
        description="The model that decided, as the API names it; where a person did, the last "
        "one that was asked."
    )
    usage: Usage
    source: Source
    timing: Timing


class Escalation(Record):
    """A record of `escalations`: everything the Sonnet tier needs, and nothing paid is lost."""

    schema_: str = Field("escalations/1", alias="schema")
    event_id: str
    stage: str
    event: dict[str, JsonValue] = Field(description="The raw event, as JSON.")
    doubts: list[Doubt]
    haiku_result: dict[str, JsonValue] | None
    haiku_model: str
    usage: Usage
    source: Source
    received_at: Timestamp
    model_seconds: float


class Review(Record):
    """A record of `review`: what neither model could settle, for a person."""

    schema_: str = Field("review/1", alias="schema")
    event_id: str
    stage: str
    event: dict[str, JsonValue] = Field(description="The raw event, as JSON.")
    doubts: list[Doubt] = Field(description="Of both tiers, Haiku's first.")
    haiku_result: dict[str, JsonValue] | None
    sonnet_result: dict[str, JsonValue] | None
    model: str
    usage: Usage
    source: Source
    timing: Timing


class Handled(Record):
    """A record of `dead-letters.replayed` or `review.resolved`: that something was done, once.

    It is published in the transaction that did it, under the key `TOPIC/PARTITION/OFFSET` of the
    record that it is about, in a compacted topic: the last one of a key holds.
    """

    schema_: str = Field("handled/1", alias="schema")
    topic: str = Field(description="Where the record is that was handled.")
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp: Timestamp = Field(
        description="The record's own Kafka timestamp, which tells it from another one that is in "
        "its place after the topic was made anew."
    )
    to: str = Field(description="The topic on which something was published for it.")
    at: Timestamp = Field(description="When.")
    times: int = Field(ge=1, description="How often, all in all.")
    by: str = Field("", description="Which run of a command did it: a random name.")


class DeadLetterReason(StrEnum):
    """The codes of the `dlq-reason` header."""

    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    BAD_IMAGE = "bad_image"
    BAD_PDF = "bad_pdf"
    FORBIDDEN_URI = "forbidden_uri"
    REJECTED_BY_API = "rejected_by_api"
    STAGE_FAILED = "stage_failed"


class DeadLetterHeaders(Record):
    """The headers a dead letter carries beside the record's own; its key and value are untouched.

    All values are UTF-8 text on the wire.
    """

    reason: DeadLetterReason = Field(alias="dlq-reason")
    detail: str = Field(alias="dlq-detail", description="A sentence for a person.")
    stage: str = Field(alias="dlq-stage")
    topic: str = Field(alias="dlq-topic")
    partition: int = Field(alias="dlq-partition")
    offset: int = Field(alias="dlq-offset")
    timestamp: Timestamp = Field(alias="dlq-timestamp", description="When it was dead-lettered.")
    attempts: int = Field(alias="dlq-attempts", description="Model calls made for it.")
    version: str = Field(alias="dlq-version", description="Version of the pipeline.")
