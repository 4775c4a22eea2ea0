"""Results in a registry's formats, read by confluent-kafka's own deserializers; flat ones; keys."""

# ruff: noqa: ANN401 - what libraries take and give

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import json_format
from pydantic import ValidationError

from pipeline.cascade.publishing import publication
from pipeline.config import ExtraField, TicketSettings, TopicSettings
from pipeline.config.inputs import OutputSettings, RegistrySettings
from pipeline.inputs.outputs import Registration, ResultOutput, open_outputs, register, targets
from pipeline.inputs.protobuf import ProtobufReader
from pipeline.inputs.registry import Schema
from pipeline.inputs.result_types import columns, envelope_type
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import InvalidEvent, PipelineError
from pipeline.model.records import Enriched
from pipeline.stages.tickets import TicketResult, Tickets
from pipeline.stream.records import Disposition, Outcome, Received
from tests.inputs.registry_server import RegistryServer
from tests.inputs.test_framing import Registry

NOW = datetime(2026, 11, 30, 18, 5, 4, 123_000, tzinfo=UTC)
FIELDS = [
    ExtraField(name="order", type="text", description="The number of the order."),
    ExtraField(name="count", type="integer", description="How many pieces."),
    ExtraField(name="parts", type="list", description="Which parts."),
]
PROVENANCE = {"provider": "anthropic", "prompt": "abc", "settings": "def"}
RESULT = {
    "intent": "billing", "priority": "normal", "language": "en", "summary": "Charged twice.",
    "queue": "money", "runner_up": None,
    "fields": {"order": "A-1", "count": None, "parts": ["lid", "box"]},
}  # fmt: skip


def enriched(**changes: Any) -> Enriched[TicketResult]:
    given = {
        "schema": "tickets.enriched/1",
        "event_id": "e-1",
        "stage": "tickets",
        "result": RESULT,
        "decided_by": "sonnet",
        "confidence": 0.93,
        "escalation": {
            "doubts": [{"code": "low_confidence", "detail": "0.4"}],
            "haiku_result": None,
            "haiku_provenance": PROVENANCE,
        },
        "model": "claude-sonnet",
        "usage": {"calls": 2, "input_tokens": 1_000, "cost_usd": "0.0120"},
        "source": {
            "topic": "crm", "partition": 3, "offset": 2**53, "timestamp": NOW,
            "extra": {"tags": ["vip", None], "n": 1},
        },
        "timing": {"received_at": NOW, "enriched_at": NOW, "model_seconds": 1.5},
        "provenance": PROVENANCE,
    }  # fmt: skip
    return Enriched[TicketResult].model_validate(given | changes)


RECEIVED = Received("crm", 3, 41, b"customer-7", b"raw", (("traceparent", b"00-1"),), NOW, NOW)
NAMES = TopicNames(TopicSettings())


def tickets(**output: Any) -> TicketSettings:
    return TicketSettings(fields=FIELDS, output=OutputSettings(**output))


def plain(settings: TicketSettings) -> ResultOutput:
    """The output of formats that need no registry."""
    wanted = targets(Tickets(settings), settings, "tickets.enriched")
    return ResultOutput(settings, wanted, [b""] * len(wanted))


def publish(settings: TicketSettings, **changes: Any) -> Outcome:
    record = enriched(**changes)
    return publication(RECEIVED, record, NAMES, {"tickets": plain(settings)})


@pytest.fixture
async def server() -> AsyncIterator[RegistryServer]:
    async with RegistryServer().serving() as serving:
        yield serving


async def registered(server: Registry, settings: TicketSettings) -> list[Registration]:
    wanted = targets(Tickets(settings), settings, "tickets.enriched")
    return await register(wanted, RegistrySettings(url=server.url), dry_run=False)


async def published(server: Registry, settings: TicketSettings) -> Outcome:
    stages = {"tickets": Tickets(settings)}
    registry = RegistrySettings(url=server.url)
    outputs = await open_outputs(stages, {"tickets": settings}, NAMES.enriched, registry)
    return publication(RECEIVED, enriched(), NAMES, outputs)


def schema_of(settings: TicketSettings) -> str:
    [target] = targets(Tickets(settings), settings, "tickets.enriched")
    assert target.schema is not None
    return target.schema.text


async def as_others_read(server: Registry, settings: TicketSettings, value: bytes) -> Any:
    kind = settings.output.format

    def read() -> Any:
        context = SerializationContext("tickets.enriched", MessageField.VALUE)
        with SchemaRegistryClient({"url": server.url}) as client:
            if kind == "avro":
                return AvroDeserializer(client)(value, context)
            if kind == "json_schema":
                # It validates against the schema, too.
                return JSONDeserializer(None, schema_registry_client=client)(value, context)
            message = ProtobufReader(Schema("PROTOBUF", schema_of(settings))).message((0,))
            conf = {"use.deprecated.format": False}
            found = ProtobufDeserializer(message, conf, client)(value, context)
            return json_format.MessageToDict(found, preserving_proto_field_name=True)

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("kind", ["avro", "json_schema", "protobuf"])
async def test_results_are_read_by_confluents_deserializers(
    server: RegistryServer, kind: str
) -> None:
    settings = tickets(format=kind)
    [plan] = await registered(server, settings)
    assert (plan.subject, plan.change, plan.id) == ("tickets.enriched-value", "first version", 1)
    outcome = await published(server, settings)
    assert outcome.end is Disposition.ENRICHED
    [record] = outcome.records
    assert (record.topic, record.key) == ("tickets.enriched", b"customer-7")
    assert dict(record.headers)["content-type"] != b"text/plain"
    assert record.value is not None
    found = await as_others_read(server, settings, record.value)
    assert found["event_id"] == "e-1"
    assert found["usage"]["cost_usd"] == "0.0120"
    assert found["escalation"]["doubts"] == [{"code": "low_confidence", "detail": "0.4"}]
    assert found["result"]["fields"].get("order") == "A-1"
    assert found["result"]["fields"].get("count") is None
    assert found["result"]["fields"]["parts"] == ["lid", "box"]
    extra, moment, offset = found["source"]["extra"], NOW, 2**53
    if kind == "avro":
        assert extra == {"tags": '["vip",null]', "n": "1"}
        assert found["timing"]["enriched_at"] == moment
        assert found["source"]["offset"] == offset
    elif kind == "protobuf":
        assert extra == {"tags": '["vip",null]', "n": "1"}
        assert found["timing"]["enriched_at"] == "2026-11-30T18:05:04.123Z"
        assert found["source"]["offset"] == str(offset)
    else:
        assert extra == {"tags": ["vip", None], "n": 1}
        assert found["timing"]["enriched_at"] == "2026-11-30T18:05:04.123Z"


@pytest.mark.parametrize("kind", ["avro", "json_schema", "protobuf"])
async def test_a_flat_record_beside_the_envelope_is_in_the_same_outcome(
    server: RegistryServer, kind: str
) -> None:
    settings = tickets(format=kind, flat_topic="tickets.flat")
    plans = await registered(server, settings)
    assert [each.subject for each in plans] == ["tickets.enriched-value", "tickets.flat-value"]
    envelope, flat = (await published(server, settings)).records
    assert (envelope.topic, flat.topic) == ("tickets.enriched", "tickets.flat")
    assert dict(flat.headers)["ce_type"] == b"haiku-pipeline.tickets.flat"
    assert flat.value is not None
    assert flat.value[:5] == b"\x00\x00\x00\x00\x02"


def test_flat_records_have_the_documented_columns() -> None:
    [record] = publish(tickets(shape="flat")).records
    assert record.value is not None
    assert list(orjson.loads(record.value).items()) == [
        ("event_id", "e-1"),
        ("intent", "billing"),
        ("priority", "normal"),
        ("language", "en"),
        ("summary", "Charged twice."),
        ("queue", "money"),
        ("runner_up", None),
        ("fields_order", "A-1"),
        ("fields_count", None),
        ("fields_parts", '["lid","box"]'),
        ("decided_by", "sonnet"),
        ("confidence", 0.93),
        ("cost_usd", "0.0120"),
        ("event_timestamp", "2026-11-30T18:05:04.123Z"),
        ("received_at", "2026-11-30T18:05:04.123Z"),
        ("enriched_at", "2026-11-30T18:05:04.123Z"),
    ]


def test_a_column_that_is_called_like_another_says_that_it_is_the_results() -> None:
    settings = TicketSettings(fields=[])

    class Own(TicketResult):
        confidence: str

    names = [each.field.name for each in columns(envelope_type(Own, settings))]
    assert names.count("confidence") == 1
    assert "result_confidence" in names


def test_without_settings_a_result_is_published_as_it_always_was() -> None:
    before = publication(RECEIVED, enriched(), NAMES)
    [record] = before.records
    assert OutputSettings().is_plain
    assert record.value is not None
    assert orjson.loads(record.value)["result"] == RESULT
    assert dict(record.headers)["content-type"] == b"application/json"


def test_key_and_headers_are_what_is_found_in_the_result() -> None:
    output = {
        "key": "result.intent",
        "headers": {"team": "'support'", "cost": "usage.cost_usd", "calls": "usage.calls",
                    "none": "result.runner_up"},
    }  # fmt: skip
    [record] = publish(tickets(**output)).records
    assert record.key == b"billing"
    assert record.headers[-3:] == (("team", b"support"), ("cost", b"0.0120"), ("calls", b"2"))
    assert ("traceparent", b"00-1") in record.headers
    [same] = publish(tickets(key="event_id")).records
    assert same.key == b"e-1"


@pytest.mark.parametrize("key", ["result.runner_up", "usage", "nothing", "length(usage.calls)"])
def test_a_key_that_is_not_there_is_a_dead_letter_and_not_another_key(key: str) -> None:
    with pytest.raises(InvalidEvent, match=r"output\.key") as error:
        publish(tickets(key=key))
    assert error.value.reason == "stage_failed"


def test_a_key_that_is_no_expression_is_refused_before_anything_runs() -> None:
    for wrong, said in (
        ({"key": "result."}, "key: `result.` is not JMESPath"),
        ({"headers": {"team": "["}}, r"headers.team: `\[` is not JMESPath"),
        ({"shape": "flat", "flat_topic": "x"}, "flat_topic"),
        ({"headers": {"ce_id": "event_id"}}, "ce_id"),
    ):
        with pytest.raises(ValidationError, match=said):
            OutputSettings.model_validate(wrong)


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
async def test_a_result_that_is_not_of_its_schema_is_a_dead_letter(
    server: RegistryServer, kind: str
) -> None:
    settings = tickets(format=kind)
    [target] = targets(Tickets(settings), settings, "tickets.enriched")
    output = ResultOutput(settings, [target], [b"\x00"])
    value = enriched().model_dump(mode="json", by_alias=True)
    value["usage"]["calls"] = "two"
    with pytest.raises(InvalidEvent, match=r"not of the schema of tickets\.enriched-value"):
        output.records(b"k", orjson.dumps(value))


@pytest.mark.parametrize("kind", ["avro", "json_schema", "protobuf"])
async def test_an_earlier_answer_may_lack_fields_that_were_set_since(
    server: RegistryServer, kind: str
) -> None:
    settings = tickets(format=kind)
    await registered(server, settings)
    stages, registry = {"tickets": Tickets(settings)}, RegistrySettings(url=server.url)
    outputs = await open_outputs(stages, {"tickets": settings}, NAMES.enriched, registry)
    before = {**RESULT, "fields": {"order": "A-1"}}
    escalation = {"doubts": [], "haiku_result": before, "haiku_provenance": PROVENANCE}
    [record] = publication(RECEIVED, enriched(escalation=escalation), NAMES, outputs).records
    assert record.value is not None
    found = await as_others_read(server, settings, record.value)
    assert not found["escalation"]["haiku_result"]["fields"].get("parts")


@pytest.mark.parametrize("kind", ["avro", "json_schema", "protobuf"])
async def test_a_pipeline_does_not_start_before_its_schemas_are_registered(
    server: RegistryServer, kind: str
) -> None:
    settings = tickets(format=kind)
    with pytest.raises(PipelineError, match=r"is not in the .* run `pipeline schemas register`"):
        await published(server, settings)
    await registered(server, settings)
    await published(server, settings)
    changed = settings.model_copy(update={"fields": FIELDS[:1]})
    with pytest.raises(PipelineError, match="has other schemas only"):
        await published(server, changed)
    assert not any("POST" in each and "versions" in each for each in server.asked[-2:])


async def test_a_further_field_is_a_compatible_version_and_a_changed_one_is_not(
    server: RegistryServer,
) -> None:
    settings = tickets(format="avro")
    fewer = settings.model_copy(update={"fields": FIELDS[:1]})
    assert [each.change for each in await registered(server, fewer)] == ["first version"]
    assert [each.change for each in await registered(server, settings)] == ["next version"]
    assert [each.change for each in await registered(server, fewer)] == ["none"]
    none = settings.model_copy(update={"fields": []})
    assert [each.change for each in await registered(server, none)] == ["next version"]
    other = ExtraField(name="order", type="integer", description="Now a number.")
    changed = settings.model_copy(update={"fields": [other]})
    server.add("tickets.enriched-value", server.schemas[1]["schema"])
    server.subjects["tickets.enriched-value"].append(2)
    [refused] = await registered(server, changed)
    assert refused.change == "incompatible"
    assert "not registered" in refused.sentence(dry_run=False)
    assert len(server.schemas) == 3


async def test_a_dry_run_registers_nothing(server: RegistryServer) -> None:
    settings = tickets(format="avro", flat_topic="tickets.flat", subject="topic_record")
    wanted = targets(Tickets(settings), settings, "tickets.enriched")
    plans = await register(wanted, RegistrySettings(url=server.url), dry_run=True)
    would = "(avro): would be registered, as its first version."
    assert [each.sentence(dry_run=True) for each in plans] == [
        f"tickets.enriched-haiku_pipeline.tickets.Enriched {would}",
        f"tickets.flat-haiku_pipeline.tickets.Row {would}",
    ]
    assert server.subjects == {}


def test_the_same_settings_give_the_same_schema_to_the_letter() -> None:
    for kind in ("avro", "json_schema", "protobuf"):
        settings = tickets(format=kind)
        [one] = targets(Tickets(settings), settings, "t")
        [other] = targets(Tickets(settings), settings, "t")
        assert one.schema is not None
        assert other.schema is not None
        assert one.schema.text == other.schema.text
        assert one.schema.kind == "PROTOBUF" or json.loads(one.schema.text)


def test_a_fields_number_in_protobuf_is_its_names_whatever_else_there_is() -> None:
    def numbers(settings: TicketSettings) -> dict[str, str]:
        [target] = targets(Tickets(settings), settings, "t")
        assert target.schema is not None
        lines = [line.strip(" ;") for line in target.schema.text.splitlines() if " = " in line]
        return {line.rsplit(" = ")[0].split()[-1]: line.rsplit(" = ")[1] for line in lines}

    before = numbers(tickets(format="protobuf").model_copy(update={"fields": FIELDS[:1]}))
    after = numbers(tickets(format="protobuf"))
    assert after.items() >= before.items()
    assert {"count", "parts"} == after.keys() - before.keys()


def test_an_escalation_is_not_of_the_output_settings() -> None:
    other = replace(RECEIVED, key=None)
    record = enriched()
    outcome = publication(other, record, NAMES, {"invoices": plain(tickets(key="event_id"))})
    assert outcome.records[0].key is None
