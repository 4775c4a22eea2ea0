"""The thin shell over the SDK: bytes out, bytes back, and every failure a value."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self

import aiohttp
import anthropic
import httpx2

KEEP_ALIVE_SECONDS = 30.0
"""Idle connections are kept that long; the SDK's own 5 s costs a TLS handshake after each pause."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A response, whatever its status.

    Args:
        raw_headers: As received.
        body: As received.
    """

    status: int
    raw_headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; made anew each time, so not for every call of a busy loop."""
        return {
            name.decode("ascii", "replace").lower(): value.decode("latin-1")
            for name, value in self.raw_headers
        }


@dataclass(frozen=True, slots=True)
class NoReply:
    """There was none.

    Args:
        why: `no_key`: nothing was sent, because there are no credentials.
        detail: For a person.
        sent: Whether the request may have reached the API.
    """

    why: Literal["timed_out", "disconnected", "no_key"]
    detail: str
    sent: bool


class Client(Protocol):
    """Sends one request, once. `SdkClient` is the real one."""

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Send a Messages request; within `seconds`, reading included."""
        ...

    async def count_tokens(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Ask what a Messages request counts."""
        ...

    async def model(self, model: str, *, seconds: float) -> HttpReply | NoReply:
        """Ask what is known of a model."""
        ...


class SdkClient:
    """The official SDK, with its aiohttp transport, no retries of its own, and raw responses.

    Requests go out as bytes that are serialised once; `AsyncAnthropic.post` takes them as
    `content`. Key and address come from where the SDK looks for them (`ANTHROPIC_API_KEY`,
    `ANTHROPIC_BASE_URL`).

    Args:
        connections: Open at once at most.
        connect_timeout: Seconds.
    """

    def __init__(self, *, connections: int, connect_timeout: float) -> None:
        self._connections = connections
        self._connect_timeout = connect_timeout
        self._sdk: anthropic.AsyncAnthropic | None = None
        self._problem = ""

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self._close()

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Send a Messages request; within `seconds`, reading included."""
        return await self._request("/v1/messages", body, seconds)

    async def count_tokens(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Ask what a Messages request counts."""
        return await self._request("/v1/messages/count_tokens", body, seconds)

    async def model(self, model: str, *, seconds: float) -> HttpReply | NoReply:
        """Ask what is known of a model."""
        return await self._request(f"/v1/models/{model}", None, seconds)

    async def _request(self, path: str, body: bytes | None, seconds: float) -> HttpReply | NoReply:
        if self._sdk is None:
            # Credentials may have turned up since: they can come from files that are mounted late.
            self._open()
        sdk = self._sdk
        if sdk is None:
            return NoReply("no_key", self._problem, sent=False)
        try:
            # The transport's own read timeout starts anew with every byte that trickles in.
            async with asyncio.timeout(seconds):
                if body is None:
                    response = await sdk.get(path, cast_to=httpx2.Response)
                else:
                    response = await sdk.post(path, cast_to=httpx2.Response, content=body)
        except anthropic.APIStatusError as error:
            response = error.response
        except TimeoutError:
            return NoReply("timed_out", f"no answer within {seconds:.0f} s", sent=True)
        except anthropic.APIConnectionError as error:
            return _disconnected(error)
        except anthropic.AnthropicError as error:
            return NoReply("no_key", str(error), sent=False)
        return HttpReply(response.status_code, response.headers.raw, response.content)

    def _open(self) -> None:
        timeout = httpx2.Timeout(None, connect=self._connect_timeout)
        limits = httpx2.Limits(
            max_connections=self._connections, keepalive_expiry=KEEP_ALIVE_SECONDS
        )
        try:
            sdk = anthropic.AsyncAnthropic(
                max_retries=0,
                timeout=timeout,
                http_client=anthropic.DefaultAioHttpClient(timeout=timeout, limits=limits),
            )
        except anthropic.AnthropicError as error:
            self._problem = str(error)
            return
        if sdk.api_key is None and sdk.auth_token is None and sdk.credentials is None:
            self._problem = "no API key in the environment"
            return
        self._sdk = sdk

    async def _close(self) -> None:
        if self._sdk is not None:
            await self._sdk.close()
            self._sdk = None


def _disconnected(error: anthropic.APIConnectionError) -> NoReply:
    causes = list(_causes(error))
    # What could not connect cannot have been answered, and so cannot have been paid.
    sent = not any(isinstance(cause, _NOT_CONNECTED) for cause in causes)
    root = causes[-1]
    why: Literal["timed_out", "disconnected"] = (
        "timed_out" if sent and isinstance(error, anthropic.APITimeoutError) else "disconnected"
    )
    return NoReply(why, f"{type(root).__name__}: {root}".rstrip(": "), sent=sent)


_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx2.ConnectTimeout,
    httpx2.UnsupportedProtocol,
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
