"""What the gateway makes of answers that are odd: their price, their doubts, and who keeps them."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from pydantic import field_validator

from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.errors import NoRoom, StageFailed
from pipeline.model.questions import Question, Response
from pipeline.model.records import Tier
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import ANSWER, START, Watcher, opened
from tests.claude.questions import Labelled, about

WRITTEN = ANSWER.model_dump_json()
USAGE = {"input_tokens": 100, "output_tokens": 20}


def says(text: str = WRITTEN, **changes: object) -> HttpReply:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": USAGE,
        **changes,
    }
    return HttpReply(200, {}, orjson.dumps(message))


def saying(reply: HttpReply) -> FakeClient:
    return FakeClient(lambda _: reply)


async def cost_of(reply: HttpReply) -> Decimal | None:
    async with Gateway(Settings(), client=saying(reply), now=lambda: START) as gateway:
        found = await gateway.ask(about("a"), Tier.HAIKU)
        assert found.usage.calls == 1
        return found.usage.cost_usd


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("claude-haiku-5-5", "0.00002"),
        ("claude-opus-5-5", "0.0008"),
        ("claude-sonnet-5-5", "0.0004"),
        ("simulated-claude-haiku-5-5", "0.00002"),
        ("claude-opus-5-5-20260922", "0.0008"),
        ("anthropic.claude-haiku-5-5", "0.00002"),
        ("us.anthropic.claude-opus-5-5-v1:0", "0.0008"),
        ("us-gov.anthropic.claude-opus-5-5-20260922-v1:0", "0.0008"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5-5", "0.0008"),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-5-5", "0.0008"),
        ("anthropic/claude-sonnet-5-5", "0.0004"),
        ("bedrock/eu.anthropic.claude-haiku-5-5", "0.00002"),
        ("claude-haiku-4-5@20251001", "0.0002"),
        ("claude-haiku-4-5-latest", "0.0002"),
        ("claude-haiku-4-5-20251001", "0.0002"),
        ("claude-next", None),
        ("gpt-claude-haiku-5-5", None),
        ("", None),
        (None, None),
    ],
)
async def test_the_price_is_that_of_the_model_that_answered(
    model: str | None, usd: str | None
) -> None:
    assert await cost_of(says(model=model)) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    "usage", [None, {}, {"input_tokens": 100}, {**USAGE, "output_tokens": -1}, "none"]
)
async def test_unknown_usage_has_an_unknown_cost(usage: object) -> None:
    assert await cost_of(says(usage=usage)) is None


@pytest.mark.parametrize("odd", [{"usage": None}, {"model": "claude-next"}])
async def test_a_budget_counts_what_an_answer_of_unknown_cost_may_have_cost(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    settings = Settings()
    settings.claude.budget_usd_per_hour = Decimal("0.0001")
    settings.claude.state_dir = tmp_path
    async with Gateway(settings, client=saying(says(**odd)), now=lambda: START) as gateway:
        for number in range(10):
            if gateway.paused_reason("tickets", Tier.HAIKU) is not None:
                break
            await gateway.ask(about(f"{number}"), Tier.HAIKU)
        assert "budget" in str(gateway.paused_reason("tickets", Tier.HAIKU)).lower()


async def test_what_has_no_price_counts_as_the_most_expensive_model_would(tmp_path: Path) -> None:
    settings = Settings()
    settings.claude.budget_usd_per_hour = Decimal(1)
    settings.claude.state_dir = tmp_path
    reply = says(model="claude-next")
    client, watcher = saying(reply), Watcher()
    async with Gateway(settings, client=client, observer=watcher, now=lambda: START) as gateway:
        await gateway.ask(about("a"), Tier.HAIKU)
    assert watcher.spending["tickets", "hour"] == Decimal("0.002")


@pytest.mark.parametrize(("usage", "learns"), [(None, False), ({"input_tokens": 9}, True)])
async def test_usage_that_is_not_known_teaches_nothing(
    usage: dict[str, int] | None, learns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    known = usage and {"output_tokens": 5, **usage}
    client = saying(says(usage=known))
    async with Gateway(Settings(), client=client, now=lambda: START) as gateway:
        await gateway.ask(about("a"), Tier.HAIKU)
    # Of an answer that used no prompt cache is learnt that its prompt is too short for it.
    assert ("too short for the prompt cache" in caplog.text) == learns


async def test_a_doubtful_answer_is_not_kept_for_an_equal_question() -> None:
    twice = '{"label":"sales","label":"billing","confidence":1,"unclear":false}'
    client, watcher = saying(says(twice)), Watcher()
    async with Gateway(Settings(), client=client, observer=watcher, now=lambda: START) as gateway:
        for _ in range(2):
            reply = await gateway.ask(about("a"), Tier.HAIKU)
            assert [signal.code for signal in reply.signals] == ["broken_form"]
    assert len(client.sent) == 2
    assert not watcher.reuses


async def test_a_full_context_is_an_error_that_no_larger_limit_fixes() -> None:
    reply = says(WRITTEN[:20], stop_reason="model_context_window_exceeded")
    async with Gateway(Settings(), client=saying(reply), now=lambda: START) as gateway:
        with pytest.raises(NoRoom):
            await gateway.ask(about("a"), Tier.HAIKU)


class Buggy(Labelled):
    """An answer whose validator has a bug, of a kind that pydantic does not wrap."""

    @field_validator("confidence")
    @classmethod
    def _looks_up(cls, value: float) -> float:
        return {0.5: value}[value]


class Exits(Labelled):
    @field_validator("confidence")
    @classmethod
    def _exits(cls, value: float) -> float:
        raise SystemExit(value)


def buggy(text: str, model: type[Labelled] = Buggy) -> Question[Labelled]:
    return replace(about(text), answer_model=model)


@pytest.mark.parametrize("model", [Buggy, Exits])
@pytest.mark.parametrize("cache", ["memory", "off"])
async def test_a_bug_in_an_answer_model_costs_its_questions_alone_and_what_they_cost_is_counted(
    model: type[Labelled],
    cache: Literal["memory", "off"],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings()
    settings.claude.concurrency = 8
    settings.claude.answer_cache = cache
    settings.claude.budget_usd_per_hour = Decimal(1)
    settings.claude.state_dir = tmp_path
    client, watcher = saying(says()), Watcher()
    async with Gateway(settings, client=client, observer=watcher, now=lambda: START) as gateway:
        for number in range(20):
            with pytest.raises(StageFailed) as raised:
                await gateway.ask(buggy(f"secret {number}", model), Tier.HAIKU)
            assert raised.value.usage.calls == 1
            assert raised.value.usage.cost_usd == Decimal("0.00002")
        await gateway.ask(about("healthy"), Tier.HAIKU)
    assert watcher.ends["answered"] == 21
    assert watcher.spending["tickets", "hour"] == Decimal("0.00042")
    assert model.__name__ in caplog.text
    assert "test_gateway_answers.py" in caplog.text
    assert "secret" not in caplog.text


def test_a_kept_answer_over_which_the_answer_model_fails_is_not_paid_again() -> None:
    client = saying(says())

    async def main() -> None:
        async with opened(client) as gateway:
            await gateway.ask(about("a"), Tier.HAIKU)
            with pytest.raises(StageFailed) as raised:
                await gateway.ask(buggy("a"), Tier.HAIKU)
            assert raised.value.usage.calls == 0

    run_in_virtual_time(main())
    assert len(client.sent) == 1


def test_a_bug_in_an_answer_model_costs_no_other_event_of_its_request() -> None:
    class Picky(Labelled):
        @field_validator("confidence")
        @classmethod
        def _looks_up(cls, value: float) -> float:
            return {0.9: value}[value]

    settings = Settings()
    settings.stages.tickets.events_per_request = 2
    odd = {**ANSWER.model_dump(), "confidence": 1}
    both = {"answers": [{"id": 1, "answer": ANSWER.model_dump()}, {"id": 2, "answer": odd}]}

    def answer(request: dict[str, Any]) -> HttpReply:
        is_joint = "answers" in request["output_config"]["format"]["schema"]["properties"]
        return says(orjson.dumps(both if is_joint else odd).decode())

    async def main() -> None:
        async with opened(FakeClient(answer), None, settings) as gateway:
            good, bad = await asyncio.gather(
                gateway.ask(buggy("a", Picky), Tier.HAIKU),
                gateway.ask(buggy("b", Picky), Tier.HAIKU),
                return_exceptions=True,
            )
            assert isinstance(good, Response)
            assert isinstance(bad, StageFailed)

    run_in_virtual_time(main())
