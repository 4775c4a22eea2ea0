"""Documentation, set in the form of each language."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.code import (
    AnsweredError,
    AnsweredPart,
    AnsweredReturn,
    CodeAnswer,
    PythonStyle,
    render,
)


def documented(
    summary: str,
    parameters: list[tuple[str, str, str]],
    returns: tuple[str, str],
    raises: list[tuple[str, str]],
    example: str,
) -> CodeAnswer:
    return CodeAnswer(
        quote="",
        name="f",
        summary=summary,
        parameters=[AnsweredPart(name=n, type=t, description=d) for n, t, d in parameters],
        returns=AnsweredReturn(type=returns[0], description=returns[1]),
        raises=[AnsweredError(name=name, description=said) for name, said in raises],
        example=example,
        confidence=1,
        unclear=False,
    )


RETRY = documented(
    "Retry a call.",
    [("attempts", "int", "How often, at most."), ("t", "", "Secs.")],
    ("float", "Seconds waited."),
    [("ValueError", "If there is no attempt.")],
    "retry(3)\nretry(5)",
)
BARE = documented("Do it.", [], ("", ""), [], "")

GOOGLE = '''"""Retry a call.

Args:
    attempts (int): How often, at most.
    t: Secs.

Returns:
    float: Seconds waited.

Raises:
    ValueError: If there is no attempt.

Example:
    retry(3)
    retry(5)
"""'''
NUMPY = '''"""Retry a call.

Parameters
----------
attempts : int
    How often, at most.
t
    Secs.

Returns
-------
float
    Seconds waited.

Raises
------
ValueError
    If there is no attempt.

Examples
--------
retry(3)
retry(5)
"""'''
JAVASCRIPT = """/**
 * Retry a call.
 *
 * @param attempts How often, at most.
 * @param t Secs.
 * @returns Seconds waited.
 * @throws ValueError If there is no attempt.
 * @example
 * retry(3)
 * retry(5)
 */"""
GO = """// Retry a call.
//
// Parameters:
// - attempts: How often, at most.
// - t: Secs.
//
// Returns:
// - Seconds waited.
//
// Errors:
// - ValueError: If there is no attempt.
//
// Example:
// retry(3)
// retry(5)"""


@pytest.mark.parametrize(
    ("language", "style", "text"),
    [
        ("python", "google", GOOGLE),
        ("Py", "numpy", NUMPY),
        ("JavaScript", "google", JAVASCRIPT),
        ("go", "google", GO),
        ("rust", "google", GO.replace("//", "///")),
        ("ruby", "google", GO.replace("//", "#")),
        ("sql", "google", GO.replace("//", "--")),
        ("brainfuck", "google", GO),
    ],
)
def test_each_language_has_its_form(language: str, style: PythonStyle, text: str) -> None:
    assert render(RETRY, language, style) == text


@pytest.mark.parametrize(
    ("language", "text"),
    [("python", '"""Do it."""'), ("c", "/**\n * Do it.\n */"), ("go", "// Do it.")],
)
def test_a_summary_alone_is_enough(language: str, text: str) -> None:
    assert render(BARE, language, "google") == text


name, kind, said = st.text(max_size=8), st.text(max_size=8), st.text(max_size=40)
documentations = st.builds(
    documented,
    said | st.sampled_from(['"""', "\\", 'say "x"', "*/", "a\\"]),
    st.lists(st.tuples(name, kind, said), max_size=2),
    st.tuples(kind, said),
    st.lists(st.tuples(name, said), max_size=2),
    said | st.sampled_from(['"""', "\\", "*/"]),
)


@given(documentations, st.sampled_from(["google", "numpy"]))
def test_a_docstring_always_parses_as_one(documentation: CodeAnswer, style: PythonStyle) -> None:
    docstring = render(documentation, "python", style)
    indented = "\n".join(f"    {line}" for line in docstring.split("\n"))
    tree = ast.parse(f"def f():\n{indented}\n    return 1\n")
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    assert len(function.body) == 2
    assert ast.get_docstring(function) is not None


@given(documentations)
def test_a_block_comment_ends_where_it_should(documentation: CodeAnswer) -> None:
    assert render(documentation, "java", "google").count("*/") == 1


@given(documentations, st.sampled_from(["go", "rust", "ruby", "sql"]))
def test_every_line_of_a_line_comment_is_one(documentation: CodeAnswer, language: str) -> None:
    marks = {"go": "//", "rust": "///", "ruby": "#", "sql": "--"}
    lines = render(documentation, language, "google").split("\n")
    assert all(line.startswith(marks[language]) for line in lines)
