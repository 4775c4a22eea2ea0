"""How outcomes look on the wire: values as JSON, headers as CloudEvents in binary mode.

Results may also be in other forms, which `pipeline.inputs.outputs` makes of the same JSON.

What is published in the place of an outcome that the brokers will never take: first the whole
record as a dead letter; where that is too large, too, a small dead letter that says where the
original is, how large, and its hash. So is a record published that was never read, because reading
it would have cost more memory than one record may.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

import structlog
from pydantic import BaseModel

import pipeline
from pipeline.cascade.reading import AnyStage
from pipeline.inputs.outputs import ResultOutput
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import dumps
from pipeline.model.observer import Observer
from pipeline.model.records import (
    CertificateMark,
    DeadLetterHeaders,
    DeadLetterReason,
    DecidedBy,
    Doubt,
    Enriched,
    Escalation,
    EscalationSummary,
    Evidence,
    Provenance,
    Review,
    Source,
    Timing,
    Usage,
    enriched_schema,
)
from pipeline.observe.tracing import OpenTelemetryTracer
from pipeline.stages.api import RawEvent, enriched_version
from pipeline.stream.protocols import Committed, PartitionWriter
from pipeline.stream.records import Disposition, Headers, Original, Outcome, Outgoing, Received

# W3C trace context: carried from the publisher through every topic, so that a trace is whole.
_CARRIED_ON = ("traceparent", "tracestate")
Outputs = Mapping[str, ResultOutput]
"""By stage, of those whose results are not published as they are."""
NO_OUTPUTS: Outputs = MappingProxyType({})
KEY_KEPT = 1024
"""Bytes of a key that a small dead letter keeps: its beginning shows who published it."""
HEADERS_KEPT = 4096
"""Bytes of headers up to which a small dead letter keeps all of them; above it keeps none."""
_JSON = b"application/json"
log = structlog.get_logger(__name__)


@cache
def _enriched_types(stage: str, result: type[BaseModel], version: int) -> tuple[Any, Any, str]:
    schema = enriched_schema(stage, version)
    return Enriched[result], EscalationSummary[result], schema  # type: ignore[valid-type]


def enriched(
    stage: AnyStage,
    event: RawEvent | None,
    result: BaseModel,
    *,
    event_id: str,
    decided_by: DecidedBy,
    confidence: float | None,
    escalated: tuple[Sequence[Doubt], BaseModel | None, Provenance | None] | None,
    model: str,
    usage: Usage,
    source: Source,
    timing: Timing,
    provenance: Provenance | None,
    evidence: Sequence[Evidence] = (),
    certificate: CertificateMark | None = None,
) -> Enriched[Any]:
    """The record of `<stage>.enriched`, decided by a model or a person.

    Unknown fields of `event` go to `source.extra`; it is None where it cannot be read any more.
    `escalated` are the doubts of an event that was escalated, Haiku's answer and what produced it.
    """
    version = enriched_version(stage)
    record, summary, schema = _enriched_types(stage.name, stage.result_model, version)
    escalation = None
    if escalated is not None:
        doubts, haiku_result, haiku_provenance = escalated
        escalation = summary(
            doubts=list(doubts), haiku_result=haiku_result, haiku_provenance=haiku_provenance
        )
    # An escalation holds unknown fields once, in its `event`; earlier versions wrote them to both.
    if event is not None and event.unknown_fields:
        source = source.model_copy(update={"extra": event.unknown_fields})
    built: Enriched[Any] = record(
        schema_=schema,
        event_id=event_id,
        stage=stage.name,
        result=result,
        decided_by=decided_by,
        confidence=confidence,
        escalation=escalation,
        model=model,
        usage=usage,
        source=source,
        timing=timing,
        provenance=provenance,
        evidence=list(evidence),
        certificate=certificate,
    )
    return built


def publication(
    received: Received,
    record: Enriched[Any] | Escalation | Review,
    topics: TopicNames,
    outputs: Outputs = NO_OUTPUTS,
) -> Outcome:
    """The outcome that publishes a record under the key of the one it came from.

    A result is published as the stage's `output` says; `InvalidEvent` where it cannot be.
    """
    own: dict[str, Any] = {} if isinstance(record, Enriched) else {"event": record.event}
    if isinstance(record, Enriched):
        end, topic = Disposition.ENRICHED, topics.enriched(record.stage)
        kind = f"{record.stage}.enriched"
    elif isinstance(record, Escalation):
        end, topic, kind = Disposition.ESCALATED, topics.escalations, "escalation"
    else:
        end, topic, kind = Disposition.REVIEW, topics.review, "review"
    # A publisher's own fields are published as the bytes that came in.
    if record.source.extra:
        source = record.source.model_dump(mode="json", exclude={"extra"})
        own["source"] = {**source, "extra": record.source.extra}
    fields = b""
    if own:
        try:
            fields = dumps(own)
        except TypeError:  # numbers that only a third-party record can hold; pydantic writes them
            own = {}
    value = record.model_dump_json(by_alias=True, exclude=set(own)).encode()
    if own:
        value = b"%b,%b" % (value[:-1], fields[1:])
    output = outputs.get(record.stage) if isinstance(record, Enriched) else None
    if output is None:
        headers = _headers(received, record, kind, _JSON)
        return Outcome(end, (Outgoing(topic, received.key, value, headers),))
    records = (
        Outgoing(
            each.topic,
            each.key,
            each.value,
            _headers(received, record, f"{record.stage}.{each.kind}", each.content_type)
            + each.headers,
        )
        for each in output.records(received.key, value)
    )
    return Outcome(end, tuple(records))


def _headers(
    received: Received,
    record: Enriched[Any] | Escalation | Review,
    kind: str,
    content_type: bytes,
) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", record.event_id.encode()),
        ("ce_source", f"/haiku-pipeline/{received.topic}".encode()),
        ("ce_type", f"haiku-pipeline.{kind}".encode()),
        ("content-type", content_type),
        *(header for header in received.headers if header[0] in _CARRIED_ON),
    )


def tombstone(received: Received, topics: Sequence[str]) -> Outcome:
    """The outcome that says of a key's results what a record says of the key: they are gone."""
    headers = tuple(header for header in received.headers if header[0] in _CARRIED_ON)
    records = (Outgoing(topic, received.key, None, headers) for topic in topics)
    return Outcome(Disposition.PASSED_OVER, tuple(records))


def dead_letter(
    received: Received,
    topic: str,
    invalid: InvalidEvent,
    *,
    stage: str,
    now: datetime,
    original: Original | None = None,
    is_whole: bool = True,
) -> Outcome:
    """An outcome that puts the record aside: key, value and headers untouched, the reason added.

    Unless it `is_whole`, `received` does not have the record's content: `original` is what is said
    of it instead, None where nothing is known.
    """
    about: dict[str, Any] = {
        "dlq-reason": invalid.reason,
        "dlq-detail": invalid.detail,
        "dlq-stage": stage,
        "dlq-topic": received.topic,
        "dlq-partition": received.partition,
        "dlq-offset": received.offset,
        "dlq-timestamp": now,
        "dlq-attempts": invalid.attempts,
        "dlq-version": pipeline.__version__,
    }
    if not is_whole:
        about["dlq-original"] = "unreadable" if original is None else "not_carried"
        for name, known in ({} if original is None else asdict(original)).items():
            about[f"dlq-original-{name.replace('_', '-')}"] = known
    checked = DeadLetterHeaders.model_validate(about)
    dumped = checked.model_dump(mode="json", by_alias=True, exclude_none=True)
    headers = (
        # A replayed dead letter that fails again says why it failed now, once.
        *(header for header in received.headers if not header[0].startswith("dlq-")),
        *((name, str(value).encode()) for name, value in dumped.items()),
    )
    record = Outgoing(topic, received.key, received.value, headers)
    return Outcome(Disposition.DEAD_LETTER, (record,), invalid.reason)


@dataclass(eq=False)
class UnpublishableHandler:
    """Finds the next smaller thing to publish on the topic of dead letters."""

    stage: str
    topic: str
    _: KW_ONLY
    clock: Callable[[], datetime]
    observer: Observer
    trust: str | None = None
    """The topic of drawn answers: an answer is published without its place in the sample rather
    than not at all."""

    def __call__(self, received: Received, outcome: Outcome | None, why: str) -> Outcome | None:
        """What to publish instead; None where `outcome` is as small as it can be.

        `outcome` is what the brokers do not take, None where the record was not read; `why` is a
        sentence for a person.
        """
        if outcome is None:
            code = DeadLetterReason.TOO_LARGE
            if received.unread is not None and received.unread.original is None:
                code = DeadLetterReason.INVALID_EVENT
            self.observer.dead_lettered(self.stage, code)
            return self._abridged(received, InvalidEvent(code, why))
        if any(each.topic == self.trust for each in outcome.records):
            log.warning("answer_not_in_sample", stage=self.stage, because=why)
            kept = (each for each in outcome.records if each.topic != self.trust)
            return replace(outcome, records=tuple(kept))
        if outcome.end is not Disposition.DEAD_LETTER:
            self.observer.dead_lettered(self.stage, DeadLetterReason.TOO_LARGE)
            invalid = InvalidEvent(DeadLetterReason.TOO_LARGE, why)
            return dead_letter(received, self.topic, invalid, stage=self.stage, now=self.clock())
        [record] = outcome.records
        # Whatever a publisher called so, a dead letter does not carry on.
        said = {
            name: content.decode()
            for name, content in record.headers
            if name.startswith("dlq-") and content is not None
        }
        if "dlq-original" in said:
            return None
        reason, attempts = DeadLetterReason(said["dlq-reason"]), int(said["dlq-attempts"])
        invalid = InvalidEvent(reason, f"{said['dlq-detail']} {why}", attempts=attempts)
        return self._abridged(received, invalid)

    def _abridged(self, received: Received, invalid: InvalidEvent) -> Outcome:
        log.warning(
            "event_not_carried",
            stage=self.stage,
            topic=received.topic,
            partition=received.partition,
            offset=received.offset,
            because=invalid.detail,
        )
        unread = received.unread
        size = sum(len(name.encode()) + len(content or b"") for name, content in received.headers)
        is_small = size <= HEADERS_KEPT and len(received.headers) <= HEADERS_KEPT // 16
        small = replace(
            received,
            key=None if received.key is None else received.key[:KEY_KEPT],
            # A null would be a tombstone, which compaction removes, and with it the only trace.
            value=b"",
            headers=received.headers if is_small else (),
            unread=None,
        )
        original = None if unread is not None and unread.original is None else received.original
        stage, now = self.stage, self.clock()
        return dead_letter(
            small, self.topic, invalid, stage=stage, now=now, original=original, is_whole=False
        )


class TracedSession:
    """The same session; the tracer receives each commit."""

    def __init__(self, session: PartitionWriter, tracer: OpenTelemetryTracer) -> None:
        self._session = session
        self._tracer = tracer
        self.start = session.start
        self.close = session.close

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        with self._tracer.publication((record.topic, record.headers) for record in records):
            await self._session.commit(records, committed)
