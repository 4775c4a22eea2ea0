"""How brokers are reached, and why they are not, as a type and one sentence.

All that is private to aiokafka's connections and producers is used here and nowhere else.
"""

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerClosed,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.config import KafkaSettings
from pipeline.kafka.sasl import ProofUnavailable, account, sasl_options
from pipeline.kafka.sessions import session_lifetime, with_sessions
from pipeline.model.errors import PipelineError, UsageError

T = TypeVar("T")
CONNECT_WITHIN = 10.0
"""Seconds; a broker that takes longer to accept a first connection is not there."""
_PATIENCE = 20.0
"""Seconds. Brokers take about ten to agree that one of them is gone."""
_ATTEMPTS = 4
_RETRY = 0.1
_STOP_WITHIN = 5.0
"""Seconds that a consumer, or a connection, gets to stop by itself."""
_ABANDON_WITHIN = 2.0
"""Seconds that a transactional producer may take to stop before it is abandoned."""
_ABANDON_STEP = 0.1
_LOGGERS_OF_PAYLOADS = ("aiokafka.conn", "aiokafka.producer.producer")
"""Their debug level prints requests and records whole: credentials, keys and values."""
_AUTHORIZATION = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
_ABOUT_OURS = re.compile(r"(?i)CERTIFICATE.REQUIRED|ALERT.*(CERTIFICATE|UNKNOWN.CA)")
"""Of what brokers find fault with in TLS: the certificate of the client, or that there is none."""
_ANOTHER_HOST = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class ConnectionFailed(PipelineError):
    """No broker let us in; the text says why and what to do."""


class BrokerUnreachable(ConnectionFailed):
    """Nothing answers at the configured addresses: a broker may come back."""


class WrongCredentials(ConnectionFailed):
    """A broker answered and refused the user, the password, the mechanism or the certificate."""


class NoProof(ConnectionFailed):
    """There is no token or ticket to show to a broker; no broker was asked."""


class TlsMismatch(ConnectionFailed):
    """The two sides disagree on whether there is TLS, or on whom they trust."""


class NotPermitted(PipelineError):
    """The brokers know us and do not allow what was asked; the text says what."""


class RequestFailed(PipelineError):
    """The brokers let us in and then did not do what was asked; the text says why."""


def explain(error: KafkaError, settings: KafkaSettings) -> PipelineError:
    """What an error of a client that was let in before means."""
    if isinstance(error, KafkaConnectionError):
        return explain_connecting(error, settings, settings.bootstrap_servers)
    if isinstance(error, _AUTHORIZATION):
        return NotPermitted(
            f"The brokers do not allow {account(settings)} what it asked for ({error}): "
            "have it granted."
        )
    return RequestFailed(
        f"The brokers at {settings.bootstrap_servers} did not do what was asked ({error}): "
        "try again, and look at the brokers if it stays."
    )


def explain_connecting(
    error: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed:
    """What an error of connecting to `address` means."""
    causes = list(_causes(error))
    if missing := next((each for each in causes if isinstance(each, ProofUnavailable)), None):
        return NoProof(missing.detail)
    found = [meaning for each in causes if (meaning := _meaning(each, settings, address))]
    if found:
        return min(found, key=lambda failure: not isinstance(failure, WrongCredentials))
    if any(isinstance(cause, EOFError | ConnectionResetError) for cause in causes):
        # Brokers say nothing to a client that speaks another protocol.
        likely = "has no TLS" if _has_tls(settings) else "has TLS or asks for credentials"
        return TlsMismatch(
            f"The broker at {address} closed the connection without a word, as happens on a port "
            f"that {likely}: kafka.security_protocol is {settings.security_protocol}, "
            "set it to what that port speaks."
        )
    return BrokerUnreachable(
        f"No broker answers at {settings.bootstrap_servers} ({_reason(causes[-1])}): start one, "
        "or set kafka.bootstrap_servers (PIPELINE_KAFKA__BOOTSTRAP_SERVERS) to where one is."
    )


def _meaning(
    cause: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed | None:
    kind: type[ConnectionFailed] = WrongCredentials
    if isinstance(cause, ssl.SSLError) and not _ABOUT_OURS.search(str(cause)):
        kind = TlsMismatch
    match cause:
        case SaslAuthenticationFailed():
            text = f"The broker at {address} refused {_refused(settings)}."
        case UnsupportedSaslMechanismError():
            text = (
                f"The broker at {address} does not take {settings.sasl_mechanism}: "
                "set kafka.sasl_mechanism to one that it takes."
            )
        case IllegalSaslStateError():
            text = (
                f"The broker at {address} takes no credentials on that port: set "
                f"kafka.security_protocol to {'SSL' if _has_tls(settings) else 'PLAINTEXT'}, "
                "or use its SASL port."
            )
        case ssl.SSLError() if kind is WrongCredentials and settings.ssl_cert_file is not None:
            text = (
                f"The broker at {address} refused the certificate {settings.ssl_cert_file} "
                f"({_reason(cause)}): have it signed by a CA that the brokers trust, and look at "
                "when it expires."
            )
        case ssl.SSLError() if kind is WrongCredentials:
            text = (
                f"The broker at {address} wants a client certificate: "
                "set kafka.ssl_cert_file and kafka.ssl_key_file."
            )
        case ssl.SSLCertVerificationError(verify_code=code) if code in _ANOTHER_HOST:
            text = (
                f"The certificate of the broker at {address} is for another host "
                f"({cause.verify_message.rstrip('.')}): set kafka.bootstrap_servers to the name "
                "that it is for, or have the brokers advertise that."
            )
        case ssl.SSLCertVerificationError():
            trusted = settings.ssl_ca_file or "the certificates of the system"
            text = (
                f"The certificate of the broker at {address} is not accepted "
                f"({cause.verify_message.rstrip('.')}; trusted: {trusted}): "
                "set kafka.ssl_ca_file to the CA that signed it, and use the host name it is for."
            )
        case ssl.SSLError():
            text = (
                f"TLS with the broker at {address} failed ({_reason(cause)}): "
                "check kafka.security_protocol, the port and the certificates."
            )
        case _:
            return None
    return kind(text)


def _refused(settings: KafkaSettings) -> str:
    match settings.sasl_mechanism:
        case "OAUTHBEARER":
            return (
                f"the token of client {settings.oauth.client_id!r} (OAUTHBEARER): check "
                "kafka.oauth.scope and kafka.oauth.extensions, and for whom the brokers say that "
                "tokens must be (issuer, audience)"
            )
        case "AWS_MSK_IAM":
            return (
                "what is signed with the AWS credentials (AWS_MSK_IAM): check kafka.aws_region, "
                "and that the role is allowed kafka-cluster:Connect"
            )
        case "GSSAPI":
            return (
                "the ticket (GSSAPI): check kafka.kerberos_service_name, and that the brokers know "
                "its realm"
            )
        case mechanism:
            return (
                f"user {settings.sasl_username!r} ({mechanism}): check kafka.sasl_username and "
                "kafka.sasl_password"
            )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    # A time-out is raised from the cancellation that it made: no cause of its own.
    while cause is not None and not isinstance(cause, asyncio.CancelledError):
        yield cause
        cause = cause.__cause__


def _reason(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case socket.gaierror():
            return "the host name is not known"
        case ssl.SSLError():
            return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
        case _:
            return str(error) or type(error).__name__


def _has_tls(settings: KafkaSettings) -> bool:
    return settings.security_protocol in {"SSL", "SASL_SSL"}


_send = AIOKafkaConnection.send


def _send_or_lose(
    self: AIOKafkaConnection,
    request: Any,  # noqa: ANN401 - aiokafka's is untyped
    expect_response: bool = True,
) -> Awaitable[Any]:
    """Send; uvloop raises no OSError where a transport has just closed, which aiokafka expects."""
    try:
        sent: Awaitable[Any] = _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(
            f"Connection to {self.host}:{self.port} lost: {error}"
        ) from error
    return sent if self._on_close_cb else _closed_if_cancelled(self, sent)


async def _closed_if_cancelled(connection: AIOKafkaConnection, sent: Awaitable[Any]) -> Any:  # noqa: ANN401 - as above
    """A response on a connection that no client keeps: nobody else would close it."""
    try:
        return await sent
    except asyncio.CancelledError:
        connection.close()
        raise


AIOKafkaConnection.send = with_sessions(_send_or_lose)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for any client of aiokafka; the `repr` of the password in it hides it.

    Raises:
        UsageError: The settings contradict each other, or a certificate file cannot be read.
    """
    for logger in _LOGGERS_OF_PAYLOADS:
        logging.getLogger(logger).addFilter(_above_debug)
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_timeout * 1000),
        "connections_max_idle_ms": round(settings.connection_max_idle * 1000),
        "security_protocol": settings.security_protocol,
        **_tls_options(settings),
        **sasl_options(settings),
    }


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


async def check_connection(settings: KafkaSettings) -> str:
    """Be let in by one of the bootstrap brokers within `CONNECT_WITHIN`; returns its address.

    Raises `UsageError`, or `ConnectionFailed` with the most specific of the reasons.
    """
    options = _options_of_connections(settings)
    try:
        addresses = collect_hosts(settings.bootstrap_servers, randomize=False)
    except ValueError:
        raise UsageError(
            "kafka.bootstrap_servers must be host:port, comma-separated, "
            f"and is {settings.bootstrap_servers!r}."
        ) from None
    failures: list[ConnectionFailed] = []
    async with asyncio.TaskGroup() as group:
        attempts = [
            group.create_task(_attempt(settings, host, port, options))
            for host, port, _ in addresses
        ]
        for attempt in asyncio.as_completed(attempts):
            result = await attempt
            if isinstance(result, str):
                for other in attempts:
                    other.cancel()
                return result
            failures.append(result)
    raise min(failures, key=lambda failure: isinstance(failure, BrokerUnreachable))


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the error is one that passes, for `_PATIENCE` and `_ATTEMPTS` at least.

    aiokafka's admin client asks any broker it knows of, one that has just gone too, and only once.
    """
    now = asyncio.get_running_loop().time
    give_up = now() + _PATIENCE
    attempts = 0
    while True:
        attempts += 1
        try:
            return await ask()
        except KafkaError as error:
            # One attempt at a broker that hangs takes longer than all patience.
            if not error.retriable or (attempts >= _ATTEMPTS and now() > give_up):
                raise
        await asyncio.sleep(_RETRY)


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end; aiokafka's errors in the body are explained.

    Raises `ConnectionFailed`, `NotPermitted` or `RequestFailed`.
    """
    client = AIOKafkaAdminClient(**await _reachable(settings))
    async with _running(client.start, client.close, settings):
        yield client


@asynccontextmanager
async def bare_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaClient]:
    client = AIOKafkaClient(**await _reachable(settings))
    async with _running(client.bootstrap, client.close, settings):
        yield client


@asynccontextmanager
async def consumer_client(
    settings: KafkaSettings,
    **options: Any,  # noqa: ANN401 - aiokafka's own options
) -> AsyncIterator[AIOKafkaConsumer]:
    client = AIOKafkaConsumer(**await _reachable(settings), **options)
    stop = partial(stop_consumer, client, _STOP_WITHIN)
    async with _running(client.start, stop, settings):
        yield client


@asynccontextmanager
async def producer_client(
    settings: KafkaSettings,
    **options: Any,  # noqa: ANN401 - aiokafka's own options
) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer, flushed and stopped at the end; raises as `admin_client`.

    Records that no broker confirms within `request_timeout` of the end are given up.
    """
    client = AIOKafkaProducer(**await _reachable(settings), **options)
    stop = partial(_flush_and_stop, client, settings.request_timeout)
    async with _running(client.start, stop, settings):
        yield client


async def _flush_and_stop(client: AIOKafkaProducer, within: float) -> None:
    """Stop a producer; `within` seconds later what it still holds is given up.

    aiokafka's own `stop` waits for ever while the brokers are away, and leaves connections open
    where it is cancelled.
    """
    stopping = asyncio.ensure_future(client.stop())
    done, _ = await asyncio.wait({stopping}, timeout=within)
    if not done:
        # There is no public way to end its wait. The sender goes first: it puts a batch that it
        # failed to send back where the second line empties.
        await client._sender.close()  # noqa: SLF001
        client._message_accumulator.fail_all(KafkaTimeoutError())  # noqa: SLF001
    await stopping


class SharedClient:
    """Connections that several producers use; open while one of them does.

    A producer of its own has two to a broker. Brokers answer what comes by one connection one
    after the other, so few is better than one.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._client = AIOKafkaClient(**client_options(settings))
        self._users = 0
        self._changing = asyncio.Lock()

    def lend(self, producer: AIOKafkaProducer) -> None:
        """Have a producer that has not started use these instead of its own."""
        # aiokafka has no public way to it; what the producer made for itself never connected.
        loan = _Loan(self._client, self)
        producer.client = loan
        producer._metadata = self._client.cluster  # noqa: SLF001
        producer._message_accumulator._cluster = self._client.cluster  # noqa: SLF001
        producer._sender.client = loan  # noqa: SLF001

    async def enter(self) -> None:
        """Another one uses them; connects for the first."""
        async with self._changing:
            if not self._users:
                await self._client.bootstrap()
            self._users += 1

    async def leave(self) -> None:
        """One that used them has ended; disconnects after the last."""
        async with self._changing:
            self._users -= 1
            if not self._users:
                await self._client.close()


class _Loan:
    """A shared client as one producer sees it: its own to start and to close."""

    def __init__(self, client: AIOKafkaClient, owner: SharedClient) -> None:
        self._client = client
        self._owner = owner
        self._is_open = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any of the client's
        return getattr(self._client, name)

    async def bootstrap(self) -> None:
        await self._owner.enter()
        self._is_open = True

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._owner.leave()


async def abandon_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer within seconds, whatever state it is in; what it holds is not sent."""
    # There is no public way to any of this. What waits for a batch that is not sent any more would
    # be logged as an unseen error.
    accumulator = producer._message_accumulator  # noqa: SLF001
    for batch in (*chain(*accumulator._batches.values()), *accumulator._pending_batches):  # noqa: SLF001
        batch._drain_waiter.add_done_callback(ignore_result)  # noqa: SLF001
    stopping = asyncio.create_task(producer.stop())
    try:
        await asyncio.wait({stopping}, timeout=_ABANDON_WITHIN)
    finally:
        stopping.cancel()
    await asyncio.wait({stopping})
    if stopping.cancelled() or stopping.exception() is not None:
        # It waits until every batch is delivered, which may be never. Or a background task of its
        # own had failed, and raises that once more, any error there is: after a fencing such tasks
        # trip over their own state.
        accumulator.fail_all(ProducerClosed())
        sender = producer._sender.sender_task  # noqa: SLF001
        while sender is not None and not sender.done():
            # Cancelled once it waits for its own tasks; cancelled again it gives up on them.
            sender.cancel()
            await asyncio.wait([sender], timeout=_ABANDON_STEP)
        await producer.client.close()
    transactions = producer._txn_manager  # noqa: SLF001
    ending = None if transactions is None else transactions.wait_for_transaction_end()
    if ending is not None:
        ending.add_done_callback(ignore_result)


def ignore_result(future: asyncio.Future[Any]) -> None:
    """A callback for a future that nobody waits for: its error is not logged as unseen."""
    if not future.cancelled():
        future.exception()


async def stop_consumer(client: AIOKafkaConsumer, within: float) -> None:
    """Stop a consumer, in a little more than `within` seconds at most.

    aiokafka's own `stop` waits for ever where the assignment has just gone: its fetcher takes the
    order to end for the end of a fetch that it is waiting for, and needs it twice.
    """
    stopping = asyncio.ensure_future(client.stop())
    done, _ = await asyncio.wait({stopping}, timeout=within)
    if not done:
        # Passes on to the fetcher, which ends, and `stop` goes on.
        stopping.cancel()
        await asyncio.wait({stopping})
    if not stopping.cancelled():
        stopping.result()


async def _attempt(
    settings: KafkaSettings, host: str, port: int, options: dict[str, Any]
) -> ConnectionFailed | str:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        async with _connected(host, port, options):
            return address
    except (OSError, EOFError, KafkaError, ValueError) as error:
        return explain_connecting(error, settings, address)


@asynccontextmanager
async def _connected(
    host: str, port: int, options: dict[str, Any]
) -> AsyncIterator[AIOKafkaConnection]:
    connection = AIOKafkaConnection(host, port, **options)
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await connection.connect()
            # A port that wants credentials says so only when asked for something.
            await connection.send(MetadataRequest([]))
        yield connection
    finally:
        # aiokafka only orders it to close; TLS ends when the broker has said so, which it does a
        # while after it refused somebody. One that was never open does not close.
        closed = connection.close()
        if connection._protocol is not None:  # noqa: SLF001 - there is no public way to know
            await asyncio.wait({closed}, timeout=_STOP_WITHIN)


async def session_seconds(settings: KafkaSettings) -> float | None:
    """For how long brokers take requests on a connection before they want it authenticated again.

    None for ever; raises as `check_connection`.
    """
    host, port, _ = collect_hosts(await check_connection(settings))[0]
    try:
        async with _connected(host, port, _options_of_connections(settings)) as connection:
            return session_lifetime(connection)
    except (OSError, EOFError, KafkaError, ValueError) as error:
        raise explain_connecting(error, settings, f"{host}:{port}") from error


def _options_of_connections(settings: KafkaSettings) -> dict[str, Any]:
    options = client_options(settings)
    del options["bootstrap_servers"], options["connections_max_idle_ms"]
    return options


async def _reachable(settings: KafkaSettings) -> dict[str, Any]:
    """Options that begin at a broker that answers: aiokafka would wait long for one that hangs."""
    return client_options(settings) | {"bootstrap_servers": await check_connection(settings)}


@asynccontextmanager
async def _running(
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    settings: KafkaSettings,
) -> AsyncIterator[None]:
    try:
        await start()
        yield
    except KafkaError as error:
        raise explain(error, settings) from error
    finally:
        await stop()


def _tls_options(settings: KafkaSettings) -> dict[str, Any]:
    given = settings.ssl_ca_file or settings.ssl_cert_file or settings.ssl_key_file
    if not _has_tls(settings):
        if given:
            raise UsageError(
                f"kafka.security_protocol is {settings.security_protocol}, which has no TLS, but "
                f"a certificate is set ({given}): set the protocol to SSL or SASL_SSL."
            )
        return {}
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        context.check_hostname = settings.ssl_check_hostname
        if settings.ssl_cert_file is not None:
            secret = settings.ssl_key_password
            password = "" if secret is None else secret.get_secret_value()
            # A function, because OpenSSL would ask on the terminal where none is given.
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, lambda: password)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"A file of kafka.ssl_ca_file ({settings.ssl_ca_file}), kafka.ssl_cert_file "
            f"({settings.ssl_cert_file}) and kafka.ssl_key_file ({settings.ssl_key_file}) "
            f"cannot be used ({_reason(error)}): each must be readable PEM, and "
            "kafka.ssl_key_password must fit the key."
        ) from error
    return {"ssl_context": context}
