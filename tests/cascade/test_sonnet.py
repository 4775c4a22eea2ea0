"""The second tier: what Haiku left open is settled, or put before a person."""

import orjson
import pytest

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, StagePolicy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import Escalations, RawEvents
from pipeline.config import Thresholds, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import Refused
from pipeline.model.observer import AuditVerdict, Observer
from pipeline.model.records import Tier
from pipeline.stream.records import Disposition, Received
from tests.cascade.stand_ins import (
    NOON,
    SPENT,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="sad", confidence=0.95, unclear=False)
UNCLEAR = NoteAnswer(mood="glad", confidence=0.9, unclear=True)
NOTE = {"id": "n-1", "text": "all is well", "room": "blue"}


def processor(asker: ScriptedAsker, observer: Observer | None = None) -> Processor:
    return Processor(
        Escalations({"notes": NoteStage()}),
        CascadePolicy(asker, Policy({}), Tier.SONNET),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=observer or Observer(),
    )


async def escalated(
    answer: NoteAnswer = UNCLEAR,
    policy: Policy = Policy({}),  # noqa: B008 - it is immutable
) -> Received:
    """The record that the first tier publishes for an unclear answer."""
    first = Processor(
        RawEvents(NoteStage()),
        CascadePolicy(ScriptedAsker(answer), policy, Tier.HAIKU),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=Observer(),
    )
    (out,) = (await first(received(NOTE))).records
    assert out.value is not None
    return received(out.value, topic=out.topic, headers=out.headers)


async def test_a_settled_escalation_is_enriched_and_keeps_both_answers_and_both_costs() -> None:
    outcome = await processor(ScriptedAsker(SURE))(await escalated())

    assert outcome.end is Disposition.ENRICHED
    (out,) = outcome.records
    assert (out.topic, out.key) == ("notes.enriched", b"customer-7")
    value = published(outcome)
    assert value["decided_by"] == "sonnet"
    assert value["result"] == {"mood": "sad"}
    assert value["escalation"]["haiku_result"] == {"mood": "glad"}
    assert [doubt["code"] for doubt in value["escalation"]["doubts"]] == ["unclear"]
    assert value["usage"]["calls"] == 2
    assert value["usage"]["cost_usd"] == "0.002"
    assert value["source"]["topic"] == "notes.raw"
    assert value["source"]["extra"] == {"room": "blue"}
    assert value["timing"]["model_seconds"] == 1.0


async def test_what_sonnet_cannot_settle_goes_to_review_with_the_doubts_of_both() -> None:
    outcome = await processor(ScriptedAsker(UNCLEAR))(await escalated())

    assert outcome.end is Disposition.REVIEW
    (out,) = outcome.records
    assert out.topic == "review"
    value = published(outcome)
    assert [doubt["code"] for doubt in value["doubts"]] == ["unclear", "unclear"]
    assert value["event"] == NOTE
    assert value["sonnet_result"] == {"mood": "glad"}


async def test_what_sonnet_refuses_goes_to_review_without_its_result() -> None:
    refusal = Refused("declined", usage=SPENT, model="model-sonnet", seconds=0.5)

    outcome = await processor(ScriptedAsker(refusal))(await escalated())

    assert outcome.end is Disposition.REVIEW
    assert published(outcome)["sonnet_result"] is None


async def test_a_record_that_is_no_escalation_is_a_dead_letter() -> None:
    outcome = await processor(ScriptedAsker())(received({"hello": 1}, topic="escalations"))

    assert outcome.end is Disposition.DEAD_LETTER
    headers = dict(outcome.records[0].headers)
    assert headers["dlq-stage"] == b"escalations"
    assert headers["dlq-topic"] == b"escalations"


async def test_an_escalation_of_a_stage_that_is_not_served_says_so() -> None:
    value = orjson.loads((await escalated()).value or b"") | {"stage": "poems"}

    outcome = await processor(ScriptedAsker())(received(value, topic="escalations"))

    assert b"poems" in (dict(outcome.records[0].headers)["dlq-detail"] or b"")


AUDIT_ALL = Policy({("notes", Tier.HAIKU): StagePolicy(Thresholds(), audit_share=1)})


class Verdicts(Observer):
    """Keeps what is reported of audits."""

    def __init__(self) -> None:
        self.verdicts_given: list[tuple[str, AuditVerdict]] = []

    def audited(self, stage: str, verdict: AuditVerdict) -> None:
        self.verdicts_given.append((stage, verdict))


@pytest.mark.parametrize(
    ("mood", "unclear", "verdict"),
    [("glad", False, "agreed"), ("sad", False, "differed"), ("glad", True, "unsettled")],
)
async def test_an_answer_that_was_sent_on_for_chance_alone_is_compared_with_sonnets(
    mood: str, unclear: bool, verdict: AuditVerdict
) -> None:
    trusted = NoteAnswer(mood="glad", confidence=0.99, unclear=False)
    record = await escalated(trusted, AUDIT_ALL)
    assert [doubt["code"] for doubt in orjson.loads(record.value or b"")["doubts"]] == ["audit"]
    verdicts = Verdicts()
    second = NoteAnswer(mood=mood, confidence=0.99, unclear=unclear)

    await processor(ScriptedAsker(second), verdicts)(record)

    assert verdicts.verdicts_given == [("notes", verdict)]


async def test_an_audited_answer_that_was_doubted_as_well_says_nothing_of_trusted_ones() -> None:
    record = await escalated(UNCLEAR, AUDIT_ALL)
    assert [doubt["code"] for doubt in orjson.loads(record.value or b"")["doubts"]] == [
        "unclear",
        "audit",
    ]
    verdicts = Verdicts()

    await processor(ScriptedAsker(SURE), verdicts)(record)

    assert verdicts.verdicts_given == []
