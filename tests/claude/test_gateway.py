"""The gateway as a whole, on a clock that jumps and a client without a network."""

import asyncio
import copy
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.claude.client import HttpReply, NoReply
from pipeline.claude.fake import FakeClient, message
from pipeline.claude.gateway import Gateway
from pipeline.claude.observer import NoObserver
from pipeline.errors import Malformed, Refused, WrongUse
from pipeline.events import Tier, Usage
from pipeline.questions import Reply
from pipeline.settings import Settings
from pipeline.testing import run_in_virtual_time
from tests.claude.questions import Labelled, about
from tests.claude.server import body_of, shape

ANSWER = Labelled(label="billing", confidence=0.9, unclear=False)
CACHED = {"cache_read_input_tokens": 700}
START = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def now() -> float:
    return asyncio.get_running_loop().time()


class Watcher(NoObserver):
    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.reuses: Counter[str] = Counter()
        self.breakers: list[str] = []
        self.blocks: list[str | None] = []
        self.maybe_billed_usd = Decimal(0)

    def call(
        self, stage: str, model: str, end: str, *, seconds: float, usage: Usage | None
    ) -> None:
        self.ends[end] += 1

    def maybe_billed(self, stage: str, model: str, *, usd: Decimal | None) -> None:
        self.maybe_billed_usd += usd or 0

    def reused(self, stage: str, model: str, kind: str) -> None:
        self.reuses[kind] += 1

    def breaker(self, model: str, state: str) -> None:
        self.breakers.append(state)

    def blocked(self, model: str, *, because: str | None) -> None:
        self.blocks.append(because)


def recorded(name: str, **headers: str) -> HttpReply:
    found = shape(name)
    raw = {**found["headers"], **headers}.items()
    return HttpReply(
        found["status"], [(key.encode(), value.encode()) for key, value in raw], body_of(found)
    )


def good(request: dict[str, Any]) -> HttpReply:
    return message(ANSWER, usage=CACHED)


def opened(
    client: FakeClient, watcher: Watcher | None = None, settings: Settings | None = None
) -> Gateway:
    begin = now()
    return Gateway(
        settings or Settings(),
        observer=watcher,
        client=client,
        clock=now,
        now=lambda: START + timedelta(seconds=now() - begin),
        jitter=lambda: 1.0,
    )


async def ask_all(gateway: Gateway, count: int, stage: str = "tickets") -> list[Reply[Labelled]]:
    return await asyncio.gather(
        *(gateway.ask(about(f"{stage} {n}", stage=stage), Tier.HAIKU) for n in range(count))
    )


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


def test_a_prompt_that_is_too_short_for_the_cache_is_told_and_not_waited_for(
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
            (prompt,) = gateway.status().prompts
            assert prompt.too_short

    run_in_virtual_time(main())
    assert "too short for the prompt cache" in caplog.text


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
            assert gateway.closed_because("tickets", Tier.HAIKU) is not None
            assert gateway.closed_because("tickets", Tier.SONNET) is None
            await gateway.ask(about("other"), Tier.SONNET)
            assert now() - begin < 2
            await replies
            assert now() - begin > 7
            assert watcher.ends["rate_limited"] == 1
            assert watcher.breakers == []

    run_in_virtual_time(main())


def test_growing_too_fast_halves_the_calls_at_once_and_waits_as_asked() -> None:
    async def main() -> None:
        told = [recorded("ramp_limit")]

        def answer(request: dict[str, Any]) -> HttpReply:
            return told.pop() if told and len(client.sent) > 40 else good(request)

        client = FakeClient(answer, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            begin = now()
            replies = asyncio.create_task(ask_all(gateway, 200))
            await asyncio.sleep(8)
            sent, window = len(client.sent), gateway.status().models[0].window
            assert "wait" in str(gateway.closed_because("tickets", Tier.HAIKU))
            await asyncio.sleep(4)
            assert len(client.sent) == sent
            await replies
            assert now() - begin > 14
            assert gateway.status().models[0].window < 2 * window

    run_in_virtual_time(main())


def test_few_more_questions_are_of_use_at_once_than_may_be_under_way() -> None:
    async def main() -> None:
        settings = Settings()
        settings.stages.invoices.events_per_request = 3
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, settings=settings) as gateway:
            assert gateway.at_once("tickets", Tier.HAIKU) == 16
            assert gateway.at_once("invoices", Tier.HAIKU) == 3 * 16
            assert gateway.at_once("invoices", Tier.SONNET) == 16
            await ask_all(gateway, 200)
            window = gateway.status().models[0].window
            assert gateway.at_once("tickets", Tier.HAIKU) == window + window // 4

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
            reason = gateway.closed_because("tickets", Tier.HAIKU)
            assert reason is not None
            assert "529" in reason
            await replies
            assert now() - over_at < 8
            # A probe each few seconds, not a hundred questions over and over.
            assert watcher.ends["overloaded"] < 40
            assert watcher.breakers[0] == "open"
            assert watcher.breakers[-1] == "closed"
            assert gateway.closed_because("tickets", Tier.HAIKU) is None

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


def test_a_key_that_is_not_accepted_stops_intake_until_it_is_mended() -> None:
    async def main() -> None:
        watcher = Watcher()
        mended_at = now() + 100

        def answer(request: dict[str, Any]) -> HttpReply:
            return good(request) if now() >= mended_at else recorded("bad_key")

        client = FakeClient(answer)
        async with opened(client, watcher) as gateway:
            replies = asyncio.create_task(ask_all(gateway, 5))
            await asyncio.sleep(1)
            for tier in Tier:
                reason = gateway.closed_because("tickets", tier)
                assert reason is not None
                assert "ANTHROPIC_API_KEY" in reason
            assert gateway.status().blocked_because is not None
            await replies
            assert now() - mended_at < 20
            assert watcher.ends["blocked"] < 10
            assert watcher.blocks[-1] is None
            assert gateway.closed_because("tickets", Tier.SONNET) is None

    run_in_virtual_time(main())


def test_intake_opens_for_a_probe_when_nobody_is_left_to_wait() -> None:
    async def main() -> None:
        client = FakeClient(lambda _: recorded("spend_limit_of_tier"))
        async with opened(client) as gateway:
            asked = asyncio.create_task(gateway.ask(about("a"), Tier.HAIKU))
            await asyncio.sleep(1)
            assert gateway.closed_because("tickets", Tier.HAIKU) is not None
            asked.cancel()
            await asyncio.sleep(20)
            assert gateway.closed_because("tickets", Tier.HAIKU) is None

    run_in_virtual_time(main())


def test_a_400_about_the_frame_of_a_stages_requests_stops_that_stage_until_it_is_mended() -> None:
    async def main() -> None:
        broken = False

        def answer(request: dict[str, Any]) -> HttpReply:
            if broken and "tickets" in request["messages"][0]["content"][0]["text"]:
                error = {"type": "invalid_request_error", "message": "output_config.format: no."}
                return HttpReply(400, (), orjson.dumps({"type": "error", "error": error}))
            return good(request)

        client = FakeClient(answer, seconds=lambda: 0.5)
        async with opened(client) as gateway:
            await ask_all(gateway, 1, "first invoices")
            broken = True
            waiting = asyncio.create_task(ask_all(gateway, 1, "tickets"))
            await asyncio.sleep(3)
            assert "output_config" in (gateway.closed_because("tickets", Tier.HAIKU) or "")
            assert gateway.closed_because("invoices", Tier.HAIKU) is None
            assert gateway.closed_because("tickets", Tier.SONNET) is None
            assert len(client.sent) == 2
            begin = now()
            await ask_all(gateway, 3, "invoices")
            assert now() - begin < 3
            broken = False
            await waiting
            assert now() - begin < 20
            assert gateway.closed_because("tickets", Tier.HAIKU) is None

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
            assert gateway.closed_because("tickets", Tier.HAIKU) is None
            assert gateway.closed_because("tickets", Tier.SONNET) is not None
            asked.cancel()

    run_in_virtual_time(main())


def budgeted(path: Path, usd: str) -> Settings:
    settings = Settings()
    settings.claude.budget_usd_per_hour = Decimal(usd)
    settings.claude.budget_path = path / "spend.sqlite3"
    return settings


async def test_a_budget_that_is_used_up_stops_intake_and_survives_a_restart(
    tmp_path: Path,
) -> None:
    settings = budgeted(tmp_path, "0.00004")
    async with Gateway(settings, client=FakeClient(good), now=lambda: START) as gateway:
        await gateway.ask(about("a"), Tier.HAIKU)
        assert gateway.closed_because("tickets", Tier.HAIKU) is None
        await gateway.ask(about("b"), Tier.HAIKU)
        reason = gateway.closed_because("tickets", Tier.HAIKU)
        assert reason is not None
        assert "budget" in reason.lower()
        (spend,) = gateway.status().spending
        assert Decimal(spend.usd_this_hour) == Decimal("0.000054")
    client = FakeClient(good)
    async with Gateway(settings, client=client, now=lambda: START) as gateway:
        assert gateway.closed_because("invoices", Tier.SONNET) is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await gateway.ask(about("c"), Tier.HAIKU)
        assert client.sent == []


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


@pytest.mark.parametrize("off", ["everywhere", "for the stage"])
def test_reuse_can_be_switched_off(off: str) -> None:
    async def main() -> None:
        settings = Settings()
        if off == "everywhere":
            settings.claude.answer_cache = "off"
        else:
            settings.stages.tickets.answer_cache = False
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client, settings=settings) as gateway:
            await asyncio.gather(*(gateway.ask(about("same"), Tier.HAIKU) for _ in range(3)))
            assert len(client.sent) == 3

    run_in_virtual_time(main())


def test_a_refusal_that_is_shared_is_paid_once_and_asked_anew_later() -> None:
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
            (spend,) = gateway.status().spending
            assert Decimal(spend.usd_today) == (
                watcher.maybe_billed_usd + (reply.usage.cost_usd or 0)
            )

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


def limited(per_minute: int) -> Callable[[dict[str, Any]], HttpReply]:
    """An API with one request bucket, which is always told as full."""
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


async def test_answers_on_disk_are_not_paid_again_after_a_restart(tmp_path: Path) -> None:
    settings = Settings()
    settings.claude.answer_cache = "disk"
    settings.claude.answer_cache_path = tmp_path / "answers.sqlite3"
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
    settings.claude.answer_cache_path = tmp_path
    with pytest.raises(WrongUse, match=r"claude\.answer_cache_path"):
        async with Gateway(settings, client=FakeClient(good)):
            pass


def test_a_malformed_answer_is_raised_and_not_kept() -> None:
    async def main() -> None:
        bad = [recorded("answer_not_json")]
        client = FakeClient(lambda request: bad.pop() if bad else good(request))
        async with opened(client) as gateway:
            with pytest.raises(Malformed):
                await gateway.ask(about("a"), Tier.HAIKU)
            assert (await gateway.ask(about("a"), Tier.HAIKU)).usage.calls == 1

    run_in_virtual_time(main())


def test_a_budget_that_cannot_hold_because_a_price_is_unknown_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = budgeted(tmp_path, "1")
    settings.models.haiku = "claude-next"

    async def main() -> None:
        async with Gateway(settings, client=FakeClient(good)) as gateway:
            reply = await gateway.ask(about("a"), Tier.HAIKU)
            assert reply.usage.cost_usd is None

    asyncio.run(main())
    assert "price of claude-next is not known" in caplog.text


def test_schemas_of_equal_content_share_what_is_learnt() -> None:
    async def main() -> None:
        client = FakeClient(good, seconds=lambda: 1.0)
        async with opened(client) as gateway:
            questions = [
                replace(about(str(n)), answer_schema=copy.deepcopy(about("").answer_schema))
                for n in range(3)
            ]
            await asyncio.gather(*(gateway.ask(each, Tier.HAIKU) for each in questions))
            (prompt,) = gateway.status().prompts
            assert prompt.calls == 3

    run_in_virtual_time(main())
