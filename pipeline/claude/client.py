"""The thin shell over the SDK: bytes out, bytes back, and every failure a value."""

import asyncio
import logging
import re
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeVar, cast

import aiohttp
import anthropic
import httpx2
from anthropic._response import AsyncAPIResponse
from anthropic._types import OpenTelemetryOptions
from anthropic.types import Message
from opentelemetry.trace import TracerProvider

from pipeline.claude.connections import Exchange, Frame, MessageIds, OutOfStep, StrictConnector
from pipeline.claude.responses import HttpReply, NoReply

_ANY = anthropic.AsyncStream[Any]
"""What the SDK asks for with a stream, and does not use for a raw response."""
CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 30.0
"""Idle connections are kept that long; the SDK's own 5 s costs a TLS handshake after each pause."""
T = TypeVar("T")
_Send = Callable[[anthropic.AsyncAnthropic], Awaitable[T]]
log = logging.getLogger(__name__)
ROUTE = "/v1/messages"
_OK = 200
_ERRORS = 400
_MODEL = re.compile(rb'"model":"([^"]+)"')
_HEAD = 200


class Client(Protocol):
    """Sends one request, once, within `seconds`, reading included."""

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply: ...

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply: ...

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply: ...

    def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        """Each line within `seconds`; what is not a line says why there are no more."""
        ...


class SdkClient:
    """The official SDK, with its aiohttp transport, no retries of its own, and raw responses.

    Key and address come from where the SDK looks for them. With a key that does not change, the
    first answered Messages request frames those that follow, which aiohttp sends by itself.
    Credentials that expire, spans and proxies are the SDK's work each time.

    An answer that may be another request's is not used: see `pipeline.claude.connections`.

    Args:
        connections: Open at once at most.
        traces: Where the SDK's spans of Messages requests go; there are none without it.
    """

    def __init__(self, *, connections: int, traces: TracerProvider | None = None) -> None:
        self._connections = connections
        self._traces = traces
        self._session: aiohttp.ClientSession | None = None
        self._sdk: anthropic.AsyncAnthropic | None = None
        self._frame: Frame | None = None
        self._problem = ""
        self._ids = MessageIds()
        self._out_of_step = 0

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        if self._sdk is not None:
            await self._sdk.close()
        self._session = self._sdk = self._frame = None

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        with Exchange() as exchange:
            reply = await self._request(partial(self._send, body), seconds)
            if isinstance(reply, HttpReply) and reply.status == _OK:
                return self._own(reply, body, exchange)
            # After an error of a proxy's own, the API's answer may still come.
            return reply

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        kind = httpx2.Response
        return await self._exchange(lambda sdk: sdk.post(path, cast_to=kind, content=body), seconds)

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply:
        return await self._exchange(lambda sdk: sdk.get(path, cast_to=httpx2.Response), seconds)

    async def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        async def send(sdk: anthropic.AsyncAnthropic) -> httpx2.Response:
            kind = httpx2.Response
            response = await sdk.get(path, cast_to=kind, stream=True, stream_cls=_ANY)
            return cast("httpx2.Response", response)

        response = await self._request(send, seconds)
        if not isinstance(response, httpx2.Response):
            yield response
            return
        read = response.aiter_lines()
        try:
            while True:
                try:
                    async with asyncio.timeout(seconds):
                        line = await anext(read, None)
                except (TimeoutError, httpx2.HTTPError) as error:
                    yield NoReply("disconnected", f"{type(error).__name__}: {error}", sent=True)
                    return
                if line is None:
                    return
                yield line
        finally:
            await response.aclose()

    async def _exchange(self, send: _Send[httpx2.Response], seconds: float) -> HttpReply | NoReply:
        with Exchange() as exchange:
            reply = await self._request(send, seconds)
            if isinstance(reply, httpx2.Response):
                reply = _reply_of(reply)
                exchange.is_confirmed = reply.status == _OK
            return reply

    def _own(self, reply: HttpReply, body: bytes, exchange: Exchange) -> HttpReply | NoReply:
        """The reply, if it is the request's own as far as anybody can tell."""
        message_id = reply.message_id
        if message_id is None:
            return reply
        owner = self._ids.owner(message_id, body, first=exchange.is_first)
        if owner == "another_request" or exchange.has_more:
            self._out_of_step += 1
            # Once for a person to look at what is between here and the API; then it is a nuisance.
            level = logging.WARNING if self._out_of_step == 1 else logging.DEBUG
            log.log(
                level,
                "an answer is not used, since it may be another request's, and its connection is "
                "closed: something between here and the API sends responses twice",
            )
            return NoReply("disconnected", "the answer may be another request's", sent=True)
        if owner == "new":
            exchange.is_confirmed = True
        return reply

    async def _request(self, send: _Send[T], seconds: float) -> T | HttpReply | NoReply:
        if self._sdk is None:
            # Credentials may have turned up since: they can come from files that are mounted late.
            self._open()
        sdk = self._sdk
        if sdk is None:
            return NoReply("no_key", self._problem, sent=False)
        try:
            # The transport's own read timeout starts again with every byte that trickles in.
            async with asyncio.timeout(seconds):
                reply: T | HttpReply = await send(sdk)
        except anthropic.APIStatusError as error:
            reply = _reply_of(error.response)
        except (anthropic.AnthropicError, aiohttp.ClientError, OSError) as error:
            return _no_reply(error, seconds)
        if isinstance(reply, HttpReply) and reply.status >= _ERRORS:
            return _without_keys(reply, sdk)
        return reply

    async def _send(self, body: bytes, sdk: anthropic.AsyncAnthropic) -> HttpReply:
        if self._traces is not None:
            return _reply_of(await _send_with_span(sdk, body))
        if self._frame is not None:
            self._session = self._session or self._new_session()
            return await self._frame.send(self._session, body)
        response: httpx2.Response = await sdk.post(ROUTE, cast_to=httpx2.Response, content=body)
        if sdk.credentials is None and not urllib.request.getproxies():
            self._frame = Frame.of(response)
        return _reply_of(response)

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=StrictConnector(
                limit=self._connections,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                ssl=httpx2.create_ssl_context(),
            ),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _open(self) -> None:
        limits = httpx2.Limits(
            max_connections=self._connections, keepalive_expiry=KEEP_ALIVE_SECONDS
        )
        # Given whole, so that no variable of the environment makes it record the content, and
        # without propagation: of an event nothing but the question itself leaves for the API.
        spans: OpenTelemetryOptions | Literal[False] = False
        if self._traces is not None:
            spans = {
                "tracer_provider": self._traces,
                "propagation": False,
                "traces": {"enabled": True, "content_mode": "metadata_only"},
            }
        timeout = httpx2.Timeout(None, connect=CONNECT_SECONDS)
        http = anthropic.DefaultAioHttpClient(timeout=timeout, limits=limits)
        transports: list[Any] = [http._transport, *http._mounts.values()]  # noqa: SLF001 - has no public way to a session
        for transport in filter(None, transports):
            if not hasattr(transport, "client"):
                raise TypeError("the SDK's transport takes no session")
            transport.client = self._new_session
        try:
            sdk = anthropic.AsyncAnthropic(
                max_retries=0,
                timeout=timeout,
                open_telemetry=spans,
                http_client=http,
            )
        except anthropic.AnthropicError as error:
            self._problem = str(error)
            return
        if sdk.api_key is None and sdk.auth_token is None and sdk.credentials is None:
            self._problem = "no API key in the environment"
            return
        self._sdk = sdk


def _reply_of(response: httpx2.Response) -> HttpReply:
    return HttpReply(response.status_code, response.headers, response.content)


def _without_keys(reply: HttpReply, sdk: anthropic.AsyncAnthropic) -> HttpReply:
    """Without the key: some gateways repeat the one that they refuse, and people see errors."""
    body = reply.body
    for secret in filter(None, (sdk.api_key, sdk.auth_token)):
        body = body.replace(secret.encode(), b"***")
    return HttpReply(reply.status, reply.headers, body)


_NOT_CONNECTED = (
    OutOfStep,
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx2.ConnectTimeout,
    httpx2.UnsupportedProtocol,
)
"""What could not connect cannot have been answered, and so cannot have been paid."""


def _no_reply(error: BaseException, seconds: float) -> NoReply:
    is_connection = isinstance(error, anthropic.APIConnectionError | aiohttp.ClientError)
    if isinstance(error, TimeoutError) and not is_connection:
        return NoReply("timed_out", f"no answer within {seconds:.0f} s", sent=True)
    if not isinstance(error, OSError) and not is_connection:
        return NoReply("no_key", str(error), sent=False)
    root, sent = error, not isinstance(error, _NOT_CONNECTED)
    while root.__cause__ is not None:
        root = root.__cause__
        sent = sent and not isinstance(root, _NOT_CONNECTED)
    late = sent and isinstance(error, anthropic.APITimeoutError)
    detail = f"{type(root).__name__}: {root}".rstrip(": ")
    return NoReply("timed_out" if late else "disconnected", detail, sent=sent)


async def _send_with_span(sdk: anthropic.AsyncAnthropic, body: bytes) -> httpx2.Response:
    """Send a Messages request with the span that `sdk.messages.create` would make.

    The SDK makes a span where the request says what it is called, and reads tokens and the stop
    reason off the response where it is one of its own.
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
