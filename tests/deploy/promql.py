"""Enough of PromQL to know which series an expression asks for. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'"
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"|(?P<number>\d[\w.]*)|(?P<other>\S)"
)
_MATCHER = re.compile(rf"(?P<label>\w+)\s*(?P<operator>=~|!~|!=|=)\s*(?P<value>{_STRING})")
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True)
class Matcher:
    """A condition on a label, e.g. `end=~"a|b"`."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selector:
    """A metric and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every series that the expression asks for by name."""
    tokens = list(_TOKEN.finditer(expression))
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        following = tokens[index].group() if index < len(tokens) else ""
        name = token["name"]
        if name in _GROUPING and following == "(":
            index = _after(tokens, index, ")")
        elif token.group() == "[":
            index = _after(tokens, index, "]")
        elif name is not None and name.lower() not in _WORDS and following not in {"(", *_GROUPING}:
            end = _after(tokens, index, "}") if following == "{" else index
            inside = expression[token.end() : tokens[end - 1].end()] if end > index else ""
            yield Selector(name, tuple(_matchers(inside)))
            index = end


def grouping_labels(expression: str) -> set[str]:
    """Every label that the expression groups or joins by."""
    lists = re.findall(rf"\b(?:{'|'.join(_GROUPING)})\s*\(([^)]*)\)", expression)
    return {label.strip() for each in lists for label in each.split(",") if label.strip()}


def _after(tokens: list[re.Match[str]], index: int, closing: str) -> int:
    while tokens[index].group() != closing:
        index += 1
    return index + 1


def _matchers(inside: str) -> Iterator[Matcher]:
    for found in _MATCHER.finditer(inside):
        yield Matcher(found["label"], found["operator"], found["value"][1:-1])
