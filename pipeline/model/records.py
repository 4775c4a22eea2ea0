"""The envelope of every topic: what consumers read and operators replay.

The types are bounded in every direction, since a client that may write to a topic may write
anything: what was read can always be added up, compared and written again.

`pipeline schemas` writes these models to `schemas/`. A change that would break a reader
makes a new version of the schema, never a silent change of an old one.

A record that any client may have written must cost no more than itself (`read_record`): the number
of values is looked at before any is made, since five million zeros are ten megabytes as bytes and
gigabytes as a list of validation errors.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from pipeline.model.json_bytes import AnyJson, OverLimit, outside_strings

ResultT = TypeVar("ResultT")
ModelT = TypeVar("ModelT", bound=BaseModel)
ENRICHED_VERSION = 1
"""The version of enriched schemas: raised by a change that would break a reader."""
STRUCTURED_VERSION = 2
"""The same of stages that may read an event's own data: `decided_by` may be `document`."""


def enriched_schema(stage: str, version: int = ENRICHED_VERSION) -> str:
    return f"{stage}.enriched/{version}"


SIMULATED = "simulated-"
"""How the models of the simulated API are called, in every record that they decided."""


def is_simulated(model: str) -> bool:
    return model.startswith(SIMULATED)


MOST_MONEY = Decimal(10**12)
"""US dollars: more than `MOST_COUNT` tokens of every kind cost, and short enough to write out."""
_LEAST_EXPONENT = -60
"""As a power of ten: costs of single tokens are far above it; 1E-9999999 has ten million digits."""
_PLAIN_NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,60})?")
MOST_COUNT = 2**53 - 1
"""The most calls or tokens: what every reader of JSON takes for an exact number."""
MOST_SECONDS = 1e9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_DOUBTS = 1000
"""The most in one record: some dozens of codes, of both tiers, each some times."""


def _amount(value: Any, handler: ValidatorFunctionWrapHandler) -> Decimal:  # noqa: ANN401 - anything
    if isinstance(value, str):
        # Only the form in which it is published: no exponent, no sign, no NaN, no infinity.
        if _PLAIN_NUMBER.fullmatch(value) is None:
            raise ValueError("not an amount of money, such as 0.0025")
        value = Decimal(value)
    amount: Decimal = handler(value)
    if not 0 <= amount <= MOST_MONEY or amount.adjusted() < _LEAST_EXPONENT:
        raise ValueError("not an amount of money that can be")
    return amount


Money = Annotated[
    Decimal,
    WrapValidator(_amount, json_schema_input_type=str),
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, mode="serialization"),
    Field(description="US dollars, exact, as a decimal string."),
]
Timestamp = Annotated[
    AwareDatetime,
    Field(ge=EPOCH, le=datetime.max.replace(tzinfo=UTC)),
    AfterValidator(lambda moment: moment.astimezone(UTC)),
    # RFC 3339 in UTC, the one format of every timestamp that is published.
    PlainSerializer(
        lambda moment: moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        return_type=str,
    ),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Duration = Annotated[float, Field(ge=0, le=MOST_SECONDS, allow_inf_nan=False)]
PartitionNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Field(ge=0, le=2**63 - 1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Tier(StrEnum):
    """Which of the two models, whatever their ids are set to."""

    HAIKU = "haiku"
    SONNET = "sonnet"


DOCUMENT: Final = "document"
"""Who decided where the event's own data did, and no model was asked."""
Decider = Tier | Literal["document"]
"""Who judged an event first, or next."""
DecidedBy = Literal["haiku", "sonnet", "human", "document"]
CertificateState = Literal["certified", "stale", "none"]
FORGOTTEN = "forgotten"
"""The reason of a mark: a person had the record's key forgotten, so it is never published again."""


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(values: list[Any]) -> bool:
    return not values


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


class Usage(Record):
    """What the answers behind a record cost, summed over models, repetitions included."""

    calls: Count = Field(
        0, description="Requests that were sent; unanswered ones where the event was given up."
    )
    reused: Count = Field(
        0, description="Answers taken from an identical question, in flight or recent: not paid."
    )
    unanswered: Count = Field(
        0,
        description="Requests without an answer before the event was asked elsewhere, which may "
        "have been paid all the same: neither in `calls` nor in the cost.",
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
            unanswered=counted(self.unanswered, other.unanswered),
            input_tokens=counted(self.input_tokens, other.input_tokens),
            cache_read_tokens=counted(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=counted(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens=counted(self.output_tokens, other.output_tokens),
            cost_usd=added(self.cost_usd, other.cost_usd),
        )


class Doubt(Record):
    """One reason why an answer was not accepted."""

    code: str = Field(description="A short stable code, e.g. `low_confidence`.")
    detail: str = Field(description="A sentence for a person.")


Doubts = Annotated[list[Doubt], Field(max_length=MOST_DOUBTS)]


class SourcePart(Record):
    """Which part of a raw event that holds several documents.

    Of several, each has the event's id with `#` and its number as `event_id` of its records.
    """

    number: int = Field(ge=1, le=MOST_COUNT, description="Counted from 1.")
    of: int = Field(ge=1, le=MOST_COUNT, description="How many parts there are.")
    first_page: int | None = Field(
        None, ge=1, le=MOST_COUNT, description="Of the file; null where it has no pages."
    )
    last_page: int | None = Field(None, ge=1, le=MOST_COUNT, description="Of the part.")
    name: str | None = Field(
        None, description="What it is called, where it came with a name: that of an attachment."
    )


class Source(Record):
    """Where the raw event came from."""

    topic: str
    partition: PartitionNumber
    offset: Offset
    timestamp: Timestamp = Field(description="The raw record's own Kafka timestamp.")
    extra: dict[str, AnyJson] = Field(
        default_factory=dict, description="Fields of the raw event the stage does not know."
    )
    part: SourcePart | None = Field(
        None,
        exclude_if=lambda part: part is None,
        description="Where the event holds several documents, or was looked at for that.",
    )


class Timing(Record):
    """When, and how long the models took."""

    received_at: Timestamp
    enriched_at: Timestamp
    model_seconds: Duration = Field(description="Seconds spent in model calls, both tiers.")


class Provenance(Record):
    """What produced an answer: with the same provenance, equal events were asked about equally."""

    provider: str = Field(
        description="Where the model was asked, e.g. `anthropic` or `bedrock`; empty where no "
        "usable answer came."
    )
    prompt: str = Field(
        description="Digest of all that was sent but the event: instructions, answer schema, "
        "model, effort; of several requests, of all their prompts. Empty where no usable answer "
        "came."
    )
    settings: str = Field(
        description="Digest of what else decides: the stage's settings, thresholds, models, "
        "masking, the version of the pipeline."
    )


MOST_EVIDENCE = 100
"""Places in one record: those of an invoice with some thirty lines."""
LONGEST_QUOTE = 300
"""Characters of one: a passage of some forty words."""


class Evidence(Record):
    """Where a value of the result was read: a span of a text of the event, or a place in its file.

    With neither a span nor a box, the quote is the model's own and was not looked up.
    """

    field: str = Field(max_length=300, description="JSON Pointer into `result`.")
    source: Literal["text", "file"]
    input: str = Field(
        max_length=100, description="The field of the raw event that it is in, e.g. `body`."
    )
    start: int | None = Field(
        None,
        ge=0,
        le=MOST_COUNT,
        exclude_if=_is_none,
        description="Of the span in that text, in Unicode code points from 0.",
    )
    end: int | None = Field(
        None, ge=0, le=MOST_COUNT, exclude_if=_is_none, description="After its last code point."
    )
    page: int | None = Field(
        None, ge=1, le=MOST_COUNT, exclude_if=_is_none, description="Of the file, from 1."
    )
    box: list[Share] | None = Field(
        None,
        min_length=4,
        max_length=4,
        exclude_if=_is_none,
        description="On the page: left, top, right and bottom, as shares of its width and height.",
    )
    quote: str | None = Field(
        None,
        max_length=LONGEST_QUOTE,
        exclude_if=_is_none,
        description="What is written there, to the letter; absent where the stage masks personal "
        "data and the passage is not itself a value of the result.",
    )


EvidenceList = Annotated[
    list[Evidence],
    Field(
        max_length=MOST_EVIDENCE,
        exclude_if=_is_empty,
        description="Where values of the result were read, as far as that could be found; of a "
        "review item those of `sonnet_result`.",
    ),
]


class CertificateMark(Record):
    """Whether a certificate says how often such an answer is right."""

    state: CertificateState = Field(
        description="`certified`; `stale` where something that the certificate depends on is "
        "another one, or an alarm is in force; `none` where nothing is certified."
    )
    id: str = Field(description="Which certificate; empty where there is none.")
    because: list[str] = Field(
        default=[],
        description="Why it is stale: `settings`, `thresholds`, `provider`, `model`, `prompt`, "
        "`alarm`.",
    )


class EscalationSummary(Record, Generic[ResultT]):
    """Why the first answer was not accepted, and what it was."""

    doubts: Doubts
    haiku_result: ResultT | None = Field(description="Null where there was no usable answer.")
    haiku_provenance: Provenance | None = Field(
        None, description="What produced it; null where that was not recorded yet."
    )


class Enriched(Record, Generic[ResultT]):
    """A record of `<stage>.enriched`."""

    schema_: str = Field(alias="schema", description="`<stage>.enriched/<version>`")
    event_id: str
    stage: str
    result: ResultT
    decided_by: DecidedBy
    confidence: float | None = Field(
        ge=0, le=1, description="The deciding model's own statement; null where none decided."
    )
    escalation: EscalationSummary[ResultT] | None
    model: str = Field(
        description="The model that decided, as the API names it; where a person did, the last "
        "one that was asked; `none` where the document's own data did."
    )
    usage: Usage
    source: Source
    timing: Timing
    provenance: Provenance | None = Field(
        None,
        description="What produced the answer of `model`; null where that was not recorded yet.",
    )
    evidence: EvidenceList = []
    certificate: CertificateMark | None = Field(
        None,
        exclude_if=lambda mark: mark is None,
        description="Where the settings name a certificate and a model decided.",
    )


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
    provenance: Provenance | None = Field(
        None, description="What produced Haiku's answer; null where that was not recorded yet."
    )


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
    provenance: Provenance | None = Field(
        None,
        description="What produced the answer of `model`; null where that was not recorded yet.",
    )
    haiku_provenance: Provenance | None = Field(
        None, description="What produced Haiku's answer; null where that was not recorded yet."
    )
    evidence: EvidenceList = []
    haiku_doubts: Count | None = Field(
        None,
        exclude_if=lambda count: count is None,
        description="How many of `doubts` are Haiku's; left out where that was not recorded yet.",
    )


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
    to: str = Field(
        description="The topic on which something was published for it; empty where nothing was."
    )
    at: Timestamp = Field(description="When.")
    times: int = Field(ge=1, le=MOST_COUNT, description="How often, all in all.")
    by: str = Field("", description="Which run of a command did it: a random name.")
    reason: str = Field(
        "", description="Why nothing was published for it: `forgotten`, which is final."
    )


class AuditOutcome(StrEnum):
    """The codes of the field `outcome` of an audit record."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


class Audit(Record):
    """A record of `audit`: what a person's command changed.

    It is published in the transaction that makes the change, where the change is on Kafka. It holds
    nothing of any event.
    """

    schema_: str = Field("audit/1", alias="schema")
    at: Timestamp = Field(description="When.")
    person: str = Field(description="Who: as `--as` says, or the user of the system.")
    command: str = Field(description="The words of the command, such as `dead-letters replay`.")
    run: str = Field(description="A random name: records with the same one are of one command.")
    selected: dict[str, list[str]] = Field(
        description="The options that say which records, and their values; of a key its SHA-256."
    )
    did: str = Field(
        description="What was done: `replayed`, `resolved`, `rejected` (to the dead letters), "
        "`forgotten` (settled without a result), `tombstones` (published), `answers` (that were "
        "kept on disk, removed); `started` of a process whose settings are others than at the "
        "start before."
    )
    topic: str = Field(description="The topic of the records that it was done to, if to any.")
    count: Count = Field(description="To how many of them.")
    outcome: str = Field(
        description="`done`; `begun` before something that no transaction holds, which a later "
        "record of the run says the outcome of; `failed`."
    )
    settings: dict[str, str] | None = Field(
        None,
        description="Of a process that started: its settings that are not at their defaults, "
        "without secrets; `selected` then has what changed.",
    )


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


class Unusable(ValueError):
    """A record is not what its topic holds; the text says why, and never quotes it."""


MAX_NODES = 60_000
"""Names and values of one record: more than an event and its answers ever have, and less than what
takes 50 ms to read. Raw events may have 50,000 of them."""
_FAULTS_NAMED = 10
_BEFORE_NODES = b",:[{"
"""Each name and value but the first of all follows one of these."""


def read_record(model: type[ModelT], value: bytes | None) -> ModelT:
    """Read a record that any client may have written.

    Raises:
        Unusable: It is something else, or has more names and values than what belongs there.
    """
    if not value:
        raise Unusable("the value is empty")
    # Of most records a look at all of it is enough, the strings included.
    if len(value) - len(value.translate(None, _BEFORE_NODES)) > MAX_NODES:
        try:
            outside_strings(value, max_nodes=MAX_NODES)
        except OverLimit as error:
            raise Unusable(f"it has {error}") from None
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        raise Unusable(_faults(error, model)) from None


def _faults(error: ValidationError, model: type[BaseModel]) -> str:
    count = error.error_count()
    if count > _FAULTS_NAMED:
        return f"{count:,} faults"
    known = {field.alias or name for name, field in model.model_fields.items()}
    places = dict.fromkeys(
        # Only names that are the model's own: any other is part of the content.
        str(fault["loc"][0]) if fault["loc"] and fault["loc"][0] in known else "the JSON itself"
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return f"{count} fault{'s' if count > 1 else ''}, in {', '.join(places)}"


def now() -> datetime:
    return datetime.now(UTC)
