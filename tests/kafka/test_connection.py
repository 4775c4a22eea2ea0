import asyncio
import inspect
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from pipeline.config import KafkaSettings, TopicSettings
from pipeline.kafka import connection
from pipeline.kafka.connection import (
    BrokerUnreachable,
    ConnectionFailed,
    TlsMismatch,
    WrongCredentials,
    _send,
    admin_client,
    check_connection,
    client_options,
    consumer_client,
    explain_connecting,
    patiently,
)
from pipeline.kafka.topics import Topics
from pipeline.local.broker import LocalBroker
from pipeline.model.errors import UsageError
from tests.brokers import FreshName

SECURE = KafkaSettings(
    security_protocol="SASL_SSL", sasl_username="ada", sasl_password=SecretStr("s3cret")
)


@asynccontextmanager
async def listener(*, hangs_up: bool) -> AsyncIterator[str]:
    """A server that speaks no Kafka: it closes, or it never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not hangs_up:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_nobody_listening_names_every_address_and_the_setting() -> None:
    first, second = free_address(), free_address()
    with pytest.raises(BrokerUnreachable) as failure:
        await check_connection(KafkaSettings(bootstrap_servers=f"{first},{second}"))
    assert str(failure.value).startswith(
        f"No broker answers at {first},{second} (connection refused): start one"
    )
    assert "PIPELINE_KAFKA__BOOTSTRAP_SERVERS" in str(failure.value)


async def test_a_silent_server_is_given_up_within_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECT_WITHIN", 0.05)
    async with listener(hangs_up=False) as address:
        settings = KafkaSettings(bootstrap_servers=address)
        with pytest.raises(BrokerUnreachable, match="no answer in time"):
            await check_connection(settings)


@pytest.mark.parametrize(
    ("protocol", "likely"),
    [("PLAINTEXT", "has TLS or asks for credentials"), ("SSL", "has no TLS")],
)
async def test_a_server_that_hangs_up_speaks_another_protocol(protocol: str, likely: str) -> None:
    async with listener(hangs_up=True) as address:
        settings = KafkaSettings.model_validate(
            {"bootstrap_servers": address, "security_protocol": protocol}
        )
        with pytest.raises(TlsMismatch, match=likely):
            await check_connection(settings)


async def test_the_most_specific_of_several_reasons_is_reported() -> None:
    async with listener(hangs_up=True) as address:
        settings = KafkaSettings(bootstrap_servers=f"{free_address()},{address}")
        with pytest.raises(TlsMismatch):
            await check_connection(settings)


async def test_an_unknown_host_is_reported() -> None:
    settings = KafkaSettings(bootstrap_servers="no-such-host.invalid:9092")
    with pytest.raises(BrokerUnreachable, match="host name is not known"):
        await check_connection(settings)


async def test_an_invalid_address_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="host:port"):
        await check_connection(KafkaSettings(bootstrap_servers="kafka:port"))


def caused(cause: BaseException) -> KafkaConnectionError:
    error = KafkaConnectionError("Connection closed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (SaslAuthenticationFailed("no"), WrongCredentials, "refused user 'ada'"),
        (UnsupportedSaslMechanismError(), WrongCredentials, "does not take SCRAM-SHA-512"),
        (IllegalSaslStateError(), WrongCredentials, "takes no credentials"),
        (ssl.SSLError(1, "[SSL] wrong version number"), TlsMismatch, "failed"),
        (caused(ssl.SSLError(1, "handshake failure")), TlsMismatch, "handshake failure"),
        (caused(EOFError()), TlsMismatch, "closed the connection without a word"),
        (OSError("Multiple exceptions: ..."), BrokerUnreachable, "Multiple exceptions"),
    ],
)
def test_an_error_becomes_a_type_and_a_sentence(
    error: Exception, kind: type[ConnectionFailed], says: str
) -> None:
    failure = explain_connecting(error, SECURE, "kafka:9093")
    assert type(failure) is kind
    assert says in str(failure)
    assert str(failure).endswith(".")
    assert "s3cret" not in str(failure)


def test_the_password_is_handed_on_and_not_shown() -> None:
    options = client_options(SECURE)
    assert options["sasl_plain_password"] == "s3cret"
    assert "s3cret" not in repr(options)
    assert "s3cret" not in f"{options}"


def test_requests_are_not_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    client_options(SECURE)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("aiokafka.conn").debug("Request: %s", "s3cret")
        logging.getLogger("aiokafka.conn").warning("kept")
    assert caplog.messages == ["kept"]


def test_plain_text_needs_nothing_else() -> None:
    assert client_options(KafkaSettings(request_timeout=2.5)) == {
        "bootstrap_servers": "127.0.0.1:9092",
        "client_id": "haiku-pipeline",
        "request_timeout_ms": 2500,
        "connections_max_idle_ms": 540_000,
        "security_protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"security_protocol": "SASL_SSL"}, "set kafka.sasl_username"),
        ({"sasl_username": "ada"}, "set the protocol to SASL_SSL"),
        ({"ssl_ca_file": "ca.pem"}, "set the protocol to SSL"),
        ({"security_protocol": "SSL", "ssl_ca_file": "/no/such.pem"}, "no such file"),
    ],
)
def test_settings_that_contradict_each_other_are_a_usage_error(
    settings: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        client_options(KafkaSettings.model_validate(settings))


def test_a_file_that_is_no_certificate_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("not a certificate")
    with pytest.raises(UsageError, match="must be readable PEM"):
        client_options(KafkaSettings(security_protocol="SSL", ssl_ca_file=path))


def test_the_host_name_check_can_be_switched_off_but_not_the_chain() -> None:
    settings = KafkaSettings(security_protocol="SSL", ssl_check_hostname=False)
    context = client_options(settings)["ssl_context"]
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.kafka
async def test_a_consumer_whose_assignment_has_just_gone_still_stops(
    apache_kafka: LocalBroker,
    fresh_name: FreshName,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_STOP_WITHIN", 0.2)
    name = fresh_name("left")
    async with admin_client(apache_kafka.settings) as admin:
        await Topics(admin, TopicSettings(partitions=1)).create([name])
    async with asyncio.timeout(10), consumer_client(apache_kafka.settings) as consumer:
        consumer.assign([partition := TopicPartition(name, 0)])
        consumer.seek(partition, 0)
        await consumer.getmany(timeout_ms=100)
        consumer.unsubscribe()


class Flaky:
    """Fails with the errors it is given, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def __call__(self) -> str:
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


async def test_an_error_that_does_not_pass_is_raised_at_once() -> None:
    with pytest.raises(SaslAuthenticationFailed):
        await patiently(Flaky(SaslAuthenticationFailed("no")))


async def test_an_error_that_might_pass_is_raised_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_PATIENCE", 0.0)
    with pytest.raises(NodeNotReadyError):
        await patiently(Flaky(*[NodeNotReadyError("gone")] * 100))


async def test_an_error_that_passes_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RETRY", 0.0)
    gone = NodeNotReadyError("gone")
    assert await patiently(Flaky(gone, gone)) == "answer"


@asynccontextmanager
async def connected() -> AsyncIterator[AIOKafkaConnection]:
    """A connection as it is before a client has it, to a client that never answers."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        made = AIOKafkaConnection("127.0.0.1", port)
        made._reader, made._writer, made._versions = reader, writer, {3: (0, 1)}
        made._read_task = asyncio.ensure_future(reader.read())
        await made._read_task
        yield made
        writer.close()


def test_a_transport_that_has_just_closed_is_a_lost_connection() -> None:
    async def send() -> None:
        async with connected() as made:
            writer = made._writer
            writer.transport.abort()
            await writer.wait_closed()
            with pytest.raises(KafkaConnectionError):
                await made.send(MetadataRequest([]))
            assert not made.connected()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


async def test_a_connection_that_no_client_keeps_is_closed_where_its_response_is_given_up() -> None:
    async with connected() as made:
        asked = asyncio.create_task(made.send(MetadataRequest([])))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert not made.connected()


async def test_aiokafka_is_as_it_was_when_its_privates_were_used() -> None:
    """After an upgrade, look at what changed there, and change `connection` where that must."""
    parts = (
        _send,
        AIOKafkaConnection.close,
        AIOKafkaProducer.stop,
        MessageAccumulator,
        MessageBatch,
        Sender.close,
        TransactionManager.wait_for_transaction_end,
    )
    sources = "".join(inspect.getsource(part) for part in parts)
    assert sha256(sources.encode()).hexdigest() == (
        "8d5f289bcc4345b1e00123b3d83f192f4521ef19ea3391796483401b492573ba"
    )
    producer = AIOKafkaProducer(transactional_id="any")
    assert isinstance(producer._message_accumulator, MessageAccumulator)
    assert isinstance(producer._txn_manager, TransactionManager)
    assert producer._sender.sender_task is None
    assert AIOKafkaConnection("localhost", 1)._protocol is None
    await producer.stop()
