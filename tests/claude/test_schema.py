"""Any schema becomes one that the API takes."""

from typing import Any

import pytest
from pydantic import BaseModel, Field

from pipeline.claude.request_body import UnsupportedSchema, api_schema
from tests.claude.questions import SCHEMA


class Line(BaseModel):
    amount: float = Field(ge=0, description="Net.")
    unit: str | None = None


class Invoice(BaseModel):
    number: str = Field(min_length=1, max_length=40, pattern=r"^\S+$")
    lines: list[Line] = Field(max_length=100)
    total: Line
    tags: list[str] = Field(default_factory=list, min_length=1)


class Node(BaseModel):
    children: list["Node"]


def test_a_schema_that_is_fine_comes_back_equal() -> None:
    assert api_schema(SCHEMA) == SCHEMA


def test_references_are_resolved_and_objects_closed_with_everything_required() -> None:
    schema: dict[str, Any] = api_schema(Invoice.model_json_schema())
    assert "$defs" not in schema
    assert schema["required"] == ["number", "lines", "total", "tags"]
    assert schema["additionalProperties"] is False
    line = schema["properties"]["lines"]["items"]
    assert line == schema["properties"]["total"]
    assert line["required"] == ["amount", "unit"]


def test_limits_the_api_refuses_are_said_in_words() -> None:
    schema: dict[str, Any] = api_schema(Invoice.model_json_schema())
    number = schema["properties"]["number"]
    assert number["pattern"] == r"^\S+$"
    assert "minLength" not in number
    assert "maxLength: 40" in number["description"]
    amount = schema["properties"]["total"]["properties"]["amount"]
    assert amount == {"description": "Net. (minimum: 0)", "type": "number"}
    assert "maxItems" not in schema["properties"]["lines"]
    assert schema["properties"]["tags"]["minItems"] == 1


def test_formats_the_api_does_not_know_are_said_in_words() -> None:
    assert api_schema({"type": "string", "format": "date"}) == {"type": "string", "format": "date"}
    assert api_schema({"type": "string", "format": "byte"}) == {
        "type": "string",
        "description": "(format: byte)",
    }


def test_one_of_becomes_any_of() -> None:
    schema = api_schema({"oneOf": [{"type": "string"}, {"type": "null"}]})
    assert schema == {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    "schema", [Node.model_json_schema(), {"$ref": "https://example.com/schema.json"}]
)
def test_what_cannot_be_expressed_is_an_error_at_the_start_not_a_400_for_each_event(
    schema: dict[str, Any],
) -> None:
    with pytest.raises(UnsupportedSchema):
        api_schema(schema)
