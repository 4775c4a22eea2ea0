"""What companies put in front of a model: LiteLLM, and proxies that pass little on."""

import re
from collections.abc import Mapping, Sequence

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

_FROM = {"anthropic": "", "vertex_ai": "@", "bedrock": "anthropic."}


class PlainProxy:
    """Passes messages on and hides what it does not know: no limits, no batches, no models.

    Args:
        upstream: What answers.
        keys: Its own; an old one is good until its end.
    """

    limit = 32 * 1024 * 1024

    def __init__(self, upstream: Upstream, keys: Expiring) -> None:
        self._upstream = upstream
        self._keys = keys
        self.denied = False

    def routes(self) -> Sequence[Route]:
        return [Route("POST", r"(/v1/messages(?:/count_tokens)?)", self._messages)]

    def admit(self, received: Received) -> None:
        """Raise what a caller gets who may not ask."""
        key = received.bearer or received.headers.get("x-api-key") or ""
        refused = anthropic_error(401, "authentication_error", "the key is not valid")
        self._keys.check(key, unknown=refused, expired=refused)
        if self.denied:
            raise anthropic_error(403, "permission_error", "not for this team")

    def too_large(self) -> Refused:
        return Refused("too_large", Reply(413, b"<html>Request Entity Too Large</html>"))

    def missing(self, received: Received) -> Refused:
        return Refused("missing", Reply.of(404, {"detail": f"Not Found: {received.path}"}))

    async def _messages(self, received: Received, match: re.Match[str]) -> Reply:
        version = received.headers.get("anthropic-version", "")
        reply = await self._upstream.call("POST", match[1], received.body, version=version)
        return Reply(reply.status, reply.body, self._headers(reply.headers))

    @staticmethod
    def _headers(headers: Mapping[str, str]) -> dict[str, str]:
        return without(headers, "anthropic-", "retry-after", "request-id")


class Transparent(PlainProxy):
    """Everything of the Messages API as it is, behind keys that change."""

    def routes(self) -> Sequence[Route]:
        return [Route(method, r"(/v1/.*)", self._pass) for method in ("GET", "POST")]

    async def _pass(self, received: Received, match: re.Match[str]) -> Reply:
        query = f"?{received.query}" if received.query else ""
        version = received.headers.get("anthropic-version", "")
        return await self._upstream.call(
            received.method, match[1] + query, received.body, version=version
        )


class LiteLlm(PlainProxy):
    """Ids with the provider before them; the provider's headers come back under other names.

    Error responses lose `retry-after` (BerriAI/litellm#37754, #37764).
    """

    async def _messages(self, received: Received, match: re.Match[str]) -> Reply:
        try:
            body = parsed(received)
        except (TypeError, ValueError):
            raise anthropic_error(400, "invalid_request_error", "the body is no JSON") from None
        asked = str(body.get("model"))
        provider, _, name = asked.partition("/")
        base = name.removeprefix("anthropic.").replace("@", "-")
        if provider not in _FROM or base not in MODELS:
            message = f"litellm.BadRequestError: no such model group: {asked}"
            raise anthropic_error(400, "invalid_request_error", message)
        version = received.headers.get("anthropic-version", "")
        sent = orjson.dumps({**body, "model": base})
        reply = await self._upstream.call("POST", match[1], sent, version=version)
        headers = self._headers(reply.headers)
        if reply.status != 200:
            message = f"litellm.APIError: AnthropicException - {reply.body.decode()}"
            raise _with_headers(anthropic_error(reply.status, "api_error", message), headers)
        return Reply(200, reply.body, headers)

    @staticmethod
    def _headers(headers: Mapping[str, str]) -> dict[str, str]:
        renamed = {f"llm_provider-{name}": value for name, value in headers.items()}
        renamed.pop("llm_provider-retry-after", None)
        kind = renamed.pop("llm_provider-content-type", "application/json")
        return {"content-type": kind, "x-litellm-version": "1.96.2", **renamed}


def _with_headers(refused: Refused, headers: Mapping[str, str]) -> Refused:
    reply = refused.reply
    return Refused(refused.code, Reply(reply.status, reply.body, {**headers, **reply.headers}))
