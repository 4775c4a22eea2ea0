"""Rate limits and spend limits as a client meets them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import pytest
from anthropic import AsyncAnthropic

from pipeline.local.simulated import Fault, Limits, SimulatedApi, Simulation
from tests.local.simulated.conftest import HAIKU, SONNET, asking, client_of


@pytest.fixture
async def limited() -> AsyncIterator[SimulatedApi]:
    async with SimulatedApi(Simulation(limits={HAIKU: Limits(requests=2)})) as api:
        yield api


async def test_above_the_limit_is_a_429_with_a_time_to_wait(limited: SimulatedApi) -> None:
    async with client_of(limited) as client:
        raw = await client.messages.with_raw_response.create(**asking())
        assert raw.headers["anthropic-ratelimit-requests-remaining"] == "1"
        await client.messages.create(**asking())
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(**asking())
    headers = refused.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 30
    assert headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert limited.control.ledger.counters()["models"][HAIKU]["billed"] == 2


async def test_each_model_has_buckets_of_its_own(limited: SimulatedApi) -> None:
    async with client_of(limited) as client:
        for _ in range(3):
            await client.messages.create(**asking(model=SONNET, thinking={"type": "between_tools"}))


async def test_limits_change_while_it_runs(limited: SimulatedApi) -> None:
    async with client_of(limited) as client, aiohttp.ClientSession() as http:
        url = f"{limited.base_url}/admin/limits"
        async with http.put(url, json={"*": {"requests": 1}}) as response:
            assert response.status == 200
        await client.messages.create(**asking())
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(**asking())
        async with http.put(url, json={HAIKU: {}}) as response:
            assert (await response.json())[HAIKU]["requests"] is None
        raw = await client.messages.with_raw_response.create(**asking())
        assert "anthropic-ratelimit-requests-limit" not in raw.headers


async def test_what_responses_say_of_the_limits_changes_while_it_runs(
    limited: SimulatedApi,
) -> None:
    async with client_of(limited) as client, aiohttp.ClientSession() as http:
        url = f"{limited.base_url}/admin/limit-headers"
        async with http.put(url, json={"sent": "renamed"}) as response:
            assert response.status == 200
        raw = await client.messages.with_raw_response.create(**asking())
        assert raw.headers["llm_provider-anthropic-ratelimit-requests-remaining"] == "1"
        assert "anthropic-ratelimit-requests-remaining" not in raw.headers
        async with http.put(url, json={"sent": "none"}) as response:
            assert response.status == 200
        await client.messages.create(**asking())
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.create(**asking())
        assert not [name for name in refused.value.response.headers if "ratelimit" in name]
        assert "retry-after" not in refused.value.response.headers
        async with http.put(url, json={"sent": "some"}) as response:
            assert response.status == 400


async def test_a_wrong_limit_is_refused(api: SimulatedApi) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{api.base_url}/admin/limits", json={"*": {"requests": 0}}) as response,
    ):
        assert response.status == 400


async def put_account(api: SimulatedApi, problem: str | None) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{api.base_url}/admin/account", json={"problem": problem}) as response,
    ):
        return response.status


async def test_a_tier_spend_limit_has_no_time_to_wait(
    api: SimulatedApi, client: AsyncAnthropic
) -> None:
    await put_account(api, "enforced_spend_limit_reached")
    with pytest.raises(anthropic.RateLimitError, match="monthly usage") as refused:
        await client.messages.create(**asking())
    assert "retry-after" not in refused.value.response.headers
    await put_account(api, None)
    await client.messages.create(**asking())


async def test_ones_own_spend_limit_is_a_400(api: SimulatedApi, client: AsyncAnthropic) -> None:
    await put_account(api, "own_spend_limit")
    with pytest.raises(anthropic.BadRequestError, match="specified API usage limits"):
        await client.messages.create(**asking())


async def test_there_is_no_other_problem(api: SimulatedApi) -> None:
    assert await put_account(api, "tired") == 400


async def test_growing_too_fast_names_itself() -> None:
    simulation = Simulation(faults=(Fault("ramp_limit", next=1),))
    async with SimulatedApi(simulation) as api, client_of(api) as client:
        with pytest.raises(anthropic.RateLimitError, match="ramp limit") as refused:
            await client.messages.create(**asking())
        assert refused.value.response.headers["retry-after"] == "10"
        await client.messages.create(**asking())


async def test_tokens_read_from_the_prompt_cache_do_not_count() -> None:
    system: list[dict[str, Any]] = [
        {"type": "text", "text": "Sort. " * 400, "cache_control": {"type": "ephemeral"}},
    ]
    simulation = Simulation(limits={HAIKU: Limits(input_tokens=1200)})
    async with SimulatedApi(simulation) as api, client_of(api) as client:
        for text in ("One.", "Two.", "Three."):
            await client.messages.create(**asking(text, system=system))
