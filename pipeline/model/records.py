"""The envelope of every topic: what consumers read and operators replay.

The types are bounded in every direction, since whoever may write to a topic may write anything:
what was read can always be added up, compared and written again.

`pipeline schemas` writes these models to `schemas/`. A change that would break a reader
makes a new version of the schema, never a silent change of an old one.

The time of day, for those who hand it on; whoever uses it is handed it.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

from pipeline.model.json_bytes import AnyJson

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


_ZERO = Decimal(0)
MOST_MONEY = Decimal(10**12)
"""US dollars: more than `MOST_COUNT` tokens of every kind cost, and short enough to write out."""
_LEAST_EXPONENT = -60
"""Of ten. Costs of single tokens are far above it; 1E-9999999 would be ten million digits."""
_PLAIN_NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,60})?")
MOST_COUNT = 2**53 - 1
"""Of calls and tokens: what every reader of JSON takes for an exact number."""
MOST_SECONDS = 1e9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_DOUBTS = 1000
"""In one record. A stage has some dozens of codes; both tiers, each code some times."""


def _plain_number(value: Any) -> Any:  # noqa: ANN401 - a pydantic validator takes anything
    if not isinstance(value, str):
        return value
    # Only the form in which it is published: no exponent, no sign, no NaN, no infinity.
    if _PLAIN_NUMBER.fullmatch(value) is None:
        raise ValueError("not an amount of money, such as 0.0025")
    return Decimal(value)


def _within_bounds(value: Decimal) -> Decimal:
    if not _ZERO <= value <= MOST_MONEY or value.adjusted() < _LEAST_EXPONENT:
        raise ValueError("not an amount of money that can be")
    return value


def _in_calendar(value: datetime) -> datetime:
    if value.tzinfo is UTC and value >= EPOCH:  # as the pipeline's own are
        return value
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside of the calendar") from None
    if moment < EPOCH:
        raise ValueError("a time before 1970")
    return moment


def _to_rfc3339(moment: datetime) -> str:
    """Millisecond RFC 3339 in UTC, the one format of every timestamp that is published."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


Money = Annotated[
    Decimal,
    BeforeValidator(_plain_number, json_schema_input_type=str),
    AfterValidator(_within_bounds),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
    Field(description="US dollars, exact, as a decimal string."),
]
Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_in_calendar),
    PlainSerializer(_to_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Duration = Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]
PartitionNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Tier(StrEnum):
    """Which of the two models, whatever their ids are set to."""

    HAIKU = "haiku"
    SONNET = "sonnet"


class Record(BaseModel):
    """What all published values share: readers may meet new fields, writers add none unsaid."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def added(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """The sum of two costs; an unknown one makes it unknown, and so does one out of bounds."""
    if one is None or other is None:
        return None
    total = one + other
    return total if total <= MOST_MONEY else None


def counted(one: int, other: int) -> int:
    """The sum of two counts, within bounds."""
    return min(one + other, MOST_COUNT)


def lasted(one: float, other: float) -> float:
    """The sum of two durations in seconds, within bounds, to the millisecond."""
    return round(min(one + other, MOST_SECONDS), 3)


class Usage(Record):
    """What the answers behind a record cost, summed over models, repetitions included."""

    calls: Count = Field(
        0, description="Requests that were sent; unanswered ones where the event was given up."
    )
    reused: Count = Field(
        0, description="Answers taken from an identical question, in flight or recent: not paid."
    )
    input_tokens: Count = Field(0, description="Prompt tokens outside the prompt cache.")
    cache_read_tokens: Count = Field(0, description="Prompt tokens read from the prompt cache.")
    cache_write_tokens: Count = Field(0, description="Prompt tokens written to the prompt cache.")
    output_tokens: Count = Field(0, description="Answer tokens, thinking included.")
    cost_usd: Money | None = Field(
        Decimal(0),
        description="Null where the price of the model that answered is not in the price table, or "
        "where its answer does not say what was used.",
    )

    def __add__(self, other: "Usage") -> "Usage":
        """Sum both; an unknown cost makes the sum unknown."""
        return Usage(
            calls=counted(self.calls, other.calls),
            reused=counted(self.reused, other.reused),
            input_tokens=counted(self.input_tokens, other.input_tokens),
            cache_read_tokens=counted(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=counted(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens=counted(self.output_tokens, other.output_tokens),
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


Doubts = Annotated[list[Doubt], Field(max_length=MOST_DOUBTS)]


class Source(Record):
    """Where the raw event came from."""

    topic: str
    partition: PartitionNumber
    offset: Offset
    timestamp: Timestamp = Field(description="The raw record's own Kafka timestamp.")
    extra: dict[str, AnyJson] = Field(
        default_factory=dict, description="Fields of the raw event the stage does not know."
    )


class Timing(Record):
    """When, and how long the models took."""

    received_at: Timestamp
    enriched_at: Timestamp
    model_seconds: Duration = Field(description="Seconds spent in model calls, both tiers.")


class EscalationSummary(Record, Generic[ResultT]):
    """Why the first answer was not accepted, and what it was."""

    doubts: Doubts
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
    event: dict[str, AnyJson] = Field(description="The raw event, as JSON.")
    doubts: Doubts
    haiku_result: dict[str, JsonValue] | None
    haiku_model: str
    usage: Usage
    source: Source
    received_at: Timestamp
    model_seconds: Duration


class Review(Record):
    """A record of `review`: what neither model could settle, for a person."""

    schema_: str = Field("review/1", alias="schema")
    event_id: str
    stage: str
    event: dict[str, AnyJson] = Field(description="The raw event, as JSON.")
    doubts: Doubts = Field(description="Of both tiers, Haiku's first.")
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
    partition: PartitionNumber
    offset: Offset
    timestamp: Timestamp = Field(
        description="The record's own Kafka timestamp, which tells it from another one that is in "
        "its place after the topic was made again."
    )
    to: str = Field(description="The topic on which something was published for it.")
    at: Timestamp = Field(description="When.")
    times: int = Field(ge=1, le=MOST_COUNT, description="How often, all in all.")
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

    A record that is too large to be carried on becomes a small letter: an empty value, and what is
    known of the original in headers; it is at `dlq-topic`, `dlq-partition`, `dlq-offset`.

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
    original: Literal["not_carried", "unreadable"] | None = Field(
        None,
        alias="dlq-original",
        description="Only where the record is not in the letter, as are the others of these: it "
        "is too large to be carried on, or could not be read.",
    )
    original_sha256: str | None = Field(
        None,
        alias="dlq-original-sha256",
        description="SHA-256 of the original's value, in hexadecimal.",
    )
    original_value_bytes: int | None = Field(
        None, alias="dlq-original-value-bytes", description="Length of the original's value."
    )
    original_key_bytes: int | None = Field(
        None,
        alias="dlq-original-key-bytes",
        description="Length of its key; the letter's is its beginning.",
    )
    original_headers: int | None = Field(
        None,
        alias="dlq-original-headers",
        description="How many headers it has; none are kept where they are large.",
    )
    original_header_bytes: int | None = Field(
        None, alias="dlq-original-header-bytes", description="Of their names and values."
    )


def now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)
