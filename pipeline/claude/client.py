"""The thin shell over the SDK: bytes out, bytes back, and every failure a value."""

import asyncio
import logging
import re
import time
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, Literal, Self, TypeVar, cast

import aiohttp
import anthropic
import httpx2
from anthropic._base_client import AsyncAPIClient
from anthropic._response import AsyncAPIResponse
from anthropic._types import OpenTelemetryOptions
from anthropic.types import Message
from opentelemetry.trace import TracerProvider

from pipeline.claude.connections import Exchange, Frame, MessageIds, OutOfStep, StrictConnector
from pipeline.claude.credentials import Source, source_of
from pipeline.claude.failures import is_unauthorized
from pipeline.claude.providers import COUNT_TOKENS, MESSAGES, PROVIDERS, has_key, routes_of
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import EndpointSettings
from pipeline.runtime.tokens import CredentialsUnavailable

_ANY = anthropic.AsyncStream[Any]
"""What the SDK asks for with a stream, and does not use for a raw response."""
CONNECT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 30.0
"""Idle connections are kept that long; the SDK's own 5 s costs a TLS handshake after each pause."""
T = TypeVar("T")
_Send = Callable[[AsyncAPIClient], Awaitable[T]]
log = logging.getLogger(__name__)
_OK = 200
_ERRORS = 400
_REFUSED = frozenset({401, 403})
_ANTHROPIC = EndpointSettings(model="claude-haiku-5-5")
_MODEL = re.compile(rb'"model":"([^"]+)"')
_HEAD = 200


class SdkClient:
    """The official SDK, with its aiohttp transport, no retries of its own, and raw responses.

    What the endpoint does not say, key and address among it, comes from where the SDK looks for it.
    With a key, the first answered Messages request frames those that follow, which aiohttp sends by
    itself, until the key changes. Signatures, tokens that expire, spans and proxies are the SDK's
    work each time.

    A request that is refused because credentials have just expired is sent once more with others.
    An answer that may be another request's is not used: see `pipeline.claude.connections`.

    Args:
        endpoint: Where requests go; to Anthropic if None.
        connections: Open at once at most.
        traces: Where the SDK's spans of Messages requests go; there are none without it.
    """

    def __init__(
        self,
        endpoint: EndpointSettings | None = None,
        *,
        connections: int,
        traces: TracerProvider | None = None,
    ) -> None:
        self._endpoint = endpoint or _ANTHROPIC
        self._provider = PROVIDERS[self._endpoint.provider]
        self._connections = connections
        self._traces = traces
        self._session: aiohttp.ClientSession | None = None
        self._sdk: AsyncAPIClient | None = None
        self._routes = {MESSAGES: MESSAGES, COUNT_TOKENS: COUNT_TOKENS}
        self._source: Source | None = None
        self._signing_errors: tuple[type[Exception], ...] = ()
        self._is_static = False
        """Whether every request carries the same headers."""
        self._key: str | None = None
        self._generation = 0
        """How often credentials have changed."""
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
        if self._source is None:
            return await self._send_once(body, seconds)
        return await self._admitted(partial(self._send_once, body), seconds)

    async def _send_once(self, body: bytes, seconds: float) -> HttpReply | NoReply:
        with Exchange() as exchange:
            reply = await self._request(partial(self._send, body), seconds)
            if isinstance(reply, HttpReply) and reply.status == _OK:
                return self._own(reply, body, exchange)
            # After an error of a proxy's own, the API's answer may still come.
            return reply

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        def send(sdk: AsyncAPIClient) -> Awaitable[httpx2.Response]:
            route = self._routes.get(path, path)
            return sdk.post(route, cast_to=httpx2.Response, content=body)

        return await self._admitted(partial(self._exchange, send), seconds)

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply:
        def send(sdk: AsyncAPIClient) -> Awaitable[httpx2.Response]:
            return sdk.get(path, cast_to=httpx2.Response)

        return await self._admitted(partial(self._exchange, send), seconds)

    async def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        async def send(sdk: AsyncAPIClient) -> httpx2.Response:
            kind = httpx2.Response
            response = await sdk.get(path, cast_to=kind, stream=True, stream_cls=_ANY)
            return cast("httpx2.Response", response)

        response = await self._admitted(partial(self._request, send), seconds)
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
                if self._source is not None:
                    self._take(sdk, await self._source.current())
                reply: T | HttpReply = await send(sdk)
        except anthropic.APIStatusError as error:
            reply = _reply_of(error.response)
        except CredentialsUnavailable as error:
            why: Literal["disconnected", "no_key"] = "disconnected" if error.transient else "no_key"
            return NoReply(why, str(error), sent=False)
        except self._signing_errors as error:
            return NoReply("disconnected", f"{type(error).__name__}: {error}", sent=False)
        except (anthropic.AnthropicError, aiohttp.ClientError, OSError) as error:
            return _no_reply(error, seconds)
        if isinstance(reply, HttpReply) and reply.status >= _ERRORS:
            return _without_keys(reply, sdk)
        return reply

    async def _admitted(self, attempt: Callable[[float], Awaitable[T]], seconds: float) -> T:
        """Send, and once more if others than the credentials that were refused can be had.

        A request that is refused is not answered and not paid.
        """
        generation, began = self._generation, time.monotonic()
        reply = await attempt(seconds)
        if not isinstance(reply, HttpReply) or reply.status not in _REFUSED:
            return reply
        if self._generation == generation:
            unauthorized = is_unauthorized(reply)
            if self._source is None or not self._source.renew(unauthorized=unauthorized):
                return reply
            self._generation += 1
        return await attempt(max(0.0, seconds - (time.monotonic() - began)))

    def _take(self, sdk: AsyncAPIClient, key: str | None) -> None:
        if key != self._key:
            self._generation += self._key is not None
            self._key, self._frame = key, None
            if self._provider.key_argument is not None:
                setattr(sdk, self._provider.key_argument, key)

    async def _send(self, body: bytes, sdk: AsyncAPIClient) -> HttpReply:
        if self._frame is not None:
            self._session = self._session or self._new_session()
            return await self._frame.send(self._session, body)
        route = self._routes[MESSAGES]
        if self._traces is not None:
            return _reply_of(await _send_with_span(sdk, route, self._endpoint.model, body))
        generation = self._generation
        response: httpx2.Response = await sdk.post(route, cast_to=httpx2.Response, content=body)
        if self._is_static and generation == self._generation and not urllib.request.getproxies():
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
            sdk: AsyncAPIClient = getattr(anthropic, self._provider.sdk)(
                **self._arguments(),
                max_retries=0,
                timeout=timeout,
                open_telemetry=spans,
                http_client=http,
            )
        except (anthropic.AnthropicError, ValueError) as error:
            self._problem = str(error)
            return
        self._is_static = has_key(self._endpoint)
        if (
            not self._is_static
            and self._provider.proof == "key"
            and not getattr(sdk, "credentials", None)
        ):
            self._problem = "no API key in the environment"
            return
        self._routes = routes_of(
            self._endpoint,
            project=getattr(sdk, "project_id", None),
            region=getattr(sdk, "region", None),
        )
        self._sdk = sdk

    def _arguments(self) -> dict[str, Any]:
        """What the SDK's client is made with; UsageError if something must be installed."""
        endpoint, provider = self._endpoint, self._provider
        found: dict[str, Any] = {
            argument: value
            for name, argument in provider.arguments.items()
            if (value := getattr(endpoint, name)) is not None
        }
        if provider.proof == "key" and endpoint.workspace_id is not None:
            found["default_headers"] = {"anthropic-workspace-id": endpoint.workspace_id}
        self._source = source = source_of(endpoint)
        if source is not None:
            self._signing_errors = source.errors
            key, renewing = provider.key_argument, provider.renewing_argument
            if renewing is not None and (key is None or endpoint.key_file is None):
                found[renewing] = source.current
            elif key is not None and endpoint.key_file is not None:
                # Until the first request takes it from the file.
                found[key] = "-"
        return found


def _reply_of(response: httpx2.Response) -> HttpReply:
    return HttpReply(response.status_code, response.headers, response.content)


def _without_keys(reply: HttpReply, sdk: AsyncAPIClient) -> HttpReply:
    """Without the key: some gateways repeat the one that they refuse, and people see errors."""
    body = reply.body
    for name in ("api_key", "auth_token", "access_token"):
        if secret := getattr(sdk, name, None):
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


async def _send_with_span(
    sdk: AsyncAPIClient, route: str, model: str, body: bytes
) -> httpx2.Response:
    """Send a Messages request with the span that `sdk.messages.create` would make.

    The SDK makes a span where the request says what it is called, and reads tokens and the stop
    reason off the response where it is one of its own.
    """
    found = _MODEL.search(body, 0, _HEAD)
    # Its own methods set what a span is called beside the public options, and are not typed for it.
    span: Any = {
        "headers": {"X-Stainless-Raw-Response": "raw"},
        "span_name": "anthropic.messages.create",
        "span_route": MESSAGES,
        "span_attributes": {"gen_ai.request.model": found[1].decode() if found else model},
    }
    reply: object = await sdk.post(route, cast_to=Message, content=body, options=span)
    if not isinstance(reply, AsyncAPIResponse):
        raise TypeError("the SDK gave no raw response")
    response: httpx2.Response = reply.http_response
    return response
