"""Puts published answers that are drawn beside the results, in the same outcome.

So an answer is in the topic `trust` if, and only if, it was drawn and its result is committed. An
event that is drawn and escalated takes along what spoke against Haiku's answer, in a header that
only this reads: the escalation itself has doubts alone, and earlier versions read it, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from pipeline.cascade.deciding import Decision
from pipeline.cascade.reading import Case, personal_texts
from pipeline.config import Settings
from pipeline.config.topic_names import TopicNames
from pipeline.kafka.connection import admin_client
from pipeline.kafka.topics import Topics
from pipeline.model.questions import Signal
from pipeline.model.records import Enriched, Escalation, Review, Tier
from pipeline.privacy.masking import Masking, redacted
from pipeline.stages.api import label_of
from pipeline.stream.records import Headers, Outcome, Outgoing
from pipeline.trust.records import MOST_SIGNALS, AnswerSignal, SampledAnswer, answer_key
from pipeline.trust.sampling import Lottery, lottery_key

log = structlog.get_logger(__name__)
SIGNALS_HEADER = "haiku-signals"
"""Of a drawn event's escalation: every signal against Haiku's answer, as JSON."""
_LARGEST_HEADER = 64 << 10
_HEADERS: Headers = (("content-type", b"application/json"),)
_SIGNALS: TypeAdapter[list[AnswerSignal]] = TypeAdapter(list[AnswerSignal])


@dataclass(frozen=True, slots=True)
class Sampler:
    """Adds the record of a drawn answer to the outcome that publishes it.

    Args:
        topic: Where drawn answers go.
        keep_answers: Whether results go along, masked by `masking`; personal data may be in them.
    """

    topic: str
    lottery: Lottery
    keep_answers: bool = True
    masking: Masking = field(default_factory=Masking)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Sampler | None":
        """The one that is set; None where nothing is to be drawn."""
        trust = settings.trust
        if not trust.sample_share:
            return None
        return cls(
            TopicNames.under(settings).trust,
            Lottery(trust.sample_share, lottery_key(trust.key)),
            trust.keep_answers,
            settings.privacy.masking(),
        )

    def drawn(
        self,
        case: Case,
        decision: Decision[Any],
        tier: Tier,
        record: Enriched[Any] | Escalation | Review,
        outcome: Outcome,
    ) -> Outcome:
        """The outcome, with the record of the answer if it is drawn and published.

        What the event's own data said is no answer of a model, and never drawn.
        """
        name, event_id = case.stage.name, case.event_id
        if isinstance(record, Review) or decision.known is not None:
            return outcome
        if not self.lottery.is_drawn(name, event_id, case.source.timestamp):
            return outcome
        if isinstance(record, Escalation):
            return _with_signals(outcome, decision.signals)
        drawn = self._answer(case, decision, tier, record)
        value = drawn.model_dump_json(by_alias=True).encode()
        key = answer_key(name, event_id, drawn.part)
        sampled = Outgoing(self.topic, key, value, _HEADERS)
        return replace(outcome, records=(*outcome.records, sampled))

    def _answer(
        self, case: Case, decision: Decision[Any], tier: Tier, record: Enriched[Any]
    ) -> SampledAnswer:
        part, before, answer = case.source.part, case.escalation, decision.answer
        is_one = part is None or part.of == 1
        return SampledAnswer(
            event_id=case.event_id,
            part=None if is_one or part is None else part.number,
            stage=case.stage.name,
            whose=self.lottery.whose(case.received.key, case.event.id),
            chance=self.lottery.share,
            decided_by=tier,
            model=decision.model,
            label=None if answer is None else label_of(case.stage, answer),
            confidence=record.confidence,
            signals=_of(decision.signals),
            haiku_signals=_carried(case),
            result=self._kept(case, record.result.model_dump(mode="json", by_alias=True)),
            haiku_result=self._kept(case, None if before is None else before.haiku_result),
            # Unknown fields of the event may be anything.
            source=case.source.model_copy(update={"extra": {}}),
            provenance=decision.provenance,
            published_at=record.timing.enriched_at,
        )

    def _kept(self, case: Case, result: dict[str, Any] | None) -> dict[str, Any] | None:
        if result is None or not self.keep_answers:
            return None
        rules = self.masking.rules(case.stage.name)
        return redacted(result, rules, personal_texts(rules, case.event), self.lottery.stand_in)


async def open_sampler(settings: Settings) -> Sampler | None:
    """The sampler that is set; None, with a warning, where its topic does not exist.

    Events do not wait for what only serves to measure them.
    """
    sampler = Sampler.from_settings(settings)
    if sampler is None:
        return None
    async with admin_client(settings.kafka) as admin:
        exists = sampler.topic in await Topics(admin, settings.topics).existing()
    if not exists:
        advice = "make it with `pipeline topics create` and start again, or sample nothing"
        log.warning("no_answers_drawn", because=f"there is no topic {sampler.topic}: {advice}")
    return sampler if exists else None


def _of(signals: Iterable[Signal]) -> list[AnswerSignal]:
    found = dict.fromkeys((each.code, each.strength, each.fields) for each in signals)
    return [
        AnswerSignal(code=code, strength=min(1.0, max(0.0, strength)), fields=list(fields))
        for code, strength, fields in list(found)[:MOST_SIGNALS]
    ]


def _with_signals(outcome: Outcome, signals: Sequence[Signal]) -> Outcome:
    value = _SIGNALS.dump_json(_of(signals))
    if len(value) > _LARGEST_HEADER:
        return outcome
    header = SIGNALS_HEADER, value
    records = (replace(each, headers=(*each.headers, header)) for each in outcome.records)
    return replace(outcome, records=tuple(records))


def _carried(case: Case) -> list[AnswerSignal]:
    """What spoke against Haiku's answer, where that was to this event, not to one with parts."""
    before = case.escalation
    if before is None or before.source.part != case.source.part:
        return []
    values = (value for name, value in case.received.headers if name == SIGNALS_HEADER)
    value = next(values, None)
    if value is None or len(value) > _LARGEST_HEADER:
        return []
    try:
        return _SIGNALS.validate_json(value)[:MOST_SIGNALS]
    except ValidationError:  # what another client wrote
        return []
