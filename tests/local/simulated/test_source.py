"""Source code as the stand-in reads it: what is defined first, in many languages."""

from typing import Any

import orjson
import pytest

from pipeline.local.simulated.stand_in.answerer import Reader
from pipeline.local.simulated.stand_in.content import read_content
from pipeline.local.simulated.stand_in.label_scores import HAIKU
from pipeline.local.simulated.stand_in.source_code import find_definition

STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("source", "name", "parameters", "returns"),
    [
        pytest.param(
            "def area(width: float, *sizes, unit='m') -> float:\n    return 1.0\n",
            "area", [("width", "float"), ("sizes", ""), ("unit", "")], "float",
            id="python",
        ),
        pytest.param(
            "class Box:\n    def fold(self, times):\n        return times\n",
            "Box", [("times", "")], "",
            id="python class: what it is made with is guessed from the first brackets",
        ),
        pytest.param(
            "export const x = 1;\nexport async function load<T>(\n  url: string,\n"
            "  parse: (text: string) => T,\n): Promise<T> {\n}\n",
            "load", [("url", "string"), ("parse", "(text: string) => T")], "Promise<T>",
            id="typescript",
        ),
        pytest.param(
            "func Sum(a, b int) (int, error) {\n\treturn a + b, nil\n}\n",
            "Sum", [("a", "int"), ("b", "int")], "(int, error)",
            id="go",
        ),
        pytest.param(
            "public static List<String> split(String text, int limit) throws IOException {\n}\n",
            "split", [("text", "String"), ("limit", "int")], "List<String>",
            id="java",
        ),
        pytest.param(
            "pub fn first<T>(items: &[T], mut n: usize) -> Option<T> {\n}\n",
            "first", [("items", "&[T]"), ("n", "usize")], "Option<T>",
            id="rust",
        ),
        pytest.param(
            "char *trim(char *text, int n) {\n}\n",
            "trim", [("text", "char *"), ("n", "int")], "char *",
            id="c",
        ),
        pytest.param("void reset() {\n}\n", "reset", [], "", id="nothing in, nothing out"),
    ],
)  # fmt: skip
def test_the_first_definition_is_read(
    source: str, name: str, parameters: list[tuple[str, str]], returns: str
) -> None:
    definition = find_definition(source)
    assert definition is not None
    assert definition.name == name
    assert list(definition.parameters) == parameters
    assert definition.returns == returns
    assert definition.line in source


@pytest.mark.parametrize(
    "text", ["", "The pump (the old one) is broken. Please return it.", "x = 1\nprint(x)\n", "("]
)
def test_what_defines_nothing_is_no_source(text: str) -> None:
    assert find_definition(text) is None


def test_errors_are_those_that_it_raises_itself_each_once() -> None:
    definition = find_definition(
        "def f(x):\n    if x:\n        raise ValueError('no')\n    try:\n        g()\n"
        "    except OSError:\n        raise\n    raise ValueError('never')\n"
    )
    assert definition is not None
    assert definition.raises == ("ValueError",)
    assert not definition.gives_back


def test_a_schema_about_code_is_filled_from_the_definition() -> None:
    described = {"name": STRING, "type": STRING, "description": STRING}
    entry = {"type": "object", "properties": described, "required": list(described)}
    properties: dict[str, Any] = {
        "quote": STRING,
        "name": STRING,
        "parameters": {"type": "array", "items": entry},
        "summary": STRING,
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    source = "def wait_for(event, timeout: float = 5):\n    return event.wait(timeout)\n"
    content = read_content([f'<d name="language">python</d>\n<d name="source">\n{source}</d>'])
    answer = Reader(HAIKU).answer(orjson.dumps(schema), "", content)
    assert answer == {
        "quote": "def wait_for(event, timeout: float = 5):",
        "name": "wait_for",
        "parameters": [
            {"name": "event", "type": "", "description": "Event."},
            {"name": "timeout", "type": "float", "description": "Timeout."},
        ],
        "summary": "Wait for.",
    }
