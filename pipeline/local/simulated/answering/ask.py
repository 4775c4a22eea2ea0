"""One property of a schema, as a question; and what was found for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.local.simulated.answering.glossary import look_up
from pipeline.local.simulated.answering.words import spaced
from pipeline.local.simulated.validation import resolve


@dataclass(frozen=True)
class Ask:
    """A property.

    Args:
        name: Its name.
        schema: Its schema, references and the null alternative resolved.
        nullable: Whether null is an answer.
        said: What the prompt says of it.
        memo: What was worked out once: a question is asked of many contents.
    """

    name: str
    schema: Mapping[str, Any]
    nullable: bool = False
    said: str = ""
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def words(self) -> str:
        """The name in words, in lower case, between blanks."""
        return f" {spaced(self.name).lower()} "

    @cached_property
    def description(self) -> str:
        """What the schema and the prompt say of it."""
        return f"{self.schema.get('description', '')} {self.said}".strip()

    @property
    def kind(self) -> str:
        """Its JSON type."""
        kind = self.schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in self.schema else "string"
        return str(kind)

    @property
    def options(self) -> Sequence[Any] | None:
        """The values it may take, if they are listed."""
        if "const" in self.schema:
            return [self.schema["const"]]
        options = self.schema.get("enum")
        return None if options is None else [value for value in options if value is not None]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for a property.

    Args:
        value: Valid for its schema.
        certainty: 0 to 1; None where the property says nothing about the content.
        evidence: Words or text of the content behind it.
        runner_up: The second-best value of a choice.
        rival: How near the second-best comes, 0 to 1.
    """

    value: Any
    certainty: float | None = None
    evidence: frozenset[str] = field(default_factory=frozenset)
    runner_up: Any = None
    rival: float = 0.0


def ask_of(
    root: Mapping[str, Any], name: str, schema: Mapping[str, Any], names: Sequence[str], prompt: str
) -> Ask:
    """Read a property of a schema.

    Args:
        root: The whole schema, for its references.
        name: The property's name.
        schema: Its schema.
        names: All properties of the same object, which tell the prompt's lines apart.
        prompt: What the asker says.
    """
    schema = resolve(root, schema)
    nullable = _allows_null(schema)
    alternatives = schema.get("anyOf")
    if alternatives:
        beside = {key: value for key, value in schema.items() if key != "anyOf"}
        parts = [resolve(root, part) for part in alternatives]
        nullable = nullable or any(part.get("type") == "null" for part in parts)
        chosen = next((part for part in parts if part.get("type") != "null"), parts[0])
        schema = {**chosen, **beside}
    for part in schema.get("allOf", ()):
        schema = {**resolve(root, part), **schema}
    entry = look_up(name, names, [prompt])
    return Ask(name, schema, nullable, f"{entry.description} {entry.examples}".strip())


def _allows_null(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    return (
        kind == "null"
        or (isinstance(kind, list) and "null" in kind)
        or None in schema.get("enum", ())
    )
