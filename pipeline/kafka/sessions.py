"""Sessions of connections: proving again who asks, before brokers end one (KIP-368).

Brokers with `connections.max.reauth.ms` say, in the last answer of an authentication, for how long
they take requests on that connection, and close it where one comes later. aiokafka overlooks that
number. Where it is let happen nothing is lost, but every connection of a process breaks again and
again: requests are repeated, coordinators looked for, errors logged, commits late.

So a request waits, where most of a session is over, until its connection has been authenticated
again, which such brokers allow at any time, even after the end. There is no timer: a connection
that nobody uses needs no session. It is sounder than to close old connections between two requests:
one in use has something in flight nearly always, and another in its place costs a TLS handshake. A
refusal closes the connection, and the client connects again: brokers refuse, for one, who has
become somebody else.

Only this file knows how aiokafka authenticates a connection.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import (
    ApiVersionRequest,
    SaslAuthenticateRequest,
    SaslHandShakeRequest,
)

log = logging.getLogger(__name__)
RENEW_AFTER = 0.55
"""Of a session. Just above the share after which tokens are fetched again: a session that began
with a token is renewed with the next, and where that is not to be had, there is time left."""
_RETRY_AFTER = 0.05
"""Of a session that could not be made longer, as there was no other token yet."""
_SAME = 0.5
"""Seconds by which two ends of the same token may differ, as they are measured."""
_AT_LEAST = 1.1
"""Seconds between two authentications; brokers refuse a second one within a second."""
_OF_AUTHENTICATION = (ApiVersionRequest, SaslHandShakeRequest, SaslAuthenticateRequest)
_Send = Callable[[AIOKafkaConnection, Any, bool], Awaitable[Any]]


@dataclass(slots=True)
class _Session:
    lifetime: float  # seconds
    renew_at: float  # on the monotonic clock
    ends: float = -math.inf
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)


_sessions: WeakKeyDictionary[AIOKafkaConnection, _Session] = WeakKeyDictionary()
"""Of the connections whose broker ends them. Others cost nothing."""


def session_lifetime(connection: AIOKafkaConnection) -> float | None:
    """Seconds that the broker gave the present session of a connection; None for no end."""
    session = _sessions.get(connection)
    return None if session is None else session.lifetime


def with_sessions(send: _Send, *, now: Callable[[], float] = time.monotonic) -> _Send:
    """What sends a request on a connection, authenticating it again first where that is due."""

    def send_in_session(
        connection: AIOKafkaConnection,
        request: Any,  # noqa: ANN401 - aiokafka's is untyped
        expect_response: bool = True,
    ) -> Awaitable[Any]:
        if isinstance(request, SaslAuthenticateRequest):
            return noted(connection, send(connection, request, expect_response))
        session = _sessions.get(connection) if _sessions else None
        if session is None or now() < session.renew_at or isinstance(request, _OF_AUTHENTICATION):
            return send(connection, request, expect_response)
        return send_renewed(connection, session, request, expect_response)

    async def noted(connection: AIOKafkaConnection, sent: Awaitable[Any]) -> Any:  # noqa: ANN401
        """The answer to one step of an authentication; the last one has the session's lifetime."""
        response = await sent
        lifetime = getattr(response, "session_lifetime_ms", 0) / 1000
        if lifetime > 0:
            session = _sessions.setdefault(connection, _Session(0.0, 0.0))
            ends = now() + lifetime
            share = RENEW_AFTER if ends > session.ends + _SAME else _RETRY_AFTER
            session.lifetime, session.ends = lifetime, ends
            session.renew_at = now() + max(_AT_LEAST, share * lifetime)
        return response

    async def send_renewed(
        connection: AIOKafkaConnection,
        session: _Session,
        request: Any,  # noqa: ANN401 - as above
        expect_response: bool,
    ) -> Any:  # noqa: ANN401 - as above
        async with session.renewing:
            if now() >= session.renew_at and connection.connected():
                await authenticate(connection)
                if now() >= session.renew_at:
                    session.renew_at = math.inf  # the broker ends none any more
        return await send(connection, request, expect_response)

    return send_in_session


async def authenticate(connection: AIOKafkaConnection) -> None:
    """Authenticate a connection once more; what is in flight on it is answered first.

    Raises:
        KafkaConnectionError: That failed, and the connection is closed.
    """
    try:
        await connection._do_sasl_handshake()  # noqa: SLF001 - there is no public way
    except asyncio.CancelledError:
        # Half-way: the broker takes nothing but the next step.
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise
    except (KafkaError, OSError, EOFError, TimeoutError, ValueError) as error:
        log.info("%r is not authenticated again, and closed: %s", connection, error)
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(
            f"{connection!r} was not authenticated again: {error}"
        ) from error
