"""One AsyncAPI 3.0 document of all topics, for those who generate clients or documentation."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

import pipeline
from pipeline.config import KafkaSettings, TopicSettings
from pipeline.schemas.records import AnyStage, Schema
from pipeline.stages.files.media import MEDIA_TYPES

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
_FILE_HEADERS: Schema = {
    "type": "object",
    "required": ["content-type"],
    "properties": {
        "content-type": {"enum": list[JsonValue](sorted(MEDIA_TYPES))},
        "event-id": {"type": "string", "description": "The event's id; the key if it is absent."},
        "traceparent": {"type": "string"},
    },
}


def asyncapi_document(
    stages: Sequence[AnyStage], files: Mapping[str, str], topics: TopicSettings
) -> Schema:
    """Make the document.

    Args:
        stages: Whose topics there are.
        files: The file of each subject's schema, relative to the document.
        topics: The names of the topics that all stages share.
    """
    parts = _Parts(files)
    for stage in stages:
        parts.add_stage(stage)
    parts.add_shared(topics)
    parts.add_handled(topics)
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
        "channels": parts.channels,
        "operations": parts.operations,
        "components": {"messages": parts.messages},
    }


class _Parts:
    """The channels, operations and messages of the document, each by its name."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self.channels: Schema = {}
        self.operations: Schema = {}
        self.messages: Schema = {}

    def add_stage(self, stage: AnyStage) -> None:
        """What is published for a stage, and what comes of it."""
        raw, enriched = f"{stage.name}.raw", f"{stage.name}.enriched"
        summary = f"A raw event of the stage {stage.name}."
        self.messages[raw] = _message(raw, summary, self._files[raw])
        of_raw = [raw]
        if stage.reads_files:
            bare = f"{stage.name}.file"
            self.messages[bare] = _bare_file(bare)
            of_raw.append(bare)
        self.channels[raw] = _channel(raw, "Written by publishers.", of_raw)
        self.operations[f"receive.{raw}"] = _operation("receive", raw, of_raw)
        self._add_written(enriched, enriched, f"What became of an event of the stage {stage.name}.")

    def add_shared(self, topics: TopicSettings) -> None:
        """What is written for all stages: escalations, which are read as well, and ends."""
        escalated = "What Haiku's answer could not settle."
        self._add_written("escalations", topics.escalations, escalated)
        unsettled = "What neither model could settle, for people."
        self._add_written("review", topics.review, unsettled)
        self.operations["receive.escalations"] = _operation(
            "receive", "escalations", ["escalations"]
        )
        dead: JsonValue = {"$ref": self._files["dead-letters"]}
        self.messages["dead-letters"] = {
            "name": "dead-letters",
            "summary": "A raw record that cannot be handled, key and value untouched.",
            "headers": {"schemaFormat": _SCHEMA_FORMAT, "schema": dead},
        }
        self.channels["dead-letters"] = _channel(topics.dead_letters, _OURS, ["dead-letters"])
        self.operations["send.dead-letters"] = _operation("send", "dead-letters", ["dead-letters"])

    def add_handled(self, topics: TopicSettings) -> None:
        """What operators' commands remember."""
        summary = "What a person did, once."
        self.messages["handled"] = _message("handled", summary, self._files["handled"])
        for subject, address in (
            ("dead-letters.replayed", topics.replayed),
            ("review.resolved", topics.resolved),
        ):
            self.channels[subject] = _channel(
                address, "Written by operators' commands.", ["handled"]
            )
            for action in ("send", "receive"):
                self.operations[f"{action}.{subject}"] = _operation(action, subject, ["handled"])

    def _add_written(self, subject: str, address: str, summary: str) -> None:
        """A topic that the pipeline writes records of one kind to."""
        file = self._files[subject]
        self.messages[subject] = _message(subject, summary, file, headers=_CLOUD_EVENTS)
        self.channels[subject] = _channel(address, _OURS, [subject])
        self.operations[f"send.{subject}"] = _operation("send", subject, [subject])


def _channel(address: str, description: str, messages: Sequence[str]) -> Schema:
    references: Schema = {
        name: {"$ref": _pointer("components", "messages", name)} for name in messages
    }
    return {"address": address, "description": description, "messages": references}


def _operation(action: str, channel: str, messages: Sequence[str]) -> Schema:
    references: list[JsonValue] = [
        {"$ref": _pointer("channels", channel, "messages", name)} for name in messages
    ]
    return {
        "action": action,
        "channel": {"$ref": _pointer("channels", channel)},
        "messages": references,
    }


def _message(name: str, summary: str, file: str, *, headers: Schema | None = None) -> Schema:
    message: Schema = {"name": name, "summary": summary, "contentType": _JSON}
    if headers is not None:
        message["headers"] = headers
    message["payload"] = {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": file}}
    return message


def _bare_file(name: str) -> Schema:
    return {
        "name": name,
        "summary": "The bare file as the value, its type in a header.",
        "contentType": "application/octet-stream",
        "headers": _FILE_HEADERS,
        "payload": {"type": "string", "format": "binary"},
    }


def _pointer(*steps: str) -> str:
    return "#/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
