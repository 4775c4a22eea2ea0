"""How the brokers are reached, and why they are not, in one sentence."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.errors import PipelineError, WrongUse
from pipeline.settings import KafkaSettings


class ConnectionFailed(PipelineError):
    """No broker let us in; the text says why and what to do."""


class BrokerUnreachable(ConnectionFailed):
    """Nothing answers at the configured addresses: a broker may come back."""


class WrongCredentials(ConnectionFailed):
    """A broker answered and refused the user, the password, the mechanism or the certificate."""


class TlsMismatch(ConnectionFailed):
    """The two sides disagree on whether there is TLS, or on whom they trust."""


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that aiokafka's consumer, producer and admin client have in common.

    The password in it is a string whose `repr` hides it, so the options may be logged.

    Raises:
        WrongUse: The settings contradict each other, or a certificate file cannot be read.
    """
    logging.getLogger("aiokafka.conn").addFilter(_above_debug)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": round(settings.request_timeout * 1000),
        "security_protocol": settings.security_protocol,
    }
    options |= _tls_options(settings) | _sasl_options(settings)
    return options


async def check_connection(settings: KafkaSettings) -> None:
    """Be let in by at least one of the bootstrap brokers, within `connect_timeout`.

    Raises:
        WrongUse: The settings contradict each other.
        ConnectionFailed: None let us in; of several reasons the most telling one.
    """
    options = client_options(settings)
    del options["bootstrap_servers"]
    addresses = _addresses(settings)
    failures: list[ConnectionFailed] = []
    async with asyncio.TaskGroup() as group:
        attempts = [
            group.create_task(_attempt(settings, host, port, options)) for host, port in addresses
        ]
        for attempt in asyncio.as_completed(attempts):
            failure = await attempt
            if failure is None:
                for other in attempts:
                    other.cancel()
                return
            failures.append(failure)
    raise min(failures, key=lambda failure: isinstance(failure, BrokerUnreachable))


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end.

    Raises:
        ConnectionFailed: No broker let us in.
    """
    await check_connection(settings)
    client = AIOKafkaAdminClient(**client_options(settings))
    async with _running(client.start, client.close, settings):
        yield client


@asynccontextmanager
async def consumer_client(
    settings: KafkaSettings,
    **options: Any,  # noqa: ANN401 - aiokafka's own options
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer with further `options` of aiokafka, stopped at the end.

    Raises:
        ConnectionFailed: No broker let us in.
    """
    await check_connection(settings)
    client = AIOKafkaConsumer(**client_options(settings), **options)
    async with _running(client.start, client.stop, settings):
        yield client


@asynccontextmanager
async def producer_client(
    settings: KafkaSettings,
    **options: Any,  # noqa: ANN401 - aiokafka's own options
) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer with further `options` of aiokafka, flushed and stopped at the end.

    Raises:
        ConnectionFailed: No broker let us in.
    """
    await check_connection(settings)
    client = AIOKafkaProducer(**client_options(settings), **options)
    async with _running(client.start, client.stop, settings):
        yield client


def explain(error: BaseException, settings: KafkaSettings, address: str) -> ConnectionFailed:
    """What an error of connecting to `address` means, as a type and a sentence."""
    chain = list(_causes(error))
    for recognise in (_credentials, _tls, _hung_up):
        for cause in chain:
            found = recognise(cause, settings, address)
            if found is not None:
                return found
    return BrokerUnreachable(
        f"No broker answers at {settings.bootstrap_servers} ({_reason(chain[-1])}): start one, "
        "or set kafka.bootstrap_servers (PIPELINE_KAFKA__BOOTSTRAP_SERVERS) to where one is."
    )


def _credentials(
    cause: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed | None:
    if isinstance(cause, SaslAuthenticationFailed):
        return WrongCredentials(
            f"The broker at {address} refused user {settings.sasl_username!r} "
            f"({settings.sasl_mechanism}): check kafka.sasl_username and kafka.sasl_password."
        )
    if isinstance(cause, UnsupportedSaslMechanismError):
        return WrongCredentials(
            f"The broker at {address} does not take {settings.sasl_mechanism}: "
            "set kafka.sasl_mechanism to one that it takes."
        )
    if isinstance(cause, IllegalSaslStateError):
        return WrongCredentials(
            f"The broker at {address} takes no credentials on that port: set "
            f"kafka.security_protocol to {'SSL' if _has_tls(settings) else 'PLAINTEXT'}, "
            "or use its SASL port."
        )
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(cause):
        return WrongCredentials(
            f"The broker at {address} wants a client certificate: "
            "set kafka.ssl_cert_file and kafka.ssl_key_file."
        )
    return None


def _tls(cause: BaseException, settings: KafkaSettings, address: str) -> ConnectionFailed | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        trusted = settings.ssl_ca_file or "the certificates of the system"
        return TlsMismatch(
            f"The certificate of the broker at {address} is not accepted "
            f"({cause.verify_message.rstrip('.')}; trusted: {trusted}): "
            "set kafka.ssl_ca_file to the CA that signed it, and use the host name it is for."
        )
    if isinstance(cause, ssl.SSLError):
        return TlsMismatch(
            f"TLS with the broker at {address} failed ({_reason(cause)}): "
            "check kafka.security_protocol, the port and the certificates."
        )
    return None


def _hung_up(
    cause: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed | None:
    """A broker says nothing to a client that speaks another protocol: it closes."""
    if not isinstance(cause, EOFError | ConnectionResetError):
        return None
    likely = "has no TLS" if _has_tls(settings) else "has TLS or asks for credentials"
    return TlsMismatch(
        f"The broker at {address} closed the connection without a word, as happens on a port "
        f"that {likely}: kafka.security_protocol is {settings.security_protocol}, "
        "set it to what that port speaks."
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


async def _attempt(
    settings: KafkaSettings, host: str, port: int, options: dict[str, Any]
) -> ConnectionFailed | None:
    try:
        async with asyncio.timeout(settings.connect_timeout):
            connection = await create_conn(host, port, **options)
            try:
                # A port that wants credentials tells so only when asked for something.
                await connection.send(MetadataRequest([]))
            finally:
                closed = connection.close()
            await closed
    except (OSError, EOFError, KafkaError, ValueError) as error:
        return explain(error, settings, f"{host}:{port}")
    return None


@asynccontextmanager
async def _running(
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    settings: KafkaSettings,
) -> AsyncIterator[None]:
    try:
        try:
            await start()
        except KafkaConnectionError as error:
            raise explain(error, settings, settings.bootstrap_servers) from error
        yield
    finally:
        await stop()


def _addresses(settings: KafkaSettings) -> list[tuple[str, int]]:
    try:
        found = collect_hosts(settings.bootstrap_servers, randomize=False)
    except ValueError:
        raise WrongUse(
            "kafka.bootstrap_servers must be host:port, comma-separated, "
            f"and is {settings.bootstrap_servers!r}."
        ) from None
    return [(host, port) for host, port, _ in found]


def _has_tls(settings: KafkaSettings) -> bool:
    return settings.security_protocol in {"SSL", "SASL_SSL"}


def _tls_options(settings: KafkaSettings) -> dict[str, Any]:
    given = settings.ssl_ca_file or settings.ssl_cert_file or settings.ssl_key_file
    if not _has_tls(settings):
        if given:
            raise WrongUse(
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
        raise WrongUse(
            f"A file of kafka.ssl_ca_file ({settings.ssl_ca_file}), kafka.ssl_cert_file "
            f"({settings.ssl_cert_file}) and kafka.ssl_key_file ({settings.ssl_key_file}) "
            f"cannot be used ({_reason(error)}): each must be readable PEM, and "
            "kafka.ssl_key_password must fit the key."
        ) from error
    return {"ssl_context": context}


def _sasl_options(settings: KafkaSettings) -> dict[str, Any]:
    if settings.security_protocol not in {"SASL_PLAINTEXT", "SASL_SSL"}:
        if settings.sasl_username is not None or settings.sasl_password is not None:
            raise WrongUse(
                f"kafka.security_protocol is {settings.security_protocol}, which has no "
                "credentials, but a user or a password is set: set the protocol to SASL_SSL."
            )
        return {}
    if settings.sasl_username is None or settings.sasl_password is None:
        raise WrongUse(
            f"kafka.security_protocol is {settings.security_protocol}: "
            "set kafka.sasl_username and kafka.sasl_password too."
        )
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": _Hidden(settings.sasl_password.get_secret_value()),
    }


class _Hidden(str):
    """A string that does not show up where a structure that holds it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _above_debug(record: logging.LogRecord) -> bool:
    """The debug log of aiokafka prints every request whole: credentials, keys and payloads."""
    return record.levelno > logging.DEBUG
