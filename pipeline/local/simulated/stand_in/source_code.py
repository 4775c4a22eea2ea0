"""Source code: what it defines first, by the shapes that languages share, as schemas ask for it."""

import re
from typing import Any, NamedTuple

from pipeline.local.simulated.stand_in.schema import Ask, Found
from pipeline.local.simulated.stand_in.vocabulary import spaced

_NAME = r"[A-Za-z_$][\w$]*"
_WORDY = re.compile(
    rf"(?m)^[ \t]*(?:[\w]+[ \t]+)*?(?:def|function\*?|func|fn|sub|fun)[ \t]+(?:\([^()]*\)[ \t]*)?"
    rf"(?P<name>{_NAME})[ \t]*(?:<[^()]*?>|\[[^()]*?\])?[ \t]*\("
)
_CLASS = re.compile(rf"(?m)^[ \t]*(?:[\w]+[ \t]+)*?class[ \t]+(?P<name>{_NAME})")
_TYPED = re.compile(
    r"(?m)^[ \t]*(?P<type>(?:[\w:<>\[\],.?&]+[ \t*&]+)+?)"
    rf"(?P<name>{_NAME})[ \t]*\([^;{{]*\)[^;{{]*\{{"
)
_RETURNED = re.compile(
    r"(?m)[ \t]*(?:->[ \t]*(?P<arrow>[^{\n]+?)[ \t]*(?:\{|:?[ \t]*$)"
    r"|:[ \t]*(?P<colon>[^{}\n]+?)[ \t]*(?:\{|=>)"
    r"|(?P<plain>[^\s:;={}][^:;={}\n]*?)[ \t]*\{)"
)
_RAISED = re.compile(rf"\b(?:raise|throw(?:[ \t]+new)?)[ \t]+({_NAME}(?:\.{_NAME})*)")
_GIVES = re.compile(r"\b(?:return|yield)\b[ \t]*(?!None\b|null\b)[^\s;]")
_TYPE_FIRST = re.compile(rf"^(?P<type>.*[\s*&])(?P<name>{_NAME})$", re.DOTALL)
_NAME_FIRST = re.compile(rf"^(?P<name>{_NAME})\s+(?P<type>\S.*)$", re.DOTALL)
_MODIFIERS = re.compile(r"\b(?:public|private|protected|static|final|inline|virtual)\s+")


class Definition(NamedTuple):
    """What a piece of source code defines first; types as written, empty where they are not."""

    line: str
    name: str
    parameters: tuple[tuple[str, str], ...]
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
    go_like = "func " in match.group()
    shape = _TYPE_FIRST if match.re is _TYPED else _NAME_FIRST if go_like else None
    parameters: list[tuple[str, str]] = []
    for part in reversed(parts):
        declared = re.split(r"\s*=(?!>)", part.strip(), maxsplit=1)[0]
        name, colon, kind = declared.partition(":")
        if not colon and shape is not None and (each := shape.match(declared)) is not None:
            name, kind = each["name"], each["type"]
        name = name.strip().removeprefix("mut ").lstrip("*&.").rstrip("?").strip()
        if go_like and not kind and parameters:
            # `a, b int` gives both the same type.
            kind = parameters[0][1]
        if name not in {"self", "cls"} and re.fullmatch(_NAME, name):
            parameters.insert(0, (name, kind.strip()))
    if match.re is _TYPED:
        returns = _MODIFIERS.sub("", match["type"]).strip()
    else:
        behind = _RETURNED.match(source[end:])
        returns = "" if behind is None else behind["arrow"] or behind["colon"] or behind["plain"]
    returns = "" if returns in {"None", "void", "()"} else returns
    return Definition(
        line=source[source.rfind("\n", 0, match.start("name")) + 1 :].split("\n", 1)[0].strip(),
        name=match["name"],
        parameters=tuple(parameters),
        returns=returns,
        gives_back=bool(returns) or _GIVES.search(source, end) is not None,
        raises=tuple(dict.fromkeys(_RAISED.findall(source, end))),
    )


def _arguments(source: str, opening: int) -> tuple[list[str], int]:
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
    return [], 0


def find_in_source(ask: Ask, definition: Definition) -> Found | None:
    """The value for a part of a schema; None where it is not one about source code."""

    def asked(names: str) -> bool:
        return re.search(rf" (?:{names}) ", ask.words) is not None

    name = spaced(definition.name).lower()
    if ask.kind == "array" and ask.items is not None and ask.items.kind in {"string", "object"}:
        if asked("parameters?|params?|arguments?|args"):
            known = [
                {"name": each, "type": kind, "description": f"{spaced(each).lower().capitalize()}."}
                for each, kind in definition.parameters
            ]
            return Found([_entry(ask.items, each) for each in known], 0.9)
        if asked("raises?|throws?|errors?|exceptions?"):
            return Found([_entry(ask.items, {"name": name}) for name in definition.raises])
    if ask.kind == "object" and asked("returns?|result|yields?|gives back"):
        result = {"type": definition.returns, "description": f"What {name} comes to."}
        return Found(_entry(ask, result if definition.gives_back else {}))
    if ask.kind == "string" and asked("name|function|method|class|symbol"):
        return Found(definition.name, 0.95)
    described = ask.kind == "string" and asked("summary|description|purpose")
    return Found(f"{name.capitalize()}.") if described else None


def _entry(ask: Ask, known: dict[str, str]) -> Any:  # noqa: ANN401 - a text or an object
    if ask.kind == "string":
        return known["name"]
    return {
        part.name: next((known[role] for role in known if role in part.words), None)
        or (None if part.nullable else "")
        for part in ask.properties
    }
