"""What is asked of source code, answered from what it defines."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.local.simulated.answering.ask import Found
from pipeline.local.simulated.answering.plan import Plan
from pipeline.local.simulated.answering.source import Definition, Parameter
from pipeline.local.simulated.answering.words import spaced

_Entry = Mapping[str, str]
_PARAMETERS = re.compile(r" (?:parameters?|params?|arguments?|args) ")
_ERRORS = re.compile(r" (?:raises?|throws?|errors?|exceptions?) ")
_RETURNS = re.compile(r" (?:returns?|result|yields?|gives back) ")
_NAME = re.compile(r" (?:name|function|method|class|symbol) ")
_SUMMARY = re.compile(r" (?:summary|description|purpose) ")
_EXAMPLE = re.compile(r" (?:example|usage) ")
_PARTS = (("name", _NAME), ("type", re.compile(r" type ")), ("description", _SUMMARY))
_TYPED, _UNTYPED = 0.95, 0.75


def find_in_source(plan: Plan, definition: Definition) -> Found | None:
    """The value for a part of a schema; None where it is not one about source code."""
    words = plan.ask.words
    match plan.ask.kind:
        case "array":
            return _list(plan, definition)
        case "object" if _RETURNS.search(words):
            return Found(_entry(plan, _returned(definition)))
        case "string":
            return _text(words, definition)
        case _:
            return None


def _text(words: str, definition: Definition) -> Found | None:
    if _EXAMPLE.search(words):
        return Found(None)
    if _SUMMARY.search(words):
        return Found(definition.sentence)
    return Found(definition.name, _TYPED) if _NAME.search(words) else None


def _list(plan: Plan, definition: Definition) -> Found | None:
    if _PARAMETERS.search(plan.ask.words):
        typed = all(parameter.type for parameter in definition.parameters)
        entries = [_described(parameter) for parameter in definition.parameters]
        return _entries(plan, entries, _TYPED if typed else _UNTYPED)
    if _ERRORS.search(plan.ask.words):
        return _entries(plan, [{"name": name} for name in definition.raises], None)
    return None


def _returned(definition: Definition) -> _Entry:
    if not definition.gives_back:
        return {}
    said = f"What {spaced(definition.name).lower()} comes to."
    return {"type": definition.returns, "description": said}


def _described(parameter: Parameter) -> _Entry:
    said = spaced(parameter.name).lower().capitalize()
    default = f"; {parameter.default} unless given" if parameter.default else ""
    return {"name": parameter.name, "type": parameter.type, "description": f"{said}{default}."}


def _entries(plan: Plan, entries: Sequence[_Entry], certainty: float | None) -> Found | None:
    if plan.items is None:
        return None
    if plan.items.ask.kind == "string":
        return Found([entry["name"] for entry in entries], certainty)
    if plan.items.ask.kind != "object":
        return None
    return Found([_entry(plan.items, entry) for entry in entries], certainty)


def _entry(plan: Plan, known: _Entry) -> dict[str, Any]:
    return {part.ask.name: _part(part, known) for part in plan.properties}


def _part(plan: Plan, known: _Entry) -> str | None:
    role = next((role for role, pattern in _PARTS if pattern.search(plan.ask.words)), "")
    return known.get(role) or (None if plan.ask.nullable else "")
