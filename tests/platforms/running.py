"""A platform that runs: the simulated API, its skin, and what hands out credentials for it."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pipeline.local.simulated import SimulatedApi, Simulation
from tests.platforms import aws, azure, google
from tests.platforms.aws_credentials import (
    CONTAINER_TOKEN,
    ROLE_ARN,
    WEB_IDENTITY,
    AwsCredentials,
)
from tests.platforms.expiring import Expiring
from tests.platforms.gateways import LiteLlm, PlainProxy, Transparent
from tests.platforms.http import Route, Upstream
from tests.platforms.server import Open, Platform, PlatformServer

ACCOUNT = "account-of-the-platform"
HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
AUTHS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("key", "key-file"),
    "aws": ("container", "imds", "web-identity", "assume-role", "process", "bearer"),
    "bedrock": ("container", "imds", "web-identity", "assume-role", "process", "bearer"),
    "bedrock-mantle": ("container", "imds", "web-identity", "assume-role", "process", "bearer"),
    "vertex": ("service-account", "metadata"),
    "google-cloud": ("service-account", "metadata"),
    "foundry": ("key", "entra"),
    "litellm": ("key", "key-file"),
    "proxy": ("key", "key-file"),
}
"""Every platform with the ways to prove who asks; the first is the usual one."""
UNSET = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_AWS_API_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT", "CLOUD_ML_REGION", "ANTHROPIC_FOUNDRY_API_KEY",
    "ANTHROPIC_FOUNDRY_RESOURCE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID",
)  # fmt: skip
"""Variables of this machine that a client must not see beside those of a platform."""


_PROCESS = """
import json
import urllib.request

asked = urllib.request.Request({url!r}, headers={{"Authorization": {token!r}}})
found = json.load(urllib.request.urlopen(asked))
print(json.dumps({{"Version": 1, "SessionToken": found.pop("Token"), **found}}))
"""
"""A program that prints credentials, as `credential_process` wants them."""


@dataclass(slots=True)
class Running:
    """A platform that can be asked.

    Args:
        name: One of `AUTHS`.
        provider: As `models.<tier>.provider` names it.
        model: An id of the Messages API as this platform writes it.
        where: What `models.<tier>` says of the place, `base_url` among it.
        api: The simulated API behind it.
        server: The platform's own server.
        platform: Its skin.
        credentials: What requests are proven with, and expires.
        environment: Variables that lead a client to credentials.
        key_file: A key or token that is mounted and changes, if there is one.
    """

    name: str
    provider: str
    model: Callable[[str], str]
    where: dict[str, str]
    api: SimulatedApi
    server: PlatformServer
    platform: Any
    credentials: Expiring
    environment: dict[str, str] = field(default_factory=dict)
    key_file: Path | None = None

    def table(self, base: str) -> dict[str, Any]:
        """The settings `models.<tier>`."""
        found: dict[str, Any] = {"model": self.model(base), "provider": self.provider, **self.where}
        if self.key_file is not None:
            found["key_file"] = str(self.key_file)
        return found


@asynccontextmanager
async def running(
    name: str,
    directory: Path,
    *,
    auth: str | None = None,
    life: float = 3600.0,
    simulation: Simulation | None = None,
) -> AsyncIterator[Running]:
    """Run one.

    Args:
        name: One of `AUTHS`.
        directory: For files of credentials.
        auth: One of its ways; the usual one if None.
        life: Seconds until a credential expires.
        simulation: How the simulated API behaves.
    """
    how = auth or AUTHS[name][0]
    if how not in AUTHS[name]:
        raise ValueError(f"{name} knows {', '.join(AUTHS[name])}, not {how!r}")
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(SimulatedApi(simulation))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        )
        place = _Place(name, how, directory, life, Upstream(api.base_url, http, ACCOUNT), stack)
        made = await _MAKERS[name](place)
        server = await stack.enter_async_context(PlatformServer(made.platform, made.credentials))
        where = {key: value.format(base=server.base_url) for key, value in made.where.items()}
        yield Running(
            name=name,
            provider=made.provider,
            model=made.model,
            where=where,
            api=api,
            server=server,
            platform=made.platform,
            credentials=made.credentials,
            environment=made.environment,
            key_file=made.key_file,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    auth: str
    directory: Path
    life: float
    upstream: Upstream
    stack: AsyncExitStack

    def expiring(self, prefix: str) -> Expiring:
        return Expiring(prefix, life=self.life)

    def file(self, name: str, text: str) -> Path:
        path = self.directory / f"{self.name}-{name}"
        path.write_text(text)
        return path

    async def credentials_server(self, routes: Sequence[Route]) -> str:
        server = await self.stack.enter_async_context(PlatformServer(Open(routes)))
        return server.base_url


@dataclass(slots=True)
class _Made:
    platform: Platform
    provider: str
    where: Mapping[str, str]
    credentials: Expiring
    environment: dict[str, str] = field(default_factory=dict)
    key_file: Path | None = None
    model: Callable[[str], str] = str


async def _aws(place: _Place) -> _Made:
    sessions, tokens = place.expiring("ASIA"), place.expiring("bedrock-api-key-")
    servers = AwsCredentials(sessions, aws.REGION)
    base = await place.credentials_server(servers.routes())
    nothing = str(place.directory / "none")
    # `localhost` and loopback addresses are what botocore takes without TLS.
    environment = {
        "AWS_CONFIG_FILE": nothing,
        "AWS_SHARED_CREDENTIALS_FILE": nothing,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_STS": f"{base}/sts",
    }
    where = {"region": aws.REGION}
    match place.name:
        case "aws":
            platform: Platform = aws.ClaudePlatformOnAws(place.upstream, sessions, tokens)
            where |= {"base_url": "{base}", "workspace_id": aws.WORKSPACE}
            model: Callable[[str], str] = str
        case "bedrock-mantle":
            platform = aws.BedrockMantle(place.upstream, sessions, tokens)
            where |= {"base_url": "{base}/anthropic"}
            model = "anthropic.{}".format
        case _:
            platform = aws.BedrockInvoke(place.upstream, sessions, tokens)
            where |= {"base_url": "{base}"}
            model = "us.anthropic.{}".format
    made = _Made(platform, place.name, where, sessions, environment, model=model)
    match place.auth:
        case "container":
            environment |= {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{base}/container",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": CONTAINER_TOKEN,
            }
        case "imds":
            environment |= {
                "AWS_EC2_METADATA_DISABLED": "false",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{base}/",
            }
        case "web-identity":
            environment |= {
                "AWS_ROLE_ARN": ROLE_ARN,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(place.file("web-identity", WEB_IDENTITY)),
                "AWS_REGION": aws.REGION,
            }
        case "assume-role":
            key = servers.long_lived.current()
            config = (
                f"[default]\nrole_arn = {ROLE_ARN}\nsource_profile = base\nregion = {aws.REGION}\n"
                f"[profile base]\naws_access_key_id = {key.name}\n"
                f"aws_secret_access_key = {key.secret}\naws_session_token = {key.token}\n"
            )
            environment["AWS_CONFIG_FILE"] = str(place.file("config", config))
        case "process":
            script = _PROCESS.format(url=f"{base}/container", token=CONTAINER_TOKEN)
            path = place.file("process.py", script)
            config = f"[default]\ncredential_process = python3 {path}\nregion = {aws.REGION}\n"
            environment["AWS_CONFIG_FILE"] = str(place.file("config", config))
        case _:
            made.credentials = tokens
            made.key_file = place.directory / f"{place.name}-token"
            tokens.write(made.key_file)
    return made


@cache
def _service_account_key() -> tuple[str, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public


async def _google(place: _Place) -> _Made:
    tokens = place.expiring("ya29.")
    private, public = _service_account_key()
    base = await place.credentials_server(google.GoogleTokens(tokens, public).routes())
    if place.auth == "service-account":
        info = google.service_account_info(private, f"{base}/token")
        path = place.file("service-account.json", json.dumps(info))
        environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}
    else:
        host = base.removeprefix("http://")
        environment = {
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "CLOUDSDK_CONFIG": str(place.directory / "none"),
        }
    where = {"project": google.PROJECT, "region": google.REGION}
    if place.name == "vertex":
        made = _Made(google.Vertex(place.upstream, tokens), "vertex", where, tokens, environment)
        made.where = {**where, "base_url": "{base}/v1"}
        made.model = _vertex_id
        return made
    platform = google.ClaudeOnGoogleCloud(place.upstream, tokens)
    path_of_workspace = (
        f"/v1/projects/{google.PROJECT}/locations/{google.REGION}"
        f"/workspaces/{google.WORKSPACE}/invoke"
    )
    where |= {"workspace_id": google.WORKSPACE, "base_url": "{base}" + path_of_workspace}
    return _Made(platform, "google-cloud", where, tokens, environment)


def _vertex_id(base: str) -> str:
    return next(name for name, of in google.IDS.items() if of == base)


async def _foundry(place: _Place) -> _Made:
    keys, tokens = place.expiring("foundry-key-"), place.expiring("eyJ0.")
    base = await place.credentials_server(azure.ManagedIdentity(tokens).routes())
    platform = azure.Foundry(place.upstream, keys, tokens)
    made = _Made(platform, "foundry", {"base_url": "{base}/anthropic"}, keys)
    if place.auth == "entra":
        made.credentials = tokens
        made.environment = azure.ManagedIdentity.environment(base)
    else:
        made.key_file = place.directory / "foundry-key"
        keys.write(made.key_file)
    return made


async def _gateway(place: _Place) -> _Made:
    keys = place.expiring("sk-gateway-")
    kinds = {"anthropic": Transparent, "litellm": LiteLlm, "proxy": PlainProxy}
    platform = kinds[place.name](place.upstream, keys)
    made = _Made(platform, "anthropic", {"base_url": "{base}"}, keys)
    if place.name == "litellm":
        made.model = "anthropic/{}".format
    if place.auth == "key-file":
        made.key_file = place.directory / f"{place.name}-key"
        keys.write(made.key_file)
    else:
        made.environment = {"ANTHROPIC_API_KEY": keys.current().name}
    return made


_MAKERS = {
    "anthropic": _gateway,
    "aws": _aws,
    "bedrock": _aws,
    "bedrock-mantle": _aws,
    "vertex": _google,
    "google-cloud": _google,
    "foundry": _foundry,
    "litellm": _gateway,
    "proxy": _gateway,
}
