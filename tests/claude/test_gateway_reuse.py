"""Identical questions are asked once: in flight, from memory, from disk."""

import asyncio
from pathlib import Path

import pytest

from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.model.errors import Refused, UsageError
from pipeline.model.records import Tier, Usage
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import (
    ANSWER,
    Watcher,
    good,
    opened,
    recorded,
)
from tests.claude.questions import about


def test_identical_questions_in_flight_share_one_call() -> None:
    async def main() -> None:
        watcher = Watcher()
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, watcher) as gateway:
            replies = await asyncio.gather(
                *(gateway.ask(about("same"), Tier.HAIKU) for _ in range(4))
            )
            assert len(client.sent) == 1
            assert [reply.usage.calls for reply in replies] == [1, 0, 0, 0]
            assert [reply.usage.reused for reply in replies] == [0, 1, 1, 1]
            assert [reply.usage.cost_usd for reply in replies][1:] == [0, 0, 0]
            assert {reply.answer for reply in replies} == {ANSWER}
            assert watcher.reuses == {"in_flight": 3}

    run_in_virtual_time(main())


def test_a_recent_answer_is_not_paid_again_and_other_content_or_tier_is() -> None:
    async def main() -> None:
        watcher = Watcher()
        client = FakeClient(good)
        async with opened(client, watcher) as gateway:
            await gateway.ask(about("same"), Tier.HAIKU)
            again = await gateway.ask(about("same"), Tier.HAIKU)
            assert again.usage == Usage(reused=1)
            assert again.model == "claude-haiku-5-5"
            assert len(client.sent) == 1
            await gateway.ask(about("same"), Tier.SONNET)
            await gateway.ask(about("other"), Tier.HAIKU)
            assert len(client.sent) == 3
            assert watcher.reuses == {"memory": 1}

    run_in_virtual_time(main())


def test_identical_questions_share_a_call_whatever_stage_asks_and_whichever_asker_leaves() -> None:
    async def main() -> None:
        watcher = Watcher()
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, watcher) as gateway:
            first, second, third = (
                asyncio.create_task(gateway.ask(about("same", stage=stage), Tier.HAIKU))
                for stage in ("tickets", "texts", "documents")
            )
            await asyncio.sleep(0.1)
            first.cancel()
            third.cancel()
            assert (await second).usage == Usage(reused=1)
            assert len(client.sent) == 1
            assert watcher.reuses == {"in_flight": 1}
        # What was paid for is counted once, for the stage that asked first.
        assert watcher.spending.keys() == {("tickets", "hour"), ("tickets", "day")}

    run_in_virtual_time(main())


def test_reuse_can_be_switched_off() -> None:
    async def main() -> None:
        settings = Settings()
        settings.claude.answer_cache = "off"
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, settings=settings) as gateway:
            await asyncio.gather(*(gateway.ask(about("same"), Tier.HAIKU) for _ in range(3)))
            assert len(client.sent) == 3

    run_in_virtual_time(main())


def test_a_refusal_that_is_shared_is_paid_once_and_asked_again_later() -> None:
    async def main() -> None:
        client = FakeClient(lambda _: recorded("refusal"), seconds=lambda: 1.0)
        async with opened(client) as gateway:
            ends = await asyncio.gather(
                *(gateway.ask(about("same"), Tier.HAIKU) for _ in range(3)),
                return_exceptions=True,
            )
            usages = [end.usage for end in ends if isinstance(end, Refused)]
            assert [usage.calls for usage in usages] == [1, 0, 0]
            assert [usage.reused for usage in usages] == [0, 1, 1]
            with pytest.raises(Refused):
                await gateway.ask(about("same"), Tier.HAIKU)
            assert len(client.sent) == 2

    run_in_virtual_time(main())


def test_the_others_get_their_answer_when_the_first_asker_is_cancelled() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            first = asyncio.create_task(gateway.ask(about("same"), Tier.HAIKU))
            second = asyncio.create_task(gateway.ask(about("same"), Tier.HAIKU))
            await asyncio.sleep(0.5)
            first.cancel()
            assert (await second).answer == ANSWER
            assert len(client.sent) == 1

    run_in_virtual_time(main())


def test_an_answer_that_was_paid_is_kept_though_nobody_waited_for_it() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            asked = asyncio.create_task(gateway.ask(about("same"), Tier.HAIKU))
            await asyncio.sleep(0.5)
            asked.cancel()
            await asyncio.sleep(1)
            assert (await gateway.ask(about("same"), Tier.HAIKU)).usage.reused == 1
            assert len(client.sent) == 1

    run_in_virtual_time(main())


async def test_answers_on_disk_are_not_paid_again_after_a_restart(tmp_path: Path) -> None:
    settings = Settings()
    settings.claude.answer_cache = "disk"
    settings.claude.state_dir = tmp_path
    client, watcher = FakeClient(good), Watcher()
    async with Gateway(settings, client=client) as gateway:
        await gateway.ask(about("same"), Tier.HAIKU)
    async with Gateway(settings, client=client, observer=watcher) as gateway:
        replies = await asyncio.gather(*(gateway.ask(about("same"), Tier.HAIKU) for _ in range(2)))
        assert [reply.usage for reply in replies] == [Usage(reused=1)] * 2
        await gateway.ask(about("same"), Tier.HAIKU)
    assert len(client.sent) == 1
    assert watcher.reuses == {"disk": 1, "in_flight": 1, "memory": 1}


async def test_a_cache_file_that_cannot_be_used_is_an_error_that_names_its_setting(
    tmp_path: Path,
) -> None:
    settings = Settings()
    settings.claude.answer_cache = "disk"
    settings.claude.state_dir = tmp_path
    (tmp_path / "answers.sqlite3").mkdir()
    with pytest.raises(UsageError, match=r"claude\.state_dir"):
        async with Gateway(settings, client=FakeClient(good)):
            pass
