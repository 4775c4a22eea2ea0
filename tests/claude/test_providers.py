"""What goes out to each provider, by the real SDK over real connections, and what replaces what.

Servers that check all that the platforms check are in `tests/platforms`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pipeline.claude import client as client_module
from pipeline.claude.breaker import Breaker
from pipeline.claude.client import SdkClient
from pipeline.claude.credentials import forget_aws_credentials
from pipeline.claude.gateway import Gateway
from pipeline.claude.providers import MESSAGES, PROVIDERS
from pipeline.claude.request_body import Template
from pipeline.claude.responses import Answered, HttpReply, NoReply, read_message
from pipeline.config import EndpointSettings, ModelSettings, Settings, TierSettings
from pipeline.model.errors import Rejected, UsageError
from pipeline.model.questions import Pdf
from pipeline.model.records import Tier
from pipeline.runtime.tokens import CredentialsUnavailable, Tokens
from tests.claude.questions import INSTRUCTIONS, SCHEMA, Labelled, about

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
ANSWER = {"label": "billing", "confidence": 0.9, "unclear": False}
PLACES: dict[str, tuple[dict[str, str], str]] = {
    "anthropic": ({"workspace_id": "wrkspc_1"}, "/v1/messages"),
    "aws": ({"region": "eu-west-1", "workspace_id": "wrkspc_1"}, "/v1/messages"),
    "bedrock": ({"region": "eu-west-1"}, "/model/eu.anthropic.claude-haiku-4-5-v1:0/invoke"),
    "bedrock-mantle": ({"region": "eu-west-1"}, "/v1/messages"),
    "vertex": (
        {"region": "eu", "project": "p"},
        "/projects/p/locations/eu/publishers/anthropic/models/claude-haiku-4-5@20251001:rawPredict",
    ),
    "google-cloud": ({"workspace_id": "wrkspc_1", "project": "p"}, "/v1/messages"),
    "foundry": ({}, "/v1/messages"),
}
"""By provider: settings beside the address, and the path of a request."""
IDS = {
    "bedrock": "eu.anthropic.claude-haiku-4-5-v1:0",
    "vertex": "claude-haiku-4-5@20251001",
}
SIGNED = ("aws", "bedrock", "bedrock-mantle")
NO_CREDENTIALS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_AWS_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_FOUNDRY_API_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE",
)  # fmt: skip
AWS_CREDENTIALS = "[default]\naws_access_key_id={}\naws_secret_access_key=secret\n"


def write(file: Path, text: str) -> None:
    file.write_text(text)


@dataclass
class Sent:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return (self.headers.get("authorization") or self.headers["x-api-key"]).split()[-1]

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass
class Server:
    """Keeps what it was sent; refuses keys that are not among the `accepted`, if these are set."""

    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    accepted: set[str] | None = None
    reply: Callable[[Sent], tuple[int, dict[str, Any]]] = lambda _: (200, {})
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def arrived(self, requests: int) -> None:
        async with self.came:
            await self.came.wait_for(lambda: len(self.sent) >= requests)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        sent = Sent(request.method, request.raw_path, headers, await request.read())
        self.sent.append(sent)
        number = len(self.sent)
        async with self.came:
            self.came.notify_all()
        await self.hold.wait()
        if self.accepted is not None and sent.key not in self.accepted:
            return web.json_response({"error": {"message": "who?"}}, status=401)
        status, body = self.reply(sent)
        return web.json_response({"type": "message", "id": f"msg_{number}", **body}, status=status)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    server.hold.set()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Server]:
    for name in NO_CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    async with serving() as running:
        yield running


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Path]:
    file = tmp_path / "credentials"
    write(file, AWS_CREDENTIALS.format("AKIAFIRST"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_aws_credentials()
    yield file
    forget_aws_credentials()


def endpoint(provider: str, server: Server, **more: str) -> EndpointSettings:
    settings, _ = PLACES[provider]
    given = {"model": IDS.get(provider, HAIKU), "provider": provider, **settings, **more}
    return EndpointSettings.model_validate({"base_url": server.url, **given})


def keyed(provider: str, server: Server, key: Path, **more: str) -> EndpointSettings:
    return endpoint(provider, server, key_file=str(key), **more)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    write(file, "first-key\n")
    return file


async def answered(opened: SdkClient, body: bytes = b'{"n":1}') -> HttpReply:
    reply = await opened.send(body, seconds=5)
    assert isinstance(reply, HttpReply), reply
    return reply


@pytest.mark.parametrize("provider", PLACES)
async def test_a_request_goes_where_the_provider_wants_it_with_the_bytes_that_were_given(
    provider: str, server: Server, key: Path
) -> None:
    async with SdkClient(keyed(provider, server, key), connections=2) as opened:
        for _ in range(3):
            assert (await answered(opened)).status == 200
    first, _, last = server.sent
    assert {sent.path for sent in server.sent} == {PLACES[provider][1]}
    assert {sent.body for sent in server.sent} == {b'{"n":1}'}
    assert {sent.key for sent in server.sent} == {"first-key"}
    if "workspace_id" in PLACES[provider][0] and provider != "google-cloud":
        assert first.headers["anthropic-workspace-id"] == "wrkspc_1"
    # A frame has it all.
    assert first.headers == last.headers


@pytest.mark.parametrize("provider", PLACES)
async def test_a_key_file_that_changes_is_taken_up_by_the_next_request(
    provider: str, server: Server, key: Path
) -> None:
    async with SdkClient(keyed(provider, server, key), connections=2) as opened:
        for text in ("first-key", "second-key", "third-key"):
            write(key, text)
            for _ in range(3):
                await answered(opened)
    used = [sent.key for sent in server.sent]
    assert used == ["first-key"] * 3 + ["second-key"] * 3 + ["third-key"] * 3


async def test_a_request_whose_key_was_replaced_while_it_was_under_way_is_sent_again(
    server: Server, key: Path
) -> None:
    async with SdkClient(keyed("anthropic", server, key), connections=8) as opened:
        await answered(opened)
        server.hold.clear()
        waiting = [asyncio.create_task(answered(opened)) for _ in range(5)]
        await server.arrived(6)
        write(key, "second-key")
        server.accepted = {"second-key"}
        server.hold.set()
        replies = await asyncio.gather(*waiting)
    assert {reply.status for reply in replies} == {200}
    assert len(server.sent) == 1 + 5 + 5


async def test_a_refused_key_that_has_not_changed_is_refused_once(
    server: Server, key: Path
) -> None:
    server.accepted = set()
    async with SdkClient(keyed("anthropic", server, key), connections=2) as opened:
        assert (await answered(opened)).status == 401
    assert len(server.sent) == 1


@pytest.mark.parametrize("provider", ["vertex", "google-cloud", "foundry"])
async def test_tokens_are_renewed_and_a_refused_one_is_replaced_before_anybody_sees_it(
    provider: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, made = [1000.0], [0]

    async def fetch() -> tuple[str, float]:
        made[0] += 1
        return f"token-{made[0]}", now[0] + 60

    tokens = Tokens(fetch, now=lambda: now[0])
    monkeypatch.setattr(client_module, "source_of", lambda _: tokens)
    async with SdkClient(endpoint(provider, server), connections=8) as opened:
        await answered(opened)
        now[0] += 50
        await answered(opened)
        assert [sent.key for sent in server.sent] == ["token-1", "token-2"]
        # Revoked before its time, while several requests are under way.
        server.accepted = {"token-3"}
        replies = await asyncio.gather(*(answered(opened) for _ in range(5)))
    assert {reply.status for reply in replies} == {200}
    assert made == [3]


async def test_without_a_token_nothing_is_sent_and_it_is_said_whether_that_may_pass(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    transient = True

    async def fetch() -> tuple[str, float]:
        raise CredentialsUnavailable("no metadata server", transient=transient)

    monkeypatch.setattr(client_module, "source_of", lambda _: Tokens(fetch))
    async with SdkClient(endpoint("vertex", server), connections=1) as opened:
        away = await opened.send(b"{}", seconds=5)
        transient = False
        none = await opened.send(b"{}", seconds=5)
    assert away == NoReply("disconnected", "no metadata server", sent=False)
    assert none == NoReply("no_key", "no metadata server", sent=False)
    assert not server.sent


def is_signed(sent: Sent, url: str) -> bool:
    """Whether the signature is the one of what has arrived."""
    proof = sent.headers["authorization"]
    scope, signed, signature = (part.split("=", 1)[1] for part in proof.split(", "))
    _, _, region, service, _ = scope.split("/")
    headers = {name: sent.headers[name] for name in signed.split(";")}
    request = AWSRequest(sent.method, url + sent.path, headers=headers, data=sent.body)
    request.context["timestamp"] = sent.headers["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIAFIRST", "secret"), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return bool(signer.signature(text, request) == signature)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("provider", SIGNED)
async def test_what_is_signed_is_what_is_sent_and_each_request_has_its_own_signature(
    provider: str, server: Server
) -> None:
    async with SdkClient(endpoint(provider, server), connections=8) as opened:
        bodies = [b'{"n":%d,"text":"\xc3\xa9"}' % number for number in range(5)]
        await asyncio.gather(*(answered(opened, body) for body in bodies))
    assert sorted(sent.body for sent in server.sent) == bodies
    assert all(is_signed(sent, server.url) for sent in server.sent)
    assert len({sent.headers["authorization"] for sent in server.sent}) == 5


@pytest.mark.parametrize("status", [401, 403])
async def test_aws_credentials_that_have_expired_are_replaced_once(
    status: int, server: Server, aws: Path
) -> None:
    expired = {"message": "The security token included in the request is expired"}

    def reply(sent: Sent) -> tuple[int, dict[str, Any]]:
        return (200, {}) if "AKIASECOND" in sent.headers["authorization"] else (status, expired)

    server.reply = reply
    async with SdkClient(endpoint("bedrock", server), connections=2) as opened:
        assert (await answered(opened)).status == status
        write(aws, AWS_CREDENTIALS.format("AKIASECOND"))
        # A 403 without AWS's own word for it is about what the account may do.
        assert (await answered(opened)).status == (200 if status == 401 else 403)


async def test_an_endpoint_without_credentials_is_blocked_and_says_what_to_set(
    server: Server, tmp_path: Path
) -> None:
    haiku = keyed("vertex", server, tmp_path / "none")
    models = ModelSettings(haiku=TierSettings(**dict(haiku)))
    async with Gateway(Settings(models=models)) as gateway:
        probe, _ = await gateway.probe()
    assert not probe.ok
    assert f"set the key in {tmp_path / 'none'}" in probe.detail


@pytest.mark.parametrize(
    ("provider", "route", "says"),
    [
        ("anthropic", "/v1/models/claude-haiku-5-5", "accepted"),
        ("aws", "/v1/models/claude-haiku-5-5", "accepted"),
        ("google-cloud", "/v1/models/claude-haiku-5-5", "accepted"),
        ("bedrock-mantle", "/v1/messages/count_tokens", "accepted"),
        ("foundry", "/v1/messages/count_tokens", "accepted"),
        (
            "vertex",
            "/projects/p/locations/eu/publishers/anthropic/models/count-tokens:rawPredict",
            "accepted",
        ),
        ("bedrock", PLACES["bedrock"][1], "question of a few tokens"),
    ],
)
async def test_a_provider_is_probed_with_what_it_has(
    provider: str, route: str, says: str, server: Server, key: Path
) -> None:
    models = ModelSettings(haiku=TierSettings(**dict(keyed(provider, server, key))))
    models.sonnet = models.haiku
    async with Gateway(Settings(models=models)) as gateway:
        (probe,) = await gateway.probe()
    assert probe.ok
    assert says in probe.detail
    assert [sent.path for sent in server.sent] == [route]
    if provider == "vertex":
        assert server.sent[0].json["model"] == IDS["vertex"]


@pytest.mark.parametrize("provider", PLACES)
async def test_a_question_is_answered_at_every_provider(
    provider: str, server: Server, key: Path
) -> None:
    def reply(sent: Sent) -> tuple[int, dict[str, Any]]:
        usage = {"input_tokens": 10, "output_tokens": 5}
        asked = sent.json
        text = {"type": "text", "text": orjson.dumps(ANSWER).decode()}
        call = {"type": "tool_use", "id": "t", "name": "answer", "input": ANSWER}
        is_tool = asked.get("tool_choice") == {"type": "tool", "name": "answer"}
        assert is_tool is not PROVIDERS[asked_of].structured_outputs
        content, reason = ([call], "tool_use") if is_tool else ([text], "end_turn")
        return 200, {"content": content, "stop_reason": reason, "model": HAIKU, "usage": usage}

    asked_of = keyed(provider, server, key).provider
    server.reply = reply
    models = ModelSettings(haiku=TierSettings(**dict(keyed(provider, server, key))))
    async with Gateway(Settings(models=models)) as gateway:
        response = await gateway.ask(about("My invoice is wrong."), Tier.HAIKU)
    assert response.answer == Labelled.model_validate(ANSWER)
    (sent,) = server.sent
    in_path = PROVIDERS[asked_of].version is not None
    assert ("model" in sent.json) is not in_path
    assert ("anthropic_version" in sent.json) is in_path


def written(provider: str, model: str, **more: str) -> dict[str, Any]:
    settings, _ = PLACES[provider]
    given = {"model": model, "provider": provider, **settings, "base_url": "http://127.0.0.1:9"}
    place = EndpointSettings.model_validate({**given, **more})
    body: dict[str, Any] = orjson.loads(
        Template(place, INSTRUCTIONS, SCHEMA).body([], max_output_tokens=9)
    )
    return body


def test_where_no_schema_can_be_sent_a_model_that_does_not_think_is_made_to_call_a_tool() -> None:
    body = written("bedrock", HAIKU)
    assert "format" not in body["output_config"]
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}
    assert body["tools"][0]["input_schema"]["properties"].keys() == ANSWER.keys()
    assert body["anthropic_version"] == "bedrock-2023-05-31"


def test_and_one_that_thinks_is_shown_the_schema() -> None:
    body = written("foundry", SONNET)
    assert "tools" not in body
    asked = body["system"][0]["text"]
    assert orjson.loads(asked.rpartition("\n")[2])["properties"].keys() == ANSWER.keys()
    answer = f"```json\n{orjson.dumps(ANSWER).decode()}\n```"
    message = {"content": [{"type": "text", "text": answer}], "stop_reason": "end_turn"}
    assert isinstance(read_message(message, Labelled, SCHEMA), Answered)


def test_where_it_runs_and_on_whose_capacity_goes_into_the_request() -> None:
    body = written("aws", HAIKU, inference_geo="us", service_tier="standard_only")
    assert (body["inference_geo"], body["service_tier"]) == ("us", "standard_only")


async def test_a_backfill_says_where_there_are_no_batches_and_what_to_do(
    server: Server, key: Path
) -> None:
    for provider in ("bedrock", "bedrock-mantle", "vertex", "foundry"):
        models = ModelSettings(haiku=TierSettings(**dict(keyed(provider, server, key))))
        gateway = Gateway(Settings(models=models))
        with pytest.raises(UsageError, match=rf"{provider} has no message batches.*pipeline run"):
            gateway.batch_lane()


async def test_what_is_too_large_for_a_provider_is_rejected_and_not_sent(
    server: Server, key: Path
) -> None:
    models = ModelSettings(haiku=TierSettings(**dict(keyed("bedrock", server, key))))
    async with Gateway(Settings(models=models)) as gateway:
        with pytest.raises(Rejected, match="bedrock takes 20,971,520"):
            await gateway.ask(about(Pdf(b"%PDF" + bytes(16 << 20))), Tier.HAIKU)
    assert not server.sent


def gates(models: ModelSettings) -> list[Breaker]:
    gateway = Gateway(Settings(models=models))
    return [gateway._routes[tier].endpoints["first"].limiter._gates[0] for tier in Tier]


def test_an_account_is_blocked_for_all_its_models_and_for_no_other(
    server: Server, key: Path
) -> None:
    haiku = TierSettings(**dict(keyed("aws", server, key)))
    sonnet = haiku.model_copy(update={"model": SONNET})
    elsewhere = TierSettings(model=SONNET)
    same = gates(ModelSettings(haiku=haiku, sonnet=sonnet))
    assert same[0] is same[1]
    other = gates(ModelSettings(haiku=haiku, sonnet=elsewhere))
    assert other[0] is not other[1]


def test_every_provider_that_settings_know_has_a_row() -> None:
    assert list(PROVIDERS) == list(PLACES)
    for traits in PROVIDERS.values():
        assert traits.route == MESSAGES or traits.version is not None
