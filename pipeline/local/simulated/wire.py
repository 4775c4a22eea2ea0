"""Responses as bytes: JSON bodies, error bodies, and connections that are cut.

A message as server-sent events, in the order that the API documents.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated.api_errors import ApiError, refused_call
from pipeline.local.simulated.injected_faults import Fault

_HTML = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
_PAGES = {"html": 502, "lost_html": 502, "html_ok": 200}
_ERRORS: Mapping[str, tuple[int, str]] = {
    "overloaded": (529, "Overloaded"),
    "outage": (529, "Overloaded"),
    "server_error": (500, "Internal server error"),
    "unavailable": (503, "Service unavailable"),
    "timeout": (504, "The request took too long"),
    "rate_limited": (429, "Rate limited"),
    "rate_limited_bare": (429, "Rate limited"),
    "disabled": (400, "This organization has been disabled."),
    "unclear": (400, "Something about this request is not right."),
    "filtered": (400, "Output blocked by content filtering policy"),
}
_ACCOUNT_ERRORS: Mapping[str, str] = {
    "ramp_limit": "ramp_limit_exceeded",
    "enforced_spend_limit": "enforced_spend_limit_reached",
    "contract_spend_limit": "contract_spend_limit_reached",
    "own_spend_limit": "own_spend_limit",
    "bad_key": "authentication",
    "forbidden": "permission",
    "billing": "billing",
}
"""The faults that are an account's errors, by the codes of `refused_call`."""


def answer(
    body: Any,  # noqa: ANN401 - any JSON value
    headers: Mapping[str, str],
    *,
    status: int = 200,
) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def error_of(fault: Fault) -> ApiError | None:
    """The error that a fault is; None where it is no error response."""
    kind = fault.kind.removeprefix("lost_")
    if kind in _ACCOUNT_ERRORS:
        return refused_call(_ACCOUNT_ERRORS[kind])
    if kind not in _ERRORS:
        return None
    status, message = _ERRORS[kind]
    return ApiError(status, message, retry_after=2 if kind == "rate_limited" else None)


def status_of(fault: Fault) -> int:
    """The status of what a response is replaced by; 0 where nothing comes."""
    error = error_of(fault)
    return error.status if error is not None else _PAGES.get(fault.kind, 0)


def page(status: int) -> web.Response:
    return web.Response(body=_HTML, status=status, content_type="text/html")


def cut(http: web.Request) -> web.Response:
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


async def half(http: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
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
    response = web.StreamResponse(headers=headers)
    response.content_type = "text/event-stream"
    await response.prepare(http)
    for event in events:
        await response.write(event)
    await response.write_eof()
    return response


_PIECE = 40
"""Characters of text in one event."""


def events_of(message: dict[str, Any]) -> Iterator[bytes]:
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield _event("message_start", message=start)
    for index, block in enumerate(message["content"]):
        empty, deltas = _split(block)
        yield _event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=delta, usage=usage)
    yield _event("message_stop")


def _split(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            pieces = _pieces(block["text"])
            return {**block, "text": ""}, [{"type": "text_delta", "text": each} for each in pieces]
        case "tool_use":
            pieces = _pieces(orjson.dumps(block["input"]).decode())
            deltas = [{"type": "input_json_delta", "partial_json": each} for each in pieces]
            return {**block, "input": {}}, deltas
        case _:
            deltas = [{"type": "signature_delta", "signature": block["signature"]}]
            if block["thinking"]:
                deltas.insert(0, {"type": "thinking_delta", "thinking": block["thinking"]})
            return {**block, "thinking": "", "signature": ""}, deltas


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON values
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
