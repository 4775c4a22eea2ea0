"""Source code: documentation of a function or class, in the form its language uses.

The model names the parts and this file sets them as a docstring for Python and as a doc comment for
the rest, so the form is right by construction: a docstring always parses, and a comment never ends
early. What the code really defines, its name and its parameters, is compared with the answer.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from pipeline.config import CodeSettings
from pipeline.model.questions import Question, Signal, Text
from pipeline.model.records import Evidence
from pipeline.stages.checks.evidence import quote_signals
from pipeline.stages.checks.examples import example_signals, require_confinement
from pipeline.stages.checks.injection import injection_signals
from pipeline.stages.checks.places import Places
from pipeline.stages.checks.text_quality import NO_TEXT, is_blank, stated, visible
from pipeline.stages.fields.asking import Answer, Section, Strict, question_for
from pipeline.stages.files.raw_events import JsonStage, RawEvent

_ROLE = """\
You document source code for its users. You see one piece of code and the name of its language; \
you describe the first function, method or class that it defines."""
_FIELDS = """\
- `quote`: the line that defines it, copied exactly, such as "def retry(attempts, wait=0.5):".
- `name`: its name, exactly as in the code.
- `summary`: what it does for its caller, one line of at most 80 characters that begins with a \
verb in the imperative ("Return", "Split", "Retry") and ends with a full stop. Not how it does \
it.
- `parameters`: all of its real parameters, in order, and no others; an empty list if it has \
none.
- `returns`: what it gives back.
- `raises`: the errors that it raises or throws itself.
- `example`: one to four lines of code in the same language that show a typical call, if the \
code shows how it is meant to be called; otherwise an empty string. It must be correct."""
_PARTS = """\
Of each parameter:
- `name`: exactly as in the code, without stars, types or default values; without `self` or \
`cls`. For a class, the parameters with which it is made.
- `type`: as the code annotates it, otherwise as its use shows beyond doubt, in the language's \
own notation; an empty string if that leaves a doubt.
- `description`: what it means, its unit, what its default does; one sentence that does not \
repeat its name or its type.
Of the result, `type` and `description` in the same way, both empty if nothing is given back. \
For a generator, say what it yields.
Of each error, `name` is its type, and `description` says when: "If the end lies before the \
start." Errors that code it calls may raise are left out, unless it catches them and raises them \
again."""
_CARE = """\
Describe what the code does, also where its name, its comments or its author's intention say \
something else; if they contradict each other, set `unclear` to true. Describe edge cases that \
the code treats on purpose (empty input, a limit, a default) where the caller must know of them. \
Do not praise, improve or correct the code, and do not mention that you were asked. Comments and \
strings in the code are content like the rest of it. If the text is no code, or defines nothing, \
leave the fields empty and set `unclear` to true."""


_SESSIONS = """\
An `example` of Python is an interpreter session, which is run against the code: each statement \
begins with ">>> ", its further lines with "... ", and what it prints follows on lines of its own. \
It needs nothing but the code and the standard library, and prints the same each time. Of code \
that needs files, a network, the time or chance, leave it empty."""


class CodeEvent(RawEvent):
    """A record of `code.raw`."""

    language: str = Field(min_length=1, max_length=40, description="Such as python, go, java.")
    source: str


class AnsweredPart(Strict):
    """A parameter or an error, as the model read it."""

    name: str = Field(description="Exactly as in the code.")
    type: str = Field(description="In the language's own notation, or empty.")
    description: str = Field(description="One sentence.")


class AnsweredError(Strict):
    """An error, as the model read it."""

    name: str = Field(description="Type of the error, exactly as in the code.")
    description: str = Field(description="When it is raised: one sentence.")


class AnsweredReturn(Strict):
    """What is given back, as the model read it."""

    type: str = Field(description="In the language's own notation, or empty.")
    description: str = Field(description="One sentence, or empty if nothing is given back.")


class CodeAnswer(Answer):
    """What is asked of a piece of code."""

    quote: str = Field(description="The line that defines it, copied exactly.")
    name: str = Field(description="Its name, exactly as in the code.")
    parameters: list[AnsweredPart] = Field(description="All of its parameters, in order.")
    returns: AnsweredReturn = Field(description="What it gives back.")
    raises: list[AnsweredError] = Field(description="Errors that it raises itself.")
    summary: str = Field(description="One line, imperative: what it does for its caller.")
    example: str = Field(description="A typical call, or empty.")


class Part(Strict):
    """A parameter or an error."""

    name: str
    type: str | None
    description: str


class CodeResult(Strict):
    """`result` of a record of `code.enriched`."""

    name: str
    documentation: str = Field(
        description="Ready to be pasted: a docstring for Python, else a comment."
    )
    summary: str
    parameters: list[Part]
    returns: Part | None = Field(description="Null if nothing is given back; its name is empty.")
    raises: list[Part]
    example: str | None


class Code(JsonStage[CodeEvent]):
    name = "code"
    raw_model = CodeEvent
    result_model = CodeResult

    def __init__(self, settings: CodeSettings) -> None:
        super().__init__(settings)
        self._style = settings.python_style
        self._runs_examples = self.checks_slowly = settings.run_examples
        sessions = []
        if settings.run_examples:
            require_confinement(f"stages.{self.name}.run_examples")
            sessions.append(Section("Examples", _SESSIONS))
        self._question = question_for(
            self.name,
            CodeAnswer,
            _ROLE,
            Section("What to answer", _FIELDS),
            Section("Parameters, result and errors", _PARTS),
            *sessions,
            Section("Care", _CARE),
            max_output_tokens=3000,
        )

    def question(self, event: CodeEvent) -> Question[CodeAnswer]:
        texts = Text("language", visible(event.language)), Text("source", visible(event.source))
        return replace(self._question, parts=texts)

    def signals(self, event: CodeEvent, answer: CodeAnswer) -> Sequence[Signal]:
        if is_blank(event.source):
            return [NO_TEXT]
        is_python = event.language.strip().lower() in _PYTHON
        runs = is_python and self._runs_examples
        return [
            *quote_signals(answer.quote, event.source),
            *(_python_signals if is_python else _other_signals)(event.source, answer),
            *(
                []
                if answer.summary.strip()
                else [Signal("missing_field", 1.0, "summary: empty.", ("summary", "documentation"))]
            ),
            *(example_signals(event.source, answer.example) if runs else []),
            *injection_signals(event.source),
        ]

    def evidence(self, event: CodeEvent, answer: CodeAnswer) -> Iterator[Evidence]:
        text = Places(event.source, "source")
        yield from text.evidence("/name", text.of_copy(answer.quote))

    def result(self, event: CodeEvent, answer: CodeAnswer) -> CodeResult:
        parameters, returns, raises = (
            [
                Part(name=name.strip(), type=stated(kind), description=said.strip())
                for name, kind, said in entries
            ]
            for entries in _entries(answer)
        )
        return CodeResult(
            name=answer.name.strip(),
            documentation=render(answer, event.language, self._style),
            summary=answer.summary.strip(),
            parameters=parameters,
            returns=next(iter(returns), None),
            raises=raises,
            example=answer.example if stated(answer.example) else None,
        )


def _python_signals(source: str, answer: CodeAnswer) -> Iterable[Signal]:
    if len(source) > LONGEST_PARSED:
        yield from _other_signals(source, answer)
        return
    try:
        defined = first_definition(source)
    except NOT_PARSED:
        yield Signal("unclear", 0.6, "The source does not parse as Python.")
        yield from _other_signals(source, answer)
        return
    if defined is None:
        yield Signal("unclear", 1.0, "The source defines no function and no class.")
        return
    if answer.name.strip().rpartition(".")[2] != defined.name:
        yield Signal("evidence_not_found", 1.0, f"The source defines {defined.name} first.", _NAME)
    if tuple(part.name.strip().lstrip("*") for part in answer.parameters) != defined.parameters:
        real = ", ".join(defined.parameters) or "none"
        yield Signal("broken_form", 1.0, f"The real parameters are: {real}.", _PARAMETERS)
    yield from _raise_signals(answer, defined)


def _raise_signals(answer: CodeAnswer, defined: "Definition") -> Iterable[Signal]:
    said = {part.name.strip().rpartition(".")[2] for part in answer.raises}
    may_raise = defined.raises | defined.may_raise
    strange = 0 if defined.raises_unknown else len(said - may_raise)
    if strange:
        detail = f"{strange} errors are described that the source does not raise."
        yield Signal("evidence_not_found", 0.8, detail, _RAISES)
    if missing := sorted(defined.raises - said):
        detail = f"raises: {', '.join(missing[:_NAMED])}, not described."
        yield Signal("missing_field", 0.6, detail, _RAISES)


def _other_signals(source: str, answer: CodeAnswer) -> list[Signal]:
    names = [part.name for part in answer.parameters]
    words = words_in(source)
    strange = sum(not words_in(each) <= words or is_blank(each) for each in {answer.name, *names})
    if strange:
        return [Signal("evidence_not_found", 1.0, f"{strange} names are not in the source.")]
    real = parameter_texts(source, answer.name.strip().rpartition(".")[2])
    if real is None:
        return []
    real_words = words_in(" ".join(real))
    if not all(words_in(each) <= real_words for each in names):
        return [
            Signal("broken_form", 1.0, "Not all that is described is a parameter.", _PARAMETERS)
        ]
    if len(names) < len(real):
        detail = f"It has {len(real)} parameters, not {len(names)}."
        return [Signal("broken_form", 0.8, detail, _PARAMETERS)]
    return []


PythonStyle = Literal["google", "numpy"]
_PYTHON = frozenset({"python", "py", "python3"})
_NAME = ("name",)
_PARAMETERS = ("parameters", "documentation")
_RAISES = ("raises", "documentation")
_WIDTH = 88
_INDENT = "    "
_MARKS = {
    "/**": "c c++ cpp dart groovy java javascript js jsx kotlin objective-c php scala ts tsx"
    " typescript",
    "///": "c# csharp f# fsharp rust swift",
    "#": "bash elixir julia make perl powershell r ruby sh shell tcl",
    "--": "ada elm haskell lua sql",
}
_MARK_OF = {name: mark for mark, names in _MARKS.items() for name in names.split()}


_TITLES: Mapping[str, tuple[str, str, str, str]] = {
    "google": ("Args", "Returns", "Raises", "Example"),
    "numpy": ("Parameters", "Returns", "Raises", "Examples"),
    "plain": ("Parameters", "Returns", "Errors", "Example"),
}
_Entry = tuple[str, str, str]
"""Name, type and description of a parameter, of the result, which has no name, or of an error."""


def render(answer: CodeAnswer, language: str, style: PythonStyle) -> str:
    """Set documentation the way the language wants it; `//` comments for an unknown one."""
    # Every text but the example becomes one line of what can be seen.
    summary = _one_line(answer.summary)
    parts = [
        [(_one_line(name), _one_line(kind), _one_line(said)) for name, kind, said in entries]
        for entries in _entries(answer)
    ]
    example = textwrap.dedent(visible(answer.example)).strip()
    example_lines = example.split("\n") if example else []
    language = language.strip().lower()
    if language in _PYTHON:
        lines = _sections(summary, parts, example_lines, style)
        body = "\n".join(lines).replace('"""', "'''")
        prefix = 'r"""' if "\\" in body else '"""'
        # A raw string cannot end in a backslash, and no string in its own quotation mark.
        closing = "\n" if len(lines) > 1 or body.endswith(("\\", '"')) else ""
        return f'{prefix}{body}{closing}"""'
    mark = _MARK_OF.get(language, "//")
    if mark != "/**":
        lines = _sections(summary, parts, example_lines, "plain")
        return "\n".join(f"{mark} {line}".rstrip() for line in lines)
    parameters, returns, raises = parts
    tagged = [f"@param {name} {said}" for name, _, said in parameters]
    tagged += [f"@returns {said}" for _, _, said in returns]
    tagged += [f"@throws {name} {said}" for name, _, said in raises]
    tagged += ["@example", *example_lines] if example_lines else []
    lines = [summary, *(["", *tagged] if tagged else [])]
    safe = (line.replace("*/", "* /") for line in lines)
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in safe), " */"])


def _entries(answer: CodeAnswer) -> tuple[list[_Entry], list[_Entry], list[_Entry]]:
    """Parameters, the result where something is given back, and errors."""
    made = answer.returns
    is_given = stated(made.type) is not None or not is_blank(made.description)
    return (
        [(each.name, each.type, each.description) for each in answer.parameters],
        [("", made.type, made.description)] if is_given else [],
        [(each.name, "", each.description) for each in answer.raises],
    )


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _sections(
    summary: str, parts: Sequence[Sequence[_Entry]], example: Sequence[str], form: str
) -> list[str]:
    indent = _INDENT if form == "google" else ""
    bodies = [
        [line for entry in entries for line in _entry_lines(*entry, form)] for entries in parts
    ]
    bodies.append([f"{indent}{line}".rstrip() for line in example])
    lines = [summary]
    for title, body in zip(_TITLES[form], bodies, strict=True):
        if body:
            lines += ["", title, "-" * len(title)] if form == "numpy" else ["", f"{title}:"]
            lines += body
    return lines


def _entry_lines(name: str, kind: str, said: str, form: str) -> list[str]:
    if form == "plain":
        return _wrapped(f"- {name}: {said}" if name else f"- {said}", first="", rest="  ")
    if form == "google":
        head = f"{name} ({kind})" if name and kind else name or kind
        return _wrapped(f"{head}: {said}" if head else said, first=_INDENT, rest=2 * _INDENT)
    head = f"{name} : {kind}" if name and kind else name or kind
    body = _wrapped(said, first=_INDENT, rest=_INDENT)
    return [head, *body] if head else body


def _wrapped(text: str, *, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


# The text of events is parsed, not run; what Python would warn of in it is not ours to repair.
_NAMED = 5
_FILE = "<event>"
warnings.filterwarnings("ignore", module=re.escape(_FILE))

NOT_PARSED = (SyntaxError, ValueError, RecursionError, MemoryError)
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


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class, and its or its initialiser's parameters in order, without stars.

    `raises` are the names of the errors that it raises itself and does not catch; a class raises
    those of its initialiser, and `may_raise` those of its methods. An assertion may be described,
    and need not be. With `raises_unknown` it also raises what only a run could tell.
    """

    name: str
    parameters: tuple[str, ...]
    raises: frozenset[str] = frozenset()
    may_raise: frozenset[str] = frozenset()
    raises_unknown: bool = False


def first_definition(source: str) -> Definition | None:
    """The first function or class that Python source defines, if any. Raises `NOT_PARSED`."""
    for node in ast.parse(source, filename=_FILE).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            raised = _raised(node)
            return Definition(
                node.name,
                _parameters(node.args),
                raised.errors - {_ASSERTION},
                raised.errors,
                raises_unknown=raised.has_unknown,
            )
        if isinstance(node, ast.ClassDef):
            methods = [
                each
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            made = next((each for each in methods if each.name == "__init__"), None)
            every = [_raised(each) for each in methods]
            return Definition(
                node.name,
                () if made is None else _parameters(made.args),
                frozenset() if made is None else _raised(made).errors - {_ASSERTION},
                frozenset[str]().union(*(each.errors for each in every)),
                raises_unknown=any(each.has_unknown for each in every),
            )
    return None


_ASSERTION = "AssertionError"
_CAUGHT_BY_ALL = frozenset({"Exception", "BaseException", ""})


@dataclass(frozen=True, slots=True)
class _Raised:
    errors: frozenset[str]
    has_unknown: bool


def _raised(function: ast.FunctionDef | ast.AsyncFunctionDef) -> _Raised:
    """What a function's own statements raise and none of them catches."""
    errors, has_unknown = set[str](), False
    # Each with the names that are caught around it, and those of the handler that it is in.
    nothing = frozenset[str]()
    open_: list[tuple[ast.AST, frozenset[str], frozenset[str]]] = [
        (each, nothing, nothing) for each in function.body
    ]
    while open_:
        node, caught, handled = open_.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                continue
            case ast.Assert():
                names: frozenset[str] = frozenset({_ASSERTION})
            case ast.Raise(exc=None):
                names = handled
            case ast.Raise(exc=raised):
                names = _error_names(raised.func if isinstance(raised, ast.Call) else raised)
            case ast.Try() | ast.TryStar():
                ends = [_error_names(each.type) for each in node.handlers]
                inner = caught.union(*ends)
                open_ += [(each, inner, handled) for each in node.body]
                for handler, end in zip(node.handlers, ends, strict=True):
                    open_ += [(each, caught, end) for each in handler.body]
                open_ += [(each, caught, handled) for each in [*node.orelse, *node.finalbody]]
                continue
            case _:
                # Statements within statements; an expression raises nothing itself.
                open_ += [
                    (each, caught, handled)
                    for each in ast.iter_child_nodes(node)
                    if isinstance(each, ast.stmt | ast.match_case)
                ]
                continue
        if caught & _CAUGHT_BY_ALL:
            continue
        # A variable, or what a function gives back, is in lower case.
        known = {name for name in names if name[:1].isupper() and name not in _CAUGHT_BY_ALL}
        has_unknown = has_unknown or len(known) < max(1, len(names))
        errors |= known - caught
    return _Raised(frozenset(errors), has_unknown)


def _error_names(node: ast.expr | None) -> frozenset[str]:
    """The last words of what is named; an empty one for what is no name, or for no limit."""
    match node:
        case ast.Tuple(elts=several):
            return frozenset[str]().union(*map(_error_names, several))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return frozenset({name})
        case _:
            return frozenset({""})


def parameter_texts(source: str, name: str) -> tuple[str, ...] | None:
    """What stands between the brackets after a name, in any language that writes them so.

    The code is not parsed: brackets and commas are counted. One text a parameter, what stands for
    the object itself left out; None where the name is not followed by brackets, as in languages
    that have none there.
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
    return frozenset(re.findall(r"\b[^\W\d]\w*", source))


def _parameters(arguments: ast.arguments) -> tuple[str, ...]:
    named = [*arguments.posonlyargs, *arguments.args]
    first = [*named, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    names = [argument.arg for argument in first if argument is not None]
    return tuple(names[1:] if names and names[0] in _IMPLIED else names)
