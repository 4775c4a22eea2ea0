"""How outcomes look on the wire: values as JSON, headers as CloudEvents in binary mode."""

from datetime import datetime
from typing import Any

import pipeline
from pipeline.errors import Invalid
from pipeline.events import DeadLetterHeaders, Enriched, Escalation, Review
from pipeline.raw_json import dumps
from pipeline.stream.records import End, Headers, Original, Outcome, Outgoing, Received

# W3C trace context: carried from the publisher through every topic, so that a trace is whole.
_CARRIED_ON = ("traceparent", "tracestate")


def publication(
    end: End,
    received: Received,
    topic: str,
    record: Enriched[Any] | Escalation | Review,
    *,
    event_id: str,
    kind: str,
) -> Outcome:
    """An outcome that publishes one record under the key of the one it came from.

    Args:
        end: Where the event ends.
        received: What was consumed.
        topic: Where to publish.
        record: The value.
        event_id: Becomes `ce_id`.
        kind: Becomes `ce_type`, e.g. `tickets.enriched`.
    """
    headers: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", f"/haiku-pipeline/{received.topic}".encode()),
        ("ce_type", f"haiku-pipeline.{kind}".encode()),
        ("content-type", b"application/json"),
        *(header for header in received.headers if header[0] in _CARRIED_ON),
    )
    return Outcome(end, (Outgoing(topic, received.key, _json_of(record), headers),))


def _json_of(record: Enriched[Any] | Escalation | Review) -> bytes:
    """The record as JSON, in which a publisher's own fields are the bytes that came in."""
    own: dict[str, Any] = {} if isinstance(record, Enriched) else {"event": record.event}
    if record.source.extra:
        source = record.source.model_dump(mode="json", exclude={"extra"})
        own["source"] = {**source, "extra": record.source.extra}
    if not own:
        return record.model_dump_json(by_alias=True).encode()
    try:
        fields = dumps(own)
    except TypeError:  # numbers that only a record by somebody else can hold; pydantic writes them
        return record.model_dump_json(by_alias=True).encode()
    others = record.model_dump_json(by_alias=True, exclude=set(own)).encode()
    return b"%b,%b" % (others[:-1], fields[1:])


def dead_letter(
    received: Received,
    topic: str,
    invalid: Invalid,
    *,
    stage: str,
    now: datetime,
    original: Original | None = None,
    is_whole: bool = True,
) -> Outcome:
    """An outcome that puts the record aside: key, value and headers untouched, the reason added.

    Args:
        received: What was consumed.
        topic: Where to publish.
        invalid: The reason.
        stage: Whose event it is.
        now: The time, aware.
        original: What is said of the record where `received` does not have its content; None
            where nothing is known of it.
        is_whole: Whether `received` has its content.
    """
    about = DeadLetterHeaders.model_validate(
        {
            "dlq-reason": invalid.reason,
            "dlq-detail": invalid.detail,
            "dlq-stage": stage,
            "dlq-topic": received.topic,
            "dlq-partition": received.partition,
            "dlq-offset": received.offset,
            "dlq-timestamp": now,
            "dlq-attempts": invalid.attempts,
            "dlq-version": pipeline.__version__,
            **({} if is_whole else _about(original)),
        }
    )
    dumped = about.model_dump(mode="json", by_alias=True, exclude_none=True)
    own = _without_earlier_reasons(received.headers)
    headers = (*own, *((name, str(value).encode()) for name, value in dumped.items()))
    letter = Outgoing(topic, received.key, received.value, headers)
    return Outcome(End.DEAD_LETTER, (letter,), invalid.reason)


def _about(original: Original | None) -> dict[str, str | int]:
    if original is None:
        return {"dlq-original": "unreadable"}
    return {
        "dlq-original": "not_carried",
        "dlq-original-sha256": original.sha256,
        "dlq-original-value-bytes": original.value_bytes,
        "dlq-original-key-bytes": original.key_bytes,
        "dlq-original-headers": original.headers,
        "dlq-original-header-bytes": original.header_bytes,
    }


def _without_earlier_reasons(headers: Headers) -> Headers:
    """A replayed dead letter that fails again says why it failed now, once."""
    return tuple(header for header in headers if not header[0].startswith("dlq-"))
