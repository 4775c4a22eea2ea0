"""The subset of JSON schema that structured outputs take."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.local.simulated.errors import ApiError

MAX_OPTIONAL = 24
MAX_UNIONS = 16
_ANYWHERE = frozenset({"title", "description", "default", "$defs", "definitions", "$schema"})
_KEYWORDS = _ANYWHERE | {
    "type", "enum", "const", "anyOf", "allOf", "$ref", "properties", "required",
    "additionalProperties", "items", "minItems", "format", "pattern",
}  # fmt: skip
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_COMPLEX_PATTERN = re.compile(r"\(\?[=!<]|\\[bB1-9]")


def check_schema(schema: Any) -> None:  # noqa: ANN401 - a schema is any JSON until it is checked
    """Refuse what the API refuses.

    Raises:
        ApiError: 400, naming the first thing that is not supported.
    """
    if not isinstance(schema, Mapping):
        raise _refused("the schema must be an object")
    _Check(schema).run()


def resolve(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref`; keywords beside it win over those it points to.

    Args:
        root: The whole schema, checked.
        schema: A part of it.
    """
    while isinstance(reference := schema.get("$ref"), str):
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_target(root, reference), **beside}
    return schema


def _target(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        raise _refused(f"external $ref {reference!r} is not supported")
    target: Any = root
    for step in reference[2:].split("/"):
        target = (
            target.get(step.replace("~1", "/").replace("~0", "~"))
            if isinstance(target, Mapping)
            else None
        )
    if not isinstance(target, Mapping):
        raise _refused(f"$ref {reference!r} points to nothing")
    return target


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._optional = 0
        self._unions = 0

    def run(self) -> None:
        self._visit(self._root, "", ("#",))
        if self._optional > MAX_OPTIONAL:
            raise _refused(
                f"Schemas contains too many optional parameters ({self._optional}), "
                f"the limit is {MAX_OPTIONAL}"
            )
        if self._unions > MAX_UNIONS:
            raise _refused(
                f"Schemas contains too many parameters with union types ({self._unions}), "
                f"the limit is {MAX_UNIONS}"
            )

    def _visit(self, schema: Any, path: str, references: tuple[str, ...]) -> None:  # noqa: ANN401
        where = path or "schema"
        if not isinstance(schema, Mapping):
            raise _refused(f"{where} must be an object")
        if unknown := sorted(set(schema) - _KEYWORDS):
            raise _refused(f"{where}: {unknown[0]!r} is not supported")
        self._check_values(schema, where)
        self._check_object(schema, where)
        self._check_unions(schema, where)
        reference = schema.get("$ref")
        if reference is not None:
            if reference in references:
                raise _refused(f"{where}: recursive schemas are not supported")
            self._visit(_target(self._root, reference), path, (*references, reference))
        for name, part in _parts(schema):
            self._visit(part, f"{path}.{name}".lstrip("."), references)

    def _check_values(self, schema: Mapping[str, Any], where: str) -> None:
        for kind in _types(schema):
            if kind not in _TYPES:
                raise _refused(f"{where}: {kind!r} is not a type")
        if "enum" in schema:
            values = schema["enum"]
            if not isinstance(values, Sequence) or isinstance(values, str) or not values:
                raise _refused(f"{where}: enum must be a list of values")
            if any(isinstance(value, Mapping | list) for value in values):
                raise _refused(f"{where}: enum values must not be objects or arrays")
        if schema.get("minItems", 0) not in {0, 1}:
            raise _refused(f"{where}: minItems other than 0 and 1 is not supported")
        if "format" in schema and schema["format"] not in _FORMATS:
            raise _refused(f"{where}: format {schema['format']!r} is not supported")
        if _COMPLEX_PATTERN.search(str(schema.get("pattern", ""))):
            raise _refused(f"{where}: the pattern is too complex")

    def _check_object(self, schema: Mapping[str, Any], where: str) -> None:
        if "object" not in _types(schema) and "properties" not in schema:
            return
        if schema.get("additionalProperties") is not False:
            raise _refused(
                f"{where}: for 'object' type, 'additionalProperties' must be set to false"
            )
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise _refused(f"{where}: properties must be an object, required a list")
        self._optional += len(set(properties) - set(required))

    def _check_unions(self, schema: Mapping[str, Any], where: str) -> None:
        if isinstance(schema.get("type"), list) or "anyOf" in schema:
            self._unions += 1
        for keyword in ("anyOf", "allOf"):
            parts = schema.get(keyword, [])
            if not isinstance(parts, list):
                raise _refused(f"{where}: {keyword} must be a list")
            if keyword == "allOf" and any("$ref" in part for part in parts):
                raise _refused(f"{where}: allOf with $ref is not supported")


def _types(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _parts(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    parts = list(schema.get("properties", {}).items())
    if "items" in schema:
        parts.append(("items", schema["items"]))
    for keyword in ("anyOf", "allOf"):
        parts += [(f"{keyword}[{i}]", part) for i, part in enumerate(schema.get(keyword, []))]
    return parts


def _refused(problem: str) -> ApiError:
    return ApiError(400, f"output_config.format.schema: {problem}")
