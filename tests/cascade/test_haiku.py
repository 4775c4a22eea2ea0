"""The first tier: every event comes to exactly one end, and says why."""

from dataclasses import replace

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import RawEvents
from pipeline.config import TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import AnswerError, Malformed, Refused, Rejected, TruncatedResponse
from pipeline.model.observer import Observer
from pipeline.model.records import Tier, Usage
from pipeline.stream.records import Disposition, Outgoing
from tests.cascade.stand_ins import (
    NOON,
    SPENT,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

SURE = NoteAnswer(mood="glad", confidence=0.95, unclear=False)
UNSURE = NoteAnswer(mood="glad", confidence=0.2, unclear=False)
UNFOUNDED = NoteAnswer(mood="glad", confidence=0.95, unclear=False, doubtful=True)
NOTE = {"id": "n-1", "text": "all is well", "room": "blue"}


def processor(asker: ScriptedAsker) -> Processor:
    return Processor(
        RawEvents(NoteStage()),
        CascadePolicy(asker, Policy({}), Tier.HAIKU),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=Observer(),
    )


def spent(kind: type[AnswerError]) -> AnswerError:
    return kind("no use", usage=SPENT, model="model-haiku", seconds=0.5)


async def test_a_trusted_answer_is_published_as_enriched_under_the_same_key() -> None:
    outcome = await processor(ScriptedAsker(SURE))(received(NOTE))

    assert outcome.end is Disposition.ENRICHED
    (out,) = outcome.records
    assert (out.topic, out.key) == ("notes.enriched", b"customer-7")
    value = published(outcome)
    assert value["schema"] == "notes.enriched/1"
    assert value["event_id"] == "n-1"
    assert value["result"] == {"mood": "glad"}
    assert value["decided_by"] == "haiku"
    assert value["confidence"] == 0.95
    assert value["escalation"] is None
    assert value["usage"]["cost_usd"] == "0.001"
    assert value["source"] == {
        "topic": "notes.raw",
        "partition": 3,
        "offset": 42,
        "timestamp": "2026-11-22T12:00:00.000Z",
        "extra": {"room": "blue"},
    }


async def test_headers_are_cloudevents_and_carry_the_trace_on() -> None:
    trace = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    outcome = await processor(ScriptedAsker(SURE))(
        received(NOTE, headers=(trace, ("secret", b"not passed on")))
    )

    headers = dict(outcome.records[0].headers)
    assert headers["ce_id"] == b"n-1"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["traceparent"] == trace[1]
    assert "secret" not in headers


async def test_a_doubted_answer_is_escalated_with_all_that_was_paid_for() -> None:
    outcome = await processor(ScriptedAsker(UNFOUNDED))(received(NOTE))

    assert outcome.end is Disposition.ESCALATED
    (out,) = outcome.records
    assert (out.topic, out.key) == ("escalations", b"customer-7")
    value = published(outcome)
    assert value["event"] == NOTE
    assert value["haiku_result"] == {"mood": "glad"}
    assert [doubt["code"] for doubt in value["doubts"]] == ["evidence_not_found"]
    assert value["usage"]["calls"] == 1


async def test_low_confidence_alone_is_a_doubt() -> None:
    outcome = await processor(ScriptedAsker(UNSURE))(received(NOTE))

    codes = [doubt["code"] for doubt in published(outcome)["doubts"]]
    assert codes == ["low_confidence"]


async def test_a_cut_off_answer_is_asked_once_more_with_a_larger_limit_and_both_are_priced() -> (
    None
):
    asker = ScriptedAsker(spent(TruncatedResponse), SURE)

    outcome = await processor(asker)(received(NOTE))

    assert outcome.end is Disposition.ENRICHED
    assert [limit for _, limit in asker.asked] == [100, 200]
    usage = Usage.model_validate(published(outcome)["usage"])
    assert usage == SPENT + SPENT


async def test_an_answer_that_stays_malformed_is_escalated_without_a_result() -> None:
    asker = ScriptedAsker(spent(Malformed), spent(Malformed))

    outcome = await processor(asker)(received(NOTE))

    assert outcome.end is Disposition.ESCALATED
    value = published(outcome)
    assert value["haiku_result"] is None
    assert [doubt["code"] for doubt in value["doubts"]] == ["malformed"]
    assert value["usage"]["calls"] == 2


async def test_a_refusal_is_escalated_at_once_because_asking_again_would_be_refused_again() -> None:
    asker = ScriptedAsker(spent(Refused))

    outcome = await processor(asker)(received(NOTE))

    assert outcome.end is Disposition.ESCALATED
    assert len(asker.asked) == 1


async def test_what_the_api_rejects_is_a_dead_letter() -> None:
    outcome = await processor(ScriptedAsker(spent(Rejected)))(received(NOTE))

    assert outcome.end is Disposition.DEAD_LETTER
    headers = dict(outcome.records[0].headers)
    assert headers["dlq-reason"] == b"rejected_by_api"
    assert headers["dlq-attempts"] == b"1"


async def test_an_invalid_event_is_a_dead_letter_with_its_bytes_and_headers_untouched() -> None:
    raw = received(b"\xff not json", headers=(("origin", b"crm"), ("dlq-reason", b"older")))

    outcome = await processor(ScriptedAsker())(raw)

    assert outcome.end is Disposition.DEAD_LETTER
    (out,) = outcome.records
    assert (out.topic, out.key, out.value) == ("dead-letters", b"customer-7", b"\xff not json")
    headers = dict(out.headers)
    assert headers["origin"] == b"crm"
    assert headers["dlq-reason"] == b"invalid_event"
    assert headers["dlq-detail"] == b"text: missing"
    assert (headers["dlq-topic"], headers["dlq-partition"]) == (b"notes.raw", b"3")
    assert headers["dlq-offset"] == b"42"
    assert [name for name, _ in out.headers].count("dlq-reason") == 1


async def test_a_tombstone_is_passed_on_under_its_key_where_that_is_set() -> None:
    raw = received(NOTE, headers=(("traceparent", b"00-1-2-01"), ("origin", b"crm")))
    asker = ScriptedAsker()
    handler = replace(processor(asker), tombstones_to=("notes.enriched",))

    outcome = await handler(replace(raw, value=None))

    assert outcome.end is Disposition.PASSED_OVER
    assert outcome.records == (
        Outgoing("notes.enriched", b"customer-7", None, (("traceparent", b"00-1-2-01"),)),
    )
    assert asker.asked == []


async def test_a_tombstone_is_a_dead_letter_that_stays_a_tombstone() -> None:
    raw = received(NOTE)
    outcome = await processor(ScriptedAsker())(
        type(raw)(
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset,
            key=raw.key,
            value=None,
            headers=(),
            timestamp=NOON,
            received_at=NOON,
        )
    )

    assert outcome.end is Disposition.DEAD_LETTER
    assert outcome.records[0].value is None


async def test_a_bug_in_a_stage_costs_the_event_it_met_and_does_not_quote_it() -> None:
    outcome = await processor(ScriptedAsker())(received({"id": "n-2", "text": "a bug"}))

    headers = dict(outcome.records[0].headers)
    assert headers["dlq-reason"] == b"stage_failed"
    detail = headers["dlq-detail"] or b""
    assert b"KeyError" in detail
    assert b"a bug" not in detail
