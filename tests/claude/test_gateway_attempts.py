"""An event on which the API fails again and again is its own trouble, and nobody else's."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from pipeline.claude.calls import CONTROL
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.model.errors import Refused, Rejected, Unanswered
from pipeline.model.questions import Response
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import message
from tests.claude.gateways import ANSWER, CACHED, Watcher, good, now, opened, recorded
from tests.claude.questions import about

Answer = HttpReply | NoReply


def rejected(text: str, status: int = 400) -> HttpReply:
    error = {"type": "invalid_request_error", "message": text}
    return HttpReply(status, {}, orjson.dumps({"type": "error", "error": error}))


UNCLEAR = rejected("Something about this is odd.")
GARBLED = HttpReply(200, {}, b'{"half":')
BROKEN = NoReply("disconnected", "ClientOSError: Connection reset by peer", sent=True)
WALL = HttpReply(403, {}, b"<html>Blocked by the web application firewall</html>")
TROUBLES: dict[str, Answer] = {
    "500": recorded("server_error"),
    "529": recorded("overloaded"),
    "429": recorded("rate_limited"),
    "garbled": GARBLED,
    "cut": BROKEN,
    "unclear 400": UNCLEAR,
    "firewall": WALL,
}


@dataclass
class Api:
    """Answers after half a second; what befalls an event is said by its text."""

    fails: Callable[[str], Answer | None]
    hangs: Callable[[str], bool] = lambda _: False
    sent: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    async def send(self, body: bytes, *, seconds: float) -> Answer:
        request: dict[str, Any] = orjson.loads(body)
        text = " ".join(block["text"] for block in request["messages"][0]["content"])
        self.sent[text.split("\n")[1]] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.hangs(text):
                await asyncio.sleep(seconds)
                return NoReply("timed_out", f"no answer within {seconds:.0f} s", sent=True)
            failure = self.fails(text)
            await asyncio.sleep(0.05 if failure else 0.5)
        finally:
            self.in_flight -= 1
        if failure is not None:
            return failure
        if "answers" in request["output_config"]["format"]["schema"]["properties"]:
            count = sum("<event-" in b["text"] for b in request["messages"][0]["content"]) or 1
            answer = ANSWER.model_dump()
            return message({"answers": [{"id": n + 1, "answer": answer} for n in range(count)]})
        return message(ANSWER, usage=CACHED)

    async def post(self, path: str, body: bytes, *, seconds: float) -> Answer:
        raise NotImplementedError

    async def get(self, path: str, *, seconds: float) -> Answer:
        raise NotImplementedError

    async def lines(self, path: str, *, seconds: float) -> AsyncGenerator[str | Answer, None]:
        for _ in ():
            yield ""


def poison(**kinds: Answer) -> Callable[[str], Answer | None]:
    def fails(text: str) -> Answer | None:
        return next((kinds[kind] for kind in kinds if kind in text), None)

    return fails


def small(concurrency: int = 16) -> Settings:
    settings = Settings()
    settings.claude.concurrency = concurrency
    return settings


async def ask(gateway: Gateway, text: str, tier: Tier = Tier.HAIKU) -> Response[Any] | Unanswered:
    try:
        return await gateway.ask(about(text), tier)
    except Unanswered as error:
        return error


async def work(gateway: Gateway, texts: list[str], at_once: Callable[[], int]) -> dict[str, Any]:
    """Ask about all of them, as many at once as the gateway says; returns when each ended."""
    begin, ends, busy = now(), dict[str, Any](), set[asyncio.Task[None]]()

    async def one(text: str) -> None:
        ends[text] = (await ask(gateway, text), now() - begin)

    for text in texts:
        while len(busy) >= at_once():
            _, busy = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED, timeout=0.5)
        busy.add(asyncio.create_task(one(text)))
    await asyncio.wait(busy)
    return ends


@pytest.mark.parametrize("concurrency", [16, 64])
def test_good_events_keep_their_pace_beside_events_that_always_fail_or_hang(
    concurrency: int,
) -> None:
    async def run(texts: list[str]) -> tuple[float, dict[str, Any], Api]:
        api = Api(poison(poison=recorded("server_error")), hangs=lambda text: "slow" in text)
        async with opened(api, None, small(concurrency)) as gateway:
            ends = await work(gateway, texts, lambda: gateway.at_once("tickets", Tier.HAIKU))
        last = max(at for text, (_, at) in ends.items() if text.startswith("good"))
        return last, ends, api

    async def main() -> None:
        good_ones = [f"good {n}" for n in range(2_500)]
        alone, _, _ = await run(good_ones)
        texts = list(good_ones)
        for n in range(25):
            texts.insert(100 * n + 40, f"poison {n}")
            texts.insert(100 * n + 80, f"slow {n}")
        beside, ends, api = await run(texts)
        assert alone / beside >= 0.95
        assert api.most_in_flight <= concurrency + 32
        for text, (end, _) in ends.items():
            assert isinstance(end, Response if text.startswith("good") else Unanswered), text
        bad, slow = ends["poison 3"][0], ends["slow 3"][0]
        assert "No answer in" in bad.detail
        assert "while others were answered" in bad.detail
        assert "500" in bad.detail
        assert bad.usage.calls == api.sent["poison 3"] >= 8
        assert bad.usage.cost_usd == 0
        assert "No answer within" in slow.detail
        assert slow.usage.calls == api.sent["slow 3"] >= 8
        assert slow.usage.cost_usd is None

    run_in_virtual_time(main())


@pytest.mark.parametrize("kind", TROUBLES)
@pytest.mark.parametrize("tier", Tier)
def test_one_event_that_always_fails_ends_and_holds_up_nobody_for_good(
    kind: str, tier: Tier
) -> None:
    async def main() -> None:
        api = Api(poison(poison=TROUBLES[kind]))
        async with opened(api, None, small()) as gateway:
            ended = asyncio.create_task(ask(gateway, "poison", tier))
            begin, answered = now(), 0
            while not ended.done():
                await ask(gateway, f"good {answered}", tier)
                answered += 1
            assert isinstance(ended.result(), Unanswered)
            assert now() - begin < 400
            assert gateway.paused_reason("tickets", tier) is None
            # Each is asked within half a second, but for what the event's first failures stop.
            assert answered >= 30

    run_in_virtual_time(main())


@pytest.mark.parametrize("kind", [kind for kind in TROUBLES if kind != "429"])
def test_a_control_question_distinguishes_an_event_without_peers_from_an_outage(
    kind: str,
) -> None:
    async def main() -> None:
        api = Api(poison(poison=TROUBLES[kind]))
        async with opened(api) as gateway:
            begin = now()
            ended = await ask(gateway, "poison")
            assert isinstance(ended, Unanswered)
            assert now() - begin < 600
            controls = api.sent[CONTROL[0].text]
            assert 1 <= controls <= 16
            assert ended.usage.calls == api.sent["poison"] <= 16
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None

    run_in_virtual_time(main())


@pytest.mark.parametrize("kind", [*TROUBLES, "hangs"])
def test_an_outage_of_half_an_hour_ends_no_event(kind: str) -> None:
    async def main() -> None:
        over_at = now() + 1800

        def fails(_: str) -> Answer | None:
            return TROUBLES.get(kind) if now() < over_at else None

        api = Api(fails, hangs=lambda _: kind == "hangs" and now() < over_at)
        async with opened(api, None, small()) as gateway:
            texts = [f"event {n}" for n in range(40)]
            ends = await asyncio.gather(*(ask(gateway, text) for text in texts))
            assert all(isinstance(end, Response) for end in ends)
            assert now() - over_at < 120

    run_in_virtual_time(main())


def test_probes_of_an_open_breaker_go_to_events_that_have_not_failed() -> None:
    async def main() -> None:
        outage_ends = now() + 12
        sent: list[tuple[float, str]] = []

        def fails(text: str) -> Answer | None:
            sent.append((now(), text.split("\n")[1]))
            return recorded("overloaded") if now() < outage_ends else None

        watcher = Watcher()
        async with opened(Api(fails), watcher, small()) as gateway:
            asked = [asyncio.create_task(ask(gateway, f"event {n}")) for n in range(60)]
            await asyncio.gather(*asked)
        first_seen: set[str] = set()
        opened_at = 2.0
        for at, text in sent:
            if opened_at < at - sent[0][0] < 12 and text != CONTROL[0].text:
                assert text not in first_seen, (at, text)
            first_seen.add(text)
        assert watcher.breakers[0] == "open"

    run_in_virtual_time(main())


def test_repetitions_of_a_few_events_do_not_open_the_breaker() -> None:
    async def main() -> None:
        watcher = Watcher()
        over_at = now() + 300
        api = Api(lambda _: recorded("server_error") if now() < over_at else None)
        async with opened(api, watcher) as gateway:
            await asyncio.gather(*(ask(gateway, f"event {n}") for n in range(4)))
            assert "open" not in watcher.breakers[:1] or api.sent[CONTROL[0].text] > 0

    run_in_virtual_time(main())


def test_a_stage_stopped_by_an_unclear_400_goes_on_by_another_event() -> None:
    async def main() -> None:
        watcher = Watcher()
        api = Api(poison(poison=UNCLEAR))
        async with opened(api, watcher, small()) as gateway:
            bad = asyncio.create_task(ask(gateway, "poison"))
            await asyncio.sleep(1)
            # Nobody else has been answered: it may be all of the stage.
            assert "whose fault" in (gateway.paused_reason("tickets", Tier.HAIKU) or "")
            begin = now()
            others = [asyncio.create_task(ask(gateway, f"good {n}")) for n in range(5)]
            await asyncio.gather(*others)
            assert now() - begin < 20
            assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            for n in range(100):
                await ask(gateway, f"later {n}")
                assert gateway.paused_reason("tickets", Tier.HAIKU) is None
            assert isinstance(await bad, Unanswered)

    run_in_virtual_time(main())


def test_an_unclear_400_of_every_event_stops_the_stage_and_rejects_no_event() -> None:
    async def main() -> None:
        fixed_at = now() + 3600
        api = Api(lambda _: UNCLEAR if now() < fixed_at else None)
        async with opened(api, None, small()) as gateway:
            asked = [asyncio.create_task(ask(gateway, f"event {n}")) for n in range(20)]
            await asyncio.sleep(600)
            assert gateway.paused_reason("tickets", Tier.HAIKU) is not None
            # A probe each 15 s.
            assert api.sent.total() < 90
            assert all(isinstance(end, Response) for end in await asyncio.gather(*asked))
            assert now() - fixed_at < 40

    run_in_virtual_time(main())


def test_of_events_in_one_request_only_the_one_that_fails_is_given_up() -> None:
    async def main() -> None:
        settings = small()
        settings.stages.tickets.events_per_request = 4
        api = Api(poison(poison=recorded("server_error")))
        async with opened(api, None, settings) as gateway:
            texts = [*(f"good {n}" for n in range(7)), "poison"]
            ends = dict(
                zip(texts, await asyncio.gather(*(ask(gateway, t) for t in texts)), strict=True)
            )
        assert isinstance(ends.pop("poison"), Unanswered)
        assert all(isinstance(end, Response) for end in ends.values())

    run_in_virtual_time(main())


def test_all_who_ask_the_same_get_the_same_end() -> None:
    async def main() -> None:
        api = Api(poison(poison=recorded("server_error")))
        async with opened(api, None, small()) as gateway:
            same = [asyncio.create_task(ask(gateway, "poison")) for _ in range(3)]
            others = asyncio.create_task(
                work(gateway, [f"good {n}" for n in range(4_000)], lambda: 8)
            )
            ends = await asyncio.gather(*same)
            others.cancel()
        assert all(isinstance(end, Unanswered) for end in ends)
        assert sorted(end.usage.calls for end in ends if isinstance(end, Unanswered))[:2] == [0, 0]

    run_in_virtual_time(main())


def test_a_long_question_gets_more_time_with_each_attempt_and_others_do_not() -> None:
    async def main() -> None:
        settings = small()
        limits: list[float] = []

        class Slow(Api):
            async def send(self, body: bytes, *, seconds: float) -> Answer:
                if b"long" in body:
                    limits.append(seconds)
                    await asyncio.sleep(min(seconds, 35))
                    if seconds < 35:
                        return NoReply("timed_out", "no answer", sent=True)
                    return message(ANSWER)
                assert not limits or seconds <= 2 * limits[0]
                return await super().send(body, seconds=seconds)

        async with opened(Slow(lambda _: None), None, settings) as gateway:
            for n in range(40):
                await ask(gateway, f"good {n}")
            long = asyncio.create_task(ask(gateway, "long"))
            n = 0
            while not long.done():
                await ask(gateway, f"more {n}")
                n += 1
            assert isinstance(await long, Response)
        assert limits == sorted(limits)
        assert limits[-1] >= 35

    run_in_virtual_time(main())


def test_what_a_filter_withholds_is_a_refusal_and_may_have_been_paid() -> None:
    async def main() -> None:
        api = Api(lambda _: rejected("Output blocked by content filtering policy"))
        async with opened(api) as gateway:
            with pytest.raises(Refused) as caught:
                await gateway.ask(about("a page of a book"), Tier.HAIKU)
            assert caught.value.usage.calls == 1
            assert caught.value.usage.cost_usd is None

    run_in_virtual_time(main())


def test_an_event_whose_content_is_named_is_rejected_at_once() -> None:
    async def main() -> None:
        api = Api(lambda _: rejected("messages.0.content.0.text: too odd"))
        async with opened(api) as gateway:
            with pytest.raises(Rejected):
                await gateway.ask(about("a"), Tier.HAIKU)

    run_in_virtual_time(main())


def test_an_event_under_way_can_be_given_up_at_any_time() -> None:
    async def main() -> None:
        api = Api(poison(poison=recorded("server_error")), hangs=lambda text: "slow" in text)
        async with opened(api, None, small()) as gateway:
            for seconds in (0.01, 0.4, 3, 20, 45, 90):
                asked = [asyncio.create_task(ask(gateway, text)) for text in ("poison", "slow")]
                await asyncio.sleep(seconds)
                for each in asked:
                    each.cancel()
                await asyncio.wait(asked)
                await asyncio.sleep(120)
            assert isinstance(await ask(gateway, "good"), Response)
        assert good({}).status == 200

    run_in_virtual_time(main())
