"""A tier with a fallback goes on while its first endpoint is out, and comes back to it."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from pipeline.claude.failover import LONG_PAUSE_SECONDS, RETURN_SECONDS
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.model.observer import Place
from pipeline.model.questions import Pdf, Response
from pipeline.model.records import Tier, Usage
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.claude.gateways import ANSWER, Watcher, now, opened, recorded
from tests.claude.questions import Labelled, about

FIRST, FALLBACK, SONNET = "claude-haiku-5-5", "claude-haiku-4-5", "claude-sonnet-5-5"
Reply = Callable[[], HttpReply | NoReply]
GONE = NoReply("disconnected", "Connection refused", sent=False)
CUT_OFF = NoReply("disconnected", "Connection reset by peer", sent=True)


class Observed(Watcher):
    """What is said of endpoints, too."""

    def __init__(self) -> None:
        super().__init__()
        self.moved_questions = self.unanswered = 0
        self.places: dict[Place, bool] = {}

    def moved(self, stage: str, model: str, *, maybe_billed: int) -> None:
        self.moved_questions += 1
        self.unanswered += maybe_billed

    def in_use(self, tier: Tier, model: str, place: Place, *, in_use: bool) -> None:
        if tier is Tier.HAIKU:
            self.places[place] = in_use


@dataclass
class World:
    """Two endpoints of Haiku that answer within a second, but where a reply is set for one."""

    replies: dict[str, Reply] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    observed: Observed = field(default_factory=Observed)
    concurrency: int = 16
    settings: Settings = field(
        default_factory=lambda: Settings.model_validate(
            {"models": {"haiku": {"model": FIRST, "fallback": {"model": FALLBACK}}}}
        )
    )

    def __post_init__(self) -> None:
        self.draws = random.Random(7)
        self.client = FakeClient(self._answer, seconds=self._seconds)
        self.settings.claude.concurrency = self.concurrency
        self.begin = now()
        self.answers: list[tuple[float, Response[Labelled]]] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Gateway]:
        async with opened(self.client, self.observed, self.settings) as gateway:
            yield gateway

    async def work(self, gateway: Gateway, workers: int, *, every: float = 0.0) -> None:
        """Ask one question after the other, each by `workers` at once; until it is cancelled."""

        async def one(worker: int) -> None:
            for number in itertools.count():
                response = await gateway.ask(about(f"{worker} {number}"), Tier.HAIKU)
                self.answers.append((now() - self.begin, response))
                await asyncio.sleep(every)

        await asyncio.gather(*(one(worker) for worker in range(workers)))

    def pace(self, begin: float, end: float, model: str | None = None) -> float:
        """Answers a second between two moments."""
        within = [
            response
            for at, response in self.answers
            if begin <= at < end and model in {None, response.model}
        ]
        return len(within) / (end - begin)

    def sent(self, model: str, begin: float, end: float) -> int:
        return sum(
            request["model"] == model and begin <= at - self.begin < end
            for request, at in zip(self.client.sent, self.client.sent_at, strict=True)
        )

    def _answer(self, request: dict[str, Any]) -> HttpReply | NoReply:
        model = request["model"]
        return self.replies[model]() if model in self.replies else message(ANSWER, model=model)

    def _seconds(self) -> float:
        if self.client.sent[-1]["model"] in self.hanging:
            return 1000.0
        return self.draws.lognormvariate(0, 0.3)


def is_control(request: dict[str, Any]) -> bool:
    return "Good morning" in str(request["messages"])


def replying(reply: HttpReply | NoReply) -> Reply:
    return lambda: reply


@pytest.mark.parametrize(
    "reply",
    [replying(recorded("overloaded")), replying(GONE), replying(CUT_OFF), None],
    ids=["overloaded", "gone", "cut_off", "hanging"],
)
def test_an_outage_of_the_first_costs_seconds_and_its_return_none(reply: Reply | None) -> None:
    async def main() -> None:
        world = World()
        async with world.open() as gateway:
            working = asyncio.create_task(world.work(gateway, 20))
            await asyncio.sleep(30)
            if reply is None:
                world.hanging.add(FIRST)
            else:
                world.replies[FIRST] = reply
            await asyncio.sleep(90)
            assert world.observed.places == {"first": False, "fallback": True}
            world.replies.clear()
            world.hanging.clear()
            await asyncio.sleep(60)
            working.cancel()
        before = world.pace(10, 30)
        assert world.pace(30 + 15, 120) >= 0.95 * before
        assert world.pace(120, 180) >= 0.95 * before
        assert world.pace(150, 180, FIRST) >= 0.95 * before
        assert world.pace(150, 180, FALLBACK) == 0
        assert world.observed.places == {"first": True, "fallback": False}

    run_in_virtual_time(main())


def test_the_first_that_returns_is_not_hit_by_all_at_once() -> None:
    async def main() -> None:
        world = World()
        async with world.open() as gateway:
            working = asyncio.create_task(world.work(gateway, 20))
            await asyncio.sleep(10)
            world.replies[FIRST] = replying(recorded("overloaded"))
            await asyncio.sleep(60)
            world.replies.clear()
            await asyncio.sleep(30)
            working.cancel()
        back = next(
            at - world.begin
            for request, at in zip(world.client.sent, world.client.sent_at, strict=True)
            if request["model"] == FIRST and at - world.begin > 70 and not is_control(request)
        )
        paces = [world.sent(FIRST, back + second, back + second + 1) for second in range(20)]
        full = world.pace(1, 10)
        assert paces[0] <= 0.25 * full
        # Whatever its share is, those that it has under way are what its window allows.
        assert paces == sorted(paces) or max(paces[:4]) <= 0.75 * full
        assert paces[-1] >= 0.9 * full

    run_in_virtual_time(main())


def test_while_the_first_is_out_it_gets_a_control_question_now_and_then_and_no_event() -> None:
    async def main() -> None:
        world = World()
        async with world.open() as gateway:
            working = asyncio.create_task(world.work(gateway, 20))
            await asyncio.sleep(10)
            world.replies[FIRST] = replying(recorded("overloaded"))
            await asyncio.sleep(100)
            working.cancel()
        assert 10 <= world.sent(FIRST, 20, 110) <= 20
        late = [
            request
            for request, at in zip(world.client.sent, world.client.sent_at, strict=True)
            if request["model"] == FIRST and at - world.begin > 20
        ]
        assert all(map(is_control, late))

    run_in_virtual_time(main())


def test_a_model_that_may_not_be_asked_is_left_for_the_fallback() -> None:
    async def main() -> None:
        world = World(replies={FIRST: replying(recorded("unknown_model"))})
        async with world.open() as gateway:
            responses = await asyncio.gather(
                *(gateway.ask(about(f"{n}"), Tier.HAIKU) for n in range(50))
            )
            assert {response.model for response in responses} == {FALLBACK}
            assert now() - world.begin < 8
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            # The block is probed every fifteen seconds.
            world.replies.clear()
            await asyncio.sleep(16 + RETURN_SECONDS)
            assert (await gateway.ask(about("later"), Tier.HAIKU)).model == FIRST

    run_in_virtual_time(main())


@pytest.mark.parametrize(("seconds", "model"), [(5, FIRST), (60, FALLBACK)])
def test_a_long_pause_is_not_waited_for(seconds: int, model: str) -> None:
    async def main() -> None:
        refusals = [recorded("rate_limited", **{"retry-after": str(seconds)})]

        def reply() -> HttpReply:
            return refusals.pop() if refusals else message(ANSWER, model=FIRST)

        world = World(replies={FIRST: reply})
        async with world.open() as gateway:
            await gateway.ask(about("first"), Tier.HAIKU)
            response = await gateway.ask(about("second"), Tier.HAIKU)
            assert response.model == model
            assert now() - world.begin < LONG_PAUSE_SECONDS
            await asyncio.sleep(seconds + RETURN_SECONDS)
            assert (await gateway.ask(about("third"), Tier.HAIKU)).model == FIRST

    run_in_virtual_time(main())


def test_intake_is_paused_only_while_no_endpoint_can_be_asked() -> None:
    async def main() -> None:
        world = World(replies={FIRST: replying(recorded("overloaded"))})
        async with world.open() as gateway:
            working = asyncio.create_task(world.work(gateway, 20))
            await asyncio.sleep(10)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            assert gateway.at_once("tickets", Tier.HAIKU) >= 20
            world.replies[FALLBACK] = replying(recorded("overloaded"))
            await asyncio.sleep(40)
            assert "529" in str(gateway.paused_reason("tickets", Tier.HAIKU))
            del world.replies[FALLBACK]
            await asyncio.sleep(15)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            assert world.pace(60, 65, FALLBACK) > 0
            working.cancel()

    run_in_virtual_time(main())


def test_each_answer_is_priced_by_who_gave_it() -> None:
    async def main() -> None:
        world = World()
        async with world.open() as gateway:
            first = await gateway.ask(about("one"), Tier.HAIKU)
            world.replies[FIRST] = replying(recorded("unknown_model"))
            second = await gateway.ask(about("two"), Tier.HAIKU)
        # 100 tokens in and 20 out; Haiku 4.5 costs ten times as much.
        assert (first.model, first.usage.cost_usd) == (FIRST, Decimal("0.00002"))
        assert (second.model, second.usage.cost_usd) == (FALLBACK, Decimal("0.0002"))

    run_in_virtual_time(main())


def test_what_the_fallback_answered_is_not_given_for_the_first() -> None:
    async def main() -> None:
        world = World()
        outage = replying(recorded("unknown_model"))
        async with world.open() as gateway:
            world.replies[FIRST] = outage
            assert (await gateway.ask(about("one"), Tier.HAIKU)).model == FALLBACK
            again = await gateway.ask(about("one"), Tier.HAIKU)
            assert (again.model, again.usage.reused) == (FALLBACK, 1)
            world.replies.clear()
            await asyncio.sleep(30)
            assert (await gateway.ask(about("one"), Tier.HAIKU)).model == FIRST

    run_in_virtual_time(main())


def test_with_little_traffic_a_question_finds_the_fallback_by_itself() -> None:
    async def main() -> None:
        world = World()
        async with world.open() as gateway:
            await gateway.ask(about("before"), Tier.HAIKU)
            world.replies[FIRST] = replying(recorded("overloaded"))
            for number in range(5):
                asked_at = now()
                response = await gateway.ask(about(f"{number}"), Tier.HAIKU)
                assert response.model == FALLBACK
                assert now() - asked_at < 8
                await asyncio.sleep(20)

    run_in_virtual_time(main())


def test_an_event_on_which_calls_fail_is_given_up_and_does_not_go_to_and_fro() -> None:
    async def main() -> None:
        world = World()

        def fails(request: dict[str, Any]) -> HttpReply | NoReply:
            poisonous = "poison" in str(request["messages"])
            model = request["model"]
            return recorded("server_error") if poisonous else message(ANSWER, model=model)

        world.client.answer = fails
        async with world.open() as gateway:
            poisoned = asyncio.create_task(gateway.ask(about("poison"), Tier.HAIKU))
            await asyncio.sleep(600)
            assert poisoned.done()
            assert "attempts" in str(poisoned.exception())
            assert len(world.client.sent) < 40

    run_in_virtual_time(main())


def test_a_tier_without_a_fallback_is_never_asked_elsewhere() -> None:
    async def main() -> None:
        world = World(replies={SONNET: replying(recorded("overloaded"))})
        async with world.open() as gateway:
            asked = asyncio.create_task(gateway.ask(about("one"), Tier.SONNET))
            await asyncio.sleep(120)
            assert not asked.done()
            assert {request["model"] for request in world.client.sent} == {SONNET}
            asked.cancel()

    run_in_virtual_time(main())


def test_what_is_too_large_for_the_fallback_waits_for_the_first() -> None:
    async def main() -> None:
        bedrock = {"model": FALLBACK, "provider": "bedrock", "region": "us-east-1"}
        settings = Settings.model_validate(
            {"models": {"haiku": {"model": FIRST, "fallback": bedrock}}}
        )
        world = World(settings=settings, replies={FIRST: replying(recorded("overloaded"))})
        large = about(Pdf(b"%PDF" + bytes(16 << 20)))
        async with world.open() as gateway:
            working = asyncio.create_task(world.work(gateway, 20))
            await asyncio.sleep(10)
            asked = asyncio.create_task(gateway.ask(large, Tier.HAIKU))
            await asyncio.sleep(10)
            assert not asked.done()
            world.replies.clear()
            assert (await asked).model == FIRST
            working.cancel()

    run_in_virtual_time(main())


def test_events_that_share_a_request_move_together() -> None:
    async def main() -> None:
        settings = Settings.model_validate(
            {
                "models": {"haiku": {"model": FIRST, "fallback": {"model": FALLBACK}}},
                "stages": {"tickets": {"events_per_request": 4}},
            }
        )
        world = World(settings=settings)

        def answer(request: dict[str, Any]) -> HttpReply | NoReply:
            model = request["model"]
            if model == FIRST:
                return recorded("unknown_model")
            count = str(request["messages"]).count("</event-")
            items = [{"id": n + 1, "answer": ANSWER.model_dump()} for n in range(count)]
            return message({"answers": items} if count else ANSWER, model=model)

        world.client.answer = answer
        async with world.open() as gateway:
            responses = await asyncio.gather(
                *(gateway.ask(about(f"{n}"), Tier.HAIKU) for n in range(16))
            )
        assert {response.model for response in responses} == {FALLBACK}
        assert sum(response.usage.calls for response in responses) == 4

    run_in_virtual_time(main())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_goes_out_when_each_question_is_answered_once_and_double_pay_is_counted(
    seed: int,
) -> None:
    async def main() -> None:
        draws = random.Random(seed)
        world = World()
        world.draws = random.Random(seed)
        lost: list[HttpReply | NoReply] = [
            CUT_OFF,
            recorded("overloaded"),
            recorded("unknown_model"),
            GONE,
        ]

        async def troubles() -> None:
            while True:
                await asyncio.sleep(draws.uniform(2, 20))
                endpoint = draws.choice([FIRST, FIRST, FALLBACK])
                kind = draws.randrange(len(lost) + 1)
                if kind == len(lost):
                    world.hanging.add(endpoint)
                else:
                    world.replies[endpoint] = replying(lost[kind])
                await asyncio.sleep(draws.uniform(1, 30))
                world.hanging.clear()
                world.replies.clear()

        async with world.open() as gateway:
            trouble = asyncio.create_task(troubles())
            asked = [
                asyncio.create_task(gateway.ask(about(f"{n}"), Tier.HAIKU)) for n in range(1500)
            ]
            responses: Sequence[Response[Labelled]] = await asyncio.gather(*asked)
            trouble.cancel()
        usage = sum((response.usage for response in responses), Usage())
        assert len(responses) == usage.calls == 1500
        assert {response.model for response in responses} <= {FIRST, FALLBACK}
        assert usage.unanswered == world.observed.unanswered
        # Neither more than were under way nor more than ended without an answer.
        assert (
            usage.unanswered
            <= world.observed.ends["timed_out"] + world.observed.ends["disconnected"]
        )
        assert usage.unanswered <= len(world.client.sent) - 1500

    run_in_virtual_time(main())
