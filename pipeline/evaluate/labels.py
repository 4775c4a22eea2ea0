"""Labelled files: a line is an event, or the place of its file, and what is true about it."""

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import JsonValue

from pipeline.errors import WrongUse
from pipeline.evaluate.truths import Scoring, scoring_of
from pipeline.stages.deciding import Deciding
from pipeline.stages.stage import Stage
from pipeline.stream.records import Headers

_TRUE = frozenset({"true", "yes", "1"})
_OF_THE_LINE = frozenset({"id", "path", "content_type", "source", "kind"})


@dataclass(frozen=True, slots=True)
class Columns:
    """Where things are in a line.

    Args:
        text: `KEY` or `FIELD=KEY`: the event's text, where the line is not an event as it is
            published.
        gold: The object that holds what is true; the line itself where there is none.
        label: `KEY` or `FIELD=KEY`: the class of an event.
        fields: The same for further fields.
        out_of_scope: A yes or no: the event belongs to no label.
        path: The event's file, relative to the labelled file.
    """

    text: str | None = None
    gold: str = "gold"
    label: str | None = None
    fields: tuple[str, ...] = ()
    out_of_scope: str = "oos"
    path: str = "path"


@dataclass(frozen=True, slots=True)
class Labelled:
    """An event as it is published, and what is true about it.

    Args:
        id: The event's.
        value: Of its record.
        headers: Of its record.
        truth: By field of the result.
        out_of_scope: It belongs to no label.
    """

    id: str
    value: bytes = field(repr=False)
    headers: Headers
    truth: Mapping[str, JsonValue]
    out_of_scope: bool


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A whole file, and how its labels are compared."""

    events: tuple[Labelled, ...]
    scoring: Scoring


def read_labelled(path: Path, stage: Stage[Any, Any], columns: Columns) -> LabelledFile:
    """Read a file of labelled events.

    Raises:
        WrongUse: The file cannot be read, or a line is not what it should be.
    """
    lines = _lines(path)
    golds = [_gold(line, stage, columns) for _, line in lines]
    scoring = scoring_of(
        stage.result_model,
        (key for gold in golds for key in gold),
        label=columns.label,
        fields=columns.fields,
        deciding=stage.deciding if isinstance(stage, Deciding) else (),
    )
    events = []
    for (place, line), gold in zip(lines, golds, strict=True):
        marked = line.get(columns.out_of_scope, gold.get(columns.out_of_scope))
        out_of_scope = str(marked).lower() in _TRUE
        truth = {} if out_of_scope else scoring.of(gold)
        if not truth and not out_of_scope:
            raise WrongUse(f"{place}: has no label that could be compared.")
        event_id = str(line.get("id") or f"line-{place.rpartition(':')[2]}")
        named = {**line, "id": event_id}
        value, headers = _of_named_file(path, place, named, stage, columns) or _as_json(
            named, stage, columns
        )
        events.append(Labelled(event_id, value, headers, truth, out_of_scope))
    _check_unique(path, events)
    return LabelledFile(tuple(events), scoring)


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise WrongUse(
            f"{path} cannot be read ({error.strerror}): name a file of labelled events."
        ) from error
    found = []
    for number, line in enumerate(raw.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            read = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise WrongUse(f"{place}: is not JSON ({error}).") from None
        if not isinstance(read, dict):
            raise WrongUse(f"{place}: a JSON object is needed.")
        found.append((place, read))
    if not found:
        raise WrongUse(f"{path} has no events.")
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


def _of_named_file(
    path: Path, place: str, line: Mapping[str, Any], stage: Stage[Any, Any], columns: Columns
) -> tuple[bytes, Headers] | None:
    named = line.get(columns.path)
    if not isinstance(named, str) or "file" not in stage.raw_model.model_fields or "file" in line:
        return None
    file = path.parent / named
    try:
        value = file.read_bytes()
    except OSError as error:
        raise WrongUse(f"{place}: {file} cannot be read ({error.strerror}).") from error
    declared = line.get("content_type") or mimetypes.guess_type(file.name)[0]
    content_type = str(declared or "application/octet-stream").encode()
    return value, (("content-type", content_type), ("event-id", str(line["id"]).encode()))


def _as_json(
    line: Mapping[str, Any], stage: Stage[Any, Any], columns: Columns
) -> tuple[bytes, Headers]:
    event = {name: line[name] for name in stage.raw_model.model_fields if name in line}
    target, key = _text_field(stage, columns)
    if target is not None and target not in event and key in line:
        event[target] = line[key]
    return orjson.dumps(event), (("content-type", b"application/json"),)


def _text_field(stage: Stage[Any, Any], columns: Columns) -> tuple[str | None, str]:
    """The event's field that holds its text, and the key of a line that holds it."""
    name, _, key = (columns.text or "text").rpartition("=")
    if name:
        if name not in stage.raw_model.model_fields:
            raise WrongUse(
                f"An event of {stage.name} has no field {name!r}; "
                f"it has {', '.join(stage.raw_model.model_fields)}."
            )
        return name, key
    fields = stage.raw_model.model_fields
    needed = [each for each, info in fields.items() if info.is_required() and each != "id"]
    if len(needed) == 1:
        return needed[0], key
    return ("text" if "text" in fields else None), key


def _check_unique(path: Path, events: Sequence[Labelled]) -> None:
    seen: set[str] = set()
    for event in events:
        if event.id in seen:
            raise WrongUse(f"{path} has two events {event.id!r}: each id must be there once.")
        seen.add(event.id)
