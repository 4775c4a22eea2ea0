"""Which schemas structured outputs take."""

from typing import Any

import pytest

from pipeline.local.simulated.api_errors import ApiError
from pipeline.local.simulated.validation import check_schema


def an_object(**properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(properties),
    }


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("nothing", "must be an object"),
        (an_object(a={"type": "string", "minLength": 1}), "minLength"),
        (an_object(a={"type": "string", "maxLength": 9}), "maxLength"),
        (an_object(a={"type": "number", "minimum": 0}), "minimum"),
        (an_object(a={"type": "number", "multipleOf": 2}), "multipleOf"),
        (an_object(a={"type": "array", "items": {}, "minItems": 2}), "minItems"),
        (an_object(a={"type": "array", "items": {}, "maxItems": 2}), "maxItems"),
        (an_object(a={"type": "array", "items": {}, "uniqueItems": True}), "uniqueItems"),
        (an_object(a={"oneOf": [{"type": "string"}]}), "oneOf"),
        (an_object(a={"type": "text"}), "not a type"),
        (an_object(a={"enum": [{"b": 1}]}), "objects or arrays"),
        (an_object(a={"enum": []}), "enum"),
        (an_object(a={"type": "string", "format": "phone"}), "format"),
        (an_object(a={"type": "string", "pattern": "(?=x)y"}), "pattern"),
        (an_object(a={"$ref": "https://example.org/x"}), "external"),
        (an_object(a={"$ref": "#/$defs/Nowhere"}), "points to nothing"),
        (an_object(a={"allOf": [{"$ref": "#"}]}), "allOf"),
        ({"type": "object", "properties": {}}, "additionalProperties"),
        ({**an_object(), "additionalProperties": {"type": "string"}}, "additionalProperties"),
        (an_object(a={"$ref": "#"}), "recursive"),
        (
            {
                **an_object(a={"$ref": "#/$defs/Tree"}),
                "$defs": {
                    "Tree": an_object(below={"type": "array", "items": {"$ref": "#/$defs/Tree"}})
                },
            },
            "recursive",
        ),
        (
            {**an_object(**{f"p{i}": {"type": "string"} for i in range(25)}), "required": []},
            "optional",
        ),
        (an_object(**{f"p{i}": {"type": ["string", "null"]} for i in range(17)}), "union"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(schema: object, said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        check_schema(schema)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "schema",
    [
        an_object(),
        an_object(a={"type": "string", "format": "date", "description": "A day."}),
        an_object(a={"enum": ["x", None, 3]}, b={"const": "y"}),
        an_object(a={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        an_object(a={"type": "array", "items": {"type": "string"}, "minItems": 1}),
        an_object(a={"type": "string", "pattern": "^[A-Z]{3}$"}),
        {
            **an_object(a={"$ref": "#/$defs/Line"}, b={"$ref": "#/$defs/Line"}),
            "$defs": {"Line": an_object(amount={"type": "number"})},
        },
        {**an_object(**{f"p{i}": {"type": "string"} for i in range(24)}), "required": []},
        an_object(**{f"p{i}": {"type": ["string", "null"]} for i in range(16)}),
    ],
)
def test_what_is_supported_is_taken(schema: dict[str, Any]) -> None:
    check_schema(schema)
