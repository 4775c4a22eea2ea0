"""What the gateway spends, counted for calls without an answer too, and its budgets."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Literal

import pytest

from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.model.questions import Question
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.claude.gateways import (
    ANSWER,
    START,
    ClaimsLog,
    Watcher,
    ask_all,
    good,
    now,
    opened,
)
from tests.claude.questions import Labelled, about


def budgeted(usd: str) -> Settings:
    settings = Settings()
    settings.claude.budget_usd_per_hour = Decimal(usd)
    return settings


async def test_a_budget_that_is_used_up_stops_intake_and_survives_a_restart() -> None:
    settings, claims = budgeted("0.00004"), ClaimsLog()
    watcher = Watcher()
    async with Gateway(
        settings, client=FakeClient(good), observer=watcher, now=lambda: START, share=claims
    ) as gateway:
        await gateway.ask(about("a"), Tier.HAIKU)
        assert gateway.paused_reason("tickets", Tier.HAIKU) is None
        await gateway.ask(about("b"), Tier.HAIKU)
        reason = gateway.paused_reason("tickets", Tier.HAIKU)
        assert reason is not None
        assert "budget" in reason.lower()
    assert watcher.spending["tickets", "hour"] == Decimal("0.000054")
    client = FakeClient(good)
    async with Gateway(settings, client=client, now=lambda: START, share=claims) as gateway:
        assert gateway.paused_reason("invoices", Tier.SONNET) is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await gateway.ask(about("c"), Tier.HAIKU)
        assert client.sent == []


async def test_gateways_that_share_a_budget_spend_no_more_than_it_and_one_call() -> None:
    settings, claims = budgeted("0.001"), ClaimsLog()
    paid = Decimal("0.000027")
    clients = [FakeClient(good, seconds=lambda: 0.001) for _ in range(3)]
    gateways = [Gateway(settings, client=each, now=lambda: START, share=claims) for each in clients]
    async with AsyncExitStack() as stack:
        for gateway in gateways:
            await stack.enter_async_context(gateway)
        asking = [
            asyncio.ensure_future(ask_all(each, 100, f"s{n}")) for n, each in enumerate(gateways)
        ]
        await asyncio.sleep(0.5)
        assert gateways[0].paused_reason("tickets", Tier.HAIKU) is not None
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    spent = paid * sum(len(client.sent) for client in clients)
    assert Decimal("0.001") <= spent <= Decimal("0.001") + paid * len(gateways)


@pytest.mark.parametrize("span", ["hour", "day"])
@pytest.mark.parametrize("whose", ["all", "tickets"])
async def test_each_budget_stops_whom_it_concerns_until_its_window_moves_over_restarts(
    span: str, whose: str
) -> None:
    settings, claims = Settings(), ClaimsLog()
    capped = settings.claude if whose == "all" else settings.stages.tickets
    setattr(capped, f"budget_usd_per_{span}", Decimal("0.00002"))
    moment = [START]

    def gateway() -> Gateway:
        return Gateway(settings, client=FakeClient(good), now=lambda: moment[0], share=claims)

    async with gateway() as first:
        await first.ask(about("a"), Tier.HAIKU)
    later = {"hour": timedelta(minutes=30), "day": timedelta(hours=11, minutes=30)}[span]
    for moved in (timedelta(), later - timedelta(seconds=1)):
        moment[0] = START + moved
        async with gateway() as again:
            reason = again.paused_reason("tickets", Tier.HAIKU) or ""
            assert f"for this {span} is used up" in reason
            assert ("of tickets" in reason) == (whose == "tickets")
            others = again.paused_reason("invoices", Tier.HAIKU)
            assert (others is None) == (whose == "tickets")
    moment[0] = START + later
    async with gateway() as opened_again:
        assert opened_again.paused_reason("tickets", Tier.HAIKU) is None
        assert (await opened_again.ask(about("b"), Tier.HAIKU)).usage.calls == 1


def test_a_call_that_timed_out_may_have_been_paid_and_is_counted() -> None:
    async def main() -> None:
        watcher = Watcher()
        takes = [1000.0]
        client = FakeClient(good, seconds=lambda: takes.pop() if takes else 0.1)
        async with opened(client, watcher) as gateway:
            begin = now()
            reply = await gateway.ask(about("slow"), Tier.HAIKU)
            assert 60 <= now() - begin < 62
            assert reply.usage.calls == 1
            assert watcher.ends == {"timed_out": 1, "answered": 1}
            assert watcher.maybe_billed_usd > 0
        spent = watcher.maybe_billed_usd + (reply.usage.cost_usd or 0)
        assert watcher.spending["tickets", "day"] == spent

    run_in_virtual_time(main())


def test_a_connection_that_was_never_made_costs_nothing() -> None:
    async def main() -> None:
        watcher = Watcher()
        ends: list[NoReply | HttpReply] = [NoReply("disconnected", "refused", sent=False)]
        client = FakeClient(lambda request: ends.pop() if ends else good(request))
        async with opened(client, watcher) as gateway:
            await gateway.ask(about("a"), Tier.HAIKU)
            assert watcher.ends["disconnected"] == 1
            assert watcher.maybe_billed_usd == 0

    run_in_virtual_time(main())


def test_a_budget_holds_although_a_price_is_unknown_and_warns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = budgeted("1")
    settings.models.haiku.model = "claude-next"

    async def main() -> None:
        client, watcher = FakeClient(lambda _: message(ANSWER, model="claude-next")), Watcher()
        async with Gateway(settings, client=client, observer=watcher) as gateway:
            reply = await gateway.ask(about("a"), Tier.HAIKU)
            assert reply.usage.cost_usd is None
        assert watcher.spending["tickets", "day"] > 0

    asyncio.run(main())
    assert "price of claude-next is not known" in caplog.text


async def test_a_failure_to_save_is_reported_at_once_and_raised_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(Watcher):
        def spent(self, stage: str, *, window: Literal["hour", "day"], usd: Decimal) -> None:
            if not stop.is_set():
                raise LookupError("nobody foresaw this")

    async def serve() -> None:
        client = FakeClient(good)
        async with Gateway(Settings(), client=client, observer=Broken(), failed=stop.set) as asked:
            await asked.ask(about("a"), Tier.HAIKU)
            await stop.wait()
        raise AssertionError("it went on")

    stop = asyncio.Event()
    monkeypatch.setattr("pipeline.claude.gateway.SAVE_SECONDS", 0.01)
    with pytest.raises(LookupError, match="foresaw"):
        await serve()


def of(tenant: str, name: str) -> Question[Labelled]:
    return replace(about(name), tenant=tenant)


async def test_what_waits_for_a_tenants_money_takes_no_place_of_others() -> None:
    settings, claims = Settings(), ClaimsLog()
    settings.stream.tenant_from = "key_prefix:/"
    settings.tenants.each.budget_usd_per_hour = Decimal("0.00004")
    moment = [now()]
    async with Gateway(
        settings,
        client=FakeClient(good),
        now=lambda: START,
        share=claims,
        clock=lambda: moment[0],
    ) as gateway:
        free = gateway.at_once("tickets", Tier.HAIKU)
        nobody = gateway.tenants_waiting(Tier.HAIKU)
        assert "acme" not in nobody
        for name in ("a", "b"):
            await gateway.ask(of("acme", name), Tier.HAIKU)
        waiting = [asyncio.ensure_future(gateway.ask(of("acme", n), Tier.HAIKU)) for n in "cde"]
        for _ in range(10):
            await asyncio.sleep(0)
        moment[0] += 1.0
        found = gateway.tenants_waiting(Tier.HAIKU)
        assert found is not nobody
        assert ("acme" in found, "other" in found) == (True, False)
        assert found.is_used_up("acme")
        assert gateway.tenants_waiting(Tier.HAIKU) is found
        assert gateway.paused_reason("tickets", Tier.HAIKU) is None
        await gateway.ask(of("other", "f"), Tier.HAIKU)
        assert gateway.at_once("tickets", Tier.HAIKU) >= free + 3
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize(
    ("asked", "said", "factor"),
    [
        (None, None, "1"),
        ("us", None, "1.1"),
        (None, "us", "1.1"),
        ("us", "global", "1"),
        ("us", "not_available", "1.1"),
    ],
)
async def test_where_inference_was_is_priced_by_the_answer_or_else_by_what_was_asked(
    asked: str | None, said: str | None, factor: str
) -> None:
    settings = Settings()
    settings.models.haiku.inference_geo = asked
    usage = {} if said is None else {"inference_geo": said}
    client = FakeClient(lambda _: message(ANSWER, usage=usage))
    async with Gateway(settings, client=client) as gateway:
        response = await gateway.ask(about("a"), Tier.HAIKU)
    assert response.usage.cost_usd == Decimal("0.00002") * Decimal(factor)


async def test_an_answer_says_where_and_with_which_prompt_it_was_asked() -> None:
    client = FakeClient(good)
    async with Gateway(Settings(), client=client) as gateway:
        first, again, other = [
            await gateway.ask(about(text, stage=stage), Tier.HAIKU)
            for text, stage in (("a", "tickets"), ("a", "tickets"), ("b", "tickets"))
        ]
        sonnet = await gateway.ask(about("a"), Tier.SONNET)
    assert again.usage.reused == 1
    assert first.prompt == again.prompt == other.prompt != sonnet.prompt
    assert len(first.prompt) == 16
    assert {first.provider, again.provider, sonnet.provider} == {"anthropic"}
