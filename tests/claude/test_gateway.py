"""The gateway as a whole: how much at once, at what rate, and what becomes of an answer."""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.errors import Malformed
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.claude.gateways import (
    ANSWER,
    CACHED,
    ask_all,
    good,
    now,
    opened,
    recorded,
)
from tests.claude.questions import about


def test_at_once_allows_few_more_questions_than_may_be_under_way() -> None:
    async def main() -> None:
        settings = Settings()
        settings.claude.concurrency = 100
        settings.stages.invoices.events_per_request = 3
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, settings=settings) as gateway:
            assert gateway.at_once("tickets", Tier.HAIKU) == 16
            assert gateway.at_once("invoices", Tier.HAIKU) == 3 * 16
            assert gateway.at_once("invoices", Tier.SONNET) == 16
            await ask_all(gateway, 400)
            assert gateway.at_once("tickets", Tier.HAIKU) == 100 + 100 // 4

    run_in_virtual_time(main())


def test_the_effort_of_a_tier_arrives_in_its_requests() -> None:
    async def main() -> None:
        settings = Settings()
        settings.claude.haiku_effort, settings.claude.sonnet_effort = "medium", "high"
        asked: dict[str, str] = {}

        def answer(request: dict[str, Any]) -> HttpReply:
            asked[request["model"]] = request["output_config"]["effort"]
            return good(request)

        async with opened(FakeClient(answer), settings=settings) as gateway:
            for tier in Tier:
                await gateway.ask(about("Hello."), tier)
        models = settings.models
        assert asked == {models.haiku.model: "medium", models.sonnet.model: "high"}

    run_in_virtual_time(main())


def limited(per_minute: int) -> Callable[[dict[str, Any]], HttpReply]:
    """An API with one request bucket, which is always reported as full."""
    headers = {
        "date": "Sun, 22 Nov 2026 10:00:00 GMT",
        "anthropic-ratelimit-requests-limit": str(per_minute),
        "anthropic-ratelimit-requests-remaining": str(per_minute),
        "anthropic-ratelimit-requests-reset": "2026-11-22T10:00:00Z",
    }
    return lambda _: message(ANSWER, usage=CACHED, headers=headers)


def test_the_rate_is_that_of_the_headers_and_stages_share_it_fairly() -> None:
    async def main() -> None:
        client = FakeClient(limited(600), seconds=lambda: 0.3)
        async with opened(client) as gateway:
            begin = now()
            flood = asyncio.create_task(ask_all(gateway, 1000))
            await asyncio.sleep(20)
            assert 190 <= len(client.sent) <= 220
            asked = now()
            await ask_all(gateway, 20, "invoices")
            # Half of ten a second is theirs, however many tickets wait.
            assert now() - asked < 6
            await flood
            assert now() - begin == pytest.approx(1020 / 10, rel=0.03)

    run_in_virtual_time(main())


@pytest.mark.parametrize("headers", [True, False], ids=["limited", "no limit known"])
def test_a_flood_of_one_stage_leaves_the_others_half_of_what_there_is(*, headers: bool) -> None:
    async def main() -> None:
        answer = limited(600) if headers else good
        client = FakeClient(answer, seconds=lambda: 0.8)
        settings = Settings()
        settings.claude.concurrency = 8
        async with opened(client, settings=settings) as gateway:
            flood = asyncio.create_task(ask_all(gateway, 2_000, "tickets"))
            await asyncio.sleep(20)
            begin, so_far = now(), len(client.sent)
            invoices = asyncio.create_task(ask_all(gateway, 100, "invoices"))
            await asyncio.sleep(10)
            sent = [str(request["messages"]) for request in client.sent[so_far:]]
            share = sum("invoices" in each for each in sent) / len(sent)
            assert 0.45 <= share <= 0.55
            await invoices
            alone = 100 / (10 if headers else 8 / 0.8)
            assert now() - begin < 2.2 * alone
            flood.cancel()

    run_in_virtual_time(main())


def test_closing_gives_up_what_is_under_way() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 50.0)
        async with opened(client) as gateway:
            asked = [asyncio.create_task(gateway.ask(about(str(n)), Tier.HAIKU)) for n in range(3)]
            await asyncio.sleep(1)
        assert client.in_flight == 0
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)

    run_in_virtual_time(main())


def test_a_larger_limit_is_another_request() -> None:
    async def main() -> None:
        def answer(request: dict[str, Any]) -> HttpReply:
            short = request["max_tokens"] == 256
            return recorded("max_tokens_with_text") if short else good(request)

        client = FakeClient(answer)
        async with opened(client) as gateway:
            reply = await gateway.ask(about("a"), Tier.HAIKU, max_output_tokens=1024)
            assert reply.answer == ANSWER
            assert client.sent[0]["max_tokens"] == 1024

    run_in_virtual_time(main())


def test_a_malformed_answer_is_raised_and_not_kept() -> None:
    async def main() -> None:
        bad = [recorded("answer_not_json")]
        client = FakeClient(lambda request: bad.pop() if bad else good(request))
        async with opened(client) as gateway:
            with pytest.raises(Malformed):
                await gateway.ask(about("a"), Tier.HAIKU)
            assert (await gateway.ask(about("a"), Tier.HAIKU)).usage.calls == 1

    run_in_virtual_time(main())


def test_schemas_of_equal_content_share_what_is_learnt() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            questions = [
                replace(about(str(n)), answer_schema=copy.deepcopy(about("").answer_schema))
                for n in range(3)
            ]
            await asyncio.gather(*(gateway.ask(each, Tier.HAIKU) for each in questions))
            # The first warmed the prompt cache for all.
            begin = client.sent_at[0]
            assert [at - begin for at in client.sent_at] == [0, 1, 1]

    run_in_virtual_time(main())
