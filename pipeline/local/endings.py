"""Reads where events ended from the records that say so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from pipeline.events import Usage
from pipeline.local.accounting import Coordinates, Ending, Place
from pipeline.stream.records import Received
from pipeline.stream.topics import TopicNames


def ending_of(record: Received, topics: TopicNames) -> Ending:
    """The end that a record of an enriched topic, of `review` or of `dead-letters` stands for."""
    if record.topic == topics.dead_letters:
        return _dead_letter(record, topics)
    value = orjson.loads(record.value or b"")
    place = Place.REVIEW if record.topic == topics.review else Place.ENRICHED
    doubts = value["doubts"] if place is Place.REVIEW else (value["escalation"] or {}).get("doubts")
    return Ending(
        event=_source(value["source"]),
        place=place,
        decided_by=value.get("decided_by"),
        model=value["model"],
        doubts=tuple(doubt["code"] for doubt in doubts or ()),
        usage=Usage.model_validate(value["usage"]),
        seconds=_seconds(value["source"]["timestamp"], value["timing"]["enriched_at"]),
    )


def _dead_letter(record: Received, topics: TopicNames) -> Ending:
    headers = {
        name: value.decode()
        for name, value in record.headers
        if name.startswith("dlq-") and value is not None
    }
    reason = headers["dlq-reason"]
    if headers["dlq-topic"] == topics.escalations:
        # It was escalated before: the raw record is the one that the escalation came from.
        escalation = orjson.loads(record.value or b"")
        return Ending(
            event=_source(escalation["source"]),
            place=Place.DEAD_LETTERS,
            model=escalation["haiku_model"],
            doubts=tuple(doubt["code"] for doubt in escalation["doubts"]),
            reason=reason,
            usage=Usage.model_validate(escalation["usage"]),
        )
    event = Coordinates(
        headers["dlq-topic"], int(headers["dlq-partition"]), int(headers["dlq-offset"])
    )
    return Ending(event, Place.DEAD_LETTERS, reason=reason)


def _source(source: Mapping[str, Any]) -> Coordinates:
    return Coordinates(source["topic"], source["partition"], source["offset"])


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
