"""Responses as bytes: JSON bodies, error bodies, and connections that are cut."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated.errors import ApiError, refused_call
from pipeline.local.simulated.faults import Fault

_HTML = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
_ERRORS = {
    "overloaded": lambda: ApiError(529, "Overloaded"),
    "outage": lambda: ApiError(529, "Overloaded"),
    "server_error": lambda: ApiError(500, "Internal server error"),
    "lost_overloaded": lambda: ApiError(529, "Overloaded"),
    "lost_server_error": lambda: ApiError(500, "Internal server error"),
    "lost_timeout": lambda: ApiError(504, "The request took too long"),
    "unavailable": lambda: ApiError(503, "Service unavailable"),
    "timeout": lambda: ApiError(504, "The request took too long"),
    "rate_limited": lambda: ApiError(429, "Rate limited", retry_after=2),
    "rate_limited_bare": lambda: ApiError(429, "Rate limited"),
    "ramp_limit": lambda: refused_call("ramp_limit_exceeded"),
    "enforced_spend_limit": lambda: refused_call("enforced_spend_limit_reached"),
    "contract_spend_limit": lambda: refused_call("contract_spend_limit_reached"),
    "own_spend_limit": lambda: refused_call("own_spend_limit"),
    "bad_key": lambda: refused_call("authentication"),
    "forbidden": lambda: refused_call("permission"),
    "billing": lambda: refused_call("billing"),
    "disabled": lambda: ApiError(400, "This organization has been disabled."),
    "unclear": lambda: ApiError(400, "Something about this request is not right."),
    "filtered": lambda: ApiError(400, "Output blocked by content filtering policy"),
}
"""The faults that are error responses."""


def answer(
    body: Any,  # noqa: ANN401 - any JSON value
    headers: Mapping[str, str],
    *,
    status: int = 200,
) -> web.Response:
    """A JSON response."""
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def error_of(fault: Fault) -> ApiError | None:
    """The error that a fault is; None where it is no error response."""
    make = _ERRORS.get(fault.kind)
    return None if make is None else make()


def status_of(fault: Fault) -> int:
    """The status of what a lost response is replaced by; 0 where nothing comes."""
    error = error_of(fault)
    return error.status if error is not None else 502 if fault.kind == "lost_html" else 0


def page(status: int) -> web.Response:
    """An HTML page, as proxies send them."""
    return web.Response(body=_HTML, status=status, content_type="text/html")


def cut(http: web.Request) -> web.Response:
    """Nothing: the connection is gone."""
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


async def half(http: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """The first half of a body, and then the connection is gone."""
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    response.content_length = len(body)
    await response.prepare(http)
    await response.write(body[: len(body) // 2])
    if http.transport is not None:
        http.transport.close()
    return response


async def stream(
    http: web.Request, events: Iterable[bytes], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Server-sent events."""
    response = web.StreamResponse(headers=headers)
    response.content_type = "text/event-stream"
    await response.prepare(http)
    for event in events:
        await response.write(event)
    await response.write_eof()
    return response
