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
