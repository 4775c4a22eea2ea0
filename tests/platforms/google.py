"""Google Cloud's two ways to Claude, and what hands out access tokens.

Vertex AI (Agent Platform) has the model in the path and the version in the body; Claude models
managed by Anthropic are the whole Messages API under a path of the workspace.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
from google.auth import jwt

from pipeline.local.simulated.served_models import MODELS
from tests.platforms.expiring import Expiring
from tests.platforms.http import (
    Received,
    Refused,
    Reply,
    Route,
    Upstream,
    anthropic_error,
    parsed,
    without,
)
from tests.platforms.limits import check_images

PROJECT = "project-of-tests"
REGION = "us-east5"
WORKSPACE = "wrkspc_01Platforms"
SERVICE_ACCOUNT = f"pipeline@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TEXT = {"content-type": "text/plain"}
_MEGABYTE = 1024 * 1024
_VERSIONS: Mapping[str, str] = {"vertex-2023-10-16": "2023-06-01", "2026-10-21": "2026-10-21"}
"""What `anthropic_version` may be, and the version of the API that it is."""
IDS = {re.sub(r"-(20\d{6})$", r"@\1", name): name for name in MODELS}
"""Vertex's ids, and those of the API: a date follows an `@`."""
_decode: Any = jwt.decode  # has no types
_AUDIENCE = "https://oauth2.googleapis.com/token"
"""What assertions are for, wherever the token endpoint is."""
_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def google_error(status: int, code: str, message: str, reason: str | None = None) -> Refused:
    """An error as Google's services write it; `reason` is that of its details."""
    error: dict[str, Any] = {"code": status, "message": message, "status": code}
    headers = {}
    if reason is not None:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    if status == 401:
        headers["www-authenticate"] = (
            'Bearer realm="https://accounts.google.com/", error="invalid_token"'
        )
    return Refused(reason or code, Reply.of(status, {"error": error}, headers))


class GoogleTokens:
    """Hands out access tokens: the metadata server of machines, and to service accounts.

    A service account proves itself by an assertion that is signed with its private key (RS256).

    Args:
        tokens: The access tokens.
        public_key: The service account's, PEM.
    """

    def __init__(self, tokens: Expiring, public_key: bytes) -> None:
        self._tokens = tokens
        self._public_key = public_key

    def routes(self) -> Sequence[Route]:
        account = "/computeMetadata/v1/instance/service-accounts/(?:default|[^/]+@[^/]+)"
        return [
            Route("GET", "/", self._ping),
            Route("POST", "/token", self._exchange),
            Route("GET", f"{account}/token", self._token),
            Route("GET", f"{account}/", self._account),
            Route("GET", "/computeMetadata/v1/project/project-id", self._project),
            Route("GET", "/computeMetadata/v1/universe/universe[-_]domain", self._universe),
        ]

    async def _exchange(self, received: Received, _: re.Match[str]) -> Reply:
        asked = {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
        try:
            claims = _decode(asked["assertion"], certs=self._public_key, audience=_AUDIENCE)
        except (KeyError, ValueError) as error:
            raise _no_grant(f"Invalid JWT: {error}") from error
        if asked.get("grant_type") != _ASSERTION or claims["iss"] != SERVICE_ACCOUNT:
            raise _no_grant("Invalid grant: account not found")
        if SCOPE not in claims.get("scope", "").split():
            raise _no_grant("Invalid OAuth scope")
        return Reply.of(200, self._made())

    async def _token(self, received: Received, _: re.Match[str]) -> Reply:
        return _metadata(received, Reply.of(200, self._made()))

    async def _account(self, received: Received, _: re.Match[str]) -> Reply:
        body = {"email": SERVICE_ACCOUNT, "scopes": [SCOPE], "aliases": ["default"]}
        return _metadata(received, Reply.of(200, body))

    async def _project(self, received: Received, _: re.Match[str]) -> Reply:
        return _metadata(received, Reply(200, PROJECT.encode(), _TEXT))

    async def _universe(self, received: Received, _: re.Match[str]) -> Reply:
        return _metadata(received, Reply(200, b"googleapis.com", _TEXT))

    async def _ping(self, received: Received, _: re.Match[str]) -> Reply:
        return _metadata(received, Reply(200, b"computeMetadata/\n", _TEXT))

    def _made(self) -> dict[str, object]:
        found = self._tokens.current()
        left = int(found.expires - self._tokens.clock())
        return {"access_token": found.name, "expires_in": left, "token_type": "Bearer"}


def _metadata(received: Received, reply: Reply) -> Reply:
    if received.headers.get("metadata-flavor") != "Google":
        raise Refused("metadata", Reply(403, b"Metadata-Flavor: Google is required"))
    return Reply(reply.status, reply.body, {**reply.headers, "metadata-flavor": "Google"})


def _no_grant(why: str) -> Refused:
    return Refused(
        "invalid_grant", Reply.of(400, {"error": "invalid_grant", "error_description": why})
    )


class _Google:
    """Who may ask."""

    limit = 30 * _MEGABYTE

    def __init__(self, upstream: Upstream, tokens: Expiring) -> None:
        self._upstream = upstream
        self._tokens = tokens
        self.denied = False

    def admit(self, received: Received) -> None:
        """Raise what a caller gets who may not ask."""
        message = "Request had invalid authentication credentials."
        if received.bearer is None:
            raise google_error(401, "UNAUTHENTICATED", message, "CREDENTIALS_MISSING")
        self._tokens.check(
            received.bearer,
            unknown=google_error(401, "UNAUTHENTICATED", message, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
            expired=google_error(401, "UNAUTHENTICATED", message, "ACCESS_TOKEN_EXPIRED"),
        )
        if self.denied:
            raise _denied()

    def too_large(self) -> Refused:
        return google_error(
            400, "INVALID_ARGUMENT", f"Request payload size exceeds the limit: {self.limit} bytes."
        )

    def missing(self, received: Received) -> Refused:
        """Google's front end writes a page where no service is."""
        page = f"<!DOCTYPE html><title>Error 404 (Not Found)</title><p>{received.path}</p>"
        return Refused("NOT_FOUND", Reply(404, page.encode(), {"content-type": "text/html"}))


class Vertex(_Google):
    """Messages and token counts; no rate limits are announced, no batches and no models."""

    def routes(self) -> Sequence[Route]:
        where = r"/v1/projects/([^/]+)/locations/([^/]+)/publishers/anthropic/models"
        return [
            Route("POST", f"{where}/count-tokens:rawPredict", self._count),
            Route("POST", f"{where}/([^/:]+):rawPredict", self._predict),
        ]

    async def _predict(self, received: Received, match: re.Match[str]) -> Reply:
        self._check_place(match)
        base = self._base(match, unquote(match[3]))
        body, version = self._body(received)
        if "model" in body:
            raise anthropic_error(
                400, "invalid_request_error", "model: Extra inputs are not permitted"
            )
        return await self._ask("/v1/messages", {**body, "model": base}, version)

    async def _count(self, received: Received, match: re.Match[str]) -> Reply:
        self._check_place(match)
        body, version = self._body(received)
        base = self._base(match, str(body.get("model")))
        return await self._ask("/v1/messages/count_tokens", {**body, "model": base}, version)

    async def _ask(self, path: str, body: Mapping[str, Any], version: str) -> Reply:
        reply = await self._upstream.call("POST", path, orjson.dumps(body), version=version)
        if reply.status == 429:
            raise google_error(
                429,
                "RESOURCE_EXHAUSTED",
                "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base"
                f"_model with base model: anthropic-{body['model']}.",
            )
        headers = without(reply.headers, "anthropic-ratelimit", "retry-after")
        return Reply(reply.status, reply.body.replace(b'"msg_', b'"msg_vrtx_', 1), headers)

    @staticmethod
    def _body(received: Received) -> tuple[dict[str, Any], str]:
        try:
            body = parsed(received)
        except (TypeError, ValueError):
            raise google_error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.") from None
        asked = body.pop("anthropic_version", None)
        if asked not in _VERSIONS:
            problem = f"anthropic_version: {asked!r} is not one of {', '.join(_VERSIONS)}"
            raise anthropic_error(400, "invalid_request_error", problem)
        if too_large := check_images(body):
            raise anthropic_error(400, "invalid_request_error", too_large)
        return body, _VERSIONS[asked]

    @staticmethod
    def _check_place(match: re.Match[str]) -> None:
        if match[1] != PROJECT:
            raise _denied()
        if match[2] not in {REGION, "global"}:
            raise _no_model(match, match.groups()[-1])

    @staticmethod
    def _base(match: re.Match[str], asked: str) -> str:
        if asked not in IDS:
            raise _no_model(match, asked)
        return IDS[asked]


def _no_model(match: re.Match[str], asked: str) -> Refused:
    name = f"projects/{match[1]}/locations/{match[2]}/publishers/anthropic/models/{asked}"
    return google_error(
        404, "NOT_FOUND", f"Publisher Model `{name}` was not found or is not open to the project."
    )


def _denied() -> Refused:
    message = "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist)."
    return google_error(403, "PERMISSION_DENIED", message, "IAM_PERMISSION_DENIED")


class ClaudeOnGoogleCloud(_Google):
    """The whole Messages API, with the rate limits of Anthropic and their headers."""

    def routes(self) -> Sequence[Route]:
        where = r"/v1/projects/([^/]+)/locations/([^/]+)/workspaces/([^/]+)/invoke(/v1/.*)"
        return [Route(method, where, self._pass) for method in ("GET", "POST")]

    async def _pass(self, received: Received, match: re.Match[str]) -> Reply:
        if (match[1], match[3]) != (PROJECT, WORKSPACE):
            raise _denied()
        if match[2] not in {REGION, "global"}:
            raise google_error(404, "NOT_FOUND", f"Location {match[2]} is not found.")
        query = f"?{received.query}" if received.query else ""
        version = received.headers.get("anthropic-version", "")
        return await self._upstream.call(
            received.method, match[4] + query, received.body, version=version
        )


def service_account_info(private_key: str, token_uri: str) -> dict[str, str]:
    """What the file of a service account's key has in it."""
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "key-of-tests",
        "private_key": private_key,
        "client_email": SERVICE_ACCOUNT,
        "client_id": "100000000000000000001",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
