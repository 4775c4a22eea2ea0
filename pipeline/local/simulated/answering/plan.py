"""A schema made ready: its properties as questions, in the order of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.local.simulated.answering.ask import Ask, ask_of


@dataclass(frozen=True, slots=True)
class Plan:
    """A part of a schema.

    Args:
        ask: The part as a question.
        properties: Of an object: required first, then the others, each in the schema's order.
        items: Of an array.
    """

    ask: Ask
    properties: tuple["Plan", ...] = ()
    items: "Plan | None" = field(default=None)


def plan_of(schema: Mapping[str, Any], prompt: str) -> Plan:
    """Prepare a whole schema.

    Args:
        schema: Checked: it has no recursion.
        prompt: What the asker says.
    """
    return _Planner(schema, prompt).plan("answer", schema, ())


class _Planner:
    def __init__(self, root: Mapping[str, Any], prompt: str) -> None:
        self._root = root
        self._prompt = prompt

    def plan(self, name: str, schema: Mapping[str, Any], names: tuple[str, ...]) -> Plan:
        ask = ask_of(self._root, name, schema, names, self._prompt)
        if ask.options is not None:
            return Plan(ask)
        if ask.kind == "object":
            properties = ask.schema.get("properties", {})
            required = [name for name in ask.schema.get("required", ()) if name in properties]
            order = required + [name for name in properties if name not in required]
            siblings = tuple(properties)
            return Plan(ask, tuple(self.plan(each, properties[each], siblings) for each in order))
        if ask.kind == "array":
            return Plan(ask, items=self.plan(name, ask.schema.get("items", {}), names))
        return Plan(ask)
