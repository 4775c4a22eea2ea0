"""The second tier: what Haiku's answer could not be trusted on, of all stages."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError

from pipeline.cascade.judge import CascadePolicy, Decision, warn_of_trouble
from pipeline.cascade.policy import CODE as AUDIT
from pipeline.cascade.publishing import dead_letter, publication
from pipeline.cascade.reading import LARGE_BYTES, AnyStage, published_result, source_with
from pipeline.cascade.stage_guard import of_stage
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent
from pipeline.model.observer import AuditVerdict, Observer
from pipeline.model.printable import printable, shortened
from pipeline.model.records import (
    MOST_DOUBTS,
    DeadLetterReason,
    Enriched,
    Escalation,
    EscalationSummary,
    Review,
    Timing,
    enriched_schema,
    lasted,
)
from pipeline.model.untrusted import Unusable, read_record
from pipeline.observe.logging import identify_event
from pipeline.stages.api import Answer, RawEvent, differences
from pipeline.stages.files.raw_events import text_too_long
from pipeline.stream.records import Disposition, Outcome, Received

log = structlog.get_logger(__name__)
NAME = "escalations"
_NAME_SHOWN = 64
"""Characters of a name that a record brings, in what is said about it."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One escalation, read: the record, what is in it, and the stage it belongs to.

    Args:
        earlier: Haiku's answer; None where there is none, or none that the stage publishes today.
    """

    received: Received
    escalation: Escalation
    stage: AnyStage
    event: RawEvent
    earlier: BaseModel | None


class SonnetProcessor:
    """The handler of the escalations topic.

    Args:
        stages: By name; an escalation of a stage that is not among them is a dead letter.
        judge: Asks Sonnet.
        topics: Where outcomes go.
        clock: The time, aware.
        observer: Told how each event ended, under its own stage's name.
        max_text_chars: The longest text that each stage takes, by its name. The first tier held
            every event to it, but anybody who may write to the topic may have written one.
    """

    def __init__(
        self,
        stages: Mapping[str, AnyStage],
        judge: CascadePolicy,
        topics: TopicNames,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
        max_text_chars: Mapping[str, int] | None = None,
    ) -> None:
        self._stages = stages
        self._judge = judge
        self._topics = topics
        self._clock = clock
        self._observer = observer
        self._max_text_chars = max_text_chars or {}
        self._enriched = {
            name: Enriched[stage.result_model]  # type: ignore[name-defined]
            for name, stage in stages.items()
        }

    async def __call__(self, received: Received) -> Outcome:
        """Handle one escalation."""
        try:
            case = await self._read_aside(received)
            identify_event(case.event.id)
            judgement = await self._judge(
                case.stage, case.event, key=received.key or case.event.id.encode()
            )
            if judgement.doubts or judgement.answer is None:
                outcome = of_stage(case.stage.name, self._unsettled, case, judgement)
            else:
                outcome = of_stage(
                    case.stage.name, self._accepted, case, judgement.answer, judgement
                )
            self._tell_of_audit(case, judgement)
        except InvalidEvent as invalid:
            self._observer.dead_lettered(NAME, invalid.reason)
            topic = self._topics.dead_letters
            return dead_letter(received, topic, invalid, stage=NAME, now=self._clock())
        self._observer.decided(
            case.stage.name, self._judge.tier, outcome.end, model=judgement.model
        )
        return outcome

    async def _read_aside(self, received: Received) -> _Case:
        """Read an escalation; outside the event loop where that may take milliseconds."""
        if len(received.value or b"") < LARGE_BYTES:
            return of_stage(NAME, self._read, received)
        return await asyncio.to_thread(of_stage, NAME, self._read, received)

    def _read(self, received: Received) -> _Case:
        try:
            escalation = read_record(Escalation, received.value)
        except Unusable as error:
            detail = f"This is not an escalation record: {error}."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail) from error
        stage = self._stages.get(escalation.stage)
        if stage is None:
            name = printable(shortened(escalation.stage, _NAME_SHOWN))
            detail = f"There is no stage '{name}' here; enable it and replay."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
        try:
            event = stage.raw_model.model_validate(escalation.event, strict=False)
        except ValidationError as error:
            detail = f"The event in it is not a {stage.name} event ({error.error_count()} faults)."
            raise InvalidEvent(DeadLetterReason.INVALID_EVENT, detail) from error
        self._check_texts(stage, event)
        return _Case(received, escalation, stage, event, _earlier_answer(stage, escalation))

    def _check_texts(self, stage: AnyStage, event: RawEvent) -> None:
        limit = self._max_text_chars.get(stage.name)
        if limit is None:
            return
        for field in stage.raw_model.model_fields:
            text = getattr(event, field)
            if isinstance(text, str) and len(text) > limit:
                raise text_too_long(field, text, limit)

    def _accepted(self, case: _Case, answer: Answer, judgement: Decision[Any]) -> Outcome:
        stage, escalation = case.stage, case.escalation
        record = self._enriched[stage.name](
            schema_=enriched_schema(stage.name),
            event_id=case.event.id,
            stage=stage.name,
            result=of_stage(stage.name, stage.result, case.event, answer),
            decided_by=self._judge.tier.value,
            confidence=answer.stated_confidence,
            escalation=EscalationSummary[stage.result_model](  # type: ignore[name-defined]
                doubts=escalation.doubts, haiku_result=case.earlier
            ),
            model=judgement.model,
            usage=escalation.usage + judgement.usage,
            source=source_with(escalation.source, case.event),
            timing=self._timing(escalation, judgement),
        )
        self._observer.settled(record)
        return publication(
            Disposition.ENRICHED,
            case.received,
            self._topics.enriched(stage.name),
            record,
            event_id=case.event.id,
            kind=f"{stage.name}.enriched",
        )

    def _unsettled(self, case: _Case, judgement: Decision[Any]) -> Outcome:
        stage, escalation = case.stage, case.escalation
        for doubt in judgement.doubts:
            self._observer.doubted(stage.name, doubt.code)
        warn_of_trouble(stage, case.event, judgement.doubts, before=escalation.doubts)
        record = Review(
            schema_="review/1",
            event_id=case.event.id,
            stage=stage.name,
            event=escalation.event,
            doubts=[*escalation.doubts, *judgement.doubts][-MOST_DOUBTS:],
            haiku_result=escalation.haiku_result,
            sonnet_result=published_result(stage, case.event, judgement.answer),
            model=judgement.model,
            usage=escalation.usage + judgement.usage,
            source=escalation.source,
            timing=self._timing(escalation, judgement),
        )
        self._observer.settled(record)
        return publication(
            Disposition.REVIEW,
            case.received,
            self._topics.review,
            record,
            event_id=case.event.id,
            kind="review",
        )

    def _tell_of_audit(self, case: _Case, judgement: Decision[Any]) -> None:
        """Say whether an answer that was trusted, but for the random sample, was right."""
        if case.earlier is None or {each.code for each in case.escalation.doubts} != {AUDIT}:
            return
        found = published_result(case.stage, case.event, judgement.answer)
        if found is None or judgement.doubts:
            verdict: AuditVerdict = "unsettled"
        else:
            earlier = case.earlier.model_dump(mode="json", by_alias=True)
            differ = differences(case.stage, earlier, found)
            verdict = "not_compared" if differ is None else "differed" if differ else "agreed"
        self._observer.audited(case.stage.name, verdict)

    def _timing(self, escalation: Escalation, judgement: Decision[Any]) -> Timing:
        return Timing(
            received_at=escalation.received_at,
            enriched_at=self._clock(),
            model_seconds=lasted(escalation.model_seconds, judgement.seconds),
        )


def _earlier_answer(stage: AnyStage, escalation: Escalation) -> BaseModel | None:
    """Haiku's answer as the stage publishes it today.

    Another version of the stage may have given another one. The event is as good as before, so
    Sonnet is asked all the same; a person who reviews it sees the answer as it is in the record.
    """
    if escalation.haiku_result is None:
        return None
    try:
        found: BaseModel = stage.result_model.model_validate(escalation.haiku_result, strict=False)
    except ValidationError as error:
        log.warning(
            "earlier_answer_left_out",
            stage=stage.name,
            because=f"it is no result of this version of the stage ({error.error_count()} faults)",
        )
        return None
    return found
