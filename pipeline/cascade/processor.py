"""What happens to one event: read it, ask a tier, check the answer, decide, publish.

Both tiers share the flow, `Processor`. They differ in what they read (`pipeline.cascade.reading`)
and in what becomes of a doubted answer: Haiku's goes to Sonnet, Sonnet's to people.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial, reduce
from itertools import chain
from operator import add
from typing import Any, Generic, TypeVar

import structlog
from pydantic import BaseModel

from pipeline.cascade.policy import (
    AUDIT,
    LIFTED,
    TROUBLES,
    Policy,
    StagePolicy,
    audit_doubts,
    is_wanted,
    limit_for_repetition,
    signal_of,
    statement_signals,
    weighed,
)
from pipeline.cascade.publishing import dead_letter, enriched, publication
from pipeline.cascade.reading import (
    NOT_ASKED,
    Case,
    Reader,
    Reading,
    is_long,
    of_stage,
    published_result,
)
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import (
    AnswerError,
    FileUnavailable,
    InvalidEvent,
    NotMaskable,
    Rejected,
    StageFailed,
)
from pipeline.model.observer import AuditVerdict, Observer
from pipeline.model.questions import (
    Asker,
    KnownResult,
    MultiStepQuery,
    Query,
    Question,
    Response,
    Signal,
)
from pipeline.model.records import (
    DOCUMENT,
    MOST_DOUBTS,
    MOST_SECONDS,
    DeadLetterReason,
    Decider,
    Doubt,
    Enriched,
    Escalation,
    Provenance,
    Review,
    Tier,
    Timing,
    Usage,
)
from pipeline.observe.logging import EVENT, EventContext
from pipeline.observe.tracing import OpenTelemetryTracer
from pipeline.stages.api import Answer, RawEvent, Rewording, Stage, differences, label_of
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stream.records import Handler, Outcome, Received
from pipeline.stream.tenants import TENANT_HEADER, TenantOf

RawT = TypeVar("RawT", bound=RawEvent)
AnswerT = TypeVar("AnswerT", bound=Answer)
log = structlog.get_logger(__name__)
_plain = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TierAnswer(Generic[AnswerT]):
    """What one tier said about an event, before it is decided whether that is good enough.

    No `answer` where no usable one came; `signals` then say why. `usage` and `seconds` are of all
    calls that were made, `model` is the one that was asked last. `prompts` are digests of what was
    answered, `provider` is where that was last; empty without an answer. `known` is the result
    where the event's own data gave it, and no model was asked.
    """

    answer: AnswerT | None
    signals: tuple[Signal, ...]
    usage: Usage
    model: str
    seconds: float
    prompts: frozenset[str] = frozenset()
    provider: str = ""
    known: BaseModel | None = None

    def published(self, stage: Stage[Any, Any], event: RawEvent) -> dict[str, Any] | None:
        """The result as it would be published, or null where there is none."""
        if self.known is not None:
            return self.known.model_dump(mode="json", by_alias=True)
        return published_result(stage, event, self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(TierAnswer[AnswerT]):
    """The same, decided: `doubts` is empty if, and only if, the answer is accepted."""

    doubts: tuple[Doubt, ...]
    provenance: Provenance


@dataclass(eq=False)
class Processor:
    """The handler of a topic: brings each of its records to one end.

    Every end is reported to the observer under the event's own stage.
    """

    reader: Reader
    cascade: "CascadePolicy"
    topics: TopicNames
    _: KW_ONLY
    clock: Callable[[], datetime]
    observer: Observer
    tenant_of: TenantOf | None = None

    async def __call__(self, received: Received) -> Outcome:
        try:
            case = await self.reader.read(received)
            stage, event = case.stage, case.event
            if (context := EVENT.get()) is not None:
                context.event_id = event.id
            key = received.key or event.id.encode()
            tenant = "" if self.tenant_of is None else self.tenant_of(received)
            decision = await self.cascade.decide(stage, event, key=key, tenant=tenant)
            record = of_stage(stage.name, self._record, case, decision)
            outcome = of_stage(stage.name, publication, received, record, self.topics)
            if tenant and isinstance(record, Escalation):
                outcome = _of_tenant(outcome, tenant)
            if case.earlier is not None:
                of_stage(stage.name, self._report_audit, case, decision)
        except InvalidEvent as invalid:
            name, topic = self.reader.name, self.topics.dead_letters
            self.observer.dead_lettered(name, invalid.reason)
            return dead_letter(received, topic, invalid, stage=name, now=self.clock())
        last = None if isinstance(record, Escalation) else record
        decider: Decider = self.cascade.tier if decision.known is None else DOCUMENT
        model = decision.model
        self.observer.decided(stage.name, decider, outcome.end, model=model, record=last)
        return outcome

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
            event_id=case.event.id,
            decided_by=self.cascade.tier.value if answer is not None else DOCUMENT,
            confidence=answer.stated_confidence if answer is not None else None,
            escalated=None if before is None else (before.doubts, case.earlier, before.provenance),
            model=decision.model,
            usage=decision.usage if before is None else before.usage + decision.usage,
            source=case.source,
            timing=timing,
            provenance=decision.provenance,
        )

    def _doubted(self, case: Case, decision: Decision[Any], timing: Timing) -> Escalation | Review:
        """What a doubted answer becomes: the first tier's an escalation, the second's for people.

        An event that failed while others did not is named in the log, once and not at each tier.
        """
        stage, event, before = case.stage, case.event, case.escalation
        reported = {doubt.code for doubt in before.doubts} if before is not None else set()
        for doubt in decision.doubts:
            self.observer.doubted(stage.name, doubt.code)
            if doubt.code in TROUBLES - reported:
                log.warning(doubt.code, stage=stage.name, event_id=event.id, because=doubt.detail)
        result = decision.published(stage, event)
        if before is None:
            return Escalation(
                schema_="escalations/1",
                event_id=event.id,
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
        return Review(
            schema_="review/1",
            event_id=event.id,
            stage=stage.name,
            event=before.event,
            doubts=[*before.doubts, *decision.doubts][-MOST_DOUBTS:],
            haiku_result=before.haiku_result,
            sonnet_result=result,
            model=decision.model,
            usage=before.usage + decision.usage,
            source=case.source,
            timing=timing,
            provenance=decision.provenance,
            haiku_provenance=before.provenance,
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
class CascadePolicy:
    """Asks one tier and decides whether its answer is accepted."""

    asker: Asker
    policy: Policy
    tier: Tier
    reading: Reading = field(default_factory=Reading)

    async def decide(
        self, stage: Stage[RawT, AnswerT], event: RawT, *, key: bytes, tenant: str = ""
    ) -> Decision[AnswerT]:
        """Ask and decide; the record's `key` says whether the event is in the random sample.

        What the event says itself the first tier takes without asking, unless it is doubted: then
        it is asked about as any other, and what speaks against it does against the answer, too.

        Raises:
            InvalidEvent: The event's file is not what it says it is, the API takes no such request,
                or the stage failed over the answer.
        """
        own = self.policy[stage.name, self.tier]
        try:
            about, against = await known_or_query(self.reading, own, self.tier, stage, event)
        except FileUnavailable as failure:
            found: TierAnswer[AnswerT] = unanswered(failure)
        else:
            if isinstance(about, KnownResult):
                found = read_from(about)
            else:
                found = await ask_tier(self.asker, self.tier, stage, event, about, tenant=tenant)
                found = replace(found, signals=(*found.signals, *against)) if against else found
        if own.second_opinion:
            found = await self.second_opinion(stage, event, found, tenant=tenant)
        label = None if found.answer is None else label_of(stage, found.answer)
        doubts = own.doubts(found.signals, label=label)
        if own.audit_share:
            doubts += audit_doubts(stage.name, key, own.audit_share)
        return Decision(
            found.answer,
            found.signals,
            found.usage,
            found.model,
            found.seconds,
            known=found.known,
            doubts=doubts,
            provenance=provenance_of(found.provider, found.prompts, own.settings),
        )

    async def second_opinion(
        self,
        stage: Stage[RawT, AnswerT],
        event: RawT,
        first: TierAnswer[AnswerT],
        *,
        tenant: str = "",
    ) -> TierAnswer[AnswerT]:
        """The first answer, its signals weighed by a second one where the policy wants that."""
        own = self.policy[stage.name, self.tier]
        if not own.second_opinion or first.answer is None or not isinstance(stage, Rewording):
            return first
        doubts = own.doubts(first.signals, label=label_of(stage, first.answer))
        if not is_wanted(confidence=first.answer.confidence, doubts=doubts):
            return first
        try:
            query = await self.reading.ask_about(stage, event, stage.second_question)
            second = await ask_tier(self.asker, self.tier, stage, event, query, tenant=tenant)
        except (InvalidEvent, FileUnavailable) as failure:
            # The event is not at fault, since it was answered once.
            log.warning("no_second_opinion", stage=stage.name, because=failure.detail)
            return first
        signals = first.signals
        if second.answer is not None:
            differ = differences(stage, first.answer.model_dump(), second.answer.model_dump())
            against = own.doubts(second.signals, label=label_of(stage, second.answer))
            # A second answer that is itself doubted confirms nothing.
            if differ or (differ is not None and all(doubt.code in LIFTED for doubt in against)):
                signals = weighed(first.signals, differ)
        return replace(
            first,
            signals=signals,
            usage=first.usage + second.usage,
            seconds=first.seconds + second.seconds,
            prompts=first.prompts | second.prompts,
        )


async def known_or_query(
    reading: Reading, own: StagePolicy, tier: Tier, stage: Stage[RawT, AnswerT], event: RawT
) -> tuple[KnownResult[AnswerT] | Query[AnswerT], tuple[Signal, ...]]:
    """What the event says itself, where that is accepted; else what the tier is asked about it.

    In the second case also what speaks against any answer: that the event contradicts itself.

    Raises:
        InvalidEvent: The event's file is not what it says it is.
        FileUnavailable: It could not be had, again and again, while others could.
    """
    about = await reading.read_or_ask(stage, event)
    if not isinstance(about, KnownResult):
        return about, ()
    # The second tier is asked about what the first one sent on, such as the random sample.
    if tier is Tier.HAIKU and not own.doubts(about.signals):
        return about, about.signals
    return await reading.ask_about(stage, event, lambda _: about.query()), about.signals


def read_from(known: KnownResult[Any]) -> TierAnswer[Any]:
    return TierAnswer(None, known.signals, Usage(), NOT_ASKED, 0.0, known=known.result)


async def ask_tier(
    asker: Asker,
    tier: Tier,
    stage: Stage[RawT, AnswerT],
    event: RawT,
    query: Query[AnswerT],
    *,
    tenant: str = "",
) -> TierAnswer[AnswerT]:
    """Ask one tier, in as many calls as it takes, and check its answer.

    Raises:
        InvalidEvent: The API takes no such request, or the stage failed over an answer.
    """
    calls: list[Response[Any] | AnswerError] = []
    while True:
        if isinstance(query, Question):
            made = [await _call(asker, tier, query, tenant)]
        else:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(_call(asker, tier, each, tenant)) for each in query.questions
                ]
            made = [task.result() for task in tasks]
        calls += chain(*made)
        ends = [attempts[-1] for attempts in made]
        if failures := [end for end in ends if isinstance(end, AnswerError)]:
            for failure in failures:
                if isinstance(failure, NotMaskable):
                    reason = DeadLetterReason.UNSUPPORTED_MEDIA
                    raise InvalidEvent(reason, failure.detail) from failure
                if isinstance(failure, Rejected):
                    reason = DeadLetterReason.REJECTED_BY_API
                    raise InvalidEvent(reason, failure.detail, attempts=len(calls)) from failure
                if isinstance(failure, StageFailed):
                    reason = DeadLetterReason.STAGE_FAILED
                    raise InvalidEvent(reason, failure.detail, attempts=len(calls)) from failure
            answer, signals = None, list(dict.fromkeys(map(signal_of, failures)))
            break
        answers = tuple(end.answer for end in ends if isinstance(end, Response))
        follows = answers[0]
        if not isinstance(query, Question):
            follows = of_stage(stage.name, query.then, answers)
        if isinstance(follows, Question | MultiStepQuery):
            query = follows
            continue
        answer = follows
        check = partial(of_stage, stage.name, stage.signals, event, answer)
        # Asking whether the stage is a `Checking` would take about as long as its checks.
        is_slow = getattr(stage, "checks_slowly", False) or is_long(event)
        checked = await asyncio.to_thread(check) if is_slow else check()
        signals = [
            signal for call in calls if isinstance(call, Response) for signal in call.signals
        ]
        signals += [*statement_signals(answer), *checked]
        break
    usage = reduce(add, (call.usage for call in calls))
    seconds = sum(call.seconds for call in calls)
    answered = [call for call in calls if isinstance(call, Response) and answer is not None]
    return TierAnswer(
        answer,
        tuple(signals),
        usage,
        calls[-1].model,
        seconds,
        frozenset(response.prompt for response in answered),
        answered[-1].provider if answered else "",
    )


@lru_cache(maxsize=1024)
def provenance_of(provider: str, prompts: frozenset[str], settings: str) -> Provenance:
    """What produced an answer, of which there are as many as prompts, and not as many as events."""
    digest = "".join(prompts)
    if len(prompts) > 1:
        digest = hashlib.sha256("".join(sorted(prompts)).encode()).hexdigest()[:16]
    return Provenance(provider=provider, prompt=digest, settings=settings)


def unanswered(failure: AnswerError) -> TierAnswer[Any]:
    signals = (signal_of(failure),)
    return TierAnswer(None, signals, failure.usage, failure.model, failure.seconds)


async def _call(
    asker: Asker, tier: Tier, question: Question[Any], tenant: str
) -> list[Response[Any] | AnswerError]:
    if tenant:
        question = replace(question, tenant=tenant)
    failures: list[AnswerError] = []
    limit = question.max_output_tokens
    while True:
        try:
            return [*failures, await asker.ask(question, tier, max_output_tokens=limit)]
        except AnswerError as failure:
            failures.append(failure)
            next_limit = limit_for_repetition(failure, attempt=len(failures), limit=limit)
            if next_limit is None:
                return [*failures]
            limit = next_limit


@dataclass(eq=False)
class Handling:
    """Calls a handler within the event's trace, with the event's ids on every line of the log."""

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
