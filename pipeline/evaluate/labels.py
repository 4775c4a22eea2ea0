"""Labelled files: a line is an event, or the place of its file, and what is true about it.

What a label file says is true, and which field of a result it says it about.
"""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import BaseModel, JsonValue

from pipeline.evaluate.comparison import BY_THE_WAY, FREE_TEXT, Kind, kind_of, same
from pipeline.model.errors import UsageError
from pipeline.stages.api import Deciding, Stage
from pipeline.stream.records import Headers

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "number": "invoice_number",
        "date": "issue_date",
        "total": "gross",
        "grand_total": "gross",
        "net_total": "net",
        "tax_total": "tax",
        "allowance_total": "allowances",
        "charge_total": "charges",
        "moderation": "needs_moderation",
        "legible": "legibility",
    }
)
"""Names that labels go by, and the fields of results that they mean."""
LABELS = ("intent", "queue", "document_type", "agent", "label", "category")
"""Fields that put an event into a class: the first of them that is scored is the label."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A field of the result, and the key under which the label file has its true value."""

    field: str
    key: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is compared, and what makes an answer right.

    Args:
        truths: What is compared.
        label: The field that puts an event into a class; None where none does.
        deciding: An answer is right when these are: the label, or else what the stage says
            decides, or else all that is compared.
        ignored: Keys of the label file that nothing is compared with.
    """

    truths: tuple[Truth, ...]
    label: str | None
    deciding: tuple[str, ...]
    ignored: tuple[str, ...] = field(default=())

    @property
    def rule(self) -> str:
        """In a sentence, when an answer counts as right."""
        if len(self.deciding) == 1:
            return f"An answer counts as right when its {self.deciding[0]} is."
        *most, last = self.deciding
        return f"An answer counts as right when its {', '.join(most)} and {last} are."

    def of(self, gold: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The true values of one event, by field; a field that has no label is not there."""
        return {truth.field: gold[truth.key] for truth in self.truths if truth.key in gold}

    def compare(
        self, truth: Mapping[str, JsonValue], result: Mapping[str, JsonValue]
    ) -> dict[str, bool]:
        """Which of an event's labelled fields are right in a result."""
        return {
            each.field: same(each.kind, truth[each.field], result.get(each.field), key=each.key)
            for each in self.truths
            if each.field in truth
        }

    def is_right(self, fields: Mapping[str, bool]) -> bool:
        """Whether an answer with these fields is right."""
        # An event without a label for any of what decides is judged by what it has.
        judged = [fields[name] for name in self.deciding if name in fields] or fields.values()
        return bool(judged) and all(judged)


def scoring_of(
    result: type[BaseModel],
    keys: Iterable[str],
    *,
    label: str | None = None,
    fields: Sequence[str] = (),
    deciding: Sequence[str] = (),
) -> Scoring:
    """Find out what can be compared.

    Args:
        result: What the stage publishes.
        keys: Of the label file's truths.
        label: `KEY` or `FIELD=KEY`: the class of an event.
        fields: The same for further fields; where neither is given, all that have a label.
        deciding: What the stage says decides. What is asked for by name decides instead.

    Raises:
        UsageError: There is no such field or key, or nothing to compare.
    """
    known = tuple(dict.fromkeys(keys))
    asked = [_asked(each, result, known) for each in ([label] if label else []) + list(fields)]
    found = asked or [
        Truth(name, key, kind_of(result.model_fields[name]))
        for key in known
        if (name := _field_of(key, result)) is not None
        and name not in FREE_TEXT
        and (name not in BY_THE_WAY or key in ALIASES)
    ]
    by_field = {truth.field: truth for truth in found}
    if not by_field:
        raise UsageError(
            "There is nothing to compare: no label is about a field of the result "
            f"({', '.join(sorted(set(result.model_fields) - FREE_TEXT))}). "
            "Say which is which with --label FIELD=KEY or --field FIELD=KEY."
        )
    chosen = asked[0].field if label else next((each for each in LABELS if each in by_field), None)
    named = [] if asked else [name for name in deciding if name in by_field]
    used = {truth.key for truth in by_field.values()}
    return Scoring(
        truths=tuple(by_field.values()),
        label=chosen,
        deciding=(chosen,) if chosen is not None else tuple(named or by_field),
        ignored=tuple(key for key in known if key not in used),
    )


def _asked(text: str, result: type[BaseModel], known: Sequence[str]) -> Truth:
    name, _, key = text.rpartition("=")
    field_name = name or _field_of(key, result) or _class_field(result)
    if key not in known:
        raise UsageError(f"No line has a label {key!r}; there are {', '.join(known)}.")
    if field_name not in result.model_fields:
        raise UsageError(
            f"The result has no field {field_name!r}; it has {', '.join(result.model_fields)}."
        )
    if field_name in FREE_TEXT:
        raise UsageError(f"{field_name} is free text: no label can say what is right.")
    return Truth(field_name, key, kind_of(result.model_fields[field_name]))


def _field_of(key: str, result: type[BaseModel]) -> str | None:
    name = key if key in result.model_fields else ALIASES.get(key, "")
    return name if name in result.model_fields else None


def _class_field(result: type[BaseModel]) -> str:
    return next((name for name in LABELS if name in result.model_fields), "")


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
        UsageError: The file cannot be read, or a line is not what it should be.
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
            raise UsageError(f"{place}: has no label that could be compared.")
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
        raise UsageError(
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
            raise UsageError(f"{place}: is not JSON ({error}).") from None
        if not isinstance(read, dict):
            raise UsageError(f"{place}: a JSON object is needed.")
        found.append((place, read))
    if not found:
        raise UsageError(f"{path} has no events.")
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
        raise UsageError(f"{place}: {file} cannot be read ({error.strerror}).") from error
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
            raise UsageError(
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
            raise UsageError(f"{path} has two events {event.id!r}: each id must be there once.")
        seen.add(event.id)
