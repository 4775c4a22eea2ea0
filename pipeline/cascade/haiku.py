"""The first tier: raw events of one stage, answered by Haiku where its answer can be trusted."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pipeline.cascade.judge import CascadePolicy, Decision, warn_of_trouble
from pipeline.cascade.publishing import dead_letter, publication
from pipeline.cascade.reading import AnyStage, published_result, read_aside, source_of, source_with
from pipeline.cascade.stage_guard import of_stage
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent
from pipeline.model.observer import Observer
from pipeline.model.records import Enriched, Escalation, Timing, enriched_schema
from pipeline.observe.logging import identify_event
from pipeline.stages.api import Answer, RawEvent
from pipeline.stages.files.raw_events import to_json_object
from pipeline.stream.records import Disposition, Outcome, Received


class HaikuProcessor:
    """The handler of a stage's raw topic.

    Args:
        stage: What is asked.
        judge: Asks Haiku.
        topics: Where outcomes go.
        clock: The time, aware.
        observer: Told how each event ended.
    """

    def __init__(
        self,
        stage: AnyStage,
        judge: CascadePolicy,
        topics: TopicNames,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
    ) -> None:
        self._stage = stage
        self._judge = judge
        self._topics = topics
        self._clock = clock
        self._observer = observer
        self._enriched = Enriched[stage.result_model]  # type: ignore[name-defined]

    async def __call__(self, received: Received) -> Outcome:
        """Handle one raw record."""
        try:
            event = await read_aside(self._stage, received)
            identify_event(event.id)
            judgement = await self._judge(self._stage, event, key=received.key or event.id.encode())
            if judgement.doubts or judgement.answer is None:
                outcome = of_stage(self._stage.name, self._escalated, received, event, judgement)
            else:
                outcome = of_stage(
                    self._stage.name, self._accepted, received, event, judgement.answer, judgement
                )
        except InvalidEvent as invalid:
            self._observer.dead_lettered(self._stage.name, invalid.reason)
            topic = self._topics.dead_letters
            return dead_letter(received, topic, invalid, stage=self._stage.name, now=self._clock())
        self._observer.decided(
            self._stage.name, self._judge.tier, outcome.end, model=judgement.model
        )
        return outcome

    def _accepted(
        self, received: Received, event: RawEvent, answer: Answer, judgement: Decision[Any]
    ) -> Outcome:
        stage = self._stage
        record = self._enriched(
            schema_=enriched_schema(stage.name),
            event_id=event.id,
            stage=stage.name,
            result=of_stage(stage.name, stage.result, event, answer),
            decided_by=self._judge.tier.value,
            confidence=answer.stated_confidence,
            escalation=None,
            model=judgement.model,
            usage=judgement.usage,
            source=source_with(source_of(received), event),
            timing=Timing(
                received_at=received.received_at,
                enriched_at=self._clock(),
                model_seconds=round(judgement.seconds, 3),
            ),
        )
        self._observer.settled(record)
        topic = self._topics.enriched(stage.name)
        kind = f"{stage.name}.enriched"
        return publication(
            Disposition.ENRICHED, received, topic, record, event_id=event.id, kind=kind
        )

    def _escalated(self, received: Received, event: RawEvent, judgement: Decision[Any]) -> Outcome:
        stage = self._stage
        for doubt in judgement.doubts:
            self._observer.doubted(stage.name, doubt.code)
        warn_of_trouble(stage, event, judgement.doubts)
        record = Escalation(
            schema_="escalations/1",
            event_id=event.id,
            stage=stage.name,
            event=to_json_object(event),
            doubts=list(judgement.doubts),
            haiku_result=published_result(stage, event, judgement.answer),
            haiku_model=judgement.model,
            usage=judgement.usage,
            source=source_of(received),
            received_at=received.received_at,
            model_seconds=round(judgement.seconds, 3),
        )
        topic = self._topics.escalations
        return publication(
            Disposition.ESCALATED, received, topic, record, event_id=event.id, kind="escalation"
        )
