"""A record of any of the pipeline's topics as a person reads it, with texts that are cut. Pure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from pipeline.kafka.topics import TopicNames
from pipeline.model.printable import on_one_line, shortened
from pipeline.model.records import Doubt, Enriched, Escalation, Review, Unusable, read_record
from pipeline.operators.dead_letters import dead_letter_of
from pipeline.operators.selection import place_of
from pipeline.operators.trust_topic import parse
from pipeline.stream.records import Received
from pipeline.trust.records import AnswerLabel, SampledAnswer

Kind = Literal["raw", "escalation", "result", "review", "dead letter", "drawn answer", "verdict"]
SHOWN = 4000
"""Characters of each text of a record."""
_SHORT = 200
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_KIND = re.compile(rb"haiku-pipeline\.(.{1,200})\.[a-z]+", re.DOTALL)
"""Of the records that the pipeline writes, in the header `ce_type`."""


class _RawEvent(BaseModel):
    """What a raw event is recognised by where its stage has no mapping."""

    id: str | int


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the story; texts are cut, None or empty where the record does not say it."""

    at: datetime  # the record's Kafka timestamp
    kind: Kind
    topic: str
    place: str  # PARTITION:OFFSET
    key: str
    stage: str | None = None
    event_id: str | None = None
    source: str | None = None  # TOPIC/PARTITION/OFFSET of the raw record
    trace_id: str | None = None
    decided_by: str | None = None
    model: str | None = None
    calls: int | None = None
    cost_usd: str | None = None
    doubts: Sequence[str] = ()
    said: str = ""  # a sentence on what a dead letter, a drawn answer or a verdict says
    handled_at: datetime | None = None  # when a person settled or replayed it
    texts: Mapping[str, str] = field(default_factory=dict)


def entry_of(record: Received, names: TopicNames) -> Entry:
    """What a record is by its topic; one that is something else has its text and no more."""
    kind: Kind = "result"
    if record.topic in (kinds := _kinds(names)):
        kind = kinds[record.topic]
    elif names.readers_of(record.topic) and not names.is_written(record.topic):
        kind = "raw"
    headers = dict(record.headers)
    trace = _TRACE.fullmatch(headers.get("traceparent") or b"")
    event_id, of_kind = headers.get("ce_id"), _KIND.fullmatch(headers.get("ce_type") or b"")
    entry = Entry(
        record.timestamp,
        kind,
        record.topic,
        str(place_of(record)),
        on_one_line(record.key, _SHORT),
        stage=None if of_kind is None else of_kind[1].decode(errors="replace"),
        event_id=None if event_id is None else event_id.decode(errors="replace"),
        trace_id=None if trace is None else trace[1].decode(),
        texts={"value": _text(record.value)},
    )
    try:
        return _READERS[kind](entry, record)
    except Unusable:
        return entry


def _kinds(names: TopicNames) -> Mapping[str, Kind]:
    return {
        names.escalations: "escalation",
        names.review: "review",
        names.dead_letters: "dead letter",
        names.trust: "drawn answer",
    }


def _raw(entry: Entry, record: Received) -> Entry:
    source = f"{record.topic}/{record.partition}/{record.offset}"
    entry = replace(entry, source=source, stage=None)
    try:
        return replace(entry, event_id=str(read_record(_RawEvent, record.value).id))
    except Unusable:
        return entry


def _result(entry: Entry, record: Received) -> Entry:
    found = read_record(Enriched[dict[str, JsonValue]], record.value)
    entry = replace(_asked(entry, found), decided_by=found.decided_by)
    texts = {"result": _json(found.result)}
    if found.escalation is not None:
        entry = replace(entry, doubts=_doubts(found.escalation.doubts))
        texts["haiku"] = _json(found.escalation.haiku_result)
    return replace(entry, texts=texts)


def _escalation(entry: Entry, record: Received) -> Entry:
    found = read_record(Escalation, record.value)
    return replace(
        _asked(entry, found),
        doubts=_doubts(found.doubts),
        texts={"haiku": _json(found.haiku_result)},
    )


def _review(entry: Entry, record: Received) -> Entry:
    found = read_record(Review, record.value)
    texts = {"haiku": _json(found.haiku_result), "sonnet": _json(found.sonnet_result)}
    return replace(_asked(entry, found), doubts=_doubts(found.doubts), texts=texts)


def _dead_letter(entry: Entry, record: Received) -> Entry:
    letter = dead_letter_of(record).about
    entry = replace(
        entry,
        stage=letter.stage[:_SHORT] or None,
        source="/".join(map(str, letter.source)),
        calls=letter.attempts,
        said=shortened(f"{letter.reason}: {letter.detail}", SHOWN),
    )
    try:
        escalated = read_record(Escalation, record.value)
    except Unusable:
        pass
    else:
        return replace(_asked(entry, escalated), stage=escalated.stage[:_SHORT])
    try:
        return replace(entry, event_id=str(read_record(_RawEvent, record.value).id))
    except Unusable:
        return entry


def _trust(entry: Entry, record: Received) -> Entry:
    found = parse(record)
    if found is None:
        raise Unusable("neither an answer nor a verdict")
    part = "" if found.part is None else f"#{found.part}"
    of_event = found.event_id if found.event_id.endswith(part) else found.event_id + part
    entry = replace(entry, stage=found.stage, event_id=of_event)
    if isinstance(found, SampledAnswer):
        signals = ", ".join(f"{each.code} {each.strength:.2f}" for each in found.signals)
        return replace(
            entry,
            source=_place_in(found),
            decided_by=found.decided_by,
            model=found.model,
            said=shortened(
                f"drawn with chance {found.chance:g}; signals: {signals or 'none'}", SHOWN
            ),
        )
    return replace(entry, kind="verdict", said=_verdict(found))


def _verdict(label: AnswerLabel) -> str:
    wrong = ", ".join(label.wrong_fields)
    said = "right" if label.right else f"wrong{f' in {wrong}' if wrong else ''}"
    return shortened(f"{said}, by {label.person} ({label.origin})", SHOWN)


_READERS: Mapping[Kind, Callable[[Entry, Received], Entry]] = {
    "raw": _raw,
    "result": _result,
    "escalation": _escalation,
    "review": _review,
    "dead letter": _dead_letter,
    "drawn answer": _trust,
}


def _asked(entry: Entry, found: Enriched[Any] | Escalation | Review) -> Entry:
    cost = found.usage.cost_usd
    return replace(
        entry,
        stage=found.stage,
        event_id=found.event_id,
        source=_place_in(found),
        model=found.haiku_model if isinstance(found, Escalation) else found.model,
        calls=found.usage.calls,
        cost_usd=None if cost is None else f"{cost:f}",
    )


def _place_in(found: Enriched[Any] | Escalation | Review | SampledAnswer) -> str:
    source = found.source
    return f"{source.topic}/{source.partition}/{source.offset}"


def _doubts(doubts: Sequence[Doubt]) -> list[str]:
    return [shortened(f"{each.code}: {each.detail}", SHOWN) for each in doubts[:_SHORT]]


def _json(value: JsonValue) -> str:
    if value is None:
        return ""
    return shortened(json.dumps(value, ensure_ascii=False, indent=1), SHOWN)


def _text(value: bytes | None) -> str:
    if value is None:
        return "(a tombstone)"
    # No character has more than four bytes.
    text = value[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
    return text if len(value) <= len(text.encode()) else f"{text}... (of {len(value):,} bytes)"
