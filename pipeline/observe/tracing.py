"""Traces of events, by OpenTelemetry: from the publisher's span over both tiers to the result.

A span is named after what is done and where; it says which record, and nothing of its key, its
headers or its content.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    TracerProvider,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

import pipeline
from pipeline.config import TracingSettings
from pipeline.model.errors import UsageError

SCOPE = "haiku-pipeline"
_CONTEXT_HEADERS = frozenset({"traceparent", "tracestate"})
_W3C = TraceContextTextMapPropagator()
_FLUSH_MILLISECONDS = 5_000
Headers = tuple[tuple[str, bytes | None], ...]


class OpenTelemetryTracer:
    """Makes spans of events and of what is published for them."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer(SCOPE, pipeline.__version__)

    @contextmanager
    def event(
        self, stage: str, *, topic: str, partition: int, offset: int, headers: Headers
    ) -> Iterator["OpenTelemetryEvent"]:
        """A span that continues the publisher's trace, or begins one."""
        attributes = {
            **_messaging(topic, "process", "process"),
            "messaging.destination.partition.id": str(partition),
            "messaging.kafka.message.offset": offset,
            "pipeline.stage": stage,
        }
        with self._tracer.start_as_current_span(
            f"process {topic}",
            context=_context_of(headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            # The message of an exception may quote the event.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield OpenTelemetryEvent(span)
            except Exception as error:
                _failed(span, error)
                raise

    @contextmanager
    def publication(self, records: Iterable[tuple[str, Headers]]) -> Iterator[None]:
        """A span for each record, in the trace of its event, as long as the commit takes."""
        started = time.time_ns()
        contexts = [(topic, _context_of(headers)) for topic, headers in records]
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
            raise
        finally:
            ended = time.time_ns()
            for topic, context in contexts:
                span = self._tracer.start_span(
                    f"publish {topic}",
                    context=context,
                    kind=SpanKind.PRODUCER,
                    attributes=_messaging(topic, "publish", "send"),
                    start_time=started,
                )
                if failure is not None:
                    _failed(span, failure)
                span.end(ended)


class OpenTelemetryEvent:
    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        return format_trace_id(self._span.get_span_context().trace_id)

    def ended(self, end: str) -> None:
        self._span.set_attribute("pipeline.end", end)

    def carried_on(self, headers: Headers) -> Headers:
        """These headers with the span's context, so that the next reader continues the trace."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(self._span))
        others = tuple(header for header in headers if header[0] not in _CONTEXT_HEADERS)
        return (*others, *((name, value.encode()) for name, value in carrier.items()))


@asynccontextmanager
async def open_tracer(settings: TracingSettings) -> AsyncIterator[OpenTelemetryTracer | None]:
    """A tracer that sends to the endpoint that is set; None where none is.

    At the end it sends what it still holds, for some seconds at most.

    Raises:
        UsageError: The extra `otel` is not installed.
    """
    if settings.endpoint is None:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415
            ParentBased,
            TraceIdRatioBased,
        )
    except ImportError as error:
        raise UsageError(
            "tracing.endpoint is set, and OpenTelemetry's SDK is not installed: "
            "pip install 'haiku-pipeline[otel]', or unset it."
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "haiku-pipeline")
    provider = SdkProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
        resource=Resource.create({"service.name": name, "service.version": pipeline.__version__}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))
    try:
        yield OpenTelemetryTracer(provider)
    finally:
        # Both wait for a receiver that may be away; the event loop goes on meanwhile.
        await asyncio.to_thread(partial(provider.force_flush, _FLUSH_MILLISECONDS))
        await asyncio.to_thread(provider.shutdown)


def _context_of(headers: Headers) -> Context:
    """The trace context in a record's headers; an empty one where there is none that is valid."""
    carrier = {
        name: value.decode("ascii", "replace")
        for name, value in headers
        if name in _CONTEXT_HEADERS and value is not None
    }
    # Never the current context: what is handled or published here belongs to its own trace.
    return _W3C.extract(carrier, context=Context())


def _messaging(topic: str, operation: str, kind: str) -> Mapping[str, AttributeValue]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
    }


def _failed(span: Span, error: Exception) -> None:
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", type(error).__qualname__)
