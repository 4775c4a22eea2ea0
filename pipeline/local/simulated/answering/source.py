"""Source code: what it defines first, told by the shapes that languages share."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.local.simulated.answering.words import spaced

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
_OPENING, _CLOSING = "([{<", ")]}>"
_NOTHING = frozenset({None, "", "None", "null"})
_IMPLIED = frozenset({"self", "cls"})
_TYPE_FIRST = re.compile(rf"^(?P<type>.*[\s*&])(?P<name>{_NAME})$", re.DOTALL)
_NAME_FIRST = re.compile(rf"^(?P<name>{_NAME})\??\s+(?P<type>\S.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter.

    Args:
        name: Without stars.
        type: As written; empty where it is not.
        default: As written; empty where there is none.
    """

    name: str
    type: str = ""
    default: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a piece of source code defines first.

    Args:
        line: Where it is defined, as it stands there.
        name: Its name.
        parameters: In order.
        returns: The type that is given back, as written; empty where it is not.
        gives_back: Whether anything is given back.
        raises: The errors that it raises itself, each once.
    """

    line: str
    name: str
    parameters: tuple[Parameter, ...]
    returns: str
    gives_back: bool
    raises: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What it does, as far as its name tells."""
        said = spaced(self.name).lower()
        return f"{said[:1].upper()}{said[1:]}." if said else ""


def find_definition(source: str) -> Definition | None:
    """The first definition of a text; None where it is no source code."""
    found = [m for m in (p.search(source) for p in (_WORDY, _TYPED, _CLASS)) if m is not None]
    if not found:
        return None
    # A line that is told by its word is told better than one by its shape.
    match = min(found, key=lambda match: match.start("name"))
    opening = source.find("(", match.end("name"))
    inside, end = _inside(source, opening) if opening >= 0 else ("", match.end("name"))
    line = source[source.rfind("\n", 0, match.start("name")) + 1 :].split("\n", 1)[0].strip()
    typed = match.re is _TYPED
    go_like = "func " in match.group()
    parameters = tuple(
        parameter
        for part in _split(inside)
        if (parameter := _parameter(part, type_first=typed, type_behind=go_like)) is not None
    )
    returns = _type_before(match, line) if typed else _type_behind(source[end:])
    gives = [each["value"] for each in _GIVES.finditer(source, end)]
    return Definition(
        line=line,
        name=match["name"],
        parameters=_with_shared_types(parameters) if go_like else parameters,
        returns=returns,
        gives_back=bool(returns) or any(value not in _NOTHING for value in gives),
        raises=tuple(dict.fromkeys(each["name"] for each in _RAISED.finditer(source, end))),
    )


def _inside(source: str, opening: int) -> tuple[str, int]:
    """What stands in the brackets that open there, and where they end."""
    depth = 0
    for at in range(opening, len(source)):
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if depth == 0:
            return source[opening + 1 : at], at + 1
    return "", opening + 1


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no brackets."""
    depth, begin = 0, 0
    for at, character in enumerate(text):
        is_arrow = character == ">" and text[at - 1 : at] in {"-", "="}
        depth += (character in _OPENING) - (character in _CLOSING and not is_arrow)
        if character == "," and depth == 0:
            yield text[begin:at]
            begin = at + 1
    yield text[begin:]


def _parameter(part: str, *, type_first: bool, type_behind: bool) -> Parameter | None:
    declared, default = (*_DEFAULT.split(part.strip(), maxsplit=1), "")[:2]
    name, colon, kind = declared.partition(":")
    if not colon:
        shape = _TYPE_FIRST if type_first else _NAME_FIRST if type_behind else None
        if shape is not None and (match := shape.match(declared)) is not None:
            name, kind = match["name"], match["type"]
    name = name.strip().removeprefix("mut ").lstrip("*&.").rstrip("?").strip()
    if name in _IMPLIED or re.fullmatch(_NAME, name) is None:
        return None
    return Parameter(name, kind.strip(), default)


def _with_shared_types(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """In Go `a, b int` gives both the same type."""
    done: list[Parameter] = []
    kind = ""
    for parameter in reversed(parameters):
        kind = parameter.type or kind
        done.append(Parameter(parameter.name, kind, parameter.default))
    return tuple(reversed(done))


def _type_before(match: re.Match[str], line: str) -> str:
    before = line[: line.find(match["name"])].strip()
    stars = "*" * before.count("*")
    words = [word for word in before.replace("*", " ").split() if word not in _MODIFIERS]
    kind = f"{' '.join(words)} {stars}".strip()
    return "" if kind == "void" else kind


def _type_behind(rest: str) -> str:
    match = _RETURNED.match(rest)
    if match is None:
        return ""
    kind = match["arrow"] or match["colon"] or match["plain"]
    return "" if kind in {"None", "void", "()"} else kind


_MODIFIERS = frozenset({
    "public", "private", "protected", "internal", "static", "final", "abstract", "inline", "extern",
    "virtual", "override", "async", "unsafe", "synchronized",
})  # fmt: skip
