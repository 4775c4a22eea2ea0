"""A schema as questions: each property with what the prompt says of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from pipeline.local.simulated.stand_in.vocabulary import spaced
from pipeline.local.simulated.validation import resolve

_EXAMPLES = re.compile(r"(?i)\b(?:e\.g\.|examples?:|for example|such as|z\.\s?b\.|beispiele?:)")
_BEFORE = re.compile(r"(?:^|[\n;|,(.>])[\s>*•\-|\d.)(\"'`]*(?:<\w+ \w+=[\"'])?$")
_AFTER = re.compile(r"[\"'`*]*\s*(?:[:=|–—>]|\s-\s|\()\s*")
_END = re.compile(r"\n\s*\n|\n(?=\S[^\n]{0,40}:\s*(?:\n|$))")


class Entry(NamedTuple):
    """What a prompt says of a name, and what follows `Example:`, `e.g.` and the like."""

    description: str = ""
    examples: str = ""


@lru_cache(maxsize=1024)
def entries_of(names: tuple[str, ...], text: str) -> Mapping[str, Entry]:
    """What lines and clauses that begin with a name say of it, in any of the usual notations."""
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    starts: list[tuple[int, int, str]] = []
    for match in re.finditer(rf"(?<!\w)(?:{either})(?!\w)", text) if names else ():
        after = _AFTER.match(text, match.end())
        if after and _BEFORE.search("\n" + text[max(0, match.start() - 60) : match.start()]):
            starts.append((match.start(), after.end(), match.group()))
    found: dict[str, Entry] = {}
    ends = [begin for begin, _, _ in starts[1:]] + [len(text)]
    for (_, end, name), until in zip(starts, ends, strict=False):
        clause = _END.split(text[end:until])[0]
        cut = _EXAMPLES.search(clause)
        at, behind = (cut.start(), cut.end()) if cut else (len(clause), len(clause))
        known = found.get(name, Entry())
        found[name] = Entry(
            f"{known.description} {clause[:at].strip()}".strip(),
            f"{known.examples} {clause[behind:].strip()}".strip(),
        )
    return found


@dataclass(frozen=True)
class Ask:
    """A part of a schema as a question; `said` is what the prompt says of it."""

    name: str
    schema: Mapping[str, Any]  # references and the null alternative are resolved
    nullable: bool
    said: str
    properties: "tuple[Ask, ...]" = ()  # required first, each in the schema's order
    items: "Ask | None" = None

    @cached_property
    def words(self) -> str:
        return f" {spaced(self.name).lower()} "

    @cached_property
    def description(self) -> str:
        return f"{self.schema.get('description', '')} {self.said}".strip()

    @cached_property
    def described(self) -> str:
        return f" {re.sub(r'[^a-z0-9]+', ' ', self.description.lower())} "

    @cached_property
    def kind(self) -> str:
        kind = self.schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        return str(kind or ("object" if "properties" in self.schema else "string"))

    @cached_property
    def options(self) -> Sequence[Any] | None:
        if "const" in self.schema:
            return [self.schema["const"]]
        options = self.schema.get("enum")
        return None if options is None else [value for value in options if value is not None]


class Found(NamedTuple):
    """What was found for a part of a schema."""

    value: Any
    certainty: float | None = None  # 0 to 1; None where it says nothing about the content
    evidence: frozenset[str] = frozenset()  # words of the content behind it
    runner_up: Any = None
    rival: float = 0.0  # how near the second-best value comes, 0 to 1


def ask_of(
    root: Mapping[str, Any],
    schema: Mapping[str, Any],
    prompt: str,
    name: str = "answer",
    names: tuple[str, ...] = (),
) -> Ask:
    """Read a part of a schema, checked: it has no recursion."""
    schema = resolve(root, schema)
    parts = [resolve(root, part) for part in schema.get("anyOf", ())]
    if parts:
        chosen = next((part for part in parts if part.get("type") != "null"), parts[0])
        schema = {**chosen, **{key: value for key, value in schema.items() if key != "anyOf"}}
    for part in schema.get("allOf", ()):
        schema = {**resolve(root, part), **schema}
    nullable = any(
        # One type, or a list of them.
        "null" in part.get("type", ()) or None in part.get("enum", ())
        for part in (schema, *parts)
    )
    said = " ".join(entries_of(names, prompt).get(name, Entry())).strip()
    ask = Ask(name, schema, nullable, said)
    if ask.options is None and ask.kind == "object":
        properties = schema.get("properties", {})
        order = dict.fromkeys([*schema.get("required", ()), *properties])
        known = [(each, properties[each]) for each in order if each in properties]
        inner = (ask_of(root, part, prompt, each, tuple(properties)) for each, part in known)
        return replace(ask, properties=tuple(inner))
    if ask.options is None and ask.kind == "array":
        return replace(ask, items=ask_of(root, schema.get("items", {}), prompt, name, names))
    return ask
