"""The ledger says which event a call was about, and who made it."""

from typing import Any

import aiohttp

from pipeline.local.simulated import SimulatedApi
from tests.local.simulated.conftest import asking, client_of


async def put(api: SimulatedApi, path: str, body: dict[str, Any]) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{api.base_url}{path}", json=body) as response,
    ):
        return response.status


async def test_a_pattern_that_is_no_pattern_is_refused(api: SimulatedApi) -> None:
    assert await put(api, "/admin/mark", {"pattern": "("}) == 400


async def test_calls_are_kept_with_their_mark_and_caller(api: SimulatedApi) -> None:
    assert await put(api, "/admin/mark", {"pattern": "E-[0-9]+"}) == 200
    async with client_of(api, "key-1") as one, client_of(api, "key-2") as two:
        await one.messages.create(**asking("About E-17, not E-18."))
        await two.messages.create(**asking("About E-17, not E-18."))
        await two.messages.create(**asking("About nothing."))
    first, second, third = api.control.ledger
    assert [first.mark, second.mark, third.mark] == ["E-17", "E-17", None]
    assert first.caller != second.caller == third.caller
    assert "key-1" not in str(first.caller)


async def test_without_a_pattern_nothing_of_the_content_is_kept(api: SimulatedApi) -> None:
    async with client_of(api) as client:
        await client.messages.create(**asking("About E-17."))
    assert [served.mark for served in api.control.ledger] == [None]
