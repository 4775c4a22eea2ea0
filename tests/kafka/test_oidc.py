"""Tokens by client credentials, from a server that checks what real ones check."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from pipeline.config import OauthSettings
from pipeline.kafka import oidc
from pipeline.kafka.oidc import ClientCredentials
from pipeline.model.errors import UsageError
from pipeline.runtime.tokens import CredentialsUnavailable, Tokens
from tests.kafka.certificates import Authority
from tests.kafka.issuer import CLIENT, SCOPE, SECRET, TokenServer


def settings_for(server: TokenServer, **changes: object) -> OauthSettings:
    return OauthSettings.model_validate(
        {
            "token_endpoint": server.url,
            "client_id": CLIENT,
            "client_secret": SecretStr(SECRET),
            "scope": SCOPE,
            **changes,
        }
    )


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[TokenServer]:  # noqa: ANN401
    async with TokenServer(**options) as server:
        yield server


async def refusal(server: TokenServer, **changes: object) -> CredentialsUnavailable:
    with pytest.raises(CredentialsUnavailable) as refused:
        await ClientCredentials(settings_for(server, **changes)).fetch()
    said = str(refused.value)
    assert said.endswith(".")
    assert SECRET not in said
    return refused.value


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_BACKOFF", (0.0, 0.0))


async def test_a_wrong_secret_names_the_settings_to_check_and_is_not_tried_again() -> None:
    async with serving() as server:
        refused = await refusal(server, client_secret=SecretStr("not it"))
        assert "refuses client 'pipeline' (HTTP 401, invalid_client: Invalid client" in str(refused)
        assert "check kafka.oauth.client_id, the secret and kafka.oauth.client_auth" in str(refused)
        assert not refused.transient
        assert server.asked == 1


async def test_a_scope_that_is_not_given_out_is_named() -> None:
    async with serving() as server:
        refused = await refusal(server, scope="everything")
        assert "invalid_scope" in str(refused)
        assert "check kafka.oauth.scope" in str(refused)


async def test_a_refusal_that_repeats_the_secret_is_shown_without_it() -> None:
    async with serving() as server:
        said = {"error": "invalid_client", "error_description": f"no such secret: {SECRET}"}
        server.instead.append(web.json_response(said, status=401))
        assert "no such secret: ***" in str(await refusal(server))


@pytest.mark.parametrize("body", ["", "<html>nothing here</html>", "[1]", "{" * 100_000])
async def test_a_refusal_without_a_reason_still_says_where_to_look(body: str) -> None:
    async with serving() as server:
        server.instead.append(web.Response(status=404, text=body))
        assert "(HTTP 404): check what is under [kafka.oauth]" in str(await refusal(server))


@pytest.mark.parametrize(
    "said",
    [
        {"access_token": ""},
        {"access_token": 7},
        {"id_token": "x"},
        {"access_token": "x", "token_type": "mac"},
    ],
)
async def test_an_answer_without_a_bearer_token_is_a_wrong_url(said: dict[str, Any]) -> None:
    async with serving() as server:
        server.instead.append(web.json_response(said))
        assert "answers without a bearer token" in str(await refusal(server))


async def test_an_endless_answer_is_cut_off() -> None:
    async with serving() as server:
        server.instead.append(web.Response(body=b" " * (oidc._MOST_BYTES + 1)))
        assert "more than 256 KiB" in str(await refusal(server))


async def test_a_redirect_is_not_followed_with_the_secret() -> None:
    async with serving() as server, serving() as elsewhere:
        server.instead.append(web.Response(status=307, headers={"Location": elsewhere.url}))
        assert "HTTP 307" in str(await refusal(server))
        assert elsewhere.asked == 0


async def test_nobody_there_is_worth_another_try_later() -> None:
    async with serving() as server:
        pass
    refused = await refusal(server)
    assert "cannot be reached" in str(refused)
    assert refused.transient


async def test_a_server_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_ATTEMPT_WITHIN", 0.05)
    async with serving() as server:
        server.instead.extend([None] * 3)
        refused = await refusal(server)
        assert "does not answer in time" in str(refused)
        assert refused.transient


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_is_asked_again(status: int) -> None:
    async with serving() as server:
        busy = (web.Response(status=status, headers={"Retry-After": "0"}) for _ in range(2))
        server.instead.extend(busy)
        token, _ = await ClientCredentials(settings_for(server)).fetch()
        assert token == "token-of-pipeline"
        assert server.asked == 3


async def test_a_server_that_wants_a_long_pause_is_not_waited_for() -> None:
    async with serving() as server:
        server.instead.append(web.Response(status=429, headers={"Retry-After": "120"}))
        refused = await refusal(server)
        assert "gives out no token at present (HTTP 429)" in str(refused)
        assert refused.transient


@pytest.mark.parametrize("auth", ["basic", "post"])
async def test_the_secret_goes_as_it_is_set_and_odd_characters_survive(auth: str) -> None:
    async with serving(auth=auth) as server:
        token, _ = await ClientCredentials(settings_for(server, client_auth=auth)).fetch()
        assert token == "token-of-pipeline"
        assert not server.refused


async def test_the_other_way_of_sending_the_secret_is_refused() -> None:
    async with serving(auth="post") as server:
        assert "kafka.oauth.client_auth" in str(await refusal(server))


async def test_further_parameters_are_sent() -> None:
    audience = {"audience": "https://kafka", "resource": "cluster"}
    async with serving(extra=audience) as server:
        await ClientCredentials(settings_for(server, parameters=audience)).fetch()
        assert "invalid_request" in str(await refusal(server))


async def test_a_secret_in_a_file_is_read_for_each_token(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    async with serving() as server:
        changes = {"client_secret": None, "client_secret_file": file}
        assert f"there is no secret in {file}" in str(await refusal(server, **changes))
        source = ClientCredentials(settings_for(server, **changes))
        file.write_text(f"{SECRET}\n")
        await source.fetch()
        file.write_text("rotated")
        server.secret = "rotated"
        await source.fetch()


async def test_a_token_expires_by_this_machines_clock_whatever_the_servers_says() -> None:
    async with serving(life=600) as server:
        _, expires = await ClientCredentials(settings_for(server), now=lambda: 1000.0).fetch()
        assert expires == 1600.0


async def test_a_token_without_a_stated_life_is_used_once() -> None:
    async with serving(without_life=True) as server:
        tokens = Tokens(ClientCredentials(settings_for(server)).fetch)
        await tokens.current()
        await tokens.current()
        assert server.issued == 2


async def test_all_connections_wait_for_one_token() -> None:
    async with serving() as server:
        tokens = Tokens(ClientCredentials(settings_for(server)).fetch)
        await asyncio.gather(*(tokens.current() for _ in range(20)))
        assert server.asked == 1


async def test_a_certificate_of_an_unknown_authority_is_not_sent_the_secret(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with serving(tls=context) as server:
        said = str(await refusal(server))
        assert "certificate that is not accepted" in said
        assert "kafka.oauth.ca_file" in said
        assert server.asked == 0
        source = ClientCredentials(settings_for(server, ca_file=authority.file))
        token, _ = await source.fetch()
        assert token == "token-of-pipeline"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"token_endpoint": None}, "kafka.oauth.token_endpoint"),
        ({"client_id": None}, "kafka.oauth.client_id"),
        ({"client_secret": None}, "one of kafka.oauth.client_secret"),
        ({"client_secret_file": Path("secret")}, "one of kafka.oauth.client_secret"),
        ({"ca_file": Path("/no/such.pem")}, "kafka.oauth.ca_file"),
    ],
)
def test_what_is_missing_is_a_usage_error(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ClientCredentials(settings_for(TokenServer(url="https://127.0.0.1/token"), **changes))
