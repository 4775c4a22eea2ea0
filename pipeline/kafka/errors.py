"""What went wrong between here and the brokers, as a type and one sentence."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from pipeline.config import KafkaSettings
from pipeline.model.errors import PipelineError

_AUTHORIZATION = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
_ANOTHER_HOST = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


class ConnectionFailed(PipelineError):
    """No broker let us in; the text says why and what to do."""


class BrokerUnreachable(ConnectionFailed):
    """Nothing answers at the configured addresses: a broker may come back."""


class WrongCredentials(ConnectionFailed):
    """A broker answered and refused the user, the password, the mechanism or the certificate."""


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
        user = settings.sasl_username or "this client"
        return NotPermitted(
            f"The brokers do not allow {user} what it asked for ({error}): have it granted."
        )
    return RequestFailed(
        f"The brokers at {settings.bootstrap_servers} did not do what was asked ({error}): "
        "try again, and look at the brokers if it stays."
    )


def explain_connecting(
    error: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed:
    """What an error of connecting to `address` means, as a type and a sentence."""
    chain = list(_causes(error))
    for recognise in (_credentials, _tls, _hung_up):
        for cause in chain:
            found = recognise(cause, settings, address)
            if found is not None:
                return found
    return BrokerUnreachable(
        f"No broker answers at {settings.bootstrap_servers} ({reason(chain[-1])}): start one, "
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
            f"kafka.security_protocol to {'SSL' if has_tls(settings) else 'PLAINTEXT'}, "
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
        if cause.verify_code in _ANOTHER_HOST:
            return TlsMismatch(
                f"The certificate of the broker at {address} is for another host "
                f"({cause.verify_message.rstrip('.')}): set kafka.bootstrap_servers to the name "
                "that it is for, or have the brokers advertise that."
            )
        trusted = settings.ssl_ca_file or "the certificates of the system"
        return TlsMismatch(
            f"The certificate of the broker at {address} is not accepted "
            f"({cause.verify_message.rstrip('.')}; trusted: {trusted}): "
            "set kafka.ssl_ca_file to the CA that signed it, and use the host name it is for."
        )
    if isinstance(cause, ssl.SSLError):
        return TlsMismatch(
            f"TLS with the broker at {address} failed ({reason(cause)}): "
            "check kafka.security_protocol, the port and the certificates."
        )
    return None


def _hung_up(
    cause: BaseException, settings: KafkaSettings, address: str
) -> ConnectionFailed | None:
    """A broker says nothing to a client that speaks another protocol: it closes."""
    if not isinstance(cause, EOFError | ConnectionResetError):
        return None
    likely = "has no TLS" if has_tls(settings) else "has TLS or asks for credentials"
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


def reason(error: BaseException) -> str:
    """A few words on an error of the operating system, of TLS or of a protocol."""
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


def has_tls(settings: KafkaSettings) -> bool:
    """Whether the security protocol is one with TLS."""
    return settings.security_protocol in {"SSL", "SASL_SSL"}
