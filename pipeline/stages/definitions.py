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
_ASIDE = re.compile(
    r"//[^\n]*|/\*.{0,2000}?\*/|#\s[^\n]*"
    r"|\"(?:[^\"\\\n]|\\.){0,200}\"|'(?:[^'\\\n]|\\.){0,40}'",
    re.DOTALL,
)
"""Comments and strings, whose brackets and commas mean nothing; bounded, for hostile input."""
_ARROW = re.compile(r"[-=]>|[<>]=|<<")
_OPENING, _CLOSING = frozenset("([{<"), frozenset(")]}>")
_ITSELF = re.compile(
    r"\s*(?:&?(?:'\w+\s+)?(?:mut\s+)?self(?:\s*:.*)?|this(?:\s*:.*)?|void)\s*", re.DOTALL
)
_IMPLIED = frozenset({"self", "cls"})


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
    if not name:
        return None
    plain = _ARROW.sub("", _ASIDE.sub(" ", source))
    generic = r"(?:\s{0,9}(?:<[^()<>]{0,200}>|\[[^()\[\]]{0,200}\]))?"
    begin = re.search(rf"(?<![\w$]){re.escape(name)}{generic}\s{{0,9}}\(", plain)
    if begin is None:
        return None
    parts, depth = [""], 1
    for char in plain[begin.end() :]:
        depth += (char in _OPENING) - (char in _CLOSING)
        if depth == 0:
            named = (part.strip() for part in parts if words_in(part))
            return tuple(part for part in named if not _ITSELF.fullmatch(part))
        if char == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += char
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
