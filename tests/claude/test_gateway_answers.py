"""What the gateway makes of answers that are odd: their price, their doubts, and who keeps them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply
from pipeline.config import Settings
from pipeline.model.errors import NoRoom
from pipeline.model.records import Tier
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import ANSWER, START, Watcher
from tests.claude.questions import about

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
    assert watcher.spending["tickets", "hour"] == Decimal("0.0008")


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
