"""What goes wrong at the API stops whom it concerns, for as long as it lasts."""

import asyncio
import itertools
import random
from typing import Any

import orjson
import pytest

from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import (
    Watcher,
    ask_all,
    good,
    now,
    opened,
    recorded,
)
from tests.claude.questions import about


def test_a_429_stops_the_whole_model_for_as_long_as_it_says_and_no_other() -> None:
    async def main() -> None:
        watcher = Watcher()
        refused = [recorded("rate_limited")]

        def answer(request: dict[str, Any]) -> HttpReply:
            if request["model"] == "claude-haiku-5-5" and refused:
                return refused.pop()
            return good(request)

        client = FakeClient(answer, seconds=lambda: 0.1)
        async with opened(client, watcher) as gateway:
            begin = now()
            replies = asyncio.create_task(ask_all(gateway, 3))
            await asyncio.sleep(1)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is not None
            assert gateway.paused_reason("tickets", Tier.SONNET) is None
            await gateway.ask(about("other"), Tier.SONNET)
            assert now() - begin < 2
            await replies
            assert now() - begin > 7
            assert watcher.ends["rate_limited"] == 1
            assert watcher.breakers == []

    run_in_virtual_time(main())


def test_growing_too_fast_halves_the_calls_at_once_and_waits_as_asked() -> None:
    async def main() -> None:
        received = [recorded("ramp_limit")]

        def answer(request: dict[str, Any]) -> HttpReply:
            return received.pop() if received and len(client.sent) > 40 else good(request)

        client = FakeClient(answer, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            begin = now()
            replies = asyncio.create_task(ask_all(gateway, 200))
            await asyncio.sleep(8)
            sent, at_once = len(client.sent), gateway.at_once("tickets", Tier.HAIKU)
            assert "wait" in str(gateway.paused_reason("tickets", Tier.HAIKU))
            await asyncio.sleep(4)
            assert len(client.sent) == sent
            await replies
            assert now() - begin > 14
            assert gateway.at_once("tickets", Tier.HAIKU) < 2 * at_once

    run_in_virtual_time(main())


def test_an_outage_opens_the_breaker_and_everything_goes_on_when_it_is_over() -> None:
    async def main() -> None:
        watcher = Watcher()
        over_at = now() + 60

        def answer(request: dict[str, Any]) -> HttpReply:
            return good(request) if now() >= over_at else recorded("overloaded")

        client = FakeClient(answer, seconds=lambda: 0.2)
        async with opened(client, watcher) as gateway:
            replies = asyncio.create_task(ask_all(gateway, 100))
            await asyncio.sleep(10)
            reason = gateway.paused_reason("tickets", Tier.HAIKU)
            assert reason is not None
            assert "529" in reason
            await replies
            assert now() - over_at < 8
            # A probe each few seconds, not a hundred questions over and over.
            assert watcher.ends["overloaded"] < 40
            assert watcher.breakers[0] == "open"
            assert watcher.breakers[-1] == "closed"
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None

    run_in_virtual_time(main())


def test_throughput_is_back_within_seconds_of_an_outage_among_errors_by_chance() -> None:
    async def main() -> None:
        draws = random.Random(3)
        begin = now()
        outage = (20.0, 50.0)

        def answer(request: dict[str, Any]) -> HttpReply:
            if outage[0] <= now() - begin < outage[1] or draws.random() < 0.3:
                return recorded("overloaded")
            return good(request)

        watcher = Watcher()
        client = FakeClient(answer, seconds=lambda: 0.4 * draws.lognormvariate(0, 0.3))
        settings = Settings()
        settings.claude.concurrency = 16
        async with opened(client, watcher, settings) as gateway:
            answered: list[float] = []

            async def work(worker: int) -> None:
                for number in itertools.count():
                    await gateway.ask(about(f"{worker} {number}"), Tier.HAIKU)
                    answered.append(now() - begin)

            workers = [asyncio.create_task(work(n)) for n in range(32)]
            await asyncio.sleep(75)
            for worker in workers:
                worker.cancel()
            before = sum(10 <= moment < 20 for moment in answered) / 10
            during = sum(22 <= moment < 50 for moment in answered)
            after = sum(60 <= moment < 75 for moment in answered) / 15
            assert during == 0
            assert after >= 0.95 * before
            assert watcher.breakers[0] == "open"
            assert watcher.breakers[-1] == "closed"

    run_in_virtual_time(main())


def test_errors_by_chance_slow_nothing_but_themselves() -> None:
    async def main() -> None:
        watcher = Watcher()
        calls = 0

        def answer(request: dict[str, Any]) -> HttpReply:
            nonlocal calls
            calls += 1
            return recorded("server_error") if calls % 10 in {1, 5, 6} else good(request)

        client = FakeClient(answer, seconds=lambda: 0.4)
        async with opened(client, watcher) as gateway:
            await ask_all(gateway, 700)
            assert watcher.breakers == []
            assert watcher.ends["answered"] == 700

    run_in_virtual_time(main())


def test_errors_that_come_before_the_first_answers_after_a_pause_stop_nothing() -> None:
    async def main() -> None:
        draws, watcher = random.Random(5), Watcher()

        def answer(request: dict[str, Any]) -> HttpReply:
            return failures.pop() if failures else good(request)

        # What fails does so at once, and an answer takes three seconds.
        failures: list[HttpReply] = []
        client = FakeClient(answer, seconds=lambda: 0.1 if failures else 3.0)
        async with opened(client, watcher) as gateway:
            await ask_all(gateway, 200)
            for pause in range(20):
                await asyncio.sleep(draws.uniform(5, 60))
                asked = asyncio.create_task(ask_all(gateway, 40, f"tickets {pause}"))
                await asyncio.sleep(0.5)
                failures += [recorded("overloaded")] * 12
                await asyncio.create_task(ask_all(gateway, 12, f"more {pause}"))
                await asked
        assert watcher.breakers == []
        assert watcher.ends["overloaded"] == 20 * 12

    run_in_virtual_time(main())


def test_calls_that_all_hang_open_the_breaker_with_the_first_that_are_given_up() -> None:
    async def main() -> None:
        watcher, hangs = Watcher(), False
        client = FakeClient(good, seconds=lambda: 1_000.0 if hangs else 0.4)
        settings = Settings()
        settings.claude.concurrency = 64
        async with opened(client, watcher, settings) as gateway:
            workers = [asyncio.create_task(ask_all(gateway, 1_000, f"t{n}")) for n in range(3)]
            await asyncio.sleep(10)
            hangs = True
            await asyncio.sleep(60)
            assert watcher.breakers[0] == "open"
            # Those that were under way when the first was given up; each may have been paid for.
            assert watcher.ends["timed_out"] <= 64 + 16
            hangs = False
            await asyncio.gather(*workers)

    run_in_virtual_time(main())


def test_a_key_that_is_not_accepted_stops_intake_until_it_is_fixed() -> None:
    async def main() -> None:
        watcher = Watcher()
        fixed_at = now() + 100

        def answer(request: dict[str, Any]) -> HttpReply:
            return good(request) if now() >= fixed_at else recorded("bad_key")

        client = FakeClient(answer)
        async with opened(client, watcher) as gateway:
            replies = asyncio.create_task(ask_all(gateway, 5))
            await asyncio.sleep(1)
            for tier in Tier:
                reason = gateway.paused_reason("tickets", tier)
                assert reason is not None
                assert "ANTHROPIC_API_KEY" in reason
            assert "ANTHROPIC_API_KEY" in str(watcher.blocks)
            await replies
            assert now() - fixed_at < 20
            assert watcher.ends["blocked"] < 10
            assert watcher.blocks[-1] is None
            assert gateway.paused_reason("tickets", Tier.SONNET) is None

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("spend_limit_of_tier", "monthly"),
        ("spend_limit_of_contract", "contract"),
        ("spend_limit_of_own", "usage limits"),
    ],
)
def test_a_spend_limit_stops_every_stage_and_model_with_hardly_a_call(name: str, says: str) -> None:
    async def main() -> None:
        watchers = {"claude-haiku-5-5": list[bool](), "claude-sonnet-5-5": list[bool]()}

        class Blocks(Watcher):
            def blocked(self, model: str, *, because: str | None) -> None:
                watchers[model].append(because is not None)

        watcher, reached = Blocks(), False

        def answer(request: dict[str, Any]) -> HttpReply:
            return recorded(name) if reached else good(request)

        client = FakeClient(answer, seconds=lambda: 0.2)
        async with opened(client, watcher) as gateway:
            await ask_all(gateway, 5)
            reached = True
            begin = len(client.sent)
            waiting = asyncio.create_task(ask_all(gateway, 50, "tickets again"))
            await asyncio.sleep(1)
            at_once = len(client.sent) - begin
            await asyncio.sleep(600)
            for stage, tier in (("tickets", Tier.HAIKU), ("invoices", Tier.SONNET)):
                reason = gateway.paused_reason(stage, tier) or ""
                assert "spend limit" in reason
                assert says in reason
            assert at_once <= 16
            # One call each 15 s asks whether it is over.
            assert len(client.sent) - begin - at_once <= 40
            assert not waiting.done()
            assert watcher.ends["rate_limited"] == 0
            assert watcher.breakers == []
            reached = False
            await waiting
            await asyncio.sleep(2)
            assert gateway.paused_reason("invoices", Tier.SONNET) is None
        assert set(map(tuple, watchers.values())) == {(True, False)}

    run_in_virtual_time(main())


def test_intake_opens_for_a_probe_when_nobody_is_left_to_wait() -> None:
    async def main() -> None:
        client = FakeClient(lambda _: recorded("spend_limit_of_tier"))
        async with opened(client) as gateway:
            asked = asyncio.create_task(gateway.ask(about("a"), Tier.HAIKU))
            await asyncio.sleep(1)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is not None
            asked.cancel()
            await asyncio.sleep(20)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None

    run_in_virtual_time(main())


def test_a_400_about_the_frame_of_a_stages_requests_stops_that_stage_until_it_is_fixed() -> None:
    async def main() -> None:
        broken = False

        def answer(request: dict[str, Any]) -> HttpReply:
            if broken and "tickets" in request["messages"][0]["content"][0]["text"]:
                error = {"type": "invalid_request_error", "message": "output_config.format: no."}
                return HttpReply(400, {}, orjson.dumps({"type": "error", "error": error}))
            return good(request)

        client = FakeClient(answer, seconds=lambda: 0.5)
        async with opened(client) as gateway:
            await ask_all(gateway, 1, "first invoices")
            broken = True
            waiting = asyncio.create_task(ask_all(gateway, 1, "tickets"))
            await asyncio.sleep(3)
            assert "output_config" in (gateway.paused_reason("tickets", Tier.HAIKU) or "")
            assert gateway.paused_reason("invoices", Tier.HAIKU) is None
            assert gateway.paused_reason("tickets", Tier.SONNET) is None
            assert len(client.sent) == 2
            begin = now()
            await ask_all(gateway, 3, "invoices")
            assert now() - begin < 3
            broken = False
            await waiting
            assert now() - begin < 20
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None

    run_in_virtual_time(main())


def test_a_model_that_does_not_exist_blocks_itself_alone() -> None:
    async def main() -> None:
        def answer(request: dict[str, Any]) -> HttpReply:
            unknown = request["model"] == "claude-sonnet-5-5"
            return recorded("unknown_model") if unknown else good(request)

        async with opened(FakeClient(answer)) as gateway:
            asked = asyncio.create_task(gateway.ask(about("a"), Tier.SONNET))
            await ask_all(gateway, 3)
            await asyncio.sleep(1)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            assert gateway.paused_reason("tickets", Tier.SONNET) is not None
            asked.cancel()

    run_in_virtual_time(main())


@pytest.mark.parametrize("where", ["failure_of", "read_message"])
def test_a_bug_of_the_gateway_itself_keeps_no_slot_and_counts_what_may_have_been_paid(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_a_bug(*_: object, **__: object) -> None:
        raise LookupError("a bug")

    async def main() -> None:
        failing = where == "failure_of"
        client = FakeClient(lambda _: recorded("server_error") if failing else good({}))
        settings = Settings()
        settings.claude.concurrency = 4
        watcher = Watcher()
        async with opened(client, watcher, settings) as gateway:
            with monkeypatch.context() as patched:
                module = "pipeline.claude.failures" if failing else "pipeline.claude.calls"
                patched.setattr(f"{module}.{where}", has_a_bug)
                for n in range(10):
                    with pytest.raises(LookupError):
                        await asyncio.wait_for(gateway.ask(about(str(n)), Tier.HAIKU), 10)
            assert watcher.maybe_billed_usd > 0
            failing = False
            await asyncio.wait_for(gateway.ask(about("healthy"), Tier.HAIKU), 10)

    run_in_virtual_time(main())
