"""Spans of one event, on both tiers, in memory."""

import asyncio
import builtins
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pipeline.cascade.processor import Handling
from pipeline.cascade.publishing import TracedSession
from pipeline.claude.client import SdkClient
from pipeline.config import TracingSettings
from pipeline.model.errors import UsageError
from pipeline.observe.tracing import OpenTelemetryTracer, open_tracer
from pipeline.stream.protocols import Aborted, Committed
from pipeline.stream.records import Disposition, Headers, Outcome, Outgoing, Received
from tests.cascade.stand_ins import received
from tests.claude.server import shape_server
from tests.observe.receiver import receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PUBLISHERS_SPAN = "b7ad6b7169203331"
TRACEPARENT: Headers = (
    ("traceparent", f"00-{TRACE}-{PUBLISHERS_SPAN}-01".encode()),
    ("tracestate", b"vendor=1"),
    ("theirs", b"kept"),
)
COMMITTED = Committed(1, "")


class Spans:
    """A tracer, and what came of it."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OpenTelemetryTracer(self.provider)

    def named(self, name: str) -> ReadableSpan:
        """The one span of that name."""
        (span,) = [span for span in self.all() if span.name == name]
        return span

    def all(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    return Spans()


class Session:
    """Commits, unless it is asked not to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.committed: list[Outgoing] = []
        self._failure = failure

    async def start(self) -> None: ...

    async def commit(self, records: Sequence[Outgoing], committed: Committed | None) -> None:
        if self._failure is not None:
            raise self._failure
        self.committed += records

    async def close(self) -> None: ...


def tracestate(span: ReadableSpan) -> str:
    assert span.context is not None
    return str(span.context.trace_state.to_header())


def ids(span: ReadableSpan) -> tuple[str, str | None, str]:
    """Its trace, its parent, itself."""
    assert span.context is not None
    parent = None if span.parent is None else f"{span.parent.span_id:016x}"
    return f"{span.context.trace_id:032x}", parent, f"{span.context.span_id:016x}"


async def test_the_spans_of_one_event_are_linked_from_the_publisher_over_both_tiers(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(set_env=monkeypatch.setenv),
        SdkClient(connections=1, traces=spans.provider) as client,
    ):

        async def ask(model: str, topic: str) -> Outcome:
            await client.send(f'{{"model":"{model}"}}'.encode(), seconds=5)
            return Outcome(Disposition.ESCALATED, (Outgoing(topic, b"key", b"{}", TRACEPARENT),))

        async def haiku(_: Received) -> Outcome:
            return await ask("claude-haiku-5-5", "escalations")

        async def sonnet(_: Received) -> Outcome:
            return await ask("claude-sonnet-5-5", "notes.enriched")

        event = received({"text": "Ada Lovelace"}, headers=TRACEPARENT)
        session = Session()
        traced = TracedSession(session, spans.tracer)
        outcome = await Handling("notes", haiku, spans.tracer)(event)
        await traced.commit(outcome.records, COMMITTED)
        (escalated,) = session.committed
        again = received(b"{}", topic="escalations", headers=escalated.headers)
        outcome = await Handling("escalations", sonnet, spans.tracer)(again)
        await traced.commit(outcome.records, COMMITTED)

    first, second = spans.named("process notes.raw"), spans.named("process escalations")
    calls = [span for span in spans.all() if span.name == "anthropic.messages.create"]
    assert ids(first)[:2] == (TRACE, PUBLISHERS_SPAN)
    assert ids(second)[:2] == (TRACE, ids(first)[2])
    assert [ids(call)[:2] for call in calls] == [(TRACE, ids(first)[2]), (TRACE, ids(second)[2])]
    assert ids(spans.named("publish escalations"))[:2] == (TRACE, ids(first)[2])
    assert ids(spans.named("publish notes.enriched"))[:2] == (TRACE, ids(second)[2])
    assert {ids(span)[0] for span in spans.all()} == {TRACE}
    assert {tracestate(span) for span in spans.all()} == {"vendor=1"}
    assert (first.kind, calls[0].kind) == (SpanKind.CONSUMER, SpanKind.CLIENT)
    assert spans.named("publish escalations").kind is SpanKind.PRODUCER
    attributes = calls[1].attributes or {}
    assert attributes["gen_ai.request.model"] == "claude-sonnet-5-5"
    assert attributes["gen_ai.usage.output_tokens"] == 38
    assert (first.attributes or {})["pipeline.end"] == "escalated"
    assert ("theirs", b"kept") in escalated.headers
    assert len([name for name, _ in escalated.headers if name == "traceparent"]) == 1
    assert not any("Ada" in span.to_json() for span in spans.all())


async def test_the_api_does_not_see_the_trace(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(set_env=monkeypatch.setenv) as server,
        SdkClient(connections=1, traces=spans.provider) as client,
    ):
        with spans.tracer.event("notes", topic="t", partition=0, offset=0, headers=TRACEPARENT):
            await client.send(b"{}", seconds=5)
    assert "traceparent" not in server.headers[0]
    assert ids(spans.named("anthropic.messages.create"))[0] == TRACE


async def test_the_sdk_cannot_be_made_to_record_content_by_the_environment(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
    async with (
        shape_server(set_env=monkeypatch.setenv),
        SdkClient(connections=1, traces=spans.provider) as client,
    ):
        body = b'{"model":"m","messages":[{"role":"user","content":"Ada Lovelace"}]}'
        await client.send(body, seconds=5)
    assert "Ada" not in spans.named("anthropic.messages.create").to_json()


async def none_is_published(_: Received) -> Outcome:
    return Outcome(Disposition.REVIEW, (Outgoing("review", None, b"{}", ()),))


@pytest.mark.parametrize("headers", [(), (("traceparent", b"00-not-one"),)])
async def test_an_event_without_a_trace_begins_one(spans: Spans, headers: Headers) -> None:
    outcome = await Handling("notes", none_is_published, spans.tracer)(
        received({}, headers=headers)
    )
    trace, parent, span = ids(spans.named("process notes.raw"))
    assert parent is None
    carried = dict(outcome.records[0].headers)["traceparent"] or b""
    assert carried.startswith(f"00-{trace}-{span}-".encode())


async def test_a_publisher_who_does_not_sample_is_followed(spans: Spans) -> None:
    headers = (("traceparent", f"00-{TRACE}-{PUBLISHERS_SPAN}-00".encode()),)
    outcome = await Handling("notes", none_is_published, spans.tracer)(
        received({}, headers=headers)
    )
    carried = dict(outcome.records[0].headers)["traceparent"] or b""
    assert carried.startswith(f"00-{TRACE}-".encode())
    assert carried.endswith(b"-00")
    assert not spans.all()


async def test_without_a_tracer_what_the_publisher_sent_is_left_as_it_is() -> None:
    async def handler(event: Received) -> Outcome:
        return Outcome(Disposition.REVIEW, (Outgoing("review", None, b"{}", event.headers),))

    outcome = await Handling("notes", handler)(received({}, headers=TRACEPARENT))
    assert outcome.records[0].headers == TRACEPARENT


async def test_an_error_is_reported_by_its_type_and_not_by_its_words(spans: Spans) -> None:
    async def fails(_: Received) -> Outcome:
        raise KeyError("Ada Lovelace")

    with pytest.raises(KeyError):
        await Handling("notes", fails, spans.tracer)(received({}))
    traced = TracedSession(Session(Aborted("no leader for Ada Lovelace")), spans.tracer)
    with pytest.raises(Aborted):
        await traced.commit([Outgoing("review", None, b"", TRACEPARENT)], COMMITTED)
    for name, error in (("process notes.raw", "KeyError"), ("publish review", "Aborted")):
        span = spans.named(name)
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == error
        assert "Ada" not in span.to_json()


async def test_spans_arrive_at_the_endpoint_before_the_program_ends() -> None:
    async with receiver() as (endpoint, got):
        async with open_tracer(TracingSettings(endpoint=endpoint)) as tracer:
            assert tracer is not None
            await Handling("notes", none_is_published, tracer)(received({}))
        (resource,) = got[0].resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert names == ["process notes.raw"]
    stated = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert stated["service.name"] == "haiku-pipeline"


async def test_a_share_of_0_records_nothing_that_begins_here() -> None:
    settings = TracingSettings(endpoint="http://127.0.0.1:9/v1/traces", sample_ratio=0)
    async with open_tracer(settings) as tracer:
        assert tracer is not None
        outcome = await Handling("notes", none_is_published, tracer)(received({}))
    carried = dict(outcome.records[0].headers)["traceparent"] or b""
    assert not int(carried[-2:], 16) & 1


async def test_without_an_endpoint_there_is_no_tracer() -> None:
    async with open_tracer(TracingSettings()) as tracer:
        assert tracer is None


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_the_sdk(name: str, *args: object) -> object:
        if name.startswith("opentelemetry.sdk"):
            raise ImportError(name)
        return real(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_the_sdk)
    with pytest.raises(UsageError, match=r"haiku-pipeline\[otel\]"):
        async with open_tracer(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces")):
            await asyncio.sleep(0)
