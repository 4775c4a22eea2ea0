"""Refuses what the Messages API refuses; what it takes comes out as a `MessageRequest`.

PDF files are opened elsewhere: what they count comes in as a function.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import orjson
from pydantic import Field

from pipeline.local.simulated.api_errors import ApiError, Shape, invalid, read_shape
from pipeline.local.simulated.message import MessageRequest
from pipeline.local.simulated.prompt import MAX_MESSAGES, MediaTokens, Prompt, Turn, read_ttl
from pipeline.local.simulated.served_models import (
    MODELS,
    SCHEMA_OVERHEAD,
    Model,
    ThinkingType,
    text_tokens,
)

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
    """Follow `$ref`; keywords beside it win over those it points to."""
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
        name = step.replace("~1", "/").replace("~0", "~")
        target = target.get(name) if isinstance(target, Mapping) else None
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
        for count, most, what in (
            (self._optional, MAX_OPTIONAL, "optional parameters"),
            (self._unions, MAX_UNIONS, "parameters with union types"),
        ):
            if count > most:
                raise _refused(f"Schemas contains too many {what} ({count}), the limit is {most}")

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


VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
_SAMPLING = ("temperature", "top_p", "top_k")
_OFF = frozenset({"disabled", "between_tools"})
_TOO_MUCH_EFFORT_FOR_OFF = frozenset({"xhigh", "max"})
_ASKS_FOR_REASONING = re.compile(r"</?(?:reasoning|thinking|thought)s?>", re.IGNORECASE)
_REASONING_FIELDS = frozenset({"reasoning", "thinking", "trace", "thoughts", "chain_of_thought"})


class _Format(Shape):
    type: Literal["json_schema"]
    json_schema: Any = Field(alias="schema")


class _OutputConfig(Shape, extra="forbid"):
    effort: str | None = None
    format: _Format | None = None


class _Thinking(Shape):
    type: ThinkingType
    budget_tokens: int = 0
    display: str | None = None


class _Tool(Shape):
    name: str
    input_schema: dict[str, Any]


class _ToolChoice(Shape):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class _Body(Shape, extra="forbid"):
    model: str
    max_tokens: int = Field(ge=0)
    messages: list[Turn] = Field(max_length=MAX_MESSAGES)
    output_config: _OutputConfig | None = None
    thinking: _Thinking | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    stop_sequences: list[str] | None = None
    service_tier: Literal["auto", "standard_only"] = "auto"
    stream: bool | None = None
    system: Any = None
    cache_control: Any = None
    container: Any = None
    diagnostics: Any = None
    inference_geo: Any = None
    metadata: Any = None
    speed: Any = None


def read_message(body: Any, pdf_tokens: MediaTokens, *, counting: bool = False) -> MessageRequest:  # noqa: ANN401
    """Check the body of `POST /v1/messages`.

    Args:
        body: The parsed JSON.
        pdf_tokens: See `MediaTokens`.
        counting: Whether only tokens are asked for; then `max_tokens` is not needed.

    Raises:
        ApiError: The documented error for the first thing that is wrong.
    """
    if not isinstance(body, Mapping):
        raise ApiError(400, "The request body must be a JSON object")
    if sampling := [name for name in _SAMPLING if name in body]:
        raise invalid(
            sampling[0], "sampling parameters are not supported by this model and version"
        )
    given = read_shape(_Body, {"max_tokens": 0, **body} if counting else body)
    if (model := MODELS.get(given.model)) is None:
        raise ApiError(404, f"model: {given.model}")
    _check_limits(given, model)
    max_tokens, form = given.max_tokens, given.output_config and given.output_config.format
    schema = form.json_schema if form else None
    effort = (given.output_config and given.output_config.effort) or model.default_effort
    thinks, shows = _thinking(given.thinking, model, effort, max_tokens)
    tools, tool = body.get("tools") or [], _forced_tool(given, model)
    if not max_tokens and not counting:
        _check_warm_up(given, has_format=form is not None, has_tool=tool is not None)
    prompt = Prompt(model, pdf_tokens)
    schema_bytes = b"" if form is None else orjson.dumps(schema)
    if form is not None:
        _checked(schema_bytes)
        prompt.add(b"format" + schema_bytes, SCHEMA_OVERHEAD + text_tokens(schema_bytes.decode()))
    prompt.add_tools(tools, forced=tool is not None)
    prompt.add_system(given.system)
    # Thinking and effort change how messages are read, so they stand between system and messages.
    prompt.add(orjson.dumps([thinks, effort, body.get("tool_choice")]), 0)
    content = prompt.add_messages(body["messages"], prefill=model.prefill)
    if isinstance(given.cache_control, Mapping):
        prompt.mark_last(read_ttl(given.cache_control, "cache_control"))
    blocks = prompt.finished()
    total = sum(block.tokens for block in blocks)
    if total > model.context:
        raise ApiError(400, f"prompt is too long: {total} tokens > {model.context} maximum")
    if tool is not None:
        schema = next(t["input_schema"] for t in tools if t["name"] == tool)
        schema_bytes = orjson.dumps(schema)
    instructions = "\n".join(prompt.instructions)
    if schema is None and (schema := _schema_in(instructions)) is not None:
        schema_bytes = orjson.dumps(schema)
    return MessageRequest(
        model=model,
        max_tokens=max_tokens,
        instructions=instructions,
        content=content,
        schema=schema,
        schema_json=schema_bytes,
        tool=tool,
        thinks=thinks,
        shows_thinking=shows,
        effort=effort,
        stop_sequences=tuple(given.stop_sequences or ()),
        stream=bool(given.stream),
        blocks=blocks,
        digest=prompt.digest(),
    )


def _schema_in(instructions: str) -> dict[str, Any] | None:
    """The JSON Schema of an object in their last line: a model then answers with such an object."""
    last = instructions.rstrip().rpartition("\n")[2]
    if not last.startswith("{"):
        return None
    try:
        schema = orjson.loads(last)
    except orjson.JSONDecodeError:
        return None
    return schema if schema.get("type") == "object" else None


def asks_for_reasoning(request: MessageRequest) -> bool:
    """Whether a request would make Sonnet 5.5 refuse with `reasoning_extraction`."""
    if request.model.line != "sonnet":
        return False
    return bool(_ASKS_FOR_REASONING.search(request.instructions)) or (
        request.schema is not None and _has_reasoning_field(request.schema)
    )


def _has_reasoning_field(schema: Any) -> bool:  # noqa: ANN401 - any part of a schema
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and _REASONING_FIELDS & properties.keys():
            return True
        return any(_has_reasoning_field(part) for part in schema.values())
    return isinstance(schema, list) and any(_has_reasoning_field(part) for part in schema)


def _check_limits(given: _Body, model: Model) -> None:
    if not all(stop.strip() for stop in given.stop_sequences or ()):
        raise invalid("stop_sequences", "each stop sequence must contain non-whitespace")
    if given.max_tokens > model.max_output:
        raise invalid(
            "max_tokens",
            f"{given.max_tokens} > {model.max_output}, which is the maximum allowed number of "
            f"output tokens for {model.id}",
        )
    effort = given.output_config and given.output_config.effort
    if effort and effort not in model.efforts:
        options = ", ".join(model.efforts) or "none"
        raise invalid("output_config.effort", f"{model.id} supports these levels: {options}")


@lru_cache(maxsize=512)
def _checked(schema_bytes: bytes) -> None:
    check_schema(orjson.loads(schema_bytes))


def _thinking(
    config: _Thinking | None, model: Model, effort: str, max_tokens: int
) -> tuple[bool, bool]:
    """Whether it thinks, and shows it."""
    if config is None:
        return model.thinks_by_default and max_tokens > 0, False
    kind = config.type
    if kind not in model.thinking:
        options = ", ".join(repr(option) for option in sorted(model.thinking))
        raise invalid("thinking.type", f"{kind!r} is not supported by {model.id}; use {options}")
    if kind in _OFF:
        if effort in _TOO_MUCH_EFFORT_FOR_OFF:
            raise invalid("thinking.type", f"{kind!r} cannot be combined with effort {effort!r}")
        return False, False
    if kind == "enabled" and not 1024 <= config.budget_tokens < max_tokens:  # noqa: PLR2004
        raise invalid("thinking.budget_tokens", "must be at least 1024 and less than max_tokens")
    return True, config.display == "summarized"


def _forced_tool(given: _Body, model: Model) -> str | None:
    choice = given.tool_choice
    if choice is None:
        return None
    if not given.tools:
        raise invalid("tool_choice", "may only be specified while providing tools")
    if choice.type in {"auto", "none"}:
        return None
    if not model.forced_tools:
        raise invalid("tool_choice.type", f"{choice.type!r} is not supported by {model.id}")
    name = choice.name if choice.type == "tool" else given.tools[0].name
    if name not in {tool.name for tool in given.tools}:
        raise invalid("tool_choice.name", f"Tool {name!r} not found in provided tools")
    return name


def _check_warm_up(given: _Body, *, has_format: bool, has_tool: bool) -> None:
    for present, what in (
        (given.stream, "stream"),
        (has_format, "output_config.format"),
        (has_tool, "tool_choice 'any' or 'tool'"),
        (given.thinking and given.thinking.type == "enabled", "thinking 'enabled'"),
    ):
        if present:
            raise invalid("max_tokens", f"0 cannot be combined with {what}")
