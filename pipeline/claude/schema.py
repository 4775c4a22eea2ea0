"""The part of JSON Schema that the API takes, made from any schema.

What the API answers 400 to becomes a sentence in the description, so that the model may still
follow it; the pipeline's own validation enforces it. Source: the structured outputs page of the
API documentation, October 2026.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

_ANNOTATIONS = frozenset({"title", "default", "examples", "$schema", "$id", "$comment", "$defs"})
"""Keywords that say nothing about what is valid."""
_SUPPORTED_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_REPLACED = frozenset({"required", "additionalProperties", "oneOf"})


class UnsupportedSchema(ValueError):
    """The API has no way to express this schema: recursion, or a reference to elsewhere."""


def api_schema(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Turn a schema into one that the API accepts.

    Objects are closed and all their properties required, which also keeps their order;
    references are resolved; limits on numbers, lengths and items move into descriptions. A schema
    that is already acceptable comes back equal.

    Raises:
        UnsupportedSchema: It contains itself, or refers to another document.
    """
    definitions = schema.get("$defs", {})
    return _Subset(definitions if isinstance(definitions, dict) else {}).convert(schema, ())


class _Subset:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def convert(self, schema: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        if "$ref" in schema:
            name = self._local_name(schema["$ref"], within)
            beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
            return self.convert({**self._definitions[name], **beside}, (*within, name))
        result: dict[str, Any] = {}
        said: list[str] = []
        for keyword, value in schema.items():
            if keyword in _ANNOTATIONS or keyword in _REPLACED:
                continue
            if self._is_supported(keyword, value):
                result[keyword] = self._nested(keyword, value, within)
            else:
                said.append(f"{keyword}: {value}")
        if "oneOf" in schema:
            result["anyOf"] = [self.convert(option, within) for option in schema["oneOf"]]
        if "properties" in result or result.get("type") == "object":
            result.setdefault("properties", {})
            result["required"] = list(result["properties"])
            result["additionalProperties"] = False
        if said:
            described = str(result.get("description", ""))
            result["description"] = f"{described} ({', '.join(said)})".strip()
        return result

    def _local_name(self, reference: object, within: tuple[str, ...]) -> str:
        name = str(reference).removeprefix("#/$defs/")
        if name not in self._definitions:
            raise UnsupportedSchema(f"{reference} is not defined in the schema itself")
        if name in within:
            raise UnsupportedSchema(f"{name} contains itself")
        return name

    @staticmethod
    def _is_supported(keyword: str, value: object) -> bool:
        match keyword:
            case "format":
                return value in _SUPPORTED_FORMATS
            case "minItems":
                return value in {0, 1}
            case "enum":
                return isinstance(value, list) and not any(
                    isinstance(v, (dict, list)) for v in value
                )
            case "type" | "const" | "description" | "pattern":
                return True
            case "properties" | "items" | "anyOf" | "allOf":
                return True
            case _:
                return False

    def _nested(self, keyword: str, value: Any, within: tuple[str, ...]) -> Any:  # noqa: ANN401 - a piece of JSON
        match keyword:
            case "properties":
                return {name: self.convert(part, within) for name, part in value.items()}
            case "items":
                return self.convert(value, within)
            case "anyOf" | "allOf":
                return [self.convert(part, within) for part in value]
            case _:
                return value
