"""What happens to one event: read it, ask a tier, check the answer, decide, publish.

Both tiers share the flow, `Processor`. They differ in what they read (`pipeline.cascade.reading`)
and in what becomes of a doubted answer: Haiku's goes to Sonnet, Sonnet's to people.
"""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import structlog

from pipeline.cascade.certified import Certified
from pipeline.cascade.deciding import CascadePolicy, Decision
from pipeline.cascade.parts import joined
from pipeline.cascade.policy import (
    AUDIT,
    TROUBLES,
)
from pipeline.cascade.publishing import Outputs, dead_letter, enriched, publication, tombstone
from pipeline.cascade.reading import (
    Case,
    Reader,
    is_for_another,
    of_stage,
    published_result,
)
from pipeline.cascade.sampler import Sampler
from pipeline.inputs.adapter import PassedOver
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import (
    InvalidEvent,
)
from pipeline.model.observer import AuditVerdict, Observer
from pipeline.model.records import (
    DOCUMENT,
    MOST_DOUBTS,
    MOST_SECONDS,
    CertificateMark,
    Decider,
    Enriched,
    Escalation,
    Review,
    Timing,
)
from pipeline.observe.logging import EVENT, EventContext
from pipeline.observe.tracing import OpenTelemetryTracer
from pipeline.stages.api import Answer, differences
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stream.records import Disposition, Handler, Outcome, Received
from pipeline.stream.tenants import TENANT_HEADER, TenantOf

AnswerT = TypeVar("AnswerT", bound=Answer)
log = structlog.get_logger(__name__)
_plain = logging.getLogger(__name__)


@dataclass(eq=False)
class Processor:
    """The handler of a topic: brings each of its records to one end.

    Every end is reported to the observer under the event's own stage, as is what is passed over.
    """

    reader: Reader
    cascade: "CascadePolicy"
    topics: TopicNames
    _: KW_ONLY
    clock: Callable[[], datetime]
    observer: Observer
    tenant_of: TenantOf | None = None
    tombstones_to: tuple[str, ...] = ()
    """The topics of results that get a tombstone where one comes, under its key."""
    outputs: Outputs = field(default_factory=dict)
    sampler: Sampler | None = None
    certified: Certified | None = None

    async def __call__(self, received: Received) -> Outcome:
        if received.headers and is_for_another(received, self.reader.name):
            self.observer.passed_over(self.reader.name)
            return Outcome(Disposition.PASSED_OVER, ())
        if self.tombstones_to and received.is_tombstone:
            return tombstone(received, self.tombstones_to)
        try:
            case = await self.reader.read(received)
            if isinstance(case, PassedOver):
                return self._passed_over(received, case)
            if (context := EVENT.get()) is not None:
                context.event_id = case.event_id
            tenant = "" if self.tenant_of is None else self.tenant_of(received)
            decided = await self.cascade.decide_case(case, tenant=tenant)
            ends = [self._end_of(each, decision, tenant) for each, decision in decided]
        except InvalidEvent as invalid:
            name, topic = self.reader.name, self.topics.dead_letters
            self.observer.dead_lettered(name, invalid.reason)
            return dead_letter(received, topic, invalid, stage=name, now=self.clock())
        stage, tier = case.stage.name, self.cascade.tier
        for (_, decision), (record, outcome) in zip(decided, ends, strict=True):
            last = None if isinstance(record, Escalation) else record
            decider: Decider = tier if decision.known is None else DOCUMENT
            self.observer.decided(stage, decider, outcome.end, model=decision.model, record=last)
        return joined([outcome for _, outcome in ends])

    def _passed_over(self, received: Received, because: PassedOver) -> Outcome:
        self.observer.passed_over(self.reader.name)
        is_passed_on = because.is_tombstone and received.key is not None
        return tombstone(received, self.tombstones_to if is_passed_on else ())

    def _end_of(
        self, case: Case, decision: Decision[Any], tenant: str
    ) -> tuple[Enriched[Any] | Escalation | Review, Outcome]:
        name = case.stage.name
        record = of_stage(name, self._record, case, decision)
        outcome = of_stage(name, publication, case.received, record, self.topics, self.outputs)
        if tenant and isinstance(record, Escalation):
            outcome = _of_tenant(outcome, tenant)
        if self.sampler is not None:
            outcome = of_stage(
                name, self.sampler.drawn, case, decision, self.cascade.tier, record, outcome
            )
        if case.earlier is not None:
            of_stage(name, self._report_audit, case, decision)
        return record, outcome

    def _record(
        self, case: Case, decision: Decision[AnswerT]
    ) -> Enriched[Any] | Escalation | Review:
        before, answer = case.escalation, decision.answer
        seconds = decision.seconds if before is None else before.model_seconds + decision.seconds
        timing = Timing(
            received_at=case.received_at,
            enriched_at=self.clock(),
            model_seconds=round(min(seconds, MOST_SECONDS), 3),
        )
        result = decision.known
        if answer is not None and not decision.doubts:
            result = of_stage(case.stage.name, case.stage.result, case.event, answer)
        if decision.doubts or result is None:
            return self._doubted(case, decision, timing)
        return enriched(
            case.stage,
            case.event,
            result,
            event_id=case.event_id,
            decided_by=self.cascade.tier.value if answer is not None else DOCUMENT,
            confidence=answer.stated_confidence if answer is not None else None,
            escalated=None if before is None else (before.doubts, case.earlier, before.provenance),
            model=decision.model,
            usage=decision.usage if before is None else before.usage + decision.usage,
            source=case.source,
            timing=timing,
            provenance=decision.provenance,
            evidence=decision.evidence,
            certificate=self._mark(case, decision) if answer is not None else None,
        )

    def _mark(self, case: Case, decision: Decision[Any]) -> CertificateMark | None:
        if self.certified is None:
            return None
        stage, tier = case.stage.name, self.cascade.tier
        return self.certified.mark(stage, tier, decision.model, decision.provenance)

    def _doubted(self, case: Case, decision: Decision[Any], timing: Timing) -> Escalation | Review:
        """What a doubted answer becomes: the first tier's an escalation, the second's for people.

        An event that failed while others did not is named in the log, once and not at each tier.
        """
        stage, event, before = case.stage, case.event, case.escalation
        reported = {doubt.code for doubt in before.doubts} if before is not None else set()
        for doubt in decision.doubts:
            self.observer.doubted(stage.name, doubt.code)
            if doubt.code in TROUBLES - reported:
                who = {"stage": stage.name, "event_id": case.event_id}
                log.warning(doubt.code, **who, because=doubt.detail)
        result = decision.published(stage, event)
        if before is None:
            return Escalation(
                schema_="escalations/1",
                event_id=case.event_id,
                stage=stage.name,
                event=to_json_object(event),
                doubts=list(decision.doubts),
                haiku_result=result,
                haiku_model=decision.model,
                usage=decision.usage,
                source=case.source,
                received_at=case.received_at,
                model_seconds=timing.model_seconds,
                provenance=decision.provenance,
            )
        doubts = [*before.doubts, *decision.doubts]
        return Review(
            schema_="review/1",
            event_id=case.event_id,
            stage=stage.name,
            event=before.event,
            doubts=doubts[-MOST_DOUBTS:],
            haiku_doubts=max(0, len(before.doubts) - max(0, len(doubts) - MOST_DOUBTS)),
            haiku_result=before.haiku_result,
            sonnet_result=result,
            model=decision.model,
            usage=before.usage + decision.usage,
            source=case.source,
            timing=timing,
            provenance=decision.provenance,
            haiku_provenance=before.provenance,
            evidence=list(decision.evidence),
        )

    def _report_audit(self, case: Case, decision: Decision[Any]) -> None:
        """Report whether an answer that was trusted, but for the random sample, was right."""
        before, earlier = case.escalation, case.earlier
        if before is None or earlier is None or {doubt.code for doubt in before.doubts} != {AUDIT}:
            return
        found = published_result(case.stage, case.event, decision.answer)
        verdict: AuditVerdict = "unsettled"
        if found is not None and not decision.doubts:
            then = earlier.model_dump(mode="json", by_alias=True)
            differ = differences(case.stage, then, found)
            verdict = "not_compared" if differ is None else "differed" if differ else "agreed"
        self.observer.audited(case.stage.name, verdict)


def _of_tenant(outcome: Outcome, tenant: str) -> Outcome:
    """Say whose event it is that is escalated: its key may not."""
    header = TENANT_HEADER, tenant.encode()
    records = (replace(each, headers=(*each.headers, header)) for each in outcome.records)
    return replace(outcome, records=tuple(records))


@dataclass(eq=False)
class Handling:
    """Calls a handler within the event's trace, with the event's ids on every line of the log.

    `handler` may be replaced: a record has the one that is there when it begins.
    """

    stage: str
    handler: Handler
    tracer: OpenTelemetryTracer | None = None

    async def __call__(self, received: Received) -> Outcome:
        place: dict[str, Any] = {
            "stage": self.stage,
            "topic": received.topic,
            "partition": received.partition,
            "offset": received.offset,
        }
        with (
            self.tracer.event(**place, headers=received.headers)
            if self.tracer is not None
            else nullcontext()
        ) as trace:
            started = time.monotonic()
            context = EventContext(received.headers, None if trace is None else trace.trace_id)
            token = EVENT.set(context)
            try:
                outcome = await self.handler(received)
                # The plain logger answers in no time, structlog's does not.
                if _plain.isEnabledFor(logging.DEBUG):
                    seconds = round(time.monotonic() - started, 3)
                    log.debug("event_handled", **place, end=outcome.end.value, seconds=seconds)
            finally:
                EVENT.reset(token)
            if trace is None:
                return outcome
            trace.ended(outcome.end.value)
            records = (
                replace(record, headers=trace.carried_on(record.headers))
                for record in outcome.records
            )
            return replace(outcome, records=tuple(records))
