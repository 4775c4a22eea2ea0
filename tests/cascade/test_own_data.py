"""An event that says itself what would be asked: read by the first tier, and nobody is asked."""

from dataclasses import dataclass
from typing import Any, cast

import orjson
import pytest

from pipeline.backfill.outcomes import BatchStage
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, StagePolicy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations, RawEvents
from pipeline.claude.message_batches import BatchLane
from pipeline.config import Thresholds, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import AuditVerdict, Observer
from pipeline.model.questions import KnownResult, Query, Signal
from pipeline.model.records import Decider, Tier
from pipeline.schemas.contract import enriched_schema
from pipeline.stages.api import Structured
from pipeline.stream.records import Disposition, Outcome, Received
from tests.cascade.stand_ins import (
    NOON,
    Note,
    NoteAnswer,
    NoteResult,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
AUDITED = Policy({("notes", Tier.HAIKU): StagePolicy(Thresholds(), audit_share=1.0)})
CONTRADICTS = Signal("document_contradicts", 1.0, "It says both.")
NAMES = TopicNames(TopicSettings())


class StructuredStage(NoteStage):
    """Notes such as `mood: sad` say it themselves, `mood: sad?` in two ways."""

    def read_or_ask(self, event: Note) -> KnownResult[NoteAnswer] | Query[NoteAnswer]:
        name, _, mood = event.text.partition(": ")
        if name != "mood":
            return self.question(event)
        signals = (CONTRADICTS,) if mood.endswith("?") else ()
        return KnownResult(NoteResult(mood=mood), signals, lambda: self.question(event))


@dataclass
class Watching(Observer):
    decider: Decider | None = None
    model: str = ""
    verdict: AuditVerdict | None = None

    def decided(
        self,
        stage: str,
        tier: Decider,
        end: str,
        *,
        model: str,
        record: Any = None,  # noqa: ANN401
    ) -> None:
        self.decider, self.model = tier, model

    def audited(self, stage: str, verdict: AuditVerdict) -> None:
        self.verdict = verdict


async def handled(
    text: str, asker: ScriptedAsker, *, policy: Policy | None = None, seen: Observer | None = None
) -> Outcome:
    first = Processor(
        RawEvents(StructuredStage()),
        CascadePolicy(asker, policy or Policy({}), Tier.HAIKU),
        NAMES,
        clock=lambda: NOON,
        observer=seen or Observer(),
    )
    return await first(received({"id": "n-1", "text": text, "room": "blue"}))


async def settled(escalated: Outcome, asker: ScriptedAsker, seen: Observer) -> dict[str, Any]:
    """What the second tier publishes for what the first one escalated."""
    (record,) = escalated.records
    second = Processor(
        Escalations({"notes": StructuredStage()}),
        CascadePolicy(asker, Policy({}), Tier.SONNET),
        NAMES,
        clock=lambda: NOON,
        observer=seen,
    )
    again: Received = received(record.value or b"", topic=record.topic)
    return published(await second(again))


async def test_what_an_event_says_itself_is_published_and_nobody_is_asked() -> None:
    asker, seen = ScriptedAsker(), Watching()
    outcome = await handled("mood: sad", asker, seen=seen)

    assert outcome.end is Disposition.ENRICHED
    assert asker.asked == []
    value = published(outcome)
    assert value["schema"] == "notes.enriched/2"
    assert value["result"] == {"mood": "sad"}
    assert value["decided_by"] == "document"
    assert value["confidence"] is None
    assert value["model"] == "none"
    assert (value["usage"]["calls"], value["usage"]["cost_usd"]) == (0, "0")
    assert value["timing"]["model_seconds"] == 0
    assert (value["provenance"]["provider"], value["provenance"]["prompt"]) == ("", "")
    assert value["source"]["extra"] == {"room": "blue"}
    assert (seen.decider, seen.model) == ("document", "none")


async def test_an_event_that_says_nothing_itself_is_asked_about() -> None:
    seen = Watching()
    value = published(await handled("all is well", ScriptedAsker(SURE), seen=seen))
    assert (value["schema"], value["decided_by"]) == ("notes.enriched/2", "haiku")
    assert seen.decider is Tier.HAIKU


async def test_an_event_that_contradicts_itself_is_asked_about_and_the_answer_doubted() -> None:
    asker = ScriptedAsker(SURE)
    outcome = await handled("mood: sad?", asker)

    assert outcome.end is Disposition.ESCALATED
    assert [tier for tier, _ in asker.asked] == [Tier.HAIKU]
    value = published(outcome)
    assert value["haiku_result"] == {"mood": "glad"}
    assert [doubt["code"] for doubt in value["doubts"]] == ["document_contradicts"]
    final = await settled(outcome, ScriptedAsker(SURE), Observer())
    assert final["decided_by"] == "sonnet"


async def test_a_contradiction_below_its_threshold_does_not_matter() -> None:
    policy = Policy({("notes", Tier.HAIKU): StagePolicy(Thresholds(document_contradicts=2))})
    outcome = await handled("mood: sad?", ScriptedAsker(), policy=policy)
    assert published(outcome)["decided_by"] == "document"


@pytest.mark.parametrize(("mood", "verdict"), [("sad", "agreed"), ("glad", "differed")])
async def test_the_random_sample_holds_what_was_read_against_what_sonnet_says(
    mood: str, verdict: str
) -> None:
    asker, seen = ScriptedAsker(), Watching()
    outcome = await handled("mood: sad", asker, policy=AUDITED, seen=seen)

    assert outcome.end is Disposition.ESCALATED
    assert asker.asked == []
    assert seen.decider == "document"
    value = published(outcome)
    assert (value["haiku_result"], value["haiku_model"]) == ({"mood": "sad"}, "none")
    answer = NoteAnswer(mood=mood, confidence=0.95, unclear=False)
    final = await settled(outcome, ScriptedAsker(answer), seen)
    assert final["decided_by"] == "sonnet"
    assert final["usage"]["calls"] == 1
    assert seen.verdict == verdict


async def test_a_fault_over_own_data_costs_that_event_alone() -> None:
    class Faulty(StructuredStage):
        def read_or_ask(self, event: Note) -> KnownResult[NoteAnswer] | Query[NoteAnswer]:
            raise ZeroDivisionError

    processor = Processor(
        RawEvents(Faulty()),
        CascadePolicy(ScriptedAsker(), Policy({}), Tier.HAIKU),
        NAMES,
        clock=lambda: NOON,
        observer=Observer(),
    )
    outcome = await processor(received({"id": "n-1", "text": "mood: sad"}))
    assert outcome.end is Disposition.DEAD_LETTER
    assert ("dlq-reason", b"stage_failed") in outcome.records[0].headers


@pytest.mark.parametrize("text", ["mood: sad", "mood: sad?"])
async def test_a_batch_has_no_request_about_what_is_read(text: str) -> None:
    lane = _CountingLane()
    stage = BatchStage(
        StructuredStage(),
        cast("BatchLane", lane),
        ScriptedAsker(),
        Policy({}),
        NAMES,
        clock=lambda: NOON,
        observer=Observer(),
    )
    record = received(orjson.dumps({"id": "n-1", "text": text}))
    requests = await stage.requests(record, "prefix")
    assert len(requests) == lane.made == int(text.endswith("?"))


class _CountingLane:
    made = 0

    def digest(self, question: object) -> str:
        return "d" * 16

    def request(self, question: object, tier: Tier, name: str) -> str:
        self.made += 1
        return name


def test_only_a_stage_that_reads_own_data_has_the_new_version_of_its_schema() -> None:
    plain, structured = enriched_schema(NoteStage()), enriched_schema(StructuredStage())
    assert isinstance(StructuredStage(), Structured)
    assert not isinstance(NoteStage(), Structured)
    assert plain["properties"]["schema"]["const"] == "notes.enriched/1"
    assert plain["properties"]["decided_by"]["enum"] == ["haiku", "sonnet", "human"]
    assert structured["properties"]["schema"]["const"] == "notes.enriched/2"
    assert "document" in structured["properties"]["decided_by"]["enum"]
