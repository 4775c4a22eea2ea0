import ast
from typing import Any

import pytest

from tests.samples.index import labels


def identity(label: dict[str, Any]) -> str:
    return str(label["id"])


@pytest.mark.parametrize("label", labels("documents"), ids=identity)
def test_the_facts_of_a_document_are_words_of_it(label: dict[str, Any]) -> None:
    text = label["text"].casefold()

    assert [fact for fact in label["facts"] if fact.casefold() not in text] == []
    assert all(set(action) == {"owner", "task", "due"} for action in label["actions"])


def test_requests_show_every_agent_and_both_models() -> None:
    agents = {label["agent"] for label in labels("requests")}

    assert agents == {"code_agent", "research_agent", "conversation_agent", "tools_agent"}
    assert {label["tier"] for label in labels("requests")} == {"haiku", "sonnet"}


@pytest.mark.parametrize("label", labels("code"), ids=identity)
def test_a_function_has_the_name_and_the_parameters_that_its_label_says(
    label: dict[str, Any],
) -> None:
    for name in (label["name"], *label["parameters"], *label["raises"]):
        assert name in label["source"]


@pytest.mark.parametrize(
    "label", [one for one in labels("code") if one["language"] == "python"], ids=identity
)
def test_a_python_function_parses_and_has_no_docstring(label: dict[str, Any]) -> None:
    (function,) = ast.parse(label["source"]).body

    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    assert ast.get_docstring(function) is None
    arguments = function.args.args + function.args.kwonlyargs
    assert [argument.arg for argument in arguments] == label["parameters"]


def test_code_comes_in_several_languages() -> None:
    languages = {label["language"] for label in labels("code")}

    assert {"python", "javascript", "go", "java"} <= languages


@pytest.mark.parametrize("label", labels("texts"), ids=identity)
def test_what_a_text_is_said_to_hold_stands_in_it_letter_for_letter(label: dict[str, Any]) -> None:
    for value in (*label["dates"], *label["emails"], *label["phones"]):
        assert value in label["text"]


def test_every_address_belongs_to_nobody() -> None:
    for label in labels("texts"):
        for address in label["emails"]:
            assert address.endswith(("@example.com", "@example.org", "@ example.com"))
