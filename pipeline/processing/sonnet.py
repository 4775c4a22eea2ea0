"""The second tier: what Haiku's answer could not be trusted on, of all stages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from pipeline.errors import Invalid
from pipeline.escalation.audit import CODE as AUDIT
from pipeline.events import (
    DeadLetterReason,
    Enriched,
    Escalation,
    EscalationSummary,
    Review,
    Timing,
    enriched_schema,
)
from pipeline.observe.logging import identify_event
from pipeline.processing.boundary import of_stage
from pipeline.processing.judge import Judge, Judgement, warn_of_trouble
from pipeline.processing.observer import AuditVerdict, ProcessorObserver
from pipeline.processing.outgoing import dead_letter, publication
from pipeline.processing.reading import AnyStage, published_result
from pipeline.stages.deciding import differences
from pipeline.stages.stage import Answer, RawEvent
from pipeline.stream.records import End, Outcome, Received
from pipeline.stream.topics import TopicNames

NAME = "escalations"


@dataclass(frozen=True, slots=True)
class _Case:
    """One escalation, read: the record, what is in it, and the stage it belongs to."""

    received: Received
    escalation: Escalation
    stage: AnyStage
    event: RawEvent


class SonnetProcessor:
    """The handler of the escalations topic.

    Args:
        stages: By name; an escalation of a stage that is not among them is a dead letter.
        judge: Asks Sonnet.
        topics: Where outcomes go.
        clock: The time, aware.
        observer: Told how each event ended, under its own stage's name.
    """

    def __init__(
        self,
        stages: Mapping[str, AnyStage],
        judge: Judge,
        topics: TopicNames,
        *,
        clock: Callable[[], datetime],
        observer: ProcessorObserver,
    ) -> None:
        self._stages = stages
        self._judge = judge
        self._topics = topics
        self._clock = clock
        self._observer = observer
        self._enriched = {
            name: Enriched[stage.result_model]  # type: ignore[name-defined]
            for name, stage in stages.items()
        }

    async def __call__(self, received: Received) -> Outcome:
        """Handle one escalation."""
        try:
            case = self._read(received)
            identify_event(case.event.id)
            judgement = await self._judge(
                case.stage, case.event, key=received.key or case.event.id.encode()
            )
            if judgement.doubts or judgement.answer is None:
                outcome = self._unsettled(case, judgement)
            else:
                outcome = self._accepted(case, judgement.answer, judgement)
        except Invalid as invalid:
            self._observer.dead_lettered(NAME, invalid.reason)
            topic = self._topics.dead_letters
            return dead_letter(received, topic, invalid, stage=NAME, now=self._clock())
        self._observer.decided(
            case.stage.name, self._judge.tier, outcome.end, model=judgement.model
        )
        self._tell_of_audit(case, judgement)
        return outcome

    def _read(self, received: Received) -> _Case:
        try:
            escalation = Escalation.model_validate_json(received.value or b"")
        except ValidationError as error:
            detail = f"This is not an escalation record ({error.error_count()} faults)."
            raise Invalid(DeadLetterReason.INVALID_EVENT, detail) from error
        stage = self._stages.get(escalation.stage)
        if stage is None:
            detail = f"There is no stage {escalation.stage!r} here; enable it and replay."
            raise Invalid(DeadLetterReason.INVALID_EVENT, detail)
        try:
            event = stage.raw_model.model_validate(escalation.event, strict=False)
        except ValidationError as error:
            detail = f"The event in it is not a {stage.name} event ({error.error_count()} faults)."
            raise Invalid(DeadLetterReason.INVALID_EVENT, detail) from error
        return _Case(received, escalation, stage, event)

    def _accepted(self, case: _Case, answer: Answer, judgement: Judgement[Any]) -> Outcome:
        stage, escalation = case.stage, case.escalation
        record = self._enriched[stage.name](
            schema_=enriched_schema(stage.name),
            event_id=case.event.id,
            stage=stage.name,
            result=of_stage(stage.name, stage.result, case.event, answer),
            decided_by=self._judge.tier.value,
            confidence=answer.stated_confidence,
            escalation=EscalationSummary[stage.result_model](  # type: ignore[name-defined]
                doubts=escalation.doubts, haiku_result=escalation.haiku_result
            ),
            model=judgement.model,
            usage=escalation.usage + judgement.usage,
            source=escalation.source,
            timing=self._timing(escalation, judgement),
        )
        self._observer.settled(record)
        return publication(
            End.ENRICHED,
            case.received,
            self._topics.enriched(stage.name),
            record,
            event_id=case.event.id,
            kind=f"{stage.name}.enriched",
        )

    def _unsettled(self, case: _Case, judgement: Judgement[Any]) -> Outcome:
        stage, escalation = case.stage, case.escalation
        for doubt in judgement.doubts:
            self._observer.doubted(stage.name, doubt.code)
        warn_of_trouble(stage, case.event, judgement.doubts, before=escalation.doubts)
        record = Review(
            schema_="review/1",
            event_id=case.event.id,
            stage=stage.name,
            event=escalation.event,
            doubts=[*escalation.doubts, *judgement.doubts],
            haiku_result=escalation.haiku_result,
            sonnet_result=published_result(stage, case.event, judgement.answer),
            model=judgement.model,
            usage=escalation.usage + judgement.usage,
            source=escalation.source,
            timing=self._timing(escalation, judgement),
        )
        self._observer.settled(record)
        return publication(
            End.REVIEW,
            case.received,
            self._topics.review,
            record,
            event_id=case.event.id,
            kind="review",
        )

    def _tell_of_audit(self, case: _Case, judgement: Judgement[Any]) -> None:
        """Say whether an answer that was trusted, but for the random sample, was right."""
        escalation = case.escalation
        if escalation.haiku_result is None or {each.code for each in escalation.doubts} != {AUDIT}:
            return
        found = published_result(case.stage, case.event, judgement.answer)
        if found is None or judgement.doubts:
            verdict: AuditVerdict = "unsettled"
        else:
            differ = differences(case.stage, escalation.haiku_result, found)
            verdict = "not_compared" if differ is None else "differed" if differ else "agreed"
        self._observer.audited(case.stage.name, verdict)

    def _timing(self, escalation: Escalation, judgement: Judgement[Any]) -> Timing:
        return Timing(
            received_at=escalation.received_at,
            enriched_at=self._clock(),
            model_seconds=round(escalation.model_seconds + judgement.seconds, 3),
        )
