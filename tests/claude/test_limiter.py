"""Who goes next in the queue in front of one model."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pipeline.claude.budget import Budget, TenantBudgets, TenantLimits
from pipeline.claude.failover import LeavesEndpoint
from pipeline.claude.failures import Attempts, Blocked, Peers, Retry
from pipeline.claude.limiter import BREAKER_FAILURES, Limiter, Permit, block_breaker
from pipeline.claude.rate_limits import Cost
from pipeline.claude.responses import HttpReply
from pipeline.model.observer import Observer
from pipeline.testing import run_in_virtual_time
from tests.claude.gateways import now

SMALL, LARGE = Cost(10, 10), Cost(10, 5_000)


def limiter_of(concurrency: int = 8, *, budget: Budget | None = None) -> Limiter:
    budget = budget or Budget({"hour": None, "day": None}, {}, now=lambda: datetime.now(UTC))
    return Limiter(
        "claude-haiku-5-5",
        concurrency,
        account=block_breaker(),
        budget=budget,
        observer=Observer(),
        clock=now,
    )


def answer(per_minute: int, *, share: float = 1.0) -> HttpReply:
    """An answer that states a limit on output tokens, and which share of it remains."""
    name, full_in = "anthropic-ratelimit-output-tokens", round((1 - share) * 60)
    headers = {
        f"{name}-limit": str(per_minute),
        f"{name}-remaining": str(round(share * per_minute)),
        f"{name}-reset": f"2026-11-22T12:30:{full_in:02}Z",
        "date": "Sun, 22 Nov 2026 12:30:00 GMT",
    }
    return HttpReply(200, headers, b"")


NO_NEWS = HttpReply(200, {}, b"")


def attempts(*, failed: int = 0, suspect: bool = False) -> Attempts:
    return Attempts(Peers(), 0, 0, count=failed, suspect=suspect)


async def a_permit(limiter: Limiter) -> Permit:
    return await limiter.acquire("tickets", SMALL, attempts())


async def learn(limiter: Limiter, reply: HttpReply) -> None:
    """Answer one call, by which the limits are known."""
    limiter.answered(await a_permit(limiter), SMALL, reply)


async def seconds_until_the_next(limiter: Limiter) -> float:
    begin = now()
    await a_permit(limiter)
    return now() - begin


def test_those_that_wait_leave_once_they_are_to_go_elsewhere_and_not_those_under_way() -> None:
    async def main() -> None:
        out: list[bool] = []
        limiter = limiter_of(1)
        holder = await a_permit(limiter)
        waiting = [
            asyncio.create_task(
                limiter.acquire("tickets", SMALL, attempts(), leaves=lambda: bool(out))
            )
            for _ in range(2)
        ]
        staying = asyncio.create_task(a_permit(limiter))
        await asyncio.sleep(1)
        out.append(True)
        limiter.report()
        # One is given up in the very moment.
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert isinstance(waiting[0].exception(), LeavesEndpoint)
        assert waiting[1].cancelled()
        limiter.answered(holder, SMALL, NO_NEWS)
        limiter.release(await staying)

    run_in_virtual_time(main())


def test_a_call_given_up_before_it_is_sent_leaves_what_it_had_reserved_to_the_next() -> None:
    async def main() -> float:
        limiter = limiter_of(1)
        await learn(limiter, answer(60_000))
        holder = await a_permit(limiter)
        waiting = asyncio.create_task(limiter.acquire("tickets", LARGE, attempts()))
        await asyncio.sleep(1)
        # The permit is granted before it shows that nobody wants it any more.
        limiter.answered(holder, SMALL, NO_NEWS)
        waiting.cancel()
        await asyncio.wait([waiting])
        return await seconds_until_the_next(limiter)

    assert run_in_virtual_time(main()) == 0


def test_a_call_given_up_after_it_was_sent_keeps_its_reservation() -> None:
    async def main() -> float:
        limiter = limiter_of(1)
        await learn(limiter, answer(60_000))
        limiter.release(await limiter.acquire("tickets", LARGE, attempts()))
        return await seconds_until_the_next(limiter)

    assert run_in_virtual_time(main()) == pytest.approx(5, abs=0.3)


REFUSED = Retry("rate_limited", "The API answered 429: slow down")
TOKENS = Retry(
    "rate_limited", "The API answered 429", limits=frozenset({"input_tokens", "output_tokens"})
)
UNCLEAR = Blocked("The API rejects a request, and does not say why.", "stage", unclear=True)


@pytest.mark.parametrize("end", [REFUSED, UNCLEAR])
def test_a_recovery_starts_small_whatever_a_probe_shows_that_the_service_works(
    end: Retry | Blocked,
) -> None:
    async def main() -> None:
        limiter = limiter_of(256)
        while limiter.window.size < 256:
            for permit in [await a_permit(limiter) for _ in range(limiter.window.size)]:
                limiter.answered(permit, SMALL, NO_NEWS)
        await asyncio.sleep(60)
        down = Retry("overloaded", "The API answered 529")
        for _ in range(BREAKER_FAILURES):
            permit = await a_permit(limiter)
            limiter.failed(permit, down, NO_NEWS, attempts(failed=1))
        assert limiter.paused_reason("tickets") is not None
        probe = await a_permit(limiter)
        if isinstance(end, Retry):
            limiter.failed(probe, end, NO_NEWS, replace(attempts(failed=2), isolated=True))
        else:
            limiter.blocked(probe, end, replace(attempts(failed=2), isolated=True))
        assert limiter.paused_reason("tickets") is None
        assert limiter.window.size == 64

    run_in_virtual_time(main())


def test_a_probe_that_overtakes_repetitions_waits_for_the_tokens_that_it_needs_itself() -> None:
    async def main() -> None:
        limiter = limiter_of()
        await learn(limiter, answer(60_000, share=0.05))
        await asyncio.sleep(2)
        down = Retry("overloaded", "The API answered 529")
        for _ in range(BREAKER_FAILURES):
            limiter.failed(await a_permit(limiter), down, NO_NEWS, attempts(failed=1))
        again = asyncio.create_task(limiter.acquire("tickets", SMALL, attempts(failed=1)))
        new = asyncio.create_task(limiter.acquire("tickets", Cost(10, 20_000), attempts()))
        begin = now()
        await new
        # 3,000 of 20,000 tokens are there at first, and 1,000 come each second.
        assert now() - begin == pytest.approx(15, abs=1.1)
        assert not again.done()
        again.cancel()

    run_in_virtual_time(main())


def test_a_probe_is_a_question_that_has_not_failed_of_whatever_tenant() -> None:
    async def main() -> None:
        limiter = limiter_of()
        refused = Blocked("not found", "model")
        limiter.blocked(await a_permit(limiter), refused, attempts(failed=1))
        repetition = limiter.acquire("tickets", SMALL, attempts(failed=1), tenant="a")
        again = asyncio.create_task(repetition)
        await asyncio.sleep(0)
        new = asyncio.create_task(limiter.acquire("tickets", SMALL, attempts(), tenant="b"))
        await asyncio.wait([again, new], return_when=asyncio.FIRST_COMPLETED)
        assert new.done()
        assert not again.done()
        limiter.answered(await new, SMALL, NO_NEWS)
        limiter.release(await again)

    run_in_virtual_time(main())


def test_what_is_reserved_for_a_call_is_released_once() -> None:
    async def main() -> None:
        budget = Budget({"hour": Decimal(1), "day": None}, {}, now=lambda: datetime.now(UTC))
        limiter, reserved = limiter_of(1, budget=budget), budget._reserved
        permit = await limiter.acquire("tickets", SMALL, attempts(), Decimal("0.4"))
        waiting = asyncio.create_task(limiter.acquire("tickets", SMALL, attempts(), Decimal("0.3")))
        await asyncio.sleep(0)
        assert reserved["tickets"] == Decimal("0.4")
        limiter.answered(permit, SMALL, NO_NEWS)
        limiter.release(permit)
        assert reserved["tickets"] == Decimal("0.3")
        # It was granted, and is given up before it went.
        waiting.cancel()
        await asyncio.wait([waiting])
        assert reserved["tickets"] == 0

    run_in_virtual_time(main())


@pytest.mark.parametrize("stage", ["tickets", "invoices"])
def test_where_tokens_are_scarce_suspects_get_a_tenth_of_what_the_others_take(stage: str) -> None:
    async def main() -> None:
        limiter = limiter_of(64)
        await learn(limiter, answer(6_000))
        taken: Counter[bool] = Counter()

        async def work(*, suspect: bool) -> None:
            while True:
                asked = attempts(failed=2 * suspect, suspect=suspect)
                permit = await limiter.acquire(stage if suspect else "tickets", SMALL, asked)
                taken[suspect] += 1
                await asyncio.sleep(1)
                limiter.answered(permit, SMALL, answer(6_000))

        tasks = [asyncio.create_task(work(suspect=n % 2 == 0)) for n in range(100)]
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
        assert taken[True] / taken[False] == pytest.approx(0.1, abs=0.03)
        assert taken.total() > 200

    run_in_virtual_time(main())


def test_a_question_finds_no_suspect_before_it_where_tokens_are_scarce() -> None:
    async def main() -> None:
        limiter = limiter_of()
        await learn(limiter, answer(6_000))
        served: list[str] = []

        async def ask(name: str, **kinds: Any) -> None:  # noqa: ANN401 - of attempts()
            limiter.release(await limiter.acquire("tickets", Cost(10, 100), attempts(**kinds)))
            served.append(name)

        suspects = [
            asyncio.create_task(ask(f"suspect {n}", failed=2, suspect=True)) for n in range(9)
        ]
        await asyncio.sleep(0.1)
        await ask("good")
        await asyncio.wait(suspects)
        assert served.index("good") == 1
        assert len(served) == 10

    run_in_virtual_time(main())


def test_suspects_take_what_nobody_else_waits_for() -> None:
    async def main() -> None:
        limiter = limiter_of()
        await learn(limiter, answer(6_000))
        begin = now()
        for _ in range(50):
            permit = await limiter.acquire("tickets", SMALL, attempts(failed=2, suspect=True))
            limiter.answered(permit, SMALL, NO_NEWS)
        assert now() - begin < 10

    run_in_virtual_time(main())


def test_what_suspects_took_before_any_limit_was_known_is_not_held_against_them() -> None:
    async def main() -> None:
        limiter = limiter_of(1)
        holder = await a_permit(limiter)
        kinds = [attempts(), attempts(), *[attempts(failed=2, suspect=True)] * 20]
        early = [asyncio.create_task(limiter.acquire("tickets", SMALL, kind)) for kind in kinds]
        await asyncio.sleep(1)
        limiter.release(holder)
        await asyncio.sleep(1)
        # One question more waits for the window's only slot while a suspect goes.
        limiter.release(await early[2])
        await asyncio.sleep(1)
        assert sum(task.done() for task in early) == 1 + 17
        for task in early:
            task.cancel()
        assert limiter._due_to_suspects >= 0

    run_in_virtual_time(main())


def of_tenants(**named: TenantLimits) -> Budget:
    tenants = TenantBudgets(named=named)
    return Budget({}, {}, tenants, now=lambda: datetime(2026, 11, 22, 12, 30, tzinfo=UTC))


def test_a_tenant_without_money_holds_up_no_other() -> None:
    async def main() -> None:
        budget = of_tenants(acme=TenantLimits({"hour": Decimal(1)}))
        limiter = limiter_of(1, budget=budget)
        budget.add("tickets", Decimal(1), tenant="acme")
        broke = asyncio.create_task(
            limiter.acquire("tickets", SMALL, attempts(), Decimal(1), tenant="acme")
        )
        await asyncio.sleep(1)
        async with asyncio.timeout(1):
            await limiter.acquire("tickets", SMALL, attempts(), Decimal(1), tenant="other")
        assert not broke.done()
        broke.cancel()
        await asyncio.wait([broke])

    run_in_virtual_time(main())


def test_a_tenant_takes_its_share_of_the_limits_and_leaves_the_rest_to_others() -> None:
    async def main() -> tuple[float, float]:
        budget = of_tenants(acme=TenantLimits(rate_share=0.1))
        limiter = limiter_of(64, budget=budget)
        await learn(limiter, answer(6_000))

        async def calls(tenant: str) -> float:
            begin = now()
            for _ in range(50):
                permit = await limiter.acquire(
                    "tickets", SMALL, attempts(), Decimal(1), tenant=tenant
                )
                limiter.answered(permit, SMALL, answer(6_000))
            return now() - begin

        loud, other = await asyncio.gather(calls("acme"), calls("other"))
        return loud, other

    loud, other = run_in_virtual_time(main())
    # 10 of 6,000 tokens a minute are 0.1 s of all and 1 s of a tenth.
    assert loud == pytest.approx(49, abs=2)
    assert other < 10


async def refused_at_work(limiter: Limiter, refusal: Retry = REFUSED) -> None:
    """Ask ten times a second for a good minute, and meet the first 429."""
    for _ in range(610):
        permit = await a_permit(limiter)
        await asyncio.sleep(0.1)
        limiter.answered(permit, SMALL, NO_NEWS)
    limiter.failed(await a_permit(limiter), refusal, NO_NEWS, attempts(failed=1))


@pytest.mark.parametrize("refusal", [REFUSED, TOKENS])
def test_a_429_without_headers_or_a_time_stops_nothing_and_sets_a_pace(refusal: Retry) -> None:
    async def main() -> None:
        limiter = limiter_of(64)
        await refused_at_work(limiter, refusal)
        assert limiter.paused_reason("tickets") is None
        begin = now()
        for _ in range(20):
            limiter.answered(await a_permit(limiter), SMALL, NO_NEWS)
        assert 1.5 < now() - begin < 4

    run_in_virtual_time(main())


def test_a_pace_is_learned_from_a_questions_first_two_429s_and_from_no_more() -> None:
    async def main() -> list[float]:
        paces = []
        for failed in (2, 3):
            limiter = limiter_of(64)
            await refused_at_work(limiter)
            await asyncio.sleep(5)
            isolated = replace(attempts(failed=failed), isolated=True)
            limiter.failed(await a_permit(limiter), REFUSED, NO_NEWS, isolated)
            begin = now()
            for _ in range(10):
                limiter.answered(await a_permit(limiter), SMALL, NO_NEWS)
            paces.append(10 / (now() - begin))
        return paces

    second, third = run_in_virtual_time(main())
    assert second < 0.8 * third
