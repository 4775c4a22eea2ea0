"""The form in which a person corrects a result: what it asks, from the stage's schema. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.config import ExtraField, StageSettings
from pipeline.operators.review import AnyStage

Kind = Literal[
    "text", "long_text", "amount", "number", "date", "yes_no", "choice", "choices", "texts",
    "lines", "group", "json",
]  # fmt: skip
_AMOUNTS = frozenset({
    "allowances", "charges", "net", "tax", "gross", "prepaid", "withheld", "due", "amount",
    "quantity", "unit_price", "total",
})  # fmt: skip
"""Decimal strings, which a schema does not tell from other strings."""
_LONG = frozenset({"summary", "description", "documentation", "cleaned_text", "example"})
_OF_FIELD: Mapping[str, Kind] = {
    "text": "text", "number": "amount", "integer": "number", "boolean": "yes_no", "date": "date",
    "list": "texts", "choice": "choice",
}  # fmt: skip


_PLAIN: Mapping[str, Kind] = {"boolean": "yes_no", "integer": "number", "number": "number"}


@dataclass(frozen=True, slots=True)
class Option:
    """A value that may be chosen, and what it means."""

    value: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class FormField:
    """One value of a result; `parts` are those of a group, or the columns of lines."""

    name: str
    title: str
    kind: Kind
    description: str = ""
    optional: bool = False  # whether it may be null
    options: Sequence[Option] = ()
    parts: "Sequence[FormField]" = ()


def form_of(stage: AnyStage, section: StageSettings | None) -> Sequence[FormField]:
    """The fields of a stage's result, in their order.

    What a team has set is offered: its labels with their descriptions, its further fields.
    """
    schema = stage.result_model.model_json_schema()
    labels = [] if section is None else section.deciding_labels()
    deciding: Sequence[str] = getattr(stage, "deciding", ())
    options = {
        name: [Option(label.name, label.description) for label in labels]
        for name in (*deciding[:1], "runner_up")
        if labels
    }
    further: Sequence[ExtraField] = getattr(section, "fields", ())
    found = []
    for name, about in schema.get("properties", {}).items():
        if name == "fields":
            if further:
                parts = [_further(each) for each in further]
                found.append(FormField(name, "Further fields", "group", parts=parts))
            continue
        found.append(_field(name, about, schema.get("$defs", {}), options.get(name)))
    return found


def _fields(own: Mapping[str, Any], types: Mapping[str, Any]) -> Sequence[FormField]:
    return [_field(name, about, types) for name, about in own["properties"].items()]


def _field(
    name: str,
    about: Mapping[str, Any],
    types: Mapping[str, Any],
    options: Sequence[Option] | None = None,
) -> FormField:
    own, optional = _resolved(about, types)
    description = str(about.get("description") or "")
    kind, parts = _kind(name, own, types)
    if options is None:
        chosen = own if kind == "choice" else _resolved(own.get("items", {}), types)[0]
        options = [Option(str(each)) for each in chosen.get("enum", ())]
    elif kind == "text":
        kind = "choice"
    return FormField(name, _title(name), kind, description, optional, options, parts)


def _resolved(about: Mapping[str, Any], types: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """A schema without its reference and without null, and whether it takes null."""
    if "$ref" in about:
        return _resolved(types.get(str(about["$ref"]).rpartition("/")[2], {}), types)
    kinds = about.get("anyOf")
    if not isinstance(kinds, list):
        return about, about.get("type") == "null"
    own = [each for each in kinds if each.get("type") != "null"]
    if len(own) != 1:
        return {}, len(own) < len(kinds)
    return _resolved(own[0], types)[0], len(own) < len(kinds)


def _kind(
    name: str, own: Mapping[str, Any], types: Mapping[str, Any]
) -> tuple[Kind, Sequence[FormField]]:
    kind: Kind = "json"
    if "enum" in own:
        kind = "choice"
    elif own.get("type") == "string":
        kind = "date" if own.get("format") == "date" else _kind_of_text(name)
    elif own.get("type") == "array":
        item, _ = _resolved(own.get("items", {}), types)
        if "properties" in item:
            return "lines", _fields(item, types)
        kind = "choices" if "enum" in item else "texts" if item.get("type") == "string" else kind
    elif "properties" in own:
        return "group", _fields(own, types)
    else:
        kind = _PLAIN.get(str(own.get("type")), kind)
    return kind, ()


def _kind_of_text(name: str) -> Kind:
    if name in _AMOUNTS:
        return "amount"
    return "long_text" if name in _LONG else "text"


def _further(field: ExtraField) -> FormField:
    options = [Option(each) for each in field.choices]
    kind = _OF_FIELD.get(field.type, "text")
    return FormField(
        field.name, _title(field.name), kind, field.description, optional=True, options=options
    )


def _title(name: str) -> str:
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]
