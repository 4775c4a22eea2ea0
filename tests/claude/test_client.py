"""The real SDK over real connections: what goes out, and every way of not coming back."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pipeline.claude.client import SdkClient
from pipeline.claude.gateway import Gateway
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.model.records import Tier
from tests.claude.questions import about
from tests.claude.server import ShapeServer, shape, shape_server

CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ShapeServer]:
    async with shape_server(set_env=monkeypatch.setenv) as running:
        yield running


def client() -> SdkClient:
    return SdkClient(connections=4)


@pytest.fixture(params=["first", "later"])
async def opened(server: ShapeServer, request: pytest.FixtureRequest) -> AsyncIterator[SdkClient]:
    """A client whose next request is the first, which the SDK frames, or one in that frame."""
    async with client() as ready:
        if request.param == "later":
            await ready.send(b'{"the":"first"}', seconds=5)
            server.requests.clear()
        yield ready


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def test_the_request_is_the_bytes_that_were_given_with_the_sdks_own_headers(
    server: ShapeServer,
) -> None:
    async with client() as opened:
        reply = await opened.send(b'{"model":"claude-haiku-5-5","n":1}', seconds=5)
    assert isinstance(reply, HttpReply)
    assert reply.status == 200
    assert reply.headers["anthropic-ratelimit-requests-limit"] == "1000"
    assert server.requests == [{"model": "claude-haiku-5-5", "n": 1}]
    (headers,) = server.headers
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Bearer key-of-a-test"
    assert headers["anthropic-version"] >= "2026-10-21"


async def test_later_requests_are_framed_as_the_sdk_framed_the_first(server: ShapeServer) -> None:
    async with client() as ready:
        for body in (b'{"n":1}', b'{"n":2,"more":true}', b'{"n":3}'):
            assert isinstance(await ready.send(body, seconds=5), HttpReply)
    assert server.requests == [{"n": 1}, {"n": 2, "more": True}, {"n": 3}]
    first, second, third = server.headers
    assert first == third
    assert second == first | {"content-length": "19"}


async def test_a_request_that_was_refused_frames_no_others(server: ShapeServer) -> None:
    server.queue.append("bad_key")
    async with client() as ready:
        replies = [await ready.send(b"{}", seconds=5) for _ in range(3)]
    assert [reply.status for reply in replies if isinstance(reply, HttpReply)] == [401, 200, 200]


@pytest.mark.parametrize("status", ["overloaded", "rate_limited", "server_error"])
async def test_the_sdk_repeats_nothing_by_itself(
    server: ShapeServer, opened: SdkClient, status: str
) -> None:
    server.then = status
    reply = await opened.send(b"{}", seconds=5)
    assert isinstance(reply, HttpReply)
    assert reply.status >= 400
    assert len(server.requests) == 1


async def test_a_key_that_the_api_repeats_goes_no_further(
    server: ShapeServer, opened: SdkClient
) -> None:
    server.queue.append({"status": 401, "headers": {}, "body": {"error": "key-of-a-test is bad"}})
    reply = await opened.send(b"{}", seconds=5)
    assert isinstance(reply, HttpReply)
    assert reply.body == b'{"error":"*** is bad"}'


async def test_connections_are_kept_open(server: ShapeServer) -> None:
    async with client() as ready:
        for _ in range(5):
            await ready.send(b"{}", seconds=5)
    assert server.connections == 2, "the SDK's for the first, and one for the others"


async def test_where_there_is_a_proxy_every_request_is_the_sdks(
    server: ShapeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with client() as ready:
        for _ in range(3):
            assert isinstance(await ready.send(b"{}", seconds=5), HttpReply)
    assert server.connections == 1, "the SDK's"


async def test_an_answer_that_does_not_come_in_time_is_given_up(
    server: ShapeServer, opened: SdkClient
) -> None:
    server.hold = asyncio.Event()
    reply = await opened.send(b"{}", seconds=0.05)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("timed_out", True)


async def test_an_answer_that_trickles_in_is_given_up_in_time_too(
    server: ShapeServer, opened: SdkClient
) -> None:
    server.then = "trickle"
    reply = await opened.send(b"{}", seconds=0.2)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("timed_out", True)


@pytest.mark.parametrize("cut", ["cut_mid_body", "cut_before_headers"])
async def test_a_connection_that_is_cut_may_have_cost_something(
    server: ShapeServer, opened: SdkClient, cut: str
) -> None:
    server.then = cut
    reply = await opened.send(b"{}", seconds=5)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("disconnected", True)


async def test_a_connection_that_is_refused_cannot_have_cost_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-a-test")
    async with client() as ready:
        reply = await ready.send(b"{}", seconds=5)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("disconnected", False)


async def test_a_server_that_is_gone_meanwhile_cannot_have_cost_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with client() as ready:
        async with shape_server(set_env=monkeypatch.setenv) as server:
            server.queue.append(shape("answer") | {"headers": {"connection": "close"}})
            assert isinstance(await ready.send(b"{}", seconds=5), HttpReply)
        reply = await ready.send(b"{}", seconds=5)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("disconnected", False)


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


class BlockWatcher(Observer):
    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def blocked(self, model: str, *, because: str | None) -> None:
        self.ended.set()


@pytest.mark.usefixtures("no_credentials")
async def test_without_a_key_the_gateway_says_so_and_does_not_crash() -> None:
    watcher = BlockWatcher()
    async with Gateway(Settings(), observer=watcher) as gateway:
        asked = asyncio.create_task(gateway.ask(about("a"), Tier.HAIKU))
        await watcher.ended.wait()
        assert "ANTHROPIC_API_KEY" in str(gateway.paused_reason("tickets", Tier.HAIKU))
        (probe, _) = await gateway.probe()
        assert not probe.ok
        assert "ANTHROPIC_API_KEY" in probe.detail
        asked.cancel()


async def test_a_key_that_turns_up_later_is_used(
    server: ShapeServer, no_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client() as opened:
        missing = await opened.send(b"{}", seconds=5)
        assert isinstance(missing, NoReply)
        assert missing.why == "no_key"
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-a-test")
        assert isinstance(await opened.send(b"{}", seconds=5), HttpReply)


@pytest.mark.parametrize(
    ("shapes", "ok", "hint"),
    [
        (["model", "model"], True, "accepted"),
        (["bad_key", "bad_key"], False, "ANTHROPIC_API_KEY"),
        (["unknown_model"] * 4, False, "model names"),
        (["html_404", "token_count"] * 2, True, "accepted"),
        (["overloaded"] * 2, False, "529"),
    ],
)
async def test_doctors_questions_are_answered_in_one_sentence(
    server: ShapeServer, shapes: list[str], ok: bool, hint: str
) -> None:
    server.queue.extend(shapes)
    async with Gateway(Settings()) as gateway:
        probes = await gateway.probe()
    assert [probe.model for probe in probes] == ["claude-haiku-5-5", "claude-sonnet-5-5"]
    for probe in probes:
        assert probe.ok is ok
        assert hint in probe.detail
    assert not any("max_tokens" in request for request in server.requests)


async def test_a_response_that_is_larger_than_any_answer_is_given_up(server: ShapeServer) -> None:
    huge = {**shape("answer"), "raw": '{"type":"message","padding":"' + "x" * (5 << 20) + '"}'}
    async with client() as ready:
        assert isinstance(await ready.send(b'{"n":1}', seconds=5), HttpReply)
        server.queue.append(huge)
        reply = await ready.send(b'{"n":2}', seconds=5)
    assert isinstance(reply, NoReply)
    assert "bytes" in reply.detail
