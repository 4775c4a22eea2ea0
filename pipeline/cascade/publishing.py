"""How outcomes look on the wire: values as JSON, headers as CloudEvents in binary mode.

What is published in the place of an outcome that the brokers will never take.

First the whole record as a dead letter; where that is too large, too, a small letter that says
where the original is, how large, and its hash. The same small letter stands for a record that was
never read, because reading it would have cost more memory than one record may.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

import pipeline
from pipeline.model.errors import InvalidEvent
from pipeline.model.json_bytes import dumps
from pipeline.model.observer import Observer
from pipeline.model.records import DeadLetterHeaders, DeadLetterReason, Enriched, Escalation, Review
from pipeline.stream.records import Disposition, Headers, Original, Outcome, Outgoing, Received

# W3C trace context: carried from the publisher through every topic, so that a trace is whole.
_CARRIED_ON = ("traceparent", "tracestate")


def publication(
    end: Disposition,
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
    invalid: InvalidEvent,
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
    return Outcome(Disposition.DEAD_LETTER, (letter,), invalid.reason)


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


KEY_KEPT = 1024
"""Bytes of a key that a small letter keeps: who published it can be seen from its beginning."""
HEADERS_KEPT = 4096
"""Bytes of headers up to which a small letter keeps all of them; above it keeps none."""
log = structlog.get_logger(__name__)


class UnpublishableHandler:
    """Finds the next smaller thing to publish.

    Args:
        stage: Whose events.
        topic: Of dead letters.
        clock: The time, aware.
        observer: Notified of events that only become dead letters here.
    """

    def __init__(
        self,
        stage: str,
        topic: str,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
    ) -> None:
        self._stage = stage
        self._topic = topic
        self._clock = clock
        self._observer = observer

    def __call__(self, received: Received, outcome: Outcome | None, why: str) -> Outcome | None:
        """What to publish instead.

        Args:
            received: The record.
            outcome: What the brokers do not take; None where the record was not read.
            why: A sentence for a person.

        Returns:
            None where `outcome` is as small as it can be.
        """
        if outcome is None:
            code = DeadLetterReason.TOO_LARGE
            if received.unread is not None and received.unread.original is None:
                code = DeadLetterReason.INVALID_EVENT
            self._observer.dead_lettered(self._stage, code)
            return self._abridged(received, InvalidEvent(code, why))
        if outcome.end is not Disposition.DEAD_LETTER:
            self._observer.dead_lettered(self._stage, DeadLetterReason.TOO_LARGE)
            invalid = InvalidEvent(DeadLetterReason.TOO_LARGE, why)
            return dead_letter(received, self._topic, invalid, stage=self._stage, now=self._clock())
        [letter] = outcome.records
        # Whatever a publisher called so, a dead letter does not carry on.
        said = {
            name: content.decode()
            for name, content in letter.headers
            if name.startswith("dlq-") and content is not None
        }
        if "dlq-original" in said:
            return None
        invalid = InvalidEvent(
            DeadLetterReason(said["dlq-reason"]),
            f"{said['dlq-detail']} {why}",
            attempts=int(said["dlq-attempts"]),
        )
        return self._abridged(received, invalid)

    def _abridged(self, received: Received, invalid: InvalidEvent) -> Outcome:
        log.warning(
            "event_not_carried",
            stage=self._stage,
            topic=received.topic,
            partition=received.partition,
            offset=received.offset,
            because=invalid.detail,
        )
        unread = received.unread
        small = replace(
            received,
            key=None if received.key is None else received.key[:KEY_KEPT],
            # A null would be a tombstone, which compaction removes, and with it the only trace.
            value=b"",
            headers=_kept(received.headers),
            unread=None,
        )
        return dead_letter(
            small,
            self._topic,
            invalid,
            stage=self._stage,
            now=self._clock(),
            original=None if unread is not None and unread.original is None else received.original,
            is_whole=False,
        )


def _kept(headers: Headers) -> Headers:
    size = sum(len(name.encode()) + len(content or b"") for name, content in headers)
    return headers if size <= HEADERS_KEPT and len(headers) <= HEADERS_KEPT // 16 else ()
