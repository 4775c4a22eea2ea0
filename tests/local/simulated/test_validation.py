"""What the API refuses, it refuses here, with the documented error."""

from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from pipeline.local.simulated import SimulatedApi
from tests.local.simulated.conftest import HAIKU, SONNET, asking, client_of, schema_of

BETWEEN = {"type": "between_tools"}
TEXT = [{"type": "text", "text": "x"}]
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
TOOL = {"name": "note", "input_schema": {"type": "object", "properties": {}}}


async def post(
    api: SimulatedApi, body: object, headers: dict[str, str] | None = None
) -> httpx2.Response:
    """A request as it is, past the SDK's own checks."""
    given = {"authorization": "Bearer k", "anthropic-version": "2026-10-21", **(headers or {})}
    async with httpx2.AsyncClient(base_url=api.base_url) as http:
        return await http.post("/v1/messages", json=body, headers=given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0}, "temperature"),
        ({"top_p": 1}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 128_001}, "128000"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "system", "content": "x"}]}, "role"),
        (
            {
                "messages": [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": "The answer is"},
                ]
            },
            "prefill",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "enabled"),
        ({"output_config": {"effort": "xhigh"}}, "effort"),
        ({"output_config": {"effort": "utmost"}}, "effort"),
        ({"model": SONNET}, "disabled"),
        ({"output_format": {}}, "output_format"),
        ({"stop_sequences": [" "]}, "stop_sequences"),
        ({"system": [MARKED] * 5}, "maximum of 4"),
        (
            {
                "system": [
                    MARKED,
                    {**MARKED, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                ]
            },
            "ttl",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        (
            {
                "model": SONNET,
                "thinking": BETWEEN,
                "tools": [TOOL],
                "tool_choice": {"type": "any"},
            },
            "tool_choice",
        ),
        ({"max_tokens": 0, "stream": True}, "stream"),
        ({"max_tokens": 0, "output_config": schema_of(a={"type": "string"})}, "format"),
    ],
)
async def test_a_wrong_request_is_a_400_that_says_where(
    api: SimulatedApi, changes: dict[str, Any], said: str
) -> None:
    response = await post(api, asking(**changes))
    body = response.json()
    assert response.status_code == 400
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert said in body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]


async def test_what_is_no_json_is_a_400(api: SimulatedApi) -> None:
    async with httpx2.AsyncClient(base_url=api.base_url) as http:
        headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
        response = await http.post("/v1/messages", content=b"{", headers=headers)
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]


async def test_an_unknown_model_is_a_404(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="claude-nobody"):
        await client.messages.create(**asking(model="claude-nobody"))


async def test_a_key_is_needed(api: SimulatedApi) -> None:
    response = await post(api, asking(), {"authorization": ""})
    assert response.status_code == 401
    assert response.json()["error"]["type"] == "authentication_error"


async def test_a_key_known_as_bad_is_refused(api: SimulatedApi) -> None:
    async with client_of(api, "sk-ant-invalid") as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**asking())


async def test_both_ways_to_send_a_key_are_taken(api: SimulatedApi) -> None:
    response = await post(api, asking(), {"authorization": "", "x-api-key": "k"})
    assert response.status_code == 200


@pytest.mark.parametrize("version", ["", "2020-01-01"])
async def test_a_known_version_is_needed(api: SimulatedApi, version: str) -> None:
    response = await post(api, asking(), {"anthropic-version": version})
    assert response.status_code == 400
    assert "anthropic-version" in response.json()["error"]["message"]


async def test_a_body_above_32_mb_is_a_413(api: SimulatedApi) -> None:
    response = await post(api, asking("x" * (33 * 1024 * 1024)))
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "request_too_large"


async def test_a_prompt_longer_than_the_context_is_a_400(api: SimulatedApi) -> None:
    response = await post(api, asking("x" * 2_600_000))
    assert response.status_code == 400
    assert "too long" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        (HAIKU, {"type": "disabled"}),
        (HAIKU, BETWEEN),
        (SONNET, BETWEEN),
        (SONNET, {"type": "adaptive"}),
        ("claude-opus-5-5", {"type": "adaptive"}),
    ],
)
async def test_each_model_takes_its_ways_of_thinking(
    client: AsyncAnthropic, model: str, thinking: dict[str, str]
) -> None:
    message = await client.messages.create(**asking(model=model, thinking=thinking, max_tokens=900))
    assert message.model == f"simulated-{model}"


async def test_an_unknown_path_is_a_404(api: SimulatedApi) -> None:
    async with httpx2.AsyncClient(base_url=api.base_url) as http:
        headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
        response = await http.get("/v1/files", headers=headers)
    assert response.status_code == 404
