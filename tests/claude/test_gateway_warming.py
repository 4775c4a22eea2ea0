"""One request of the gateway warms the prompt cache before the others follow."""

import asyncio

import pytest

from pipeline.claude.calls import CompletedCall, InFlightCall
from pipeline.claude.failures import Attempts, Peers
from pipeline.claude.limiter import extra_slots
from pipeline.claude.rate_limits import NO_TOKENS
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.claude.gateways import (
    ANSWER,
    ask_all,
    good,
    now,
    opened,
)
from tests.claude.questions import about


def test_one_request_warms_the_prompt_cache_before_the_others_follow() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        starts = client.sent_at
        async with opened(client) as gateway:
            await ask_all(gateway, 6)
            begin = starts[0]
            assert [start - begin for start in starts] == [0, 1, 1, 1, 1, 1]
            await asyncio.sleep(200)
            await ask_all(gateway, 3, "invoices")
            assert now() - starts[-1] == pytest.approx(1)

    run_in_virtual_time(main())


def test_the_cache_is_warmed_again_after_it_has_expired() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        starts = client.sent_at
        async with opened(client) as gateway:
            await ask_all(gateway, 3)
            starts.clear()
            await asyncio.sleep(600)
            begin = now()
            await ask_all(gateway, 3, "tickets again")
            assert [start - begin for start in starts] == [0, 1, 1]

    run_in_virtual_time(main())


def test_a_request_that_hangs_while_it_warms_the_cache_does_not_hold_up_its_stage() -> None:
    async def main() -> None:
        seconds = iter([50.0])
        client = FakeClient(good, seconds=lambda: next(seconds, 1.0))
        async with opened(client) as gateway:
            begin = now()
            asked = [asyncio.create_task(gateway.ask(about(str(n)), Tier.HAIKU)) for n in range(6)]
            await asyncio.wait(asked[1:])
            starts = [start - begin for start in client.sent_at]
            assert starts == pytest.approx([0, 3, 4, 4, 4, 4])
            assert not asked[0].done()

    run_in_virtual_time(main())


def test_requests_that_all_hang_while_they_warm_the_cache_go_one_after_another() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 20.0)
        async with opened(client) as gateway:
            begin = now()
            await ask_all(gateway, 12)
            starts = [start - begin for start in client.sent_at]
            assert starts == pytest.approx([0, 3, 6, 9, 12, 15, 18, 20, 20, 20, 23, 23])

    run_in_virtual_time(main())


def test_a_prompt_that_is_too_short_for_the_cache_is_reported_and_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        client = FakeClient(lambda _: message(ANSWER), seconds=lambda: 1.0)
        starts = client.sent_at
        async with opened(client) as gateway:
            await ask_all(gateway, 4)
            starts.clear()
            await asyncio.sleep(600)
            await ask_all(gateway, 4, "tickets again")
            assert len(set(starts)) == 1

    run_in_virtual_time(main())
    assert "too short for the prompt cache" in caplog.text


def test_a_suspect_question_that_waits_for_a_slot_keeps_nobody_from_warming_the_cache() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            request = gateway._request(await gateway._masked(about("bad")), Tier.HAIKU, 256)
            suspect = Attempts(Peers(), 0, 0, count=2, suspect=True)
            limiter = request.limiter
            slots = [
                await limiter.acquire("tickets", NO_TOKENS, suspect)
                for _ in range(extra_slots(limiter.window.most)[1])
            ]
            waiting = asyncio.create_task(
                gateway._caller._attempt(request, InFlightCall(waiters=1), suspect)
            )
            await asyncio.sleep(1)
            begin = now()
            await gateway.ask(about("good"), Tier.HAIKU)
            assert now() - begin == 1
            assert len(client.sent) == 1
            limiter.release(slots[0])
            assert isinstance(await waiting, CompletedCall)

    run_in_virtual_time(main())
