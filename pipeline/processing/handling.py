"""What is around each call of a handler: the names that log lines carry, and the event's trace."""

import logging
import time
from dataclasses import replace

import structlog

from pipeline.observe.logging import EventContext, about_event
from pipeline.processing.tracing import NoTracer, Tracer
from pipeline.stream.records import Handler, Outcome, Received

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
