"""What is reported of an event's way to a tracer; `pipeline.observe` makes spans of it.

What is around each call of a handler: the names that log lines carry, and the event's trace.

Writers whose commits show up in the traces of the events that they publish.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol

import structlog

from pipeline.observe.logging import EventContext, about_event
from pipeline.stream.protocols import Committed, PartitionWriter
from pipeline.stream.records import Handler, Headers, Outcome, Outgoing, Received


class EventTrace(Protocol):
    """The trace of one event, while it is handled."""

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits; None where the event has no trace."""
        ...

    def ended(self, end: str) -> None:
        """The event ends there: one of `stream.records.End`."""
        ...

    def carried_on(self, headers: Headers) -> Headers:
        """These headers, with this trace's context in place of the one that came in."""
        ...


class Tracer(Protocol):
    """Receives what happens to events, from the event loop; must be quick and must not raise."""

    def event(
        self, stage: str, *, topic: str, partition: int, offset: int, headers: Headers
    ) -> AbstractContextManager[EventTrace]:
        """An event is handled in the body; what is asked there belongs to its trace."""
        ...

    def publication(self, records: Iterable[tuple[str, Headers]]) -> AbstractContextManager[None]:
        """These records, each a topic and its headers, are published and committed in the body."""
        ...


class NoTrace:
    """Nobody traces: what the publisher sent is carried on as it is."""

    trace_id = None

    def ended(self, end: str) -> None:
        """Ignore."""

    def carried_on(self, headers: Headers) -> Headers:
        """As they are."""
        return headers


class NoTracer:
    """Makes no traces."""

    def event(
        self, stage: str, *, topic: str, partition: int, offset: int, headers: Headers
    ) -> AbstractContextManager[EventTrace]:
        """Ignore."""
        del stage, topic, partition, offset, headers
        return _NOTHING

    def publication(self, records: Iterable[tuple[str, Headers]]) -> AbstractContextManager[None]:
        """Ignore."""
        del records
        return nullcontext()


_NOTHING: AbstractContextManager[EventTrace] = nullcontext(NoTrace())
log = structlog.get_logger(__name__)
_plain = logging.getLogger(__name__)


class Handling:
    """A handler that another one is called by.

    Args:
        stage: Whose events.
        handler: Does the work.
        tracer: Traces them.
    """

    def __init__(self, stage: str, handler: Handler, tracer: Tracer | None = None) -> None:
        self._stage = stage
        self._handler = handler
        self._tracer = tracer or NoTracer()

    async def __call__(self, received: Received) -> Outcome:
        """Handle one record."""
        with self._tracer.event(
            self._stage,
            topic=received.topic,
            partition=received.partition,
            offset=received.offset,
            headers=received.headers,
        ) as trace:
            with about_event(EventContext(received.headers, trace.trace_id)):
                started = time.monotonic()
                outcome = await self._handler(received)
                # Asked of the plain logger first, which answers in no time.
                if _plain.isEnabledFor(logging.DEBUG):
                    log.debug(
                        "event_handled",
                        stage=self._stage,
                        topic=received.topic,
                        partition=received.partition,
                        offset=received.offset,
                        end=outcome.end.value,
                        seconds=round(time.monotonic() - started, 3),
                    )
            trace.ended(outcome.end.value)
            if trace.trace_id is None:
                return outcome
            records = (
                replace(record, headers=trace.carried_on(record.headers))
                for record in outcome.records
            )
            return replace(outcome, records=tuple(records))


class TracedSession:
    """The same session; the tracer receives each commit.

    Args:
        session: Does the work.
        tracer: Receives every publication.
    """

    def __init__(self, session: PartitionWriter, tracer: Tracer) -> None:
        self._session = session
        self._tracer = tracer

    async def start(self) -> None:
        """Start the session."""
        await self._session.start()

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        """Publish the records and commit the offset; a span for each record tells how it went."""
        with self._tracer.publication((record.topic, record.headers) for record in records):
            await self._session.commit(records, committed)

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()
