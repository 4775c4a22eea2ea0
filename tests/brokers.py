"""Brokers that tests share; a plug-in of pytest, registered in `conftest.py`.

An Apache Kafka is started at most once a session and test process, the embedded broker once a
module, so a test makes its own topics and groups under names from `fresh_name`, and one that ends a
node starts a broker of its own.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from pipeline.local.apache import ApacheKafka, Further
from pipeline.local.broker import BrokerMissing, LocalBroker, NoidaBroker
from tests.kafka import certificates, issuer
from tests.kafka.certificates import Authority
from tests.kafka.issuer import TokenKeys

FreshName = Callable[[str], str]

_numbers = itertools.count(1)
_running: list[ApacheKafka] = []
SHARED = frozenset({"apache_kafka", "secured_for_all"})
"""The fixtures that start an Apache Kafka for a whole session."""


@pytest.fixture
def fresh_name() -> FreshName:
    """A function that makes a word into a name that nobody else in this session uses."""
    return lambda word: f"{word}-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="module")
def embedded_broker() -> Iterator[NoidaBroker]:
    """The embedded broker: it starts at once, and every client that connects reads all topics."""
    broker = NoidaBroker()
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    """A real Apache Kafka of one node; its tests are marked `kafka`."""
    yield from started(ApacheKafka())


@pytest.fixture(scope="session")
def token_keys(tmp_path_factory: pytest.TempPathFactory) -> TokenKeys:
    """What signs the tokens that `secured_kafka` takes."""
    return TokenKeys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def client_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """What signs the certificates of clients at the listener `MUTUAL` of `secured_kafka`."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def secured_for_all(token_keys: TokenKeys, client_authority: Authority) -> Iterator[ApacheKafka]:
    """The broker of `secured_kafka`."""
    further = Further(
        listeners={"MUTUAL": "SSL"},
        properties={
            **issuer.broker_properties(token_keys),
            **certificates.broker_properties(client_authority, "MUTUAL"),
        },
        java_options=issuer.java_options(token_keys),
    )
    yield from started(ApacheKafka(secure=True, further=further))


@pytest.fixture
async def secured_kafka(secured_for_all: ApacheKafka) -> AsyncIterator[ApacheKafka]:
    """The same with TLS, users, tokens and client certificates; its tests are marked `kafka`."""
    async with connections_seen_closed():
        yield secured_for_all


@pytest.fixture(params=["embedded_broker", pytest.param("apache_kafka", marks=pytest.mark.kafka)])
def any_broker(request: pytest.FixtureRequest) -> LocalBroker:
    """Each broker in turn, for what must hold on all of them."""
    broker: LocalBroker = request.getfixturevalue(request.param)
    return broker


def started(kafka: ApacheKafka) -> Iterator[ApacheKafka]:
    """Start Apache Kafka for a fixture, and stop it afterwards."""

    async def start() -> None:
        async with connections_seen_closed():
            await kafka.start()

    with needs_kafka():
        asyncio.run(start())
    _running.append(kafka)
    yield kafka
    _running.remove(kafka)
    asyncio.run(kafka.stop())


def rest() -> None:
    """Freeze every Apache Kafka that runs; for when no test of this process should need one.

    An idle one takes 4 % of a core, and there may be minutes until fixtures of the session end.
    """
    for kafka in _running:
        for node in kafka.nodes:
            node.pause()


def go_on() -> None:
    """Let every Apache Kafka go on after a rest."""
    for kafka in _running:
        for node in kafka.nodes:
            node.resume()


@asynccontextmanager
async def connections_seen_closed() -> AsyncIterator[None]:
    """At the end, wait for the connections that were closed in the body.

    aiokafka does not wait for the one that it learns the cluster from, and TLS ends only with the
    broker's word. A socket that is open when the event loop ends warns when garbage is collected:
    in whatever test runs then, as a failure of that.
    """
    close = AIOKafkaConnection.close
    closing: list[asyncio.Future[None]] = []

    def noted(self: AIOKafkaConnection, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        closed = close(self, *args, **options)
        if self._protocol is not None:
            closing.append(closed)
        return closed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AIOKafkaConnection, "close", noted)
        yield
        left = [closed for closed in closing if not closed.done()]
        if left:
            await asyncio.wait(left, timeout=30)


@contextmanager
def needs_kafka() -> Iterator[None]:
    """Where Apache Kafka cannot be started in the body: skip, or fail if it is demanded."""
    try:
        yield
    except BrokerMissing as missing:
        if os.environ.get("PIPELINE_REQUIRE_KAFKA") == "1":
            pytest.fail(f"PIPELINE_REQUIRE_KAFKA is set, and: {missing}")
        pytest.skip(str(missing))
