"""An answer belongs to its own request: which connections may carry a next one, and whose it is.

HTTP/1.1 has only their order to say which request a response belongs to. A server or a proxy that
sends one response twice shifts all that follow on that connection: each request gets the answer of
the one before it, with a status of 200 and a valid body. Four rules keep answers where they belong:

1. A connection is used again only after its response was confirmed to be the request's own.
   aiohttp would give it back with the last byte, before anything has looked at them.
2. A connection on which anything arrives while no request is under way is closed, and so is one
   with unread bytes when it is taken.
3. Of two responses to one request neither is taken.
4. A message id that was received before is another request's answer, whatever connection it
   comes on: what is late reaches a request that was just sent, where rule 2 cannot see it.
"""

import logging
import select
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler

from pipeline.claude.responses import HttpReply

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

log = logging.getLogger(__name__)
REMEMBERED = 65_536
"""Message ids that are remembered: 100 s at 600 answers a second, in about 8 MB."""
_REPEATS = 3
"""Answers with the only id there ever was, each the first of its connection: a stub that gives all
its answers one id, since what is repeated was sent on another connection before."""
_COMPARED = 65_536
"""Bytes at the end of a request by which it is recognised: what is the same for all comes first."""
Owner = Literal["new", "same_request", "another_request"]


class OutOfStep(aiohttp.ClientConnectionError):
    """A server spoke on a new connection before it was asked; nothing was sent."""


class MessageIds:
    """The ids of messages received lately, and hashes of the requests that were answered."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._asked: OrderedDict[int, int] = OrderedDict()
        self._repeats = 0
        self._are_unique = True

    def __len__(self) -> int:
        return len(self._asked)

    def owner(self, message_id: str, request: bytes, *, first: bool) -> Owner:
        """Whose answer a message is, as far as its id shows; it is remembered.

        A cache between here and the API gives an equal request the same answer, which is right.
        `first`: it was the first response on its connection.
        """
        # Hashes are enough: two in 65,536 are alike once in ten billion times, and cost a call.
        key, asked = hash(message_id), hash((len(request), request[-_COMPARED:]))
        known = self._asked.get(key)
        if known is None:
            self._asked[key] = asked
            if len(self) > self._remembered:
                self._asked.popitem(last=False)
            return "new"
        if known == asked:
            return "same_request"
        self._repeats += first
        if self._are_unique and self._repeats >= _REPEATS and len(self) == 1:
            self._are_unique = False
            log.warning(
                "the server gives the id %.100s to all answers: whether an answer is its request's "
                "own can be seen by the connection alone",
                message_id,
            )
        return "another_request" if self._are_unique else "new"


class Exchange:
    """A request and its response, in the body of a `with` statement.

    Its connection is its own until the end, and kept for others only if the response was confirmed.
    """

    __slots__ = ("_token", "handlers", "is_confirmed")

    def __init__(self) -> None:
        self.handlers: list[_Handler] = []
        self.is_confirmed = False
        """Whether the response is this request's own, and there is no more of it."""
        self._token: Token[Exchange | None]

    @property
    def is_first(self) -> bool:
        return all(handler.requests == 1 for handler in self.handlers)

    @property
    def has_more(self) -> bool:
        """Whether more came than one response: then nothing shows which of it is the answer."""
        return any(handler._buffer or handler._tail for handler in self.handlers)  # noqa: SLF001 - aiohttp's

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
        for handler in self.handlers:
            handler.exchange = None
            if not self.is_confirmed:
                handler.force_close()
            if handler.give_back is not None:
                handler.give_back()


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class _Handler(ResponseHandler):
    """One connection.

    `exchange` is whose it is, `requests` how many went out on it, `give_back` returns it to the
    pool, where that was put off, and `poll` looks for bytes that were not handed over yet.
    """

    exchange: Exchange | None = None
    requests = 0
    is_idle = False
    give_back: Callable[[], None] | None = None
    poll: "select.poll | None" = None

    def data_received(self, data: bytes) -> None:
        if self.is_idle:
            log.debug("a connection is closed: %d bytes came that nobody asked for", len(data))
            self.close()
        else:
            super().data_received(data)

    @property
    def has_unread(self) -> bool:
        """Whether something is there, to be read before any response to a request to come."""
        if self.should_close:
            return True
        if self.transport is None or not self.is_idle:
            # A new TLS connection is readable without any response: the server sends tickets.
            return False
        if self.poll is None:
            self.poll = select.poll()
            self.poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(self.poll.poll(0))


class StrictConnector(aiohttp.TCPConnector):
    """Connections that carry a next request only where the last response was confirmed.

    Uses two internals of aiohttp, `_factory` and `_release`, and two of a handler, `_buffer` and
    `_tail`; `tests/claude/test_exchanges.py` fails where a version of aiohttp has others.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of aiohttp
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Handler, loop=self._loop))

    async def connect(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> "Connection":
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            if not isinstance(handler, _Handler):
                raise TypeError("aiohttp made a connection of another kind")
            if not handler.has_unread:
                break
            connection.close()
            if not handler.is_idle:
                raise OutOfStep("the server spoke before it was asked")
        handler.is_idle = False
        handler.requests += 1
        if (exchange := _current.get()) is not None:
            handler.exchange = exchange
            exchange.handlers.append(handler)
        return connection

    def _release(
        self, key: "ConnectionKey", protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, _Handler):
            if protocol.exchange is not None and not should_close:
                protocol.give_back = partial(self._release, key, protocol)
                return
            protocol.give_back = None
            protocol.is_idle = True
        super()._release(key, protocol, should_close=should_close)


_OF_ONE_REQUEST = {"content-length", "cookie", "host", "traceparent", "tracestate"}
LARGEST_BODY = 4 << 20
"""Bytes of a response: an answer has some 100 KB, and a larger one must not fill the memory."""
_NEVER_AGAIN = "idempotency-key"
"""Where a request carries it, the next needs its own, which only the SDK can write."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A request without its body: method, address, headers and key, as the SDK wrote them once.

    What that saves is the difference between loop and gateway in `benchmarks.throughput`.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, response: httpx2.Response) -> Self | None:
        """The frame of the request that was answered; None where it is good for that one only."""
        request = response.request
        if response.history or _NEVER_AGAIN in request.headers:
            return None
        headers = {n: v for n, v in request.headers.items() if n not in _OF_ONE_REQUEST}
        return cls(request.method, str(request.url), headers)

    async def send(self, session: aiohttp.ClientSession, body: bytes) -> HttpReply:
        async with session.request(
            self.method, self.url, headers=self.headers, data=body, allow_redirects=False
        ) as response:
            return HttpReply(response.status, response.headers, await _read(response))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("content-encoding") is None and (
        (response.content_length or LARGEST_BODY + 1) <= LARGEST_BODY
    ):
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise aiohttp.ClientPayloadError(f"the response has more than {LARGEST_BODY:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
