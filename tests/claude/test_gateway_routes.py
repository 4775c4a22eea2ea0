"""Every response the API documents takes its route, over the real SDK and a real connection."""

from decimal import Decimal

import pytest

from pipeline.claude.gateway import Gateway
from pipeline.config import Settings
from pipeline.model.errors import AnswerError, Malformed, Refused, Rejected, TruncatedResponse
from pipeline.model.records import Tier
from tests.claude.questions import Labelled, about
from tests.claude.server import shape_server


@pytest.fixture
def settings() -> Settings:
    settings = Settings()
    settings.claude.backoff_max = 0.001
    return settings


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ("refusal", Refused),
        ("refusal_with_text", Refused),
        ("max_tokens_without_text", TruncatedResponse),
        ("max_tokens_with_text", TruncatedResponse),
        ("context_window_exceeded", TruncatedResponse),
        ("pause_turn", Malformed),
        ("answer_not_json", Malformed),
        ("answer_wrong_type", Malformed),
        ("answer_missing_field", Malformed),
        ("answer_with_unknown_label", Malformed),
    ],
)
async def test_an_answer_that_is_no_use_is_raised_with_what_it_cost(
    shape: str, error: type[AnswerError], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(shape, set_env=monkeypatch.setenv) as server,
        Gateway(settings) as gateway,
    ):
        with pytest.raises(error) as raised:
            await gateway.ask(about("Refund me."), Tier.HAIKU)
        assert raised.value.usage.calls == 1
        assert raised.value.usage.cache_read_tokens == 702
        assert raised.value.usage.cost_usd is not None
        assert raised.value.model == "claude-haiku-5-5"
        assert len(server.requests) == 1


@pytest.mark.parametrize("shape", ["bad_request", "too_large", "html_413"])
async def test_a_request_that_the_api_rejects_is_given_up_at_once(
    shape: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(shape, set_env=monkeypatch.setenv) as server,
        Gateway(settings) as gateway,
    ):
        with pytest.raises(Rejected):
            await gateway.ask(about("Refund me."), Tier.HAIKU)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "shape",
    [
        "overloaded",
        "server_error",
        "gateway_timeout",
        "request_timeout",
        "conflict",
        "html_502",
        "html_200",
        "html_400",
        "empty_503",
        "cut_mid_body",
        "cut_before_headers",
    ],
)
async def test_a_service_that_fails_is_asked_again(
    shape: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(shape, shape, set_env=monkeypatch.setenv) as server,
        Gateway(settings) as gateway,
    ):
        reply = await gateway.ask(about("Refund me."), Tier.HAIKU)
        assert reply.answer.label == "billing"
        assert reply.usage.calls == 1
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "shape",
    [
        "answer",
        "answer_after_empty_thinking",
        "answer_after_redacted_thinking",
        "answer_in_two_blocks",
        "answer_in_another_case",
        "answer_with_unknown_fields",
        "answer_without_usage_details",
        "answer_writes_cache",
    ],
)
async def test_a_usable_answer_is_found_wherever_it_stands(
    shape: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server(shape, set_env=monkeypatch.setenv),
        Gateway(settings) as gateway,
    ):
        reply = await gateway.ask(about("Refund me."), Tier.HAIKU)
    assert reply.answer == Labelled(label="billing", confidence=0.93, unclear=False)
    assert reply.model == "claude-haiku-5-5"
    assert reply.seconds > 0


async def test_usage_and_cost_are_those_of_the_response(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        shape_server("answer", set_env=monkeypatch.setenv),
        Gateway(settings) as gateway,
    ):
        usage = (await gateway.ask(about("Refund me."), Tier.HAIKU)).usage
    assert usage.input_tokens == 41
    assert usage.cache_read_tokens == 702
    assert usage.output_tokens == 38
    assert usage.cost_usd == Decimal("0.00003012")
