"""What a person may decide, and the record that it makes."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from pipeline.config import Label, Settings, StagesSettings, TicketSettings, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.records import Tier
from pipeline.operators.review import Verdict, enriched, parse_changes, parse_result, result_of
from pipeline.schemas.contract import record_schemas
from pipeline.stages.api import build_stages
from tests.operators.review.items import NOON, RESULT, case

SETTINGS = Settings()
STAGES = build_stages(SETTINGS.stages)
TICKETS = STAGES["tickets"]
PROVENANCE = {"provider": "anthropic", "prompt": "9a", "settings": "1c"}
HAIKU_PROVENANCE = {**PROVENANCE, "prompt": "7f"}


def decided(verdict: Verdict, **changes: object) -> dict[str, Any]:
    result = result_of(verdict, case(**changes), TICKETS, SETTINGS)
    return result.model_dump(mode="json")


def test_an_answer_can_be_accepted() -> None:
    assert decided(Verdict(Tier.HAIKU)) == RESULT
    assert decided(Verdict(Tier.SONNET))["intent"] == "sales"


def test_fields_of_an_accepted_answer_can_be_corrected() -> None:
    changes = parse_changes(["intent=technical_support", "queue=night=shift", "runner_up=null"])
    assert decided(Verdict(Tier.HAIKU, changes=changes)) == RESULT | {
        "intent": "technical_support",
        "queue": "night=shift",
    }


def test_a_result_can_be_given() -> None:
    given = RESULT | {"priority": "urgent"}
    assert decided(Verdict(parse_result(orjson.dumps(given).decode()))) == given


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict({}), "intent: Field required"),
        (Verdict(RESULT | {"priority": "soon"}), "priority: Input should be"),
        (Verdict(RESULT | {"colour": "red"}), "colour: Extra inputs"),
        (Verdict(RESULT | {"intent": "biling"}), "'biling' is not a label of tickets"),
    ],
)
def test_what_the_stage_would_not_publish_is_refused(verdict: Verdict, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        decided(verdict)
    assert said in str(refused.value)


def test_an_answer_that_was_not_given_cannot_be_accepted() -> None:
    with pytest.raises(UsageError, match="Sonnet gave no usable answer"):
        decided(Verdict(Tier.SONNET), sonnet_result=None)


def test_the_labels_are_the_team_s_own() -> None:
    own = TicketSettings(intents=[Label(name="returns"), Label(name="delivery")])
    settings = SETTINGS.model_copy(update={"stages": StagesSettings(tickets=own)})
    stage = build_stages(settings.stages)["tickets"]
    result_of(Verdict(RESULT | {"intent": "returns"}), case(), stage, settings)
    with pytest.raises(UsageError, match="there are returns, delivery"):
        result_of(Verdict(Tier.HAIKU), case(), stage, settings)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"sales"'])
def test_what_is_no_json_object_is_no_result(text: str) -> None:
    with pytest.raises(UsageError, match="result"):
        parse_result(text)


@pytest.mark.parametrize("text", ["intent", "=sales", ""])
def test_what_is_no_change_is_wrong_use(text: str) -> None:
    with pytest.raises(UsageError, match="FIELD=VALUE"):
        parse_changes([text])


def published(**changes: object) -> dict[str, Any]:
    made = case(**changes)
    result = result_of(Verdict(RESULT), made, TICKETS, SETTINGS)
    later = NOON + timedelta(hours=2)
    [record] = enriched(made, TICKETS, result, TopicNames(TopicSettings()), later)
    assert record.topic == "tickets.enriched"
    assert record.key == b"customer"
    headers = dict(record.headers)
    assert headers["traceparent"] == b"00-abc"
    assert headers["ce_type"] == b"haiku-pipeline.tickets.enriched"
    value: dict[str, Any] = orjson.loads(record.value or b"")
    return value


def test_the_record_says_that_a_person_decided_and_carries_the_rest_on() -> None:
    value = published(provenance=PROVENANCE, haiku_provenance=HAIKU_PROVENANCE)
    review = case().review.model_dump(mode="json", by_alias=True)
    Draft202012Validator(record_schemas(tuple(STAGES.values()))["tickets.enriched"]).validate(value)
    assert value["decided_by"] == "human"
    assert value["confidence"] is None
    assert value["result"] == RESULT
    assert value["escalation"] == {
        "doubts": review["doubts"],
        "haiku_result": RESULT,
        "haiku_provenance": HAIKU_PROVENANCE,
    }
    assert value["provenance"] == PROVENANCE
    for name in ("event_id", "stage", "model", "usage"):
        assert value[name] == review[name]
    assert value["source"] == review["source"] | {"extra": {"shop": "north"}}
    assert value["timing"] == {
        "received_at": "2026-11-22T12:00:00.000Z",
        "enriched_at": "2026-11-22T14:00:00.000Z",
        "model_seconds": 1.5,
    }


def test_an_answer_that_the_stage_would_not_publish_any_more_is_left_out() -> None:
    assert published(haiku_result={"intent": "billing"})["escalation"]["haiku_result"] is None
    assert published(haiku_result=None)["escalation"]["haiku_result"] is None


def test_evidence_stays_of_what_a_person_left_as_sonnet_had_it() -> None:
    place = {"source": "text", "input": "body", "start": 0, "end": 7, "quote": "Charged"}
    fields = ["/intent", "/summary", "", "/"]
    value = published(evidence=[{"field": field, **place} for field in fields])
    assert value["evidence"] == [{"field": "/summary", **place}]
    assert "evidence" not in published()
