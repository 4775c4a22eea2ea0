"""Source code: what it defines first, by the shapes that languages share, as schemas ask for it."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.local.simulated.stand_in.schema import Ask, Found
from pipeline.local.simulated.stand_in.vocabulary import spaced

_NAME = r"[A-Za-z_$][\w$]*"
_GENERICS = r"(?:<[^()]*?>|\[[^()]*?\])?"
_WORDY = re.compile(
    rf"^[ \t]*(?:[\w]+[ \t]+)*?(?:def|function\*?|func|fn|sub|fun)[ \t]+(?:\([^()]*\)[ \t]*)?"
    rf"(?P<name>{_NAME})[ \t]*{_GENERICS}[ \t]*\(",
    re.MULTILINE,
)
_CLASS = re.compile(rf"^[ \t]*(?:[\w]+[ \t]+)*?class[ \t]+(?P<name>{_NAME})", re.MULTILINE)
_TYPED = re.compile(
    rf"^[ \t]*(?:[\w:<>\[\],.?&]+[ \t*&]+)+?(?P<name>{_NAME})[ \t]*\([^;{{]*\)[^;{{]*\{{",
    re.MULTILINE,
)
_RETURNED = re.compile(
    r"[ \t]*(?:->[ \t]*(?P<arrow>[^{\n]+?)[ \t]*(?:\{|:?[ \t]*$)"
    r"|:[ \t]*(?P<colon>[^{}\n]+?)[ \t]*(?:\{|=>)"
    r"|(?P<plain>[^\s:;={}][^:;={}\n]*?)[ \t]*\{)",
    re.MULTILINE,
)
_RAISED = re.compile(rf"\b(?:raise|throw(?:[ \t]+new)?)[ \t]+(?P<name>{_NAME}(?:\.{_NAME})*)")
_GIVES = re.compile(r"\b(?:return|yield)\b[ \t]*(?P<value>[^\s;][^;\n]*)?")
_DEFAULT = re.compile(r"\s*=(?!>)\s*")
_TYPE_FIRST = re.compile(rf"^(?P<type>.*[\s*&])(?P<name>{_NAME})$", re.DOTALL)
_NAME_FIRST = re.compile(rf"^(?P<name>{_NAME})\??\s+(?P<type>\S.*)$", re.DOTALL)
_NOTHING = frozenset({None, "", "None", "null"})
_MODIFIERS = frozenset({
    "public", "private", "protected", "internal", "static", "final", "abstract", "inline", "extern",
    "virtual", "override", "async", "unsafe", "synchronized",
})  # fmt: skip
_TYPED_CERTAINTY, _UNTYPED_CERTAINTY = 0.95, 0.8


class Parameter(NamedTuple):
    """A parameter; type and default as written, empty where they are not."""

    name: str
    type: str = ""
    default: str = ""


class Definition(NamedTuple):
    """What a piece of source code defines first."""

    line: str
    name: str
    parameters: tuple[Parameter, ...]
    returns: str
    gives_back: bool
    raises: tuple[str, ...]


def find_definition(source: str) -> Definition | None:
    """The first definition of a text; None where it is no source code."""
    found = [match for p in (_WORDY, _TYPED, _CLASS) if (match := p.search(source))]
    if not found:
        return None
    match = min(found, key=lambda match: match.start("name"))
    parts, end = _arguments(source, source.find("(", match.end("name")))
    end = end or match.end("name")
    line = source[source.rfind("\n", 0, match.start("name")) + 1 :].split("\n", 1)[0].strip()
    typed, go_like = match.re is _TYPED, "func " in match.group()
    shape = _TYPE_FIRST if typed else _NAME_FIRST if go_like else None
    parameters = [each for part in parts if (each := _parameter(part, shape)) is not None]
    if go_like:
        # `a, b int` gives both the same type.
        for i in range(len(parameters) - 2, -1, -1):
            if not parameters[i].type:
                parameters[i] = parameters[i]._replace(type=parameters[i + 1].type)
    if typed:
        before = line[: line.find(match["name"])]
        stars = "*" * before.count("*")
        kept = [word for word in before.replace("*", " ").split() if word not in _MODIFIERS]
        returns = f"{' '.join(kept)} {stars}".strip()
    else:
        behind = _RETURNED.match(source[end:])
        returns = "" if behind is None else behind["arrow"] or behind["colon"] or behind["plain"]
    returns = "" if returns in {"None", "void", "()"} else returns
    gives = [each["value"] for each in _GIVES.finditer(source, end)]
    return Definition(
        line=line,
        name=match["name"],
        parameters=tuple(parameters),
        returns=returns,
        gives_back=bool(returns) or any(value not in _NOTHING for value in gives),
        raises=tuple(dict.fromkeys(each["name"] for each in _RAISED.finditer(source, end))),
    )


def _arguments(source: str, opening: int) -> tuple[Sequence[str], int]:
    """The parts between the brackets that open there, and where they end; 0 where they do not."""
    depth, parts, begin = 0, [], opening + 1
    for at in range(opening, len(source)) if opening >= 0 else ():
        character = source[at]
        is_arrow = character == ">" and source[at - 1] in "-="
        depth += (character in "([{<") - (character in ")]}>" and not is_arrow)
        if depth == 0 or (depth == 1 and character == ","):
            parts.append(source[begin:at])
            begin = at + 1
        if depth == 0:
            return parts, at + 1
    return (), 0


def _parameter(part: str, shape: re.Pattern[str] | None) -> Parameter | None:
    declared, default = (*_DEFAULT.split(part.strip(), maxsplit=1), "")[:2]
    name, colon, kind = declared.partition(":")
    if not colon and shape is not None and (match := shape.match(declared)) is not None:
        name, kind = match["name"], match["type"]
    name = name.strip().removeprefix("mut ").lstrip("*&.").rstrip("?").strip()
    if name in {"self", "cls"} or re.fullmatch(_NAME, name) is None:
        return None
    return Parameter(name, kind.strip(), default)


def find_in_source(ask: Ask, definition: Definition) -> Found | None:
    """The value for a part of a schema; None where it is not one about source code."""
    sentence = f"{spaced(definition.name).lower().capitalize()}."
    is_returned = re.search(r" (?:returns?|result|yields?|gives back) ", ask.words)
    match ask.kind:
        case "array" if ask.items is not None and ask.items.kind in {"string", "object"}:
            return _list(ask, ask.items, definition)
        case "object" if is_returned:
            said = f"What {spaced(definition.name).lower()} comes to."
            known = {"type": definition.returns, "description": said}
            return Found(_entry(ask, known if definition.gives_back else {}))
        case "string" if " example " in ask.words or " usage " in ask.words:
            return Found(None)
        case "string" if re.search(r" (?:summary|description|purpose) ", ask.words):
            return Found(sentence)
        case "string" if re.search(r" (?:name|function|method|class|symbol) ", ask.words):
            return Found(definition.name, _TYPED_CERTAINTY)
        case _:
            return None


def _list(ask: Ask, items: Ask, definition: Definition) -> Found | None:
    certainty: float | None = None
    if re.search(r" (?:parameters?|params?|arguments?|args) ", ask.words):
        typed = all(parameter.type for parameter in definition.parameters)
        certainty = _TYPED_CERTAINTY if typed else _UNTYPED_CERTAINTY
        entries = [
            {
                "name": each.name,
                "type": each.type,
                "description": f"{spaced(each.name).lower().capitalize()}"
                f"{f'; {each.default} unless given' if each.default else ''}.",
            }
            for each in definition.parameters
        ]
    elif re.search(r" (?:raises?|throws?|errors?|exceptions?) ", ask.words):
        entries = [{"name": name} for name in definition.raises]
    else:
        return None
    as_text = items.kind == "string"
    return Found([e["name"] if as_text else _entry(items, e) for e in entries], certainty)


def _entry(ask: Ask, known: Mapping[str, str]) -> dict[str, str | None]:
    return {
        part.name: next((known[role] for role in known if role in part.words), None)
        or (None if part.nullable else "")
        for part in ask.properties
    }
