"""How an account is proven to the brokers, by the mechanism that the settings name.

Tokens (OAUTHBEARER, and AWS_MSK_IAM, which is OAUTHBEARER with a signed URL for a token) are shared
by all clients of an event loop: one is fetched for all, and again before it expires.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator, SaslGSSAPIAuthenticator
from aiokafka.errors import KafkaConnectionError

from pipeline.config import KafkaSettings
from pipeline.config.tables import AWS_REGION
from pipeline.kafka.oidc import ClientCredentials
from pipeline.model.errors import UsageError
from pipeline.runtime.tokens import CredentialsUnavailable, Fetched, Tokens, in_own_thread

EXTRAS = {"AWS_MSK_IAM": ("msk", "aws_msk_iam_sasl_signer"), "GSSAPI": ("gssapi", "gssapi")}
"""Extra and module of what only a mechanism needs."""
_OLD = 30.0
"""Seconds after which a token that is refused is not the provider's last word."""


class ProofUnavailable(KafkaConnectionError):  # type: ignore[misc]  # aiokafka is untyped
    """There is no token or ticket to show to a broker; `detail` says why and what to do.

    To aiokafka it is a broker that cannot be connected to, which it tries again.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def account(settings: KafkaSettings) -> str:
    """Whom brokers know us as, as far as the settings say it."""
    if not settings.security_protocol.startswith("SASL_"):
        return "this client"
    if settings.sasl_mechanism == "OAUTHBEARER":
        return settings.oauth.client_id or "this client"
    return settings.sasl_username or "this client"


def sasl_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for any client of aiokafka; none where the protocol has no credentials.

    Raises:
        UsageError: A setting is missing or does not fit, or an extra has to be installed.
    """
    if settings.security_protocol not in {"SASL_PLAINTEXT", "SASL_SSL"}:
        if settings.sasl_username is not None or settings.sasl_password is not None:
            raise UsageError(
                f"kafka.security_protocol is {settings.security_protocol}, which has no "
                "credentials, but a user or a password is set: set the protocol to SASL_SSL."
            )
        return {}
    _check_extra(settings)
    match settings.sasl_mechanism:
        case "GSSAPI":
            return {
                "sasl_mechanism": "GSSAPI",
                "sasl_kerberos_service_name": settings.kerberos_service_name,
                "sasl_kerberos_domain_name": settings.kerberos_domain_name,
            }
        case "OAUTHBEARER" | "AWS_MSK_IAM":
            return {
                "sasl_mechanism": "OAUTHBEARER",
                "sasl_oauth_token_provider": token_provider(settings),
            }
    if settings.sasl_username is None or settings.sasl_password is None:
        raise UsageError(
            f"kafka.security_protocol is {settings.security_protocol}: "
            "set kafka.sasl_username and kafka.sasl_password too."
        )
    return {
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": _Hidden(settings.sasl_password.get_secret_value()),
    }


def _check_extra(settings: KafkaSettings) -> None:
    extra, module = EXTRAS.get(settings.sasl_mechanism, (None, ""))
    if extra is None:
        return
    try:
        import_module(module)
    except ImportError as error:
        raise UsageError(
            f"kafka.sasl_mechanism {settings.sasl_mechanism} needs what is not installed "
            f"({error}): pip install 'haiku-pipeline[{extra}]'."
        ) from error


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is untyped
    """Gives every connection the token to show now."""

    def __init__(self, tokens: Tokens, extensions: Mapping[str, str]) -> None:
        self.tokens = tokens
        self._extensions = dict(extensions)

    async def token(self) -> str:
        try:
            return await self.tokens.current()
        except CredentialsUnavailable as error:
            raise ProofUnavailable(str(error)) from error

    def extensions(self) -> dict[str, str]:
        return self._extensions

    def refused(self) -> None:
        """A broker refused the token: unless it is new, another may do, as after changed keys."""
        if self.tokens.age > _OLD:
            self.tokens.renew(unauthorized=True)


_providers: WeakKeyDictionary[
    asyncio.AbstractEventLoop, list[tuple[tuple[object, ...], TokenProvider]]
] = WeakKeyDictionary()
"""Those of each event loop, with the settings that they are for."""


def token_provider(settings: KafkaSettings) -> TokenProvider:
    """The one for these settings in the running event loop; raises as `sasl_options`."""
    wanted = (settings.sasl_mechanism, settings.oauth, settings.aws_region)
    there_are = _providers.setdefault(asyncio.get_running_loop(), [])
    for known, provider in there_are:
        if known == wanted:
            return provider
    if settings.sasl_mechanism == "AWS_MSK_IAM":
        made = TokenProvider(Tokens(in_own_thread(msk_signer(settings))), {})
    else:
        fetch = ClientCredentials(settings.oauth).fetch
        made = TokenProvider(Tokens(fetch), settings.oauth.extensions)
    there_are.append((wanted, made))
    return made


def msk_signer(settings: KafkaSettings) -> Callable[[], Fetched]:
    """Signs tokens with AWS credentials, which are looked for where boto3 looks.

    Raises:
        UsageError: No region is set.
    """
    region = settings.aws_region or next(filter(None, map(os.environ.get, AWS_REGION)), None)
    if region is None:
        raise UsageError(
            "kafka.sasl_mechanism is AWS_MSK_IAM: set kafka.aws_region, or AWS_REGION in the "
            "environment."
        )
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - of an extra
    from botocore.credentials import CredentialProvider  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from botocore.session import Session  # noqa: PLC0415

    session = Session()

    class Found(CredentialProvider):  # type: ignore[misc]  # botocore is untyped
        """Of one session: another one may have another name, and so be another principal."""

        def load(self) -> Any:  # noqa: ANN401 - botocore's
            credentials = session.get_credentials()
            if credentials is None:
                raise CredentialsUnavailable(
                    "boto3 finds no AWS credentials for AWS_MSK_IAM: give the process a role, or "
                    "set AWS_PROFILE or AWS_ACCESS_KEY_ID.",
                    transient=False,
                )
            return credentials.get_frozen_credentials()

    def sign() -> Fetched:
        try:
            token, expires = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(
                region, Found()
            )
        # The last is what botocore raises for credentials that have expired as they come.
        except (BotoCoreError, ClientError, RuntimeError, ValueError) as error:
            raise CredentialsUnavailable(
                f"AWS gives no credentials for AWS_MSK_IAM ({type(error).__name__}: {error}).",
                transient=True,
            ) from error
        return token, expires / 1000

    return sign


class _ToldRefusals(OAuthAuthenticator):  # type: ignore[misc]  # aiokafka is untyped
    """Asks a broker that refused a token to say so, which it does only then (RFC 7628, 3.2.3).

    aiokafka's own takes the refusal for a success, and every request after it fails for no reason.
    """

    async def step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        if self._token_sent and payload:
            self._sasl_oauth_token_provider.refused()
            return b"\x01", True
        found: tuple[bytes, bool] | None = await super().step(payload)
        return found


class _ExplainedTickets(SaslGSSAPIAuthenticator):  # type: ignore[misc]  # aiokafka is untyped
    """Kerberos' errors as errors of a connection; aiokafka lets them end its tasks."""

    def _step(self, payload: bytes | None) -> tuple[bytes, bool] | None:
        errors = import_module("gssapi.exceptions")
        try:
            found: tuple[bytes, bool] | None = super()._step(payload)
        except errors.GSSError as error:
            raise ProofUnavailable(
                f"Kerberos gives no ticket for {self._principal} ({_of_kerberos(error)}): check "
                "that there is a ticket (`klist`) or a keytab (KRB5_CLIENT_KTNAME), "
                "kafka.kerberos_service_name and kafka.kerberos_domain_name."
            ) from error
        return found


def _of_kerberos(error: Any) -> str:  # noqa: ANN401 - gssapi's is untyped
    minor = error.get_all_statuses(error.min_code, is_maj=False)
    return "; ".join(each.rstrip(".") for each in minor) or "unknown"


def _authenticator_oauth(connection: AIOKafkaConnection) -> OAuthAuthenticator:
    return _ToldRefusals(sasl_oauth_token_provider=connection._sasl_oauth_token_provider)  # noqa: SLF001


def _authenticator_gssapi(connection: AIOKafkaConnection) -> SaslGSSAPIAuthenticator:
    return _ExplainedTickets(loop=connection._loop, principal=connection.sasl_principal)  # noqa: SLF001


AIOKafkaConnection.authenticator_oauth = _authenticator_oauth
AIOKafkaConnection.authenticator_gssapi = _authenticator_gssapi


class _Hidden(str):
    """A string that does not show up where a structure that holds it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
