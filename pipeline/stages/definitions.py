"""What a piece of source code defines: its name and the real parameters."""

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

# The text of events is parsed, not run; what Python would warn of in it is not ours to repair.
_FILE = "<event>"
warnings.filterwarnings("ignore", module=re.escape(_FILE))

_NOT_PARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
_LINE_COMMENT = r"//[^\n]*|#\s[^\n]*"
_BLOCK_COMMENT = r"/\*.*?(?:\*/|\Z)"
_STRING = r"(?<!\\)\"(?:[^\"\\\n]|\\.){0,200}\"|'(?:[^'\\\n]|\\.){0,40}'"
_ASIDE = re.compile(f"{_BLOCK_COMMENT}|{_LINE_COMMENT}|{_STRING}", re.DOTALL)
_ASIDE_WITHOUT_BLOCKS = re.compile(f"{_LINE_COMMENT}|{_STRING}", re.DOTALL)
"""Comments and strings, whose brackets and commas mean nothing.

Bounded, for hostile input: a comment that nothing ends goes on to the end, so that the end is
looked for once.
"""
_ARROW = re.compile(r"[-=]>|[<>]=|<<")
_SEPARATING = re.compile(r"[\[({<\])}>,]")
_OPENING, _CLOSING = frozenset("([{<"), frozenset(")]}>")
_ITSELF = re.compile(
    r"\s*(?:&?(?:'\w+\s+)?(?:mut\s+)?self(?:\s*:.*)?|this(?:\s*:.*)?|void)\s*", re.DOTALL
)
_LONGEST_NAME = 200
"""Characters; looking for a longer one takes time by both lengths."""
_IMPLIED = frozenset({"self", "cls"})


LONGEST_PARSED = 10_000
"""Characters of Python that are parsed. Some parts of it take time by their square, and other
threads wait for the parser; this much takes it 30 ms at worst."""


class Unparsable(Exception):
    """The source is not Python that this Python understands."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class.

    Args:
        parameters: In order, without stars; those of a class are its initialiser's.
    """

    name: str
    parameters: tuple[str, ...]


def first_definition(source: str) -> Definition | None:
    """Find the first function or class that Python source defines; None where it defines none.

    Args:
        source: No longer than `LONGEST_PARSED`.

    Raises:
        Unparsable: The source cannot be parsed.
    """
    try:
        tree = ast.parse(source, filename=_FILE)
    except _NOT_PARSED as error:
        raise Unparsable(type(error).__name__) from None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return Definition(node.name, _parameters(node.args))
        if isinstance(node, ast.ClassDef):
            return Definition(node.name, _parameters_of_class(node.body))
    return None


def parameter_texts(source: str, name: str) -> tuple[str, ...] | None:
    """What stands between the brackets after a name, in any language that writes them so.

    Args:
        source: Code, which is not parsed: brackets and commas are counted.
        name: Of the function or method.

    Returns:
        One text a parameter, what stands for the object itself left out; None where the name is
        not followed by brackets, as in languages that have none there.
    """
    if not name or len(name) > _LONGEST_NAME:
        return None
    aside = _ASIDE if "*/" in source else _ASIDE_WITHOUT_BLOCKS
    plain = _ARROW.sub("", aside.sub(" ", source))
    generic = r"(?:\s{0,9}(?:<[^()<>]{0,200}>|\[[^()\[\]]{0,200}\]))?"
    begin = re.search(rf"(?<![\w$]){re.escape(name)}{generic}\s{{0,9}}\(", plain)
    if begin is None:
        return None
    parts, depth, at = [], 1, begin.end()
    for found in _SEPARATING.finditer(plain, at):
        char = found[0]
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0 or (char == "," and depth == 1):
            parts.append(plain[at : found.start()])
            at = found.end()
        if depth == 0:
            named = (part.strip() for part in parts if words_in(part))
            return tuple(part for part in named if not _ITSELF.fullmatch(part))
    return None


def words_in(source: str) -> frozenset[str]:
    """The identifiers of a piece of source code in any language."""
    return frozenset(re.findall(r"\b[^\W\d]\w*", source))


def _parameters_of_class(body: Sequence[ast.stmt]) -> tuple[str, ...]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return _parameters(node.args)
    return ()


def _parameters(arguments: ast.arguments) -> tuple[str, ...]:
    named = [*arguments.posonlyargs, *arguments.args]
    first = [*named, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    names = [argument.arg for argument in first if argument is not None]
    return tuple(names[1:] if names and names[0] in _IMPLIED else names)
