"""Message batches through the SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types.messages import MessageBatch

from pipeline.local.simulated import Fault, SimulatedApi, Simulation
from tests.local.simulated.conftest import HAIKU, asking, client_of


@pytest.fixture
async def quick() -> AsyncIterator[SimulatedApi]:
    """Batches end as soon as their requests are answered."""
    async with SimulatedApi(Simulation(batch_seconds=0)) as api:
        yield api


def requests(*texts: str) -> list[Any]:
    return [{"custom_id": f"event-{i}", "params": asking(text)} for i, text in enumerate(texts)]


async def ended(client: AsyncAnthropic, batch: MessageBatch) -> MessageBatch:
    while batch.processing_status != "ended":
        await asyncio.sleep(0.005)
        batch = await client.messages.batches.retrieve(batch.id)
    return batch


async def results(client: AsyncAnthropic, batch: MessageBatch) -> dict[str, Any]:
    return {
        line.custom_id: line.result
        async for line in await client.messages.batches.results(batch.id)
    }


async def test_a_batch_ends_with_a_result_for_each_request(quick: SimulatedApi) -> None:
    async with client_of(quick) as client:
        batch = await client.messages.batches.create(requests=requests("One.", "Two."))
        assert batch.processing_status == "in_progress"
        assert batch.request_counts.processing == 2
        assert batch.results_url is None
        batch = await ended(client, batch)
        found = await results(client, batch)
    assert batch.request_counts.succeeded == 2
    assert batch.request_counts.processing == 0
    assert batch.ended_at is not None
    assert batch.expires_at > batch.created_at
    assert sorted(found) == ["event-0", "event-1"]
    assert found["event-0"].message.model == f"simulated-{HAIKU}"
    assert found["event-0"].message.usage.service_tier == "batch"


async def test_the_ledger_names_each_request_of_a_batch(quick: SimulatedApi) -> None:
    async with client_of(quick) as client:
        await ended(client, await client.messages.batches.create(requests=requests("One.", "Two.")))
    billed = quick.control.ledger.billed()
    assert [line.custom_id for line in billed] == ["event-0", "event-1"]
    assert {line.endpoint for line in billed} == {"batch"}


async def test_a_wrong_request_fails_alone_and_at_the_end(quick: SimulatedApi) -> None:
    wrong: list[Any] = [
        {"custom_id": "wrong", "params": asking(model="claude-nobody")},
        {"custom_id": "warm", "params": asking(max_tokens=0)},
    ]
    async with client_of(quick) as client:
        batch = await client.messages.batches.create(requests=[*requests("One."), *wrong])
        batch = await ended(client, batch)
        found = await results(client, batch)
    assert (batch.request_counts.succeeded, batch.request_counts.errored) == (1, 2)
    assert found["wrong"].error.error.type == "not_found_error"
    assert "max_tokens" in found["warm"].error.error.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "at least 1"),
        ([{"custom_id": "a b", "params": {}}], "custom_id"),
        ([{"custom_id": "x" * 65, "params": {}}], "custom_id"),
        ([{"custom_id": "a", "params": {}}] * 2, "not unique"),
        ([{"custom_id": "a"}], "params"),
    ],
)
async def test_ids_are_checked_at_once(quick: SimulatedApi, given: list[Any], said: str) -> None:
    async with client_of(quick) as client:
        with pytest.raises(anthropic.BadRequestError, match=said):
            await client.messages.batches.create(requests=given)


async def test_results_are_there_only_after_the_end(api: SimulatedApi) -> None:
    async with client_of(api) as client:
        batch = await client.messages.batches.create(requests=requests("One."))
        with pytest.raises(anthropic.AnthropicError, match="results"):
            await client.messages.batches.results(batch.id)
        with pytest.raises(anthropic.BadRequestError, match="in progress"):
            await client.messages.batches.delete(batch.id)


async def test_a_cancelled_batch_ends_unbilled(api: SimulatedApi) -> None:
    async with client_of(api) as client:
        batch = await client.messages.batches.create(requests=requests("One.", "Two."))
        cancelled = await client.messages.batches.cancel(batch.id)
        assert cancelled.cancel_initiated_at is not None
        batch = await ended(client, batch)
        found = await results(client, batch)
    assert batch.request_counts.canceled == 2
    assert {result.type for result in found.values()} == {"canceled"}
    assert api.control.ledger.billed() == []


async def test_requests_may_expire_or_fail() -> None:
    faults = (Fault("expired", next=1), Fault("errored", next=1))
    simulation = Simulation(batch_seconds=0, faults=faults)
    async with SimulatedApi(simulation) as api, client_of(api) as client:
        batch = await client.messages.batches.create(requests=requests("One.", "Two.", "Three."))
        batch = await ended(client, batch)
    counts = batch.request_counts
    assert (counts.expired, counts.errored, counts.succeeded) == (1, 1, 1)
    assert len(api.control.ledger.billed()) == 1


async def test_a_deleted_batch_is_gone(quick: SimulatedApi) -> None:
    async with client_of(quick) as client:
        batch = await ended(client, await client.messages.batches.create(requests=requests("One.")))
        await client.messages.batches.delete(batch.id)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.retrieve(batch.id)


async def test_batches_are_listed_newest_first_page_by_page(quick: SimulatedApi) -> None:
    async with client_of(quick) as client, client_of(quick, "another-key") as other:
        made = [
            (await client.messages.batches.create(requests=requests("One."))).id for _ in range(5)
        ]
        listed = [batch.id async for batch in client.messages.batches.list(limit=2)]
        first = await client.messages.batches.list(limit=2)
        before = await client.messages.batches.list(before_id=made[0], limit=2)
        assert [batch.id async for batch in other.messages.batches.list()] == []
        with pytest.raises(anthropic.NotFoundError):
            await other.messages.batches.retrieve(made[0])
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.batches.list(limit=1001)
    assert listed == made[::-1]
    assert [batch.id for batch in first.data] == made[:2:-1]
    assert [batch.id for batch in before.data] == made[2:0:-1]


async def test_ids_do_not_come_back_after_a_restart() -> None:
    ids = []
    for _ in range(2):
        async with SimulatedApi() as api, client_of(api) as client:
            ids.append((await client.messages.batches.create(requests=requests("One."))).id)
    assert ids[0] != ids[1]
