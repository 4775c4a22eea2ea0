"""The ledger and the switches of `/admin`, and the models that are listed."""

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from anthropic import AsyncAnthropic

from pipeline.local.simulated import Ledger, Served, SimulatedApi, Simulation
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.server import admin_routes
from tests.local.simulated.conftest import HAIKU, SONNET, asking


async def test_requests_and_their_sums_can_be_read_and_forgotten(
    api: SimulatedApi, client: AsyncAnthropic
) -> None:
    message = await client.messages.create(**asking())
    await client.messages.count_tokens(model=HAIKU, messages=[{"role": "user", "content": "x"}])
    async with aiohttp.ClientSession(api.base_url) as http:
        async with http.get("/admin/requests?limit=1") as response:
            body = await response.json()
        assert [line["endpoint"] for line in body["requests"]] == ["count_tokens"]
        sums = body["counters"]["models"][HAIKU]
        assert (sums["requests"], sums["billed"]) == (2, 1)
        assert sums["input_tokens"] == message.usage.input_tokens
        assert sums["output_tokens"] == message.usage.output_tokens
        async with http.delete("/admin/requests") as response:
            assert response.status == 200
        async with http.get("/admin/counters") as response:
            assert (await response.json())["models"] == {}


async def test_latency_and_batches_change_while_it_runs(api: SimulatedApi) -> None:
    async with aiohttp.ClientSession(api.base_url) as http:
        async with http.put("/admin/latency", json={"*": {"median": 0.5}}) as response:
            assert (await response.json())["*"]["median"] == 0.5
        async with http.put("/admin/batches", json={"seconds": 7}) as response:
            assert response.status == 200
        async with http.put("/admin/latency", json={"*": {"mean": 1}}) as response:
            assert response.status == 400
        async with http.put("/admin/latency", data=b"[]") as response:
            assert response.status == 400
    assert api.control.batch_seconds == 7
    assert api.control.latency_of(SONNET).median == 0.5


async def test_a_reset_makes_all_good_again(api: SimulatedApi, client: AsyncAnthropic) -> None:
    async with aiohttp.ClientSession(api.base_url) as http:
        await http.post("/admin/faults", json={"fault": "overloaded"})
        await http.put("/admin/account", json={"problem": "billing"})
        await http.post("/admin/reset")
    await client.messages.create(**asking())
    assert len(api.control.ledger) == 1


async def test_remotes_are_sent_away() -> None:
    route = next(r for r in admin_routes(Control(Simulation())) if r.path == "/admin/counters")
    request = make_mocked_request("GET", "/admin/counters")
    remote = request.clone(remote="192.0.2.1")
    assert (await route.handler(remote)).status == 403


def test_a_ledger_keeps_the_latest_and_sums_all() -> None:
    ledger = Ledger(keep=2)
    for i in range(5):
        ledger.add(Served(at=i, endpoint="messages", model=HAIKU, status=200, outcome="answered"))
    assert [line.at for line in ledger] == [3, 4]
    assert ledger.counters()["models"][HAIKU]["requests"] == 5


async def test_models_are_listed_and_described(client: AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]
    assert {HAIKU, SONNET} <= set(listed)
    sonnet = await client.models.retrieve(SONNET)
    assert sonnet.max_tokens == 128_000
    assert sonnet.capabilities is not None
    assert not sonnet.capabilities.thinking.types.disabled.supported
    with pytest.raises(Exception, match="claude-nobody"):
        await client.models.retrieve("claude-nobody")
