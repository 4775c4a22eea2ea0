"""What is published in the place of an outcome that the brokers will never take.

First the whole record as a dead letter; where that is too large, too, a small letter that says
where the original is, how large, and its hash. The same small letter stands for a record that was
never read, because reading it would have cost more memory than one record may.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason
from pipeline.processing.observer import ProcessorObserver
from pipeline.processing.outgoing import dead_letter
from pipeline.stream.records import End, Headers, Outcome, Received

KEY_KEPT = 1024
"""Bytes of a key that a small letter keeps: who published it can be seen from its beginning."""
HEADERS_KEPT = 4096
"""Bytes of headers up to which a small letter keeps all of them; above it keeps none."""

log = structlog.get_logger(__name__)


class Rescuer:
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
        observer: ProcessorObserver,
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
            return self._abridged(received, Invalid(code, why))
        if outcome.end is not End.DEAD_LETTER:
            self._observer.dead_lettered(self._stage, DeadLetterReason.TOO_LARGE)
            invalid = Invalid(DeadLetterReason.TOO_LARGE, why)
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
        invalid = Invalid(
            DeadLetterReason(said["dlq-reason"]),
            f"{said['dlq-detail']} {why}",
            attempts=int(said["dlq-attempts"]),
        )
        return self._abridged(received, invalid)

    def _abridged(self, received: Received, invalid: Invalid) -> Outcome:
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
