"""AWS's three ways to Claude: Claude Platform on AWS, Bedrock's Messages API (Mantle), InvokeModel.

What they share is who may ask: a request signed for the service and its region, or a bearer token.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import orjson

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
from tests.platforms.sigv4 import BadSignature, verify

REGION = "us-west-2"
WORKSPACE = "wrkspc_01Platforms"
_MEGABYTE = 1024 * 1024
_VERSION_OF_BEDROCK = "bedrock-2023-05-31"
_VERSION = "2026-10-21"
_INVOKED = re.compile(r"(?:(?P<profile>us|eu|jp|au|apac|global)\.)?anthropic\.(?P<base>.+?)")
_PROFILES = frozenset({None, "us", "global"})
"""The inference profiles that the account may use, which begin what is asked for."""
_ALIASES = {"anthropic.claude-haiku-4-5": "claude-haiku-4-5-20251001"}
_OLDER = frozenset({"claude-haiku-4-5-20251001"})
"""Models before 4.7: InvokeModel has them behind a profile only, and without the newer version of
the API."""


def aws_error(status: int, code: str, message: str, *, key: str = "message") -> Refused:
    """An error as AWS's services of REST and JSON write it."""
    headers = {
        "x-amzn-errortype": f"{code}:http://internal.amazon.com/coral/com.amazon.coral.service/",
        "x-amzn-requestid": "00000000-0000-4000-8000-000000000000",
    }
    return Refused(code, Reply.of(status, {key: message}, headers))


class _Aws:
    """Who may ask.

    Args:
        upstream: What answers.
        sessions: Credentials that requests may be signed with.
        tokens: Bearer tokens.
    """

    service: str
    limit = 20 * _MEGABYTE
    refused = 403
    """The status of a signature or token that is not good."""

    def __init__(self, upstream: Upstream, sessions: Expiring, tokens: Expiring) -> None:
        self._upstream = upstream
        self._sessions = sessions
        self._tokens = tokens
        self.region = REGION
        self.denied = False

    def admit(self, received: Received) -> None:
        """Raise what a caller gets who may not ask."""
        token = received.bearer or received.headers.get("x-api-key")
        if token is not None:
            invalid = "Authentication failed: the API key is not valid."
            self._tokens.check(
                token,
                unknown=aws_error(self.refused, "AccessDeniedException", invalid, key="Message"),
                expired=aws_error(
                    self.refused, "ExpiredTokenException", "Bearer Token has expired", key="Message"
                ),
            )
        else:
            try:
                verify(received, self._sessions, service=self.service, region=self.region)
            except BadSignature as error:
                raise aws_error(self.refused, error.code, error.message) from error
        if self.denied:
            message = f"The caller is not authorized to perform: {self.service}:CreateInference"
            raise aws_error(403, "AccessDeniedException", message)

    def too_large(self) -> Refused:
        return aws_error(413, "RequestEntityTooLargeException", "The request is too large.")

    def missing(self, received: Received) -> Refused:
        return aws_error(404, "UnknownOperationException", f"{received.path} is not known.")


class ClaudePlatformOnAws(_Aws):
    """The whole Messages API, with the rate limits of Anthropic and their headers.

    That a refused signature is a 401 here, and a 403 elsewhere, is from reports of users.
    """

    service = "aws-external-anthropic"
    limit = 32 * _MEGABYTE
    refused = 401

    def routes(self) -> Sequence[Route]:
        return [Route(method, "/v1/.*", self._pass) for method in ("GET", "POST")]

    async def _pass(self, received: Received, _: re.Match[str]) -> Reply:
        workspace = received.headers.get("anthropic-workspace-id")
        if not workspace:
            raise anthropic_error(400, "invalid_request_error", "anthropic-workspace-id: required")
        if workspace != WORKSPACE:
            raise aws_error(403, "AccessDeniedException", f"no access to workspace {workspace}")
        query = f"?{received.query}" if received.query else ""
        version = received.headers.get("anthropic-version", "")
        reply = await self._upstream.call(
            received.method, received.path + query, received.body, version=version
        )
        ids = {"x-amzn-requestid": "00000000-0000-4000-8000-000000000001"}
        return Reply(reply.status, reply.body, {**reply.headers, **ids})


class BedrockMantle(_Aws):
    """Messages and token counts only; ids are `anthropic.` and the model's, without a profile.

    Its pages do not say how its own errors look: they are taken to be the Messages API's, which is
    how users quote them, but for what is refused before anything is read.
    """

    service = "bedrock-mantle"

    def routes(self) -> Sequence[Route]:
        return [Route("POST", r"/anthropic(/v1/messages(?:/count_tokens)?)", self._messages)]

    def missing(self, received: Received) -> Refused:
        return anthropic_error(404, "not_found_error", f"Not found: {received.path}")

    def too_large(self) -> Refused:
        return anthropic_error(413, "request_too_large", "Request exceeds the maximum size")

    async def _messages(self, received: Received, match: re.Match[str]) -> Reply:
        version = received.headers.get("anthropic-version")
        if version is None:
            raise anthropic_error(400, "invalid_request_error", "anthropic-version: required")
        body = _body(received)
        asked = str(body.get("model"))
        base = _ALIASES.get(asked, asked.removeprefix("anthropic."))
        if base == asked or base not in MODELS:
            raise anthropic_error(404, "not_found_error", f"The model {asked!r} does not exist")
        if problem := refused_features(body, base) or check_images(body):
            raise anthropic_error(400, "invalid_request_error", problem)
        sent = orjson.dumps({**body, "model": base})
        reply = await self._upstream.call("POST", match[1], sent, version=version)
        hidden = without(reply.headers, "anthropic-ratelimit", "retry-after")
        return Reply(reply.status, reply.body, hidden)


class BedrockInvoke(_Aws):
    """InvokeModel: the model in the path, the version in the body, and AWS's own errors."""

    service = "bedrock"

    def routes(self) -> Sequence[Route]:
        return [Route("POST", r"/model/([^/]+)/invoke", self._invoke)]

    async def _invoke(self, received: Received, match: re.Match[str]) -> Reply:
        base = self._base(unquote(match[1]))
        body = _body(received)
        version = body.pop("anthropic_version", None)
        if version is None:
            raise _invalid("anthropic_version: Field required")
        if version != _VERSION_OF_BEDROCK and (version != _VERSION or base in _OLDER):
            raise _invalid(f"anthropic_version: {version!r} is not supported by this model")
        for name in ("model", "stream"):
            if name in body:
                raise _invalid(f"{name}: Extra inputs are not permitted")
        if problem := refused_features(body, base) or check_images(body):
            raise _invalid(problem)
        sent = orjson.dumps({**body, "model": base})
        newer = version if version == _VERSION else "2023-06-01"
        reply = await self._upstream.call("POST", "/v1/messages", sent, version=newer)
        if reply.status != 200:
            raise _translated(reply)
        usage = reply.read()["usage"]
        counted = {
            "content-type": "application/json",
            "x-amzn-requestid": "00000000-0000-4000-8000-000000000002",
            "x-amzn-bedrock-input-token-count": str(usage["input_tokens"]),
            "x-amzn-bedrock-output-token-count": str(usage["output_tokens"]),
        }
        return Reply(200, reply.body.replace(b'"msg_', b'"msg_bdrk_', 1), counted)

    @staticmethod
    def _base(asked: str) -> str:
        found = _INVOKED.fullmatch(asked)
        base = found["base"] if found is not None else ""
        base = re.sub(r"-v\d+(?::\d+)?$", "", base)
        if found is None or base not in MODELS:
            raise _invalid("The provided model identifier is invalid.")
        if found["profile"] is None and base in _OLDER:
            raise _invalid(
                f"Invocation of model ID {asked} with on-demand throughput isn't supported; use an"
                " inference profile."
            )
        if found["profile"] not in _PROFILES:
            raise aws_error(
                403, "AccessDeniedException", "You don't have access to that inference profile."
            )
        return base


def refused_features(body: Mapping[str, Any], base: str) -> str | None:
    """What Bedrock does not take for the models of 5.5, as users reported in October 2026.

    AWS's pages name structured outputs for the models of 4.5 and 4.6, on InvokeModel.
    """
    if "-5-5" not in base:
        return None
    if "format" in (body.get("output_config") or {}):
        return "output_config.format: Extra inputs are not permitted"
    if any("strict" in tool for tool in body.get("tools") or ()):
        return "tools.0.custom.strict: Extra inputs are not permitted"
    return None


def _body(received: Received) -> dict[str, Any]:
    try:
        return parsed(received)
    except (TypeError, ValueError):
        raise _invalid("Malformed input request, please reformat your input.") from None


def _invalid(message: str) -> Refused:
    return aws_error(400, "ValidationException", message)


_CODES: Mapping[int, tuple[int, str]] = {
    400: (400, "ValidationException"),
    401: (403, "AccessDeniedException"),
    403: (403, "AccessDeniedException"),
    404: (404, "ResourceNotFoundException"),
    413: (413, "RequestEntityTooLargeException"),
    429: (429, "ThrottlingException"),
    500: (500, "InternalServerException"),
    503: (503, "ServiceUnavailableException"),
    504: (408, "ModelTimeoutException"),
    529: (503, "ServiceUnavailableException"),
}


def _translated(reply: Reply) -> Refused:
    """What the model's servers said, as InvokeModel says it."""
    status, code = _CODES.get(reply.status, (500, "InternalServerException"))
    if code == "ThrottlingException":
        return aws_error(status, code, "Too many requests, please wait before trying again.")
    try:
        message = str(reply.read()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = "The system encountered an unexpected error."
    return aws_error(status, code, message)
