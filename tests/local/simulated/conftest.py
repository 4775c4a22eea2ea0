"""A simulated API in this process and the real SDK in front of it."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message

from pipeline.local.simulated import SimulatedApi

HAIKU = "claude-haiku-5-5"
SONNET = "claude-sonnet-5-5"


@pytest.fixture
async def api() -> AsyncIterator[SimulatedApi]:
    """Answers at once, without limits and faults."""
    async with SimulatedApi() as server:
        yield server


@pytest.fixture
async def client(api: SimulatedApi) -> AsyncIterator[AsyncAnthropic]:
    """The unmodified SDK, without retries."""
    async with client_of(api) as made:
        yield made


def client_of(api: SimulatedApi, key: str = "sk-test") -> AsyncAnthropic:
    """The unmodified SDK, without retries."""
    return AsyncAnthropic(api_key=key, base_url=api.base_url, max_retries=0)


def asking(text: str = "My invoice is wrong.", **changes: object) -> dict[str, Any]:
    """A plain request; an option that is set to None is left out."""
    request = {
        "model": HAIKU,
        "max_tokens": 400,
        "thinking": {"type": "disabled"},
        "messages": [{"role": "user", "content": text}],
        **changes,
    }
    return {name: value for name, value in request.items() if value is not None}


def schema_of(**properties: object) -> dict[str, Any]:
    """The `output_config` that asks for an object of these properties."""
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(properties),
    }
    return {"effort": "low", "format": {"type": "json_schema", "schema": schema}}


def text_of(message: Message) -> str:
    """The text of an answer; blocks are distinguished by their type."""
    return "".join(block.text for block in message.content if block.type == "text")


def answer_of(message: Message) -> Any:  # noqa: ANN401 - what the schema says
    """The JSON of an answer."""
    return orjson.loads(text_of(message))
