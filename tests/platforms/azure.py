"""Claude in Microsoft Foundry: a resource's deployments, with its key or a token of Entra ID."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

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

RESOURCE = "https://ai.azure.com"
DEPLOYMENTS: Mapping[str, str] = {
    **{name: name for name in MODELS},
    "our-haiku": "claude-haiku-5-5",
}
"""Deployments of the resource, and their models: names are the customer's."""
_IDENTITY_HEADER = "header-of-the-identity"


def azure_error(status: int, code: str, message: str) -> Refused:
    """An error of what stands in front of the model."""
    ids = {"apim-request-id": "00000000-0000-4000-8000-000000000003"}
    return Refused(code, Reply.of(status, {"error": {"code": code, "message": message}}, ids))


class Foundry:
    """Messages and token counts; no rate limit headers, no batches and no models.

    Args:
        upstream: What answers.
        keys: Of the resource.
        tokens: Of Entra ID.
        on_azure: Whether deployments are hosted on Azure, which knows no structured outputs.
    """

    limit = 32 * 1024 * 1024

    def __init__(
        self, upstream: Upstream, keys: Expiring, tokens: Expiring, *, on_azure: bool = False
    ) -> None:
        self._upstream = upstream
        self._keys = keys
        self._tokens = tokens
        self._on_azure = on_azure
        self.denied = False

    def routes(self) -> Sequence[Route]:
        return [Route("POST", r"/anthropic(/v1/messages(?:/count_tokens)?)", self._messages)]

    def admit(self, received: Received) -> None:
        """Raise what a caller gets who may not ask."""
        key = received.headers.get("api-key") or received.headers.get("x-api-key")
        wrong = "Access denied due to invalid subscription key or wrong API endpoint."
        if key is not None:
            refused = azure_error(401, "401", wrong)
            self._keys.check(key, unknown=refused, expired=refused)
        elif received.bearer is not None:
            refused = azure_error(401, "Unauthorized", "Access token is missing, invalid, audience"
                                  " is incorrect, or have expired.")  # fmt: skip
            self._tokens.check(received.bearer, unknown=refused, expired=refused)
        else:
            raise azure_error(401, "401", wrong)
        if self.denied:
            raise azure_error(
                403, "PermissionDenied", "The principal lacks the required data action."
            )

    def too_large(self) -> Refused:
        return anthropic_error(413, "request_too_large", "Request exceeds the maximum size")

    def missing(self, received: Received) -> Refused:
        del received
        return azure_error(404, "404", "Resource not found")

    async def _messages(self, received: Received, match: re.Match[str]) -> Reply:
        try:
            body = parsed(received)
        except (TypeError, ValueError):
            raise anthropic_error(400, "invalid_request_error", "the body is no JSON") from None
        asked = str(body.get("model"))
        if asked not in DEPLOYMENTS:
            raise azure_error(
                404, "DeploymentNotFound", f"The API deployment {asked!r} does not exist."
            )
        if self._on_azure and "format" in (body.get("output_config") or {}):
            raise anthropic_error(
                400, "invalid_request_error", "output_config.format: not supported on Azure"
            )
        version = received.headers.get("anthropic-version", "")
        sent = orjson.dumps({**body, "model": DEPLOYMENTS[asked]})
        reply = await self._upstream.call("POST", match[1], sent, version=version)
        ids = {"apim-request-id": "00000000-0000-4000-8000-000000000004"}
        headers = without(reply.headers, "anthropic-ratelimit", "retry-after")
        return Reply(reply.status, reply.body, {**headers, **ids})


class ManagedIdentity:
    """Hands out tokens of Entra ID, as App Service does."""

    def __init__(self, tokens: Expiring) -> None:
        self._tokens = tokens

    @staticmethod
    def environment(base_url: str) -> dict[str, str]:
        return {"IDENTITY_ENDPOINT": f"{base_url}/msi", "IDENTITY_HEADER": _IDENTITY_HEADER}

    def routes(self) -> Sequence[Route]:
        return [Route("GET", "/msi/?", self._token)]

    async def _token(self, received: Received, _: re.Match[str]) -> Reply:
        asked = {name: values[0] for name, values in parse_qs(received.query).items()}
        if received.headers.get("x-identity-header") != _IDENTITY_HEADER:
            raise Refused("identity", Reply(401, b""))
        if asked.get("resource", "").rstrip("/") != RESOURCE:
            raise Refused("identity", Reply.of(400, {"error": "invalid_resource"}))
        found = self._tokens.current()
        return Reply.of(
            200,
            {
                "access_token": found.name,
                "expires_on": str(int(found.expires)),
                "resource": asked["resource"],
                "token_type": "Bearer",
            },
        )
