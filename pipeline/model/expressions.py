"""Expressions that say where something is in a record: JMESPath, or a JSON Pointer. Pure.

An expression is read on the record's value, or, where it begins with `$`, on the whole record:
`$.key`, `$.headers."ce-type"`, `$.about.source`, `$.value.id || $.key` written as
`$.value.id || key`. One that begins with `/` (or `$/`) is a JSON Pointer (RFC 6901), all others are
JMESPath (https://jmespath.org/specification.html).

What an expression costs is bounded by the record and its own length: JMESPath has no way to refer
from within a list to what is around it, so nothing is walked more often than it is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions

MOST_CHARS = 1_000
ROOTS = ("value", "key", "headers", "topic", "timestamp", "about")
"""What is in a whole record."""
_CHEAP = frozenset({
    "field", "subexpression", "index_expression", "index", "literal", "identity", "current",
    "or_expression", "and_expression", "not_expression", "comparator", "pipe",
})  # fmt: skip
"""Nodes that look at one place of a record, whatever the record holds."""
_OF_ALL = frozenset({"identity", "current"})
_FUNCTIONS: Mapping[str, Mapping[str, Any]] = Functions.FUNCTION_TABLE
Path = tuple[str, ...]


class ExpressionFailed(ValueError):
    """What is in a record is not what the expression takes; says why, and quotes nothing."""


class Expression:
    """A checked expression.

    Attributes:
        text: As it was written.
        on_record: Whether it is read on the whole record, and not on the value alone.
        reads: Where in the value it looks, as names from the outermost on; the empty path is all
            of it. Elements of a list are not distinguished: the path ends at the list.
        is_costly: Whether it walks through lists or objects, so that its time is the record's size.

    Raises:
        ValueError: It is not an expression, or has a function that there is not.
    """

    __slots__ = ("_compiled", "_steps", "is_costly", "on_record", "reads", "text")

    def __init__(self, text: str) -> None:
        if len(text) > MOST_CHARS:
            raise ValueError(f"an expression of more than {MOST_CHARS:,} characters")
        self.text = text
        self.on_record = text.startswith("$")
        body = text.removeprefix("$").removeprefix(".") if self.on_record else text
        self._compiled: Any = None
        self._steps: tuple[str, ...] | None = None
        self.is_costly = False
        if body.startswith("/"):
            self._steps = tuple(
                step.replace("~1", "/").replace("~0", "~") for step in body[1:].split("/")
            )
            paths = [self._steps]
        else:
            parsed = self._parsed(body)
            paths = list(_paths(parsed))
            if (chain := _chain(parsed)) is not None:
                self._steps = chain
            self.is_costly = any(node["type"] not in _CHEAP for node in _nodes(parsed))
        if self.on_record:
            if unknown := [path[0] for path in paths if path and path[0] not in ROOTS]:
                raise ValueError(
                    f"`{text}`: a record has no `{unknown[0]}`; it has {', '.join(ROOTS)}"
                )
            paths = [path[1:] for path in paths if not path or path[0] == "value"]
        self.reads = frozenset(paths)

    def _parsed(self, body: str) -> Mapping[str, Any]:
        try:
            self._compiled = jmespath.compile(body)
            parsed: Mapping[str, Any] = self._compiled.parsed
            for node in _nodes(parsed):
                if node["type"] == "function_expression":
                    _check_call(node)
        except JMESPathError as error:
            # Its first line says what is wrong, the rest draws where.
            said = str(error).splitlines()[0].removesuffix(", for expression:").rstrip(":. ")
            if said.endswith("token $"):
                said = "`$` stands at its beginning alone, as in `$.value.id || key`"
            raise ValueError(f"`{self.text}` is not JMESPath: {said}") from None
        except RecursionError:
            raise ValueError("an expression that nests too deep") from None
        return parsed

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @property
    def is_literal(self) -> bool:
        """Whether it is the same for every record."""
        return self._steps is None and self._compiled.parsed["type"] == "literal"

    @property
    def path(self) -> Path | None:
        """The names that it consists of, where that is all; None of another expression."""
        return self._steps

    def read(self, root: Any) -> Any:  # noqa: ANN401 - JSON
        """What it finds, None where that is nothing.

        Raises:
            ExpressionFailed: A function met what it does not take.
        """
        if self._steps is None:
            return self._searched(root)
        for step in self._steps:
            if isinstance(root, Mapping):
                root = root.get(step)
            elif isinstance(root, Sequence) and self._compiled is None and step.isdecimal():
                at = int(step) if len(step) < len("10000000") else len(root)
                root = root[at] if at < len(root) and not isinstance(root, str | bytes) else None
            else:
                return None
        return root

    def _searched(self, root: Any) -> Any:  # noqa: ANN401
        try:
            return self._compiled.search(root)
        except JMESPathTypeError as error:
            takes = " or ".join(dict.fromkeys(map(str, error.expected_types)))
            why = f"{error.function_name}() takes {takes}, and met {error.actual_type}"
            raise ExpressionFailed(why) from None
        except (JMESPathError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # The library's functions raise these for what they were not made for.
            raise ExpressionFailed(f"it ended with {type(error).__name__}") from None


def is_true(value: Any) -> bool:  # noqa: ANN401
    """Whether JMESPath takes a value for true: all but null, false and what is empty."""
    return value is not None and value is not False and value not in ("", [], {})


def _check_call(node: Mapping[str, Any]) -> None:
    name, given = node["value"], len(node["children"])
    if (known := _FUNCTIONS.get(name)) is None:
        raise ValueError(
            f"there is no function {name}(); there are {', '.join(sorted(_FUNCTIONS))}"
        )
    takes = known["signature"]
    is_variadic = bool(takes) and bool(takes[-1].get("variadic"))
    if given < len(takes) or (given > len(takes) and not is_variadic):
        raise ValueError(f"{name}() takes {len(takes)} arguments, not {given}")


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    if node["type"] != "slice":  # whose children are numbers
        for child in node["children"]:
            yield from _nodes(child)


def _chain(node: Mapping[str, Any]) -> Path | None:
    """The names of `a.b.c`."""
    parts = node["children"] if node["type"] == "subexpression" else [node]
    if all(part["type"] == "field" for part in parts):
        return tuple(part["value"] for part in parts)
    return None


def _paths(node: Mapping[str, Any]) -> Iterator[Path]:
    """Where a node looks, seen from what it is read on."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield (node["value"],)
    elif kind == "subexpression":
        yield from _chained(children)
    elif kind in _OF_ALL:
        yield ()
    elif kind in {"literal", "expref", "index", "slice"}:
        return
    elif kind in {"pipe", "index_expression"} or kind.endswith("projection") or kind == "flatten":
        # What follows is read on what comes of the first.
        yield from _paths(children[0])
    else:
        for child in children:
            yield from _paths(child)


def _chained(parts: Sequence[Mapping[str, Any]]) -> Iterator[Path]:
    """Where `a.b.c` looks, of which any part may be more than a name."""
    first, *rest = parts
    starts = list(_paths(first))
    if not rest or first["type"] not in {"field", *_OF_ALL}:
        yield from starts
        return
    for start in starts:
        for end in [*_chained(rest)] or [()]:
            yield (*start, *end)
