"""One request of the gateway warms the prompt cache before the others follow."""

import asyncio

import pytest

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
