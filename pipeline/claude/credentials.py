"""Keys and tokens that change while the process runs: from a file, from Google, from Microsoft.

Each gives the one to use now. What AWS needs for a signature the SDK takes from boto3: see
`AwsSigner`.
"""

import asyncio
import logging
import os
import time
from datetime import UTC
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from anthropic.lib.aws._auth import _get_session

from pipeline.claude.providers import PROVIDERS, has_key
from pipeline.config import EndpointSettings
from pipeline.config.tables import AWS_REGION
from pipeline.model.errors import UsageError
from pipeline.runtime.tokens import CredentialsUnavailable, Tokens, in_own_thread

log = logging.getLogger(__name__)
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ENTRA_SCOPE = "https://ai.azure.com/.default"


class Source(Protocol):
    """Where credentials come from; `errors` are what the SDK raises where it needs them."""

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    async def current(self) -> str | None:
        """The key or token to use now; None where requests are signed.

        Raises:
            CredentialsUnavailable: There is none.
        """
        ...

    def renew(self, *, unauthorized: bool) -> bool:
        """Whether to try others, after a refusal; `unauthorized`: it was for the credentials."""
        ...


def source_of(endpoint: EndpointSettings) -> Source | None:
    """Of the credentials of an endpoint; None where the SDK's client finds them by itself.

    Raises:
        UsageError: An extra has to be installed.
    """
    if endpoint.key_file is not None:
        return KeyFile(endpoint.key_file)
    provider = PROVIDERS[endpoint.provider]
    if provider.proof == "key" or has_key(endpoint):
        return None
    try:
        for name in provider.modules:
            import_module(name)
    except ImportError as error:
        raise UsageError(
            f"Models at {endpoint.provider} need what is not installed ({error}): "
            f"pip install 'haiku-pipeline[{endpoint.provider}]'."
        ) from error
    match provider.proof:
        case "sigv4":
            return AwsSigner(endpoint.region or next(filter(None, map(os.environ.get, AWS_REGION))))
        case "google":
            return google_tokens()
        case _:
            return entra_tokens()


class KeyFile:
    """A key or token in a file that is mounted, and read again when it changes."""

    errors = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._key = ""

    async def current(self) -> str:
        self._read()
        if not self._key:
            raise CredentialsUnavailable(f"there is no key in {self._path}", transient=False)
        return self._key

    def renew(self, *, unauthorized: bool) -> bool:
        del unauthorized  # a key is refused in more ways than one
        return self._read()

    def _read(self) -> bool:
        """Read the file if it is another than before; whether the key is another."""
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_ino, status.st_size
            if seen == self._seen:
                return False
            key = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.debug("the key file cannot be read: %s", error)
            return False
        self._seen = seen
        # Half of a key that is being written is refused, and then the file has changed again.
        changed = bool(key) and key != self._key
        self._key = key or self._key
        return changed


def google_tokens() -> Tokens:
    """Of Application Default Credentials."""
    import google.auth  # noqa: PLC0415 - of an extra
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
    from google.auth.transport.requests import Request  # noqa: PLC0415

    found: list[Any] = []

    def fetch() -> tuple[str, float]:
        try:
            if not found:
                found.append(google.auth.default(scopes=[GOOGLE_SCOPE])[0])
            (credentials,) = found
            credentials.refresh(Request())
        except GoogleAuthError as error:
            transient = isinstance(error, TransportError) or error.retryable
            raise CredentialsUnavailable(str(error), transient=transient) from error
        return credentials.token, credentials.expiry.replace(tzinfo=UTC).timestamp()

    return Tokens(in_own_thread(fetch))


def entra_tokens() -> Tokens:
    """Of whatever identity of Entra ID the environment offers."""
    from azure.core.exceptions import AzureError, ServiceRequestError  # noqa: PLC0415
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - of an extra

    credential = DefaultAzureCredential()

    def fetch() -> tuple[str, float]:
        try:
            token = credential.get_token(ENTRA_SCOPE)
        except AzureError as error:
            transient = isinstance(error, ServiceRequestError)
            raise CredentialsUnavailable(str(error), transient=transient) from error
        return token.token, float(token.expires_on)

    return Tokens(in_own_thread(fetch))


def forget_aws_credentials() -> None:
    """Have boto3 look for credentials again before the next signature."""
    cast("Any", _get_session).cache_clear()


class AwsSigner:
    """What the SDK signs requests with: a session of boto3, which renews its own credentials.

    It is made before the first request, once for all who wait, as it takes a while; and again where
    its credentials are refused, since boto3 reads variables and files only once. The SDK keeps it
    in a place of its own, which `tests/claude/test_credentials.py` holds it to.
    """

    def __init__(self, region: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - of an extra

        # The last is what botocore raises for credentials that have expired as they come.
        self.errors = (BotoCoreError, ClientError, RuntimeError)
        self._region = region
        self._is_ready = False
        self._lock = asyncio.Lock()

    async def current(self) -> None:
        if not self._is_ready:
            async with self._lock:
                if not self._is_ready:
                    await asyncio.to_thread(self._find)
                    self._is_ready = True

    def renew(self, *, unauthorized: bool) -> bool:
        if unauthorized:
            forget_aws_credentials()
            self._is_ready = False
        return unauthorized

    def _find(self) -> None:
        # In the SDK's own order, by which it is found again.
        session = _get_session(
            profile=None,
            region=self._region,
            aws_access_key=None,
            aws_secret_key=None,
            aws_session_token=None,
        )
        credentials = session.get_credentials()
        if credentials is None:
            forget_aws_credentials()
            raise CredentialsUnavailable("boto3 finds no AWS credentials", transient=False)
        credentials.get_frozen_credentials()
        if (expires := getattr(credentials, "_expiry_time", None)) is not None:
            # boto3 renews from 15 minutes before the end on, and lets everybody wait from 10: of a
            # life that is shorter, before each signature.
            left = expires.timestamp() - time.time()
            credentials._advisory_refresh_timeout = min(900.0, 0.2 * left)  # noqa: SLF001
            credentials._mandatory_refresh_timeout = min(600.0, 0.05 * left)  # noqa: SLF001
