"""The SDK's own spans: one for each Messages request, without anything of its content."""

import re
from typing import Any, Literal

import anthropic
import httpx2
from anthropic._response import AsyncAPIResponse
from anthropic._types import OpenTelemetryOptions
from anthropic.types import Message
from opentelemetry.trace import TracerProvider

ROUTE = "/v1/messages"
_MODEL = re.compile(rb'"model":"([^"]+)"')
_HEAD = 200
"""Bytes of a request in which its model is named."""


def options(traces: TracerProvider | None) -> OpenTelemetryOptions | Literal[False]:
    """The SDK's options about spans.

    Given whole, so that no variable of the environment makes it record the content, and without
    propagation: of an event nothing but the question itself leaves for the API.
    """
    if traces is None:
        return False
    return {
        "tracer_provider": traces,
        "propagation": False,
        "traces": {"enabled": True, "content_mode": "metadata_only"},
    }


async def send(sdk: anthropic.AsyncAnthropic, body: bytes) -> httpx2.Response:
    """Send a Messages request with the span that `sdk.messages.create` would make.

    The SDK makes a span where the request says what it is called, and reads tokens and the stop
    reason off the response where it is one of its own.

    Raises:
        anthropic.APIError: As `sdk.post` does.
    """
    model = _MODEL.search(body, 0, _HEAD)
    # Its own methods set what a span is called beside the public options, and are not typed for it.
    span: Any = {
        "headers": {"X-Stainless-Raw-Response": "raw"},
        "span_name": "anthropic.messages.create",
        "span_route": ROUTE,
        "span_attributes": {"gen_ai.request.model": model[1].decode()} if model else None,
    }
    reply: object = await sdk.post(ROUTE, cast_to=Message, content=body, options=span)
    if not isinstance(reply, AsyncAPIResponse):
        raise TypeError("the SDK gave no raw response")
    response: httpx2.Response = reply.http_response
    return response
