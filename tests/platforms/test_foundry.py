"""The SDK's client for Foundry against the server: keys, tokens, deployments and errors."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from pipeline.local.simulated import Limits, Simulation
from tests.platforms.clients import asking
from tests.platforms.conftest import Start

Make = Callable[..., Any]


@pytest.mark.parametrize("auth", ["key", "entra"])
async def test_a_key_and_a_token_are_accepted_until_they_expire(
    auth: str, start: Start, client: Make
) -> None:
    platform = await start("foundry", auth=auth)
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    assert "apim-request-id" in raw.headers
    platform.credentials.expire()
    if auth == "entra":
        # The provider of tokens is asked each time, and has a new one.
        await one.messages.create(**asking(platform))
        return
    with pytest.raises(anthropic.AuthenticationError) as caught:
        await one.messages.create(**asking(platform))
    assert caught.value.response.json()["error"]["code"] == "401"


async def test_an_expired_token_is_a_401(start: Start, client: Make) -> None:
    platform = await start("foundry", auth="entra")
    token = platform.credentials.current().name
    platform.credentials.expire()
    one = client(platform, azure_ad_token_provider=lambda: token)
    with pytest.raises(anthropic.AuthenticationError):
        await one.messages.create(**asking(platform))


async def test_a_principal_without_the_role_is_a_403(start: Start, client: Make) -> None:
    platform = await start("foundry")
    platform.platform.denied = True
    with pytest.raises(anthropic.PermissionDeniedError):
        await client(platform).messages.create(**asking(platform))


async def test_models_are_asked_by_the_names_of_deployments(start: Start, client: Make) -> None:
    platform = await start("foundry")
    one = client(platform)
    message = await one.messages.create(**asking(platform, model="our-haiku"))
    assert message.model == "simulated-claude-haiku-5-5"
    with pytest.raises(anthropic.NotFoundError, match="DeploymentNotFound"):
        await one.messages.create(**asking(platform, model="their-haiku"))


async def test_limits_are_not_announced(start: Start, client: Make) -> None:
    platform = await start("foundry", simulation=Simulation(limits={"*": Limits(requests=1)}))
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    with pytest.raises(anthropic.RateLimitError) as caught:
        await one.messages.create(**asking(platform))
    for headers in (raw.headers, caught.value.response.headers):
        assert not [name for name in headers if "ratelimit" in name or name == "retry-after"]


async def test_tokens_are_counted_and_there_are_no_batches_and_no_models(
    start: Start, client: Make
) -> None:
    platform = await start("foundry")
    one = client(platform)
    counted = await one.messages.count_tokens(**asking(platform, max_tokens=None))
    assert counted.input_tokens > 0
    for path in ("/v1/models/claude-haiku-5-5", "/v1/messages/batches"):
        with pytest.raises(anthropic.NotFoundError):
            await one.get(path, cast_to=object)
