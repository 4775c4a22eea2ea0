"""Gateways and proxies against the SDK's own client: what they rename, drop and refuse."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from pipeline.local.simulated import Limits, Simulation
from tests.platforms.clients import asking
from tests.platforms.conftest import Start

ONE_A_MINUTE = Simulation(limits={"*": Limits(requests=1)})
Make = Callable[..., Any]


async def test_litellm_renames_the_headers_and_drops_when_to_come_back(
    start: Start, client: Make
) -> None:
    platform = await start("litellm", simulation=ONE_A_MINUTE)
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    assert raw.headers["llm_provider-anthropic-ratelimit-requests-remaining"] == "0"
    assert "anthropic-ratelimit-requests-remaining" not in raw.headers
    with pytest.raises(anthropic.RateLimitError) as caught:
        await one.messages.create(**asking(platform))
    headers = caught.value.response.headers
    assert headers["llm_provider-anthropic-ratelimit-requests-limit"] == "1"
    assert not [name for name in headers if name.endswith("retry-after")]


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-haiku-5-5",
        "vertex_ai/claude-haiku-4-5@20251001",
        "bedrock/anthropic.claude-haiku-5-5",
    ],
)
async def test_litellm_knows_ids_with_a_provider(model: str, start: Start, client: Make) -> None:
    platform = await start("litellm")
    one = client(platform)
    await one.messages.create(**asking(platform, model=model))
    with pytest.raises(anthropic.BadRequestError):
        await one.messages.create(**asking(platform, model="claude-haiku-5-5"))


async def test_a_plain_proxy_announces_nothing(start: Start, client: Make) -> None:
    platform = await start("proxy", simulation=ONE_A_MINUTE)
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    with pytest.raises(anthropic.RateLimitError) as caught:
        await one.messages.create(**asking(platform))
    for headers in (raw.headers, caught.value.response.headers):
        assert not [name for name in headers if "anthropic" in name or name == "retry-after"]
    with pytest.raises(anthropic.NotFoundError):
        await one.models.list()


@pytest.mark.parametrize("name", ["anthropic", "litellm", "proxy"])
async def test_keys_that_are_rotated_are_good_until_their_end(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name, auth="key-file")
    old = client(platform)
    await old.messages.create(**asking(platform))
    platform.credentials.expire()
    with pytest.raises(anthropic.AuthenticationError):
        await old.messages.create(**asking(platform))
    await client(platform).messages.create(**asking(platform))
