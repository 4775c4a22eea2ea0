"""The stage `code`."""

from typing import Any

import pytest

from pipeline.config import CodeSettings
from pipeline.stages.code import Code, CodeAnswer, CodeEvent

STAGE = Code(CodeSettings())
SOURCE = """\
def retry(attempts: int, *codes, wait=0.5, **rest):
    if attempts < 1:
        raise ValueError("attempts")
    return wait
"""
EVENT = CodeEvent(id="F-1", language="Python", source=SOURCE)
GO = CodeEvent(
    id="F-2", language="go", source="func Chunk[T any](items []T, size int) [][]T { return nil }"
)


def part(name: str, kind: str = "", description: str = "A thing.") -> dict[str, str]:
    return {"name": name, "type": kind, "description": description}


RIGHT: dict[str, Any] = {
    "quote": "def retry(attempts: int, *codes, wait=0.5, **rest):",
    "name": "retry",
    "parameters": [part("attempts", "int"), part("codes"), part("wait", "float"), part("rest")],
    "returns": {"type": "float", "description": "Seconds to wait."},
    "raises": [{"name": "ValueError", "description": "If there is no attempt."}],
    "summary": "Retry a call.",
    "example": "retry(3)",
    "confidence": 0.9,
    "unclear": False,
}
RIGHT_GO = {
    **RIGHT,
    "quote": "func Chunk[T any](items []T, size int) [][]T",
    "name": "Chunk",
    "parameters": [part("items"), part("size")],
    "raises": [],
}


def answer(**changes: object) -> CodeAnswer:
    return CodeAnswer.model_validate({**RIGHT, **changes})


def strengths(event: CodeEvent = EVENT, /, **changes: object) -> dict[str, float]:
    return {signal.code: signal.strength for signal in STAGE.signals(event, answer(**changes))}


def test_a_right_answer_has_no_signal() -> None:
    assert strengths() == {}
    assert strengths(GO, **RIGHT_GO) == {}


def test_a_right_answer_is_published_with_the_docstring_made_of_it() -> None:
    result = STAGE.result(EVENT, answer())
    assert result.name == "retry"
    assert result.parameters[1].model_dump() == part("codes") | {"type": None}
    assert result.documentation.startswith('"""Retry a call.\n\nArgs:\n    attempts (int): A ')
    numpy = Code(CodeSettings(python_style="numpy")).result(EVENT, answer())
    assert "Parameters\n----------\nattempts : int\n    A thing." in numpy.documentation


def test_nothing_given_back_is_null() -> None:
    nothing = answer(returns={"type": "", "description": " "}, example="", raises=[])
    result = STAGE.result(EVENT, nothing)
    assert (result.returns, result.example, result.raises) == (None, None, [])
    assert "Returns" not in result.documentation


@pytest.mark.parametrize(
    ("changes", "code", "strength"),
    [
        ({"name": "repeat"}, "evidence_not_found", 1.0),
        ({"parameters": RIGHT["parameters"][:3]}, "broken_form", 1.0),
        ({"parameters": [*RIGHT["parameters"], part("more")]}, "broken_form", 1.0),
        ({"parameters": RIGHT["parameters"][::-1]}, "broken_form", 1.0),
        ({"quote": "def other():"}, "evidence_not_found", 1.0),
        ({"summary": ""}, "missing_field", 1.0),
    ],
)
def test_what_speaks_against_an_answer_is_a_signal(
    changes: dict[str, Any], code: str, strength: float
) -> None:
    assert strengths(**changes)[code] == strength


def test_the_real_parameters_are_named_in_the_doubt() -> None:
    signals = STAGE.signals(EVENT, answer(parameters=[]))
    assert [s.detail for s in signals] == ["The real parameters are: attempts, codes, wait, rest."]


def test_stars_in_front_of_a_parameter_do_no_harm() -> None:
    starred = [part("attempts"), part("*codes"), part("wait"), part("**rest")]
    assert strengths(parameters=starred) == {}


@pytest.mark.parametrize(
    ("source", "strength"), [("x = 1", 1.0), ("def retry(:", 0.6), ("print 'two'; retry", 0.6)]
)
def test_source_that_defines_nothing_is_unclear(source: str, strength: float) -> None:
    event = CodeEvent(id="1", language="python", source=source)
    assert strengths(event)["unclear"] == strength


def test_of_other_languages_every_name_must_be_in_the_source() -> None:
    assert strengths(GO, **{**RIGHT_GO, "name": "Slice"})["evidence_not_found"] == 1.0
    wrong = {**RIGHT_GO, "parameters": [part("items"), part("length")]}
    assert strengths(GO, **wrong)["evidence_not_found"] == 1.0


def test_of_other_languages_the_parameters_are_those_between_the_brackets() -> None:
    body = {**RIGHT_GO, "parameters": [part("items"), part("any")]}
    assert strengths(GO, **body)["broken_form"] == 1.0
    assert strengths(GO, **{**RIGHT_GO, "parameters": [part("items")]})["broken_form"] == 0.8
    assert strengths(GO, **RIGHT_GO) == {}


def test_empty_source_is_unclear() -> None:
    assert strengths(CodeEvent(id="1", language="c", source=" ")) == {"unclear": 1.0}
