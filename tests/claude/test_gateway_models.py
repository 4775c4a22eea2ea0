"""What the API says of its models while a gateway runs: asked beside the calls."""

import asyncio
import logging
from collections.abc import Callable

import orjson
import pytest

from pipeline.claude.probes import MODELS_ASKED_SECONDS, MODELS_RETRY_SECONDS
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.model.records import Tier
from pipeline.runtime.process import background_task
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import good, now, opened
from tests.claude.questions import about
from tests.claude.test_model_facts import NO, described

NEW = "claude-haiku-9"


class Describing(FakeClient):
    """Says of a model what a test says, and remembers when it was asked."""

    def __init__(self, says: Callable[[str], HttpReply | NoReply]) -> None:
        super().__init__(good)
        self._says = says
        self.asked: list[tuple[float, str]] = []

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply:
        self.asked.append((now(), path))
        return self._says(path.rpartition("/")[2])


def new_model() -> Settings:
    settings = Settings()
    settings.models.haiku.model = NEW
    return settings


def description(**changes: object) -> HttpReply:
    return HttpReply(200, {}, orjson.dumps(described(**changes)))


def test_a_model_that_is_described_is_asked_so_from_then_on() -> None:
    async def main() -> None:
        client = Describing(lambda _: description())
        async with opened(client, settings=new_model()) as gateway:
            await gateway.ask(about("before"), Tier.HAIKU)
            async with background_task(gateway.follow_models(), ended=lambda: None):
                await asyncio.sleep(1)
                await gateway.ask(about("after"), Tier.HAIKU)
        before, after = client.sent
        assert "thinking" not in before
        assert after["thinking"] == {"type": "disabled"}
        assert after["output_config"]["effort"] == "low"
        assert before["max_tokens"] > after["max_tokens"]

    run_in_virtual_time(main())


def test_a_model_that_takes_no_answer_schema_is_asked_for_the_form_from_then_on() -> None:
    async def main() -> None:
        client = Describing(lambda _: description(capabilities={"structured_outputs": NO}))
        async with opened(client) as gateway:
            await gateway.ask(about("before"), Tier.HAIKU)
            async with background_task(gateway.follow_models(), ended=lambda: None):
                await asyncio.sleep(1)
                await gateway.ask(about("after"), Tier.HAIKU)
        before, after = client.sent
        assert before["output_config"]["format"]["type"] == "json_schema"
        assert "format" not in after["output_config"]
        assert after["tool_choice"] == {"type": "tool", "name": "answer"}

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("haiku", "sonnet", "again_after"),
    [
        (
            NoReply("disconnected", "away", sent=False),
            HttpReply(500, {}, b""),
            MODELS_RETRY_SECONDS,
        ),
        (HttpReply(404, {}, b"{}"), HttpReply(200, {}, b"[not a model"), MODELS_ASKED_SECONDS),
    ],
)
def test_where_nothing_is_said_the_table_holds_and_it_is_asked_again(
    haiku: HttpReply | NoReply, sonnet: HttpReply | NoReply, again_after: float
) -> None:
    async def main() -> None:
        client = Describing(lambda model: haiku if "haiku" in model else sonnet)
        async with (
            opened(client) as gateway,
            background_task(gateway.follow_models(), ended=lambda: None),
        ):
            await asyncio.sleep(again_after + 1)
            for tier in (Tier.HAIKU, Tier.SONNET):
                await gateway.ask(about("a"), tier)
        assert client.sent[0]["thinking"] == {"type": "disabled"}
        for request in client.sent:
            times = [at for at, path in client.asked if path.endswith(request["model"])]
            assert [at - times[0] for at in times] == [0, again_after]

    run_in_virtual_time(main())


def test_a_retirement_that_is_announced_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ends = description(lifecycle="deprecated", retires_at="2027-03-01T00:00:00Z")
        async with (
            opened(Describing(lambda _: ends)) as gateway,
            background_task(gateway.follow_models(), ended=lambda: None),
        ):
            await asyncio.sleep(1)

    with caplog.at_level(logging.WARNING):
        run_in_virtual_time(main())
    assert "claude-haiku-5-5 is deprecated; it retires on 2027-03-01" in caplog.text


def test_an_id_with_a_slash_is_one_segment_of_the_path() -> None:
    async def main() -> None:
        client = Describing(lambda _: HttpReply(404, {}, b"{}"))
        settings = Settings()
        settings.models.haiku.model = "anthropic/claude-haiku-5-5"
        async with opened(client, settings=settings) as gateway:
            await gateway.probe()
        assert client.asked[0][1] == "/v1/models/anthropic%2Fclaude-haiku-5-5"

    run_in_virtual_time(main())
