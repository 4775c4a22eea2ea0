"""A connection is authenticated again before a request that comes late in its session."""

import asyncio
import inspect
from collections.abc import Awaitable
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from aiokafka.protocol import admin
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.kafka.sessions import session_lifetime, with_sessions


class Connection:
    """As much of aiokafka's as is used; what is sent on it is answered at once."""

    host, port = "127.0.0.1", 9092

    def __init__(self, *, session_ms: int) -> None:
        self.session_ms = session_ms
        self.now = 1000.0
        self.sent: list[str] = []
        self.is_open = True
        self.refusal: Exception | None = None
        self.halt: asyncio.Event | None = None
        self._with_sessions = with_sessions(self._answer, now=lambda: self.now)

    def connected(self) -> bool:
        return self.is_open

    def close(self, reason: object = None) -> None:
        self.is_open = False

    async def send(self, request: object) -> Any:  # noqa: ANN401
        return await self._with_sessions(self, request, True)

    def _answer(self, _: object, request: object, expect_response: bool) -> Awaitable[Any]:
        self.sent.append(type(request).__name__)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.set_result(SimpleNamespace(session_lifetime_ms=self.session_ms))
        return answer

    async def _do_sasl_handshake(self) -> None:
        """Two steps, as SCRAM has; only the last answer has a lifetime."""
        lifetime, self.session_ms = self.session_ms, 0
        await self.send(SaslAuthenticateRequest(b"first"))
        self.session_ms = lifetime
        if self.halt is not None:
            await self.halt.wait()
        if self.refusal is not None:
            raise self.refusal
        await self.send(SaslAuthenticateRequest(b"last"))


ASKED = "MetadataRequest"
PROVEN = ["SaslAuthenticateRequest"] * 2


async def connected(session_ms: int) -> Connection:
    connection = Connection(session_ms=session_ms)
    await connection._do_sasl_handshake()
    connection.sent.clear()
    return connection


async def test_requests_early_in_a_session_are_just_sent() -> None:
    connection = await connected(10_000)
    connection.now += 5.4
    await connection.send(MetadataRequest([]))
    assert connection.sent == [ASKED]
    assert session_lifetime(connection) == 10.0


async def test_a_request_late_in_a_session_waits_for_another_proof() -> None:
    connection = await connected(10_000)
    for _ in range(3):
        connection.now += 5.6
        await connection.send(MetadataRequest([]))
    assert connection.sent == [*PROVEN, ASKED] * 3


async def test_where_there_is_no_other_token_yet_it_is_asked_for_again_soon() -> None:
    connection = await connected(10_000)
    connection.now += 5.5
    connection.session_ms = 4_500
    await connection.send(MetadataRequest([]))
    connection.now += 1.1
    connection.session_ms = 10_000
    for _ in range(2):
        await connection.send(MetadataRequest([]))
        connection.now += 5.4
    assert connection.sent == [*PROVEN, ASKED] * 2 + [ASKED]


async def test_a_connection_that_was_idle_past_the_end_proves_it_then() -> None:
    connection = await connected(10_000)
    connection.now += 3600
    await connection.send(MetadataRequest([]))
    assert connection.sent == [*PROVEN, ASKED]


async def test_brokers_that_end_no_session_are_never_asked_to_renew_one() -> None:
    connection = await connected(0)
    connection.now += 1e9
    await connection.send(MetadataRequest([]))
    assert connection.sent == [ASKED]
    assert session_lifetime(connection) is None


async def test_brokers_that_no_longer_end_sessions_are_not_asked_twice() -> None:
    connection = await connected(10_000)
    connection.session_ms = 0
    connection.now += 9
    for _ in range(3):
        await connection.send(MetadataRequest([]))
    assert connection.sent == [*PROVEN, ASKED, ASKED, ASKED]


async def test_nothing_is_sent_between_the_steps_of_a_proof() -> None:
    connection = await connected(10_000)
    connection.now += 9
    connection.halt = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(connection.send(MetadataRequest([])))
        await asyncio.sleep(0)
        assert connection.sent == PROVEN[:1]
        connection.halt.set()
    assert connection.sent == [*PROVEN, *[ASKED] * 5]


async def test_a_proof_is_not_asked_for_more_often_than_brokers_allow() -> None:
    connection = await connected(500)
    connection.now += 1.0
    await connection.send(MetadataRequest([]))
    assert connection.sent == [ASKED]


@pytest.mark.parametrize(
    "refusal", [SaslAuthenticationFailed("another principal"), TimeoutError(), OSError("gone")]
)
async def test_a_connection_that_is_refused_is_closed_and_the_request_can_be_tried_again(
    refusal: Exception,
) -> None:
    connection = await connected(10_000)
    connection.now += 9
    connection.refusal = refusal
    with pytest.raises(KafkaConnectionError) as failure:
        await connection.send(MetadataRequest([]))
    assert failure.value.retriable
    assert not connection.is_open
    assert ASKED not in connection.sent


async def test_a_proof_that_is_given_up_half_way_closes_the_connection() -> None:
    connection = await connected(10_000)
    connection.now += 9
    connection.halt = asyncio.Event()
    asked = asyncio.ensure_future(connection.send(MetadataRequest([])))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not connection.is_open


def test_aiokafka_is_as_it_was_when_its_authentication_was_used() -> None:
    """After an upgrade, look at what changed there, and change `sessions` or `sasl` where it must.

    If aiokafka has learnt to authenticate again by itself, `sessions` can go.
    """
    parts = (
        AIOKafkaConnection._do_sasl_handshake,
        AIOKafkaConnection.sasl_principal.fget,
        conn.BaseSaslAuthenticator,
        conn.OAuthAuthenticator,
        conn.SaslGSSAPIAuthenticator,
        admin.SaslAuthenticateResponse_v1,
        admin.SaslAuthenticateRequest,
    )
    sources = "".join(inspect.getsource(part) for part in parts)
    assert sha256(sources.encode()).hexdigest() == (
        "a6b4859f9f592ce0704815e0f9a6af7a6ec34c9e5ac1c4e12c5cc7b1d9af9db9"
    )
