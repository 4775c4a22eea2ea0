"""What a record says of where its values were read."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, StagePolicy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations, RawEvents, Reading
from pipeline.config import PrivacySettings, Settings, SonnetThresholds, Thresholds, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import MOST_EVIDENCE, Evidence, Review, Tier
from pipeline.stages.checks.places import Places
from pipeline.stream.records import Disposition, Outcome
from tests.cascade.stand_ins import (
    NOON,
    Note,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
UNSURE = NoteAnswer(mood="glad", confidence=0.2, unclear=False)
NOTE = {"id": "n-1", "text": "all is well: glad"}
PLACES: dict[str, Any] = {"source": "text", "input": "text"}


class QuotingStage(NoteStage):
    """Says where the mood is, and a passage around it."""

    def evidence(self, event: Note, answer: NoteAnswer) -> Iterator[Evidence]:
        text = Places(event.text, "text")
        yield from text.evidence("/mood", text.of_copy(answer.mood))
        yield from text.evidence("/mood", text.of_copy("all is well"))


class EndlessStage(NoteStage):
    def evidence(self, event: Note, answer: NoteAnswer) -> Iterator[Evidence]:
        while True:
            yield Evidence(field="/mood", **PLACES)


class FailingStage(NoteStage):
    def evidence(self, event: Note, answer: NoteAnswer) -> Iterator[Evidence]:
        raise KeyError(event.text)


ON: Mapping[Tier, StagePolicy] = {
    Tier.HAIKU: StagePolicy(Thresholds(), evidence=True),
    Tier.SONNET: StagePolicy(SonnetThresholds(), evidence=True),
}


async def handled(
    stage: NoteStage,
    answer: NoteAnswer = SURE,
    *,
    tier: Tier = Tier.HAIKU,
    value: object = NOTE,
    policy: Mapping[Tier, StagePolicy] = ON,
    reading: Reading | None = None,
) -> Outcome:
    table = Policy({("notes", each): own for each, own in policy.items()})
    reader = RawEvents(stage) if tier is Tier.HAIKU else Escalations({"notes": stage})
    cascade = CascadePolicy(ScriptedAsker(answer), table, tier, reading or Reading())
    topics = TopicNames(TopicSettings())
    processor = Processor(reader, cascade, topics, clock=lambda: NOON, observer=Observer())
    return await processor(received(value))


async def test_a_result_says_where_its_values_were_read() -> None:
    value = published(await handled(QuotingStage()))
    assert value["evidence"] == [
        {"field": "/mood", **PLACES, "start": 13, "end": 17, "quote": "glad"},
        {"field": "/mood", **PLACES, "start": 0, "end": 11, "quote": "all is well"},
    ]


@pytest.mark.parametrize("stage", [NoteStage(), FailingStage()])
async def test_a_stage_that_finds_nothing_or_fails_at_it_costs_no_event(stage: NoteStage) -> None:
    outcome = await handled(stage)
    assert outcome.end is Disposition.ENRICHED
    assert "evidence" not in published(outcome)


async def test_there_is_never_more_of_it_than_a_record_may_have() -> None:
    value = published(await handled(EndlessStage()))
    assert len(value["evidence"]) == MOST_EVIDENCE


async def test_it_can_be_off_for_results_and_review_items_have_it_all_the_same() -> None:
    off = {tier: StagePolicy(own.thresholds) for tier, own in ON.items()}
    assert "evidence" not in published(await handled(QuotingStage(), policy=off))
    escalation = published(await handled(QuotingStage(), UNSURE, policy=off))
    assert "evidence" not in escalation
    outcome = await handled(QuotingStage(), UNSURE, tier=Tier.SONNET, value=escalation, policy=off)
    assert outcome.end is Disposition.REVIEW
    review = Review.model_validate_json(orjson.dumps(published(outcome)))
    assert [each.quote for each in review.evidence] == ["glad", "all is well"]


async def test_where_personal_data_are_masked_a_passage_is_not_quoted_but_a_value_is() -> None:
    settings = Settings(privacy=PrivacySettings.model_validate({"mask": ["email"]}))
    reading = Reading(masking=settings.privacy.masking())
    value = published(await handled(QuotingStage(), reading=reading))
    assert [each.get("quote") for each in value["evidence"]] == ["glad", None]
    assert value["evidence"][1]["end"] == 11
