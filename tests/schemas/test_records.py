import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from pipeline.config import StagesSettings
from pipeline.model.records import (
    Audit,
    DeadLetterHeaders,
    Doubt,
    Enriched,
    Escalation,
    EscalationSummary,
    Handled,
    Review,
    Source,
    Timing,
    Usage,
)
from pipeline.schemas.contract import record_schemas, schema_name
from pipeline.stages.api import build_stages

STAGES = tuple(build_stages(StagesSettings()).values())
SCHEMAS = record_schemas(STAGES)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOURCE = Source(topic="tickets.raw", partition=3, offset=1841, timestamp=NOON, extra={"shop": [1]})
TIMING = Timing(received_at=NOON, enriched_at=NOON, model_seconds=0.61)
USAGE = Usage(calls=1, input_tokens=412, output_tokens=61, cost_usd=Decimal("0.000072"))
RESULT = {
    "intent": "billing",
    "priority": "high",
    "language": "en",
    "summary": "A refund is asked for.",
    "queue": "billing",
    "runner_up": None,
}
DOUBT = Doubt(code="low_confidence", detail="The model is not sure.")


def as_read(record: BaseModel) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(record.model_dump_json(by_alias=True))
    return read


def accepts(subject: str, record: object) -> bool:
    return bool(Draft202012Validator(SCHEMAS[subject]).is_valid(record))


def enriched(**changes: object) -> dict[str, Any]:
    stage = next(stage for stage in STAGES if stage.name == "tickets")
    fields = {
        "schema": "tickets.enriched/1",
        "event_id": "T-1",
        "stage": "tickets",
        "result": stage.result_model.model_validate(RESULT),
        "decided_by": "haiku",
        "confidence": 0.93,
        "escalation": None,
        "model": "claude-haiku-5-5",
        "usage": USAGE,
        "source": SOURCE,
        "timing": TIMING,
    }
    return as_read(Enriched[stage.result_model].model_validate(fields | changes))  # type: ignore[name-defined]


@pytest.mark.parametrize("subject", SCHEMAS)
def test_every_schema_is_valid_2020_12_and_names_its_subject_and_version(subject: str) -> None:
    schema = SCHEMAS[subject]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema_name(schema) == (subject, 2 if subject == "invoices.enriched" else 1)
    assert schema["description"]


def test_every_topic_has_one() -> None:
    of_stages = {f"{stage.name}.{kind}" for stage in STAGES for kind in ("raw", "enriched")}
    assert set(SCHEMAS) == of_stages | {
        *("escalations", "review", "dead-letters", "handled", "audit"),
        *("trust.answer", "trust.label", "trust.alarm", "trust.acknowledged"),
    }


def test_enriched_records_are_what_their_schema_says() -> None:
    escalation = EscalationSummary[Any](doubts=[DOUBT], haiku_result=RESULT)
    assert accepts("tickets.enriched", enriched())
    assert accepts("tickets.enriched", enriched(decided_by="sonnet", escalation=escalation))
    assert accepts("tickets.enriched", enriched(usage=Usage(cost_usd=None)))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "tickets.enriched/2"},
        {"stage": "invoices"},
        {"decided_by": "opus"},
        {"result": {**RESULT, "priority": "whenever"}},
        {"usage": {"calls": 1}},
    ],
)
def test_a_record_that_is_something_else_is_not_accepted(change: dict[str, Any]) -> None:
    assert not accepts("tickets.enriched", {**enriched(), **change})


@pytest.mark.parametrize("field", ["event_id", "result", "confidence", "usage", "source", "timing"])
def test_readers_can_rely_on_every_field(field: str) -> None:
    record = enriched()
    del record[field]
    assert not accepts("tickets.enriched", record)


def test_readers_must_accept_fields_that_are_new_to_them() -> None:
    record = enriched()
    record["region"] = "eu"
    record["result"]["sentiment"] = "angry"
    assert accepts("tickets.enriched", record)


def test_escalations_reviews_and_dead_letter_headers_are_what_their_schemas_say() -> None:
    shared: dict[str, Any] = {
        "event_id": "T-1",
        "stage": "tickets",
        "event": {"id": "T-1", "body": "Hello"},
        "doubts": [DOUBT],
        "haiku_result": None,
        "usage": USAGE,
        "source": SOURCE,
    }
    escalation = Escalation(**shared, haiku_model="m", received_at=NOON, model_seconds=0.5)
    review = Review(**shared, sonnet_result=RESULT, model="m", timing=TIMING)
    headers = DeadLetterHeaders.model_validate(
        {
            "dlq-reason": "invalid_json",
            "dlq-detail": "The value is not JSON.",
            "dlq-stage": "tickets",
            "dlq-topic": "tickets.raw",
            "dlq-partition": 0,
            "dlq-offset": 12,
            "dlq-timestamp": NOON,
            "dlq-attempts": 0,
            "dlq-version": "0.1.0",
        }
    )
    written = as_read(headers).items()
    on_the_wire = {name: str(value) for name, value in written if value is not None}
    assert accepts("escalations", as_read(escalation))
    assert accepts("review", as_read(review))
    assert accepts("dead-letters", on_the_wire)
    assert not accepts("dead-letters", {**on_the_wire, "dlq-offset": "twelve"})
    small = {"dlq-original": "not_carried", "dlq-original-value-bytes": "17825817"}
    assert accepts("dead-letters", on_the_wire | small)
    assert not accepts("dead-letters", on_the_wire | {"dlq-original-value-bytes": "many"})


def test_marks_of_what_was_handled_are_what_their_schema_says() -> None:
    mark = Handled(
        topic="dead-letters",
        partition=3,
        offset=12,
        timestamp=NOON,
        to="tickets.raw",
        at=NOON,
        times=1,
    )
    assert accepts("handled", as_read(mark))
    assert not accepts("handled", {**as_read(mark), "to": None})


def test_audit_records_are_what_their_schema_says() -> None:
    record = Audit(
        at=NOON,
        person="ada",
        command="dead-letters replay",
        run="0123456789abcdef",
        selected={"reason": ["too_large"]},
        did="replayed",
        topic="dead-letters",
        count=12,
        outcome="done",
    )
    assert accepts("audit", as_read(record))
    assert not accepts("audit", {**as_read(record), "selected": {"reason": "too_large"}})


def test_raw_events_may_carry_more_than_the_stage_knows() -> None:
    assert accepts("tickets.raw", {"id": "T-1", "body": "Hello", "shop": {"region": "eu"}})
    assert not accepts("tickets.raw", {"id": "T-1"})
    assert not accepts("tickets.raw", {"id": 1, "body": "Hello"})


def test_raw_files_are_base64_in_json_and_the_bare_file_is_mentioned() -> None:
    data = base64.b64encode(b"%PDF-1.7").decode()
    file = {"media_type": "application/pdf", "data": data}
    for subject in ("images.raw", "invoices.raw"):
        assert accepts(subject, {"id": "1", "file": file})
        assert "bare file" in str(SCHEMAS[subject]["description"])
    assert "bare file" not in str(SCHEMAS["tickets.raw"]["description"])
