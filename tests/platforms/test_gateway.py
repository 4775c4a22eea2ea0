"""The gateway on each platform: answers, limits, refusals, and credentials that expire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from pipeline.claude import limiter
from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.local.simulated import Fault
from pipeline.model.errors import Rejected
from pipeline.model.questions import Image
from pipeline.model.records import Tier
from tests.claude.gateways import Watcher
from tests.claude.questions import about
from tests.platforms import limits
from tests.platforms.conftest import Start
from tests.platforms.running import HAIKU, SONNET, Running

ROWS = [
    ("anthropic", "key-file"),
    ("aws", "container"),
    ("aws", "bearer"),
    ("bedrock", "container"),
    ("bedrock", "bearer"),
    ("bedrock-mantle", "container"),
    ("bedrock-mantle", "bearer"),
    ("vertex", "service-account"),
    ("google-cloud", "service-account"),
    ("foundry", "key"),
    ("litellm", "key-file"),
    ("proxy", "key-file"),
]
each_way = pytest.mark.parametrize(("name", "auth"), ROWS)
each_platform = pytest.mark.parametrize(
    ("name", "auth"), [row for row in ROWS if row[1] != "bearer"]
)
TOKENS = ("input_tokens", "cache_read_tokens", "output_tokens")


class Watched(Watcher):
    """Also says when calls are blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = asyncio.Event()

    def blocked(self, model: str, *, because: str | None) -> None:
        super().blocked(model, because=because)
        if because is not None:
            self.stopped.set()

    @property
    def reasons(self) -> list[str]:
        return [because for because in self.blocks if because is not None]


Open = Callable[..., Awaitable[tuple[Gateway, Watched]]]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens gateways on platforms; changes are of the table of the first tier."""
    monkeypatch.setattr(limiter, "PAUSE_WITHOUT_RETRY_AFTER", 0.01, raising=False)
    async with AsyncExitStack() as stack:

        async def gateway(platform: Running, **changes: Any) -> tuple[Gateway, Watched]:  # noqa: ANN401
            tables = {"haiku": platform.table(HAIKU) | changes, "sonnet": platform.table(SONNET)}
            settings = Settings.model_validate({"models": tables})
            settings.claude.backoff_max = 0.001
            watched = Watched()
            return await stack.enter_async_context(Gateway(settings, observer=watched)), watched

        yield gateway


@each_way
async def test_each_tier_answers_and_the_bill_is_that_of_the_ledger(
    name: str, auth: str, start: Start, opened: Open
) -> None:
    platform = await start(name, auth=auth)
    gateway, watched = await opened(platform)
    first = await gateway.ask(about("I was charged twice."), Tier.HAIKU)
    second = await gateway.ask(about("I was charged twice."), Tier.SONNET)
    assert {first.answer.label, second.answer.label} <= {"billing", "sales"}
    paid = platform.api.control.ledger.billed()
    assert [served.model for served in paid] == [HAIKU, SONNET]
    for found, served in zip((first, second), paid, strict=True):
        assert found.usage.cost_usd
        for kind in TOKENS:
            assert getattr(found.usage, kind) == getattr(served, kind)
    assert not platform.server.refused
    assert not watched.reasons


@each_way
async def test_credentials_that_expire_meanwhile_stop_nothing(
    name: str, auth: str, start: Start, opened: Open
) -> None:
    """Before their time, even: a key that is rotated, a session that is revoked."""
    platform = await start(name, auth=auth)
    gateway, watched = await opened(platform)
    for round_ in range(2):
        questions = [about(f"Ticket {round_}-{number}") for number in range(4)]
        await asyncio.gather(*(gateway.ask(each, Tier.HAIKU) for each in questions))
        platform.credentials.expire()
    assert len(platform.api.control.ledger.billed()) == 8
    assert watched.ends["answered"] == 8
    assert not watched.reasons
    assert "open" not in watched.breakers


async def test_tokens_of_entra_id_are_renewed_before_they_expire(
    start: Start, opened: Open
) -> None:
    """azure-identity keeps a token until its last five minutes, whoever refuses it."""
    platform = await start("foundry", auth="entra", life=200.0)
    gateway, watched = await opened(platform)
    for number in range(2):
        await gateway.ask(about(f"Ticket {number}"), Tier.HAIKU)
        platform.credentials.expire()
    assert platform.credentials.issued == 2
    assert not watched.reasons


@each_platform
async def test_a_throttled_call_is_made_again(
    name: str, auth: str, start: Start, opened: Open
) -> None:
    platform = await start(name, auth=auth)
    gateway, watched = await opened(platform)
    control = platform.api.control
    control.faults.add(Fault("rate_limited_bare", next=2), control.clock())
    await gateway.ask(about("I was charged twice."), Tier.HAIKU)
    assert watched.ends["rate_limited"] == 2
    assert not watched.reasons


@each_platform
async def test_an_outage_is_waited_for(name: str, auth: str, start: Start, opened: Open) -> None:
    platform = await start(name, auth=auth)
    gateway, watched = await opened(platform)
    control = platform.api.control
    control.faults.add(Fault("overloaded", next=1), control.clock())
    control.faults.add(Fault("disconnect", next=1), control.clock())
    await gateway.ask(about("I was charged twice."), Tier.HAIKU)
    assert watched.ends["answered"] == 1
    assert not watched.reasons


async def blocked(gateway: Gateway, watched: Watched) -> str:
    """Why the first question is not answered."""
    asked = asyncio.create_task(gateway.ask(about("I was charged twice."), Tier.HAIKU))
    stopped = asyncio.create_task(watched.stopped.wait())
    done, _ = await asyncio.wait({asked, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (asked, stopped):
        task.cancel()
    await asyncio.gather(asked, stopped, return_exceptions=True)
    assert asked not in done
    assert gateway.paused_reason("tickets", Tier.HAIKU) is not None
    return watched.reasons[0]


@each_platform
async def test_a_model_that_the_platform_does_not_have_stops_calls_with_a_reason(
    name: str, auth: str, start: Start, opened: Open
) -> None:
    platform = await start(name, auth=auth)
    gateway, watched = await opened(platform, model=platform.table(HAIKU)["model"] + "-of-nobody")
    assert await blocked(gateway, watched)
    assert platform.server.statuses.keys() <= {400, 404}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("aws", {"region": "eu-west-1"}),
        ("bedrock", {"region": "eu-west-1"}),
        ("bedrock-mantle", {"region": "eu-west-1"}),
        ("vertex", {"region": "europe-west1"}),
        ("vertex", {"project": "another-project"}),
        ("aws", {"workspace_id": "wrkspc_01Other"}),
    ],
)
async def test_another_region_project_or_workspace_stops_calls_with_a_reason(
    name: str, changes: dict[str, str], start: Start, opened: Open
) -> None:
    platform = await start(name)
    gateway, watched = await opened(platform, **changes)
    assert await blocked(gateway, watched)


@each_platform
async def test_a_caller_without_permission_stops_calls_with_a_reason(
    name: str, auth: str, start: Start, opened: Open
) -> None:
    platform = await start(name, auth=auth)
    platform.platform.denied = True
    gateway, watched = await opened(platform)
    assert await blocked(gateway, watched)


@pytest.mark.parametrize("name", ["bedrock", "bedrock-mantle", "vertex"])
async def test_an_image_that_is_too_large_for_the_platform_costs_its_event_alone(
    name: str, start: Start, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BASE64", 20_000)
    platform = await start(name)
    gateway, watched = await opened(platform)
    large = Image("image/png", bytes(20_000))
    with pytest.raises(Rejected):
        await gateway.ask(about(large), Tier.HAIKU)
    await gateway.ask(about("I was charged twice."), Tier.HAIKU)
    assert not watched.reasons


@pytest.mark.parametrize("name", ["bedrock", "bedrock-mantle", "vertex"])
async def test_a_request_that_is_too_large_for_the_platform_costs_its_event_alone(
    name: str, start: Start, opened: Open
) -> None:
    platform = await start(name)
    platform.platform.limit = 20_000
    gateway, watched = await opened(platform)
    with pytest.raises(Rejected):
        await gateway.ask(about("a" * 20_000), Tier.HAIKU)
    await gateway.ask(about("I was charged twice."), Tier.HAIKU)
    assert not watched.reasons
