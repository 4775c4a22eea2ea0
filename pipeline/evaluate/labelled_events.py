"""Labelled files: a line is an event, or the place of its file, and what is true about it."""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import JsonValue

from pipeline.evaluate.comparison import Scoring, scoring_of
from pipeline.model.errors import UsageError
from pipeline.operators.files import usable
from pipeline.stages.api import Deciding, Stage
from pipeline.stream.records import Headers

_TRUE = frozenset({"true", "yes", "1"})
_OF_THE_LINE = frozenset({"id", "path", "content_type", "source", "kind"})


@dataclass(frozen=True, slots=True)
class Columns:
    """Where things are in a line."""

    text: str | None = None  # `[FIELD=]KEY` of the text, where the line is not the event
    gold: str = "gold"  # the object that holds what is true; the line itself where there is none
    label: str | None = None  # `KEY` or `FIELD=KEY`: the class of an event
    fields: tuple[str, ...] = ()  # the same for further fields
    out_of_scope: str = "oos"  # a yes or no: the event belongs to no label
    path: str = "path"  # the event's file, relative to the labelled file
    key: str | None = None  # whose event it is; each is its own where there is none


@dataclass(frozen=True, slots=True)
class Labelled:
    """An event as it is published, and the true value of each field of its result."""

    id: str
    value: bytes = field(repr=False)
    headers: Headers
    truth: Mapping[str, JsonValue]
    out_of_scope: bool
    key: str


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A whole file, and how its labels are compared."""

    events: tuple[Labelled, ...]
    scoring: Scoring


def read_labelled(path: Path, stage: Stage[Any, Any], columns: Columns) -> LabelledFile:
    """Read a file of labelled events; `UsageError` if it or a line is not what it should be."""
    lines = _lines(path)
    golds = [_gold(line, stage, columns) for line in lines.values()]
    scoring = scoring_of(
        stage.result_model,
        (key for gold in golds for key in gold),
        label=columns.label,
        fields=columns.fields,
        deciding=stage.deciding if isinstance(stage, Deciding) else (),
    )
    events: dict[str, Labelled] = {}
    for (number, line), gold in zip(lines.items(), golds, strict=True):
        place = f"{path}:{number}"
        marked = line.get(columns.out_of_scope, gold.get(columns.out_of_scope))
        out_of_scope = str(marked).lower() in _TRUE
        truth = {} if out_of_scope else scoring.of(gold)
        if not truth and not out_of_scope:
            raise UsageError(f"{place}: has no label that could be compared.")
        event_id = str(line.get("id") or f"line-{number}")
        if event_id in events:
            raise UsageError(f"{path} has two events {event_id!r}: each id must be there once.")
        line["id"] = event_id
        key = event_id if columns.key is None else line.get(columns.key, gold.get(columns.key))
        if key is None:
            raise UsageError(
                f"{place}: has no {columns.key!r}, which --key says whose event it is."
            )
        value, headers = _record_of(path, place, line, stage, columns)
        events[event_id] = Labelled(event_id, value, headers, truth, out_of_scope, str(key))
    return LabelledFile(tuple(events.values()), scoring)


def _lines(path: Path) -> dict[int, dict[str, Any]]:
    with usable(path, "read", otherwise="name a file of labelled events."):
        raw = path.read_bytes()
    found = {}
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found[number] = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{path}:{number}: is not JSON ({error}).") from None
        if not isinstance(found[number], dict):
            raise UsageError(f"{path}:{number}: a JSON object is needed.")
    if not found:
        raise UsageError(f"{path} has no events: name another file.")
    return found


def _gold(
    line: Mapping[str, Any], stage: Stage[Any, Any], columns: Columns
) -> Mapping[str, JsonValue]:
    gold = line.get(columns.gold)
    if isinstance(gold, dict):
        return gold
    event = {*stage.raw_model.model_fields, *_OF_THE_LINE, columns.out_of_scope, columns.path}
    if columns.text is not None:
        event.add(columns.text.rpartition("=")[2])
    asked = {text.rpartition("=")[2] for text in (columns.label or "", *columns.fields)}
    return {key: value for key, value in line.items() if key not in event or key in asked}


def _record_of(
    path: Path, place: str, line: Mapping[str, Any], stage: Stage[Any, Any], columns: Columns
) -> tuple[bytes, Headers]:
    """The record's value and headers: the event's file, or the event as JSON."""
    fields = stage.raw_model.model_fields
    named = line.get(columns.path)
    if isinstance(named, str) and "file" in fields and "file" not in line:
        file = path.parent / named
        with usable(f"{place}: {file}", "read", otherwise="name a file that can."):
            value = file.read_bytes()
        declared = line.get("content_type") or mimetypes.guess_type(file.name)[0]
        content_type = str(declared or "application/octet-stream").encode()
        return value, (("content-type", content_type), ("event-id", str(line["id"]).encode()))
    event = {name: line[name] for name in fields if name in line}
    target, _, key = (columns.text or "text").rpartition("=")
    if target and target not in fields:
        raise UsageError(
            f"An event of {stage.name} has no field {target!r}; it has {', '.join(fields)}."
        )
    if not target:
        needed = [each for each, info in fields.items() if info.is_required() and each != "id"]
        target = needed[0] if len(needed) == 1 else "text" if "text" in fields else ""
    if target and target not in event and key in line:
        event[target] = line[key]
    return orjson.dumps(event), (("content-type", b"application/json"),)
