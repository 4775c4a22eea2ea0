"""Documentation written from its parts: docstrings for Python, doc comments for the rest.

The model names the parts and this file sets them, so the form is right by construction: a
docstring always parses, and a comment never ends early.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.stages.text import visible

PythonStyle = Literal["google", "numpy"]

_WIDTH = 88
_INDENT = "    "

_BLOCK = frozenset({
    "c", "c++", "cpp", "dart", "groovy", "java", "javascript", "js", "jsx", "kotlin", "objective-c",
    "php", "scala", "ts", "tsx", "typescript",
})  # fmt: skip
_LINE_MARKS = {
    "//": frozenset({"go", "golang", "zig"}),
    "///": frozenset({"c#", "csharp", "f#", "fsharp", "rust", "swift"}),
    "#": frozenset({
        "bash", "elixir", "julia", "make", "perl", "powershell", "r", "ruby", "sh", "shell", "tcl",
    }),
    "--": frozenset({"ada", "elm", "haskell", "lua", "sql"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Described:
    """A parameter, a result or an error; the type is empty where there is none to tell."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class Documentation:
    """The parts of a function's or class's documentation."""

    summary: str
    parameters: Sequence[Described]
    returns: Described | None
    raises: Sequence[Described]
    example: str


def render(documentation: Documentation, language: str, style: PythonStyle) -> str:
    """Set documentation the way the language wants it; `//` comments for an unknown one."""
    documentation = _tidied(documentation)
    name = language.strip().lower()
    if name in {"python", "py", "python3"}:
        return _as_docstring(_python_lines(documentation, style))
    if name in _BLOCK:
        return _as_block(_tagged_lines(documentation))
    mark = next((mark for mark, names in _LINE_MARKS.items() if name in names), "//")
    lines = list(_plain_lines(documentation))
    return "\n".join(f"{mark} {line}".rstrip() for line in lines)


def _as_docstring(lines: Sequence[str]) -> str:
    body = "\n".join(lines).replace('"""', "'''")
    prefix = 'r"""' if "\\" in body else '"""'
    # A raw string cannot end in a backslash, and no string in its own quotation mark.
    closing = "\n" if len(lines) > 1 or body.endswith(("\\", '"')) else ""
    return f'{prefix}{body}{closing}"""'


def _as_block(lines: Sequence[str]) -> str:
    safe = (line.replace("*/", "* /") for line in lines)
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in safe), " */"])


def _python_lines(documentation: Documentation, style: PythonStyle) -> list[str]:
    sections = [
        ("Args" if style == "google" else "Parameters", documentation.parameters),
        ("Returns", [documentation.returns] if documentation.returns else []),
        ("Raises", documentation.raises),
    ]
    lines = [documentation.summary]
    for title, entries in sections:
        if entries:
            lines += ["", *_section_head(title, style)]
            for entry in entries:
                lines += _google_entry(entry) if style == "google" else _numpy_entry(entry)
    if documentation.example:
        title = "Example" if style == "google" else "Examples"
        indent = _INDENT if style == "google" else ""
        lines += ["", *_section_head(title, style)]
        lines += [f"{indent}{line}".rstrip() for line in documentation.example.split("\n")]
    return lines


def _section_head(title: str, style: PythonStyle) -> list[str]:
    return [f"{title}:"] if style == "google" else [title, "-" * len(title)]


def _google_entry(entry: Described) -> list[str]:
    kind = f" ({entry.type})" if entry.type and entry.name else ""
    name = f"{entry.name}{kind}" if entry.name else entry.type
    text = f"{name}: {entry.description}" if name else entry.description
    return _wrapped(text, first=_INDENT, rest=2 * _INDENT)


def _numpy_entry(entry: Described) -> list[str]:
    kind = entry.type
    head = f"{entry.name} : {kind}" if entry.name and kind else entry.name or kind
    body = _wrapped(entry.description, first=_INDENT, rest=_INDENT)
    return [head, *body] if head else body


def _tagged_lines(documentation: Documentation) -> list[str]:
    lines = [documentation.summary, ""]
    lines += [f"@param {p.name} {p.description}" for p in documentation.parameters]
    if documentation.returns:
        lines.append(f"@returns {documentation.returns.description}")
    lines += [f"@throws {e.name} {e.description}" for e in documentation.raises]
    if documentation.example:
        lines += ["@example", *documentation.example.split("\n")]
    return lines if len(lines) > 2 else lines[:1]  # noqa: PLR2004 - nothing but the summary


def _plain_lines(documentation: Documentation) -> Iterator[str]:
    yield documentation.summary
    sections = [
        ("Parameters", documentation.parameters),
        ("Returns", [documentation.returns] if documentation.returns else []),
        ("Errors", documentation.raises),
    ]
    for title, entries in sections:
        if entries:
            yield ""
            yield f"{title}:"
        for entry in entries:
            name = f"{entry.name}: " if entry.name else ""
            yield from _wrapped(f"- {name}{entry.description}", first="", rest="  ")
    if documentation.example:
        yield ""
        yield "Example:"
        yield from documentation.example.split("\n")


def _wrapped(text: str, *, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def _tidied(documentation: Documentation) -> Documentation:
    """The same, in which every text but the example is one line of what can be seen."""
    returns = documentation.returns
    return Documentation(
        summary=_one_line(documentation.summary),
        parameters=[_described(each) for each in documentation.parameters],
        returns=_described(returns) if returns else None,
        raises=[_described(each) for each in documentation.raises],
        example=textwrap.dedent(visible(documentation.example)).strip(),
    )


def _described(entry: Described) -> Described:
    return Described(_one_line(entry.name), _one_line(entry.type), _one_line(entry.description))


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())
