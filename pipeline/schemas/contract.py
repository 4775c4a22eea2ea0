"""JSON Schema (2020-12) of the records of every topic, and one AsyncAPI 3.0 document of all topics.

What the pipeline writes is described as open: a reader must accept fields it does not know, so a
new field breaks no reader and needs no new version.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema, WithDefaultSchema

import pipeline
from pipeline.config import KafkaSettings, TopicSettings
from pipeline.config.topic_names import TopicNames
from pipeline.model.records import (
    DOCUMENT,
    ENRICHED_VERSION,
    Audit,
    DeadLetterHeaders,
    Enriched,
    Escalation,
    Handled,
    Review,
)
from pipeline.model.records import enriched_schema as declared_schema
from pipeline.stages.api import Stage, enriched_version
from pipeline.stages.files.media import MEDIA_TYPES
from pipeline.trust.live import Acknowledged, Alarm
from pipeline.trust.records import AnswerLabel, SampledAnswer

Schema = dict[str, Any]
AnyStage = Stage[Any, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

RAW_VERSION = 1
DEAD_LETTERS_VERSION = 1

BARE_FILE = (
    " The value may also be the bare file itself, with its type in the header `content-type` and "
    "the event's id in the header `event-id` or the record's key."
)
_RECORD_OF = re.compile(r"`[a-z][a-z0-9_]*\.(raw|enriched)`")
_FIRST = ("$schema", "$id", "title", "description", "type", "properties", "required")
_JSON = "application/json"
_OURS = "Written by the pipeline."
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"

_DESCRIPTION = (
    "Events that arrive on Kafka, enriched by Claude. Publishers write raw events, consumers read "
    "enriched records; the key of a raw record is the key of all that comes of it. Read with "
    "`isolation.level=read_committed`. Names are the defaults: a prefix and other names can be set."
)
_CLOUD_EVENTS: Schema = {
    "type": "object",
    "description": "CloudEvents 1.0 in binary mode, and the publisher's trace context.",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "The event's id."},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_type": {"type": "string"},
        "content-type": {"const": _JSON},
        "traceparent": {"type": "string", "description": "W3C trace context, if one was sent."},
        "tracestate": {"type": "string"},
    },
}


def _file_headers(stage: AnyStage) -> Schema:
    return {
        "type": "object",
        "required": ["content-type"],
        "properties": {
            "content-type": {"enum": sorted(getattr(stage, "media_types", MEDIA_TYPES))},
            "event-id": {
                "type": "string",
                "description": "The event's id; the key if it is absent.",
            },
            "traceparent": {"type": "string"},
        },
    }


class _Untitled(GenerateJsonSchema):
    """Without the titles of fields, which repeat their names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


class _Written(_Untitled):
    """What the pipeline writes: every field that is not left out at times, and open to others.

    `additionalProperties: false` would make each new field a broken reader, and a default says
    nothing to those who read.
    """

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ANN401, ARG002
        return "serialization_exclude_if" not in field

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        if described.get("additionalProperties") is False:
            del described["additionalProperties"]
        return described


def schema_name(schema: Schema) -> tuple[str, int]:
    """The subject and the version of a schema: `tickets.enriched` and 1."""
    _, subject, version = str(schema["$id"]).rsplit(":", 2)
    return subject, int(version)


def record_schemas(stages: Sequence[AnyStage]) -> dict[str, Schema]:
    """The schemas of all records, by subject: `tickets.raw`, `tickets.enriched`, `review`, ..."""
    schemas = [schema for stage in stages for schema in (raw_schema(stage), enriched_schema(stage))]
    schemas += [_envelope("escalations", Escalation), _envelope("review", Review), _dead_letters()]
    schemas += [_envelope("handled", Handled), _envelope("audit", Audit)]
    schemas += [_envelope("trust.alarm", Alarm), _envelope("trust.acknowledged", Acknowledged)]
    schemas += [_envelope("trust.answer", SampledAnswer), _envelope("trust.label", AnswerLabel)]
    return {schema_name(schema)[0]: schema for schema in schemas}


def raw_schema(stage: AnyStage) -> Schema:
    """What publishers put on `<stage>.raw`, where it is JSON."""
    schema = _of_stage(stage.raw_model.model_json_schema(schema_generator=_Untitled), stage)
    about = str(schema.get("description", f"A record of `{stage.name}.raw`."))
    schema["description"] = about + (BARE_FILE if stage.reads_files else "")
    return _head(f"{stage.name}.raw", RAW_VERSION, schema)


def enriched_schema(stage: AnyStage) -> Schema:
    """What consumers read on `<stage>.enriched`."""
    model: type[BaseModel] = Enriched[stage.result_model]  # type: ignore[name-defined]
    written = model.model_json_schema(mode="serialization", schema_generator=_Written)
    schema = _of_stage(written, stage)
    schema["title"] = f"{stage.result_model.__name__}, enriched"
    schema["description"] = f"A record of `{stage.name}.enriched`."
    name, version = f"{stage.name}.enriched", enriched_version(stage)
    _pin(schema, "schema", declared_schema(stage.name, version))
    _pin(schema, "stage", stage.name)
    if version == ENRICHED_VERSION:
        schema["properties"]["decided_by"]["enum"].remove(DOCUMENT)
    return _head(name, version, schema)


def _of_stage(schema: Schema, stage: AnyStage) -> Schema:
    """With descriptions that name its own topics: a stage of a kind has the models of its kind."""
    text = _RECORD_OF.sub(rf"`{stage.name}.\1`", json.dumps(schema))
    named: Schema = json.loads(text)
    return named


def _envelope(subject: str, model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema(mode="serialization", schema_generator=_Written)
    declared = str(model.model_fields["schema_"].default)
    _pin(schema, "schema", declared)
    return _head(subject, int(declared.rsplit("/", 1)[1]), schema)


def _dead_letters() -> Schema:
    schema = DeadLetterHeaders.model_json_schema(mode="serialization", schema_generator=_Written)
    schema["description"] = (
        "The headers of a record of `dead-letters`, all UTF-8 text, beside the record's own "
        "headers; its key and value are those of the raw record, untouched. Where `dlq-original` "
        "is there, the record is not: it could not be carried on, the value is empty, the key cut "
        "and headers left out where they are large."
    )
    properties = {name: _header(node) for name, node in schema["properties"].items()}
    schema["properties"] = properties
    schema["required"] = [name for name in properties if not name.startswith("dlq-original")]
    return _head("dead-letters", DEAD_LETTERS_VERSION, schema)


def _header(node: Schema) -> Schema:
    """A field as a header has it: text, and not there instead of null."""
    match node:
        case {"anyOf": [dict(present), {"type": "null"}], **about}:
            node = present | about
    if node.get("type") == "integer":
        return {**node, "type": "string", "pattern": "^[0-9]+$"}
    return node


def _head(subject: str, version: int, schema: Schema) -> Schema:
    head: Schema = {"$schema": DIALECT, "$id": f"urn:haiku-pipeline:schema:{subject}:{version}"}
    whole = head | schema
    return {key: whole[key] for key in _FIRST if key in whole} | whole


def _pin(schema: Schema, field: str, value: str) -> None:
    schema["properties"][field]["const"] = value


def asyncapi_document(
    stages: Sequence[AnyStage], files: Mapping[str, str], topics: TopicSettings, of: TopicNames
) -> Schema:
    """The document; `files` are those of each subject's schema, relative to it.

    `of` says what the topics of the stages are called; a stage that reads several has no address.
    """
    channels: Schema = {}
    operations: Schema = {}
    messages: Schema = {}

    def message(name: str, summary: str, headers: Schema | None = None) -> None:
        payload: Schema = {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": files[name]}}
        about: Schema = {"name": name, "summary": summary, "contentType": _JSON}
        messages[name] = about | ({"headers": headers} if headers else {}) | {"payload": payload}

    def channel(
        subject: str, address: str | None, about: str, names: Sequence[str], *to: str
    ) -> None:
        """A topic, its messages, and what the pipeline does with it."""
        references: Schema = {
            name: {"$ref": _pointer("components", "messages", name)} for name in names
        }
        channels[subject] = {"address": address, "description": about, "messages": references}
        for action in to:
            operations[f"{action}.{subject}"] = {
                "action": action,
                "channel": {"$ref": _pointer("channels", subject)},
                "messages": [
                    {"$ref": _pointer("channels", subject, "messages", name)} for name in names
                ],
            }

    for stage in stages:
        raw, enriched, of_raw = f"{stage.name}.raw", f"{stage.name}.enriched", [f"{stage.name}.raw"]
        message(raw, f"A raw event of the stage {stage.name}.")
        if stage.reads_files:
            bare = f"{stage.name}.file"
            of_raw.append(bare)
            messages[bare] = {
                "name": bare,
                "summary": "The bare file as the value, its type in a header.",
                "contentType": "application/octet-stream",
                "headers": _file_headers(stage),
                "payload": {"type": "string", "format": "binary"},
            }
        read, by_whom = of.read_by(stage.name), "Written by publishers."
        is_one = read.pattern is None and len(read.topics) == 1
        where = "" if is_one else f" Read of {read}."
        channel(raw, read.topics[0] if is_one else None, by_whom + where, of_raw, "receive")
        message(enriched, f"What became of an event of the stage {stage.name}.", _CLOUD_EVENTS)
        channel(enriched, of.enriched(stage.name), _OURS, [enriched], "send")
    message("escalations", "What Haiku's answer could not settle.", _CLOUD_EVENTS)
    channel("escalations", topics.escalations, _OURS, ["escalations"], "send")
    message("review", "What neither model could settle, for people.", _CLOUD_EVENTS)
    channel("review", topics.review, _OURS, ["review"], "send")
    channel("escalations", topics.escalations, _OURS, ["escalations"], "receive")
    messages["dead-letters"] = {
        "name": "dead-letters",
        "summary": "A raw record that cannot be handled, key and value untouched.",
        "headers": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": files["dead-letters"]}},
    }
    channel("dead-letters", topics.dead_letters, _OURS, ["dead-letters"], "send")
    message("handled", "What a person did, once.")
    of_operators = "Written by operators' commands."
    for subject, address in (
        ("dead-letters.replayed", topics.replayed),
        ("review.resolved", topics.resolved),
    ):
        channel(subject, address, of_operators, ["handled"], "send", "receive")
    message("audit", "What a person's command changed.")
    channel("audit", topics.audit, of_operators, ["audit"], "send")
    message("trust.answer", "A published answer that was drawn by lot.")
    message("trust.label", "A verdict on a published answer.")
    message("trust.alarm", "Labels show that what was certified of a stage no longer holds.")
    message("trust.acknowledged", "A person has dealt with an alarm.")
    about = "Answers and alarms by the pipeline, verdicts by operators' commands."
    kinds = ["trust.answer", "trust.label", "trust.alarm", "trust.acknowledged"]
    channel("trust", topics.trust, about, kinds, "send", "receive")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "haiku-pipeline",
            "version": pipeline.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {
            "kafka": {
                "host": "{bootstrapServers}",
                "protocol": "kafka",
                "variables": {"bootstrapServers": {"default": KafkaSettings().bootstrap_servers}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _pointer(*steps: str) -> str:
    return "#/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
