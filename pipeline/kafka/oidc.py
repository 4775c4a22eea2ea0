"""Tokens of an OpenID provider by client credentials (RFC 6749, section 4.4), in sentences if none.

When a token expires is counted from its `expires_in` on this machine's clock alone, so it need not
agree with the provider's.
"""

import asyncio
import base64
import json
import math
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from pipeline.config import OauthSettings
from pipeline.model.errors import UsageError
from pipeline.runtime.tokens import CredentialsUnavailable, Fetched

_WITHIN = 8.0
"""Seconds for all attempts: a first connection to a broker, of which this is a part, has ten."""
_ATTEMPT_WITHIN = 5.0
_BACKOFF = (0.25, 1.0)
"""Seconds before the second attempt, and the third, which is the last."""
_MOST_BYTES = 256 << 10
_SHOWN = 200
"""Characters of what a provider says of its refusal."""
_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500
_SETTING_OF = {
    "invalid_client": "check kafka.oauth.client_id, the secret and kafka.oauth.client_auth",
    "unauthorized_client": "have the client allowed to ask for tokens by client credentials",
    "unsupported_grant_type": "it gives out none by client credentials at that URL: check "
    "kafka.oauth.token_endpoint",
    "invalid_scope": "check kafka.oauth.scope",
    "invalid_target": "check kafka.oauth.parameters",
    "invalid_request": "check kafka.oauth.scope and kafka.oauth.parameters",
}
"""What to do about an error of RFC 6749, section 5.2, or RFC 8707."""


class _Refused(Exception):
    """An attempt brought no token; `after`: seconds until another one may, None if none will."""

    def __init__(self, detail: str, after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after = after


class ClientCredentials:
    """Asks for tokens.

    Args:
        settings: Whom, and as whom.
        now: Seconds since 1970.

    Raises:
        UsageError: A setting is missing, or a file cannot be used.
    """

    def __init__(self, settings: OauthSettings, *, now: Callable[[], float] = time.time) -> None:
        if settings.token_endpoint is None or settings.client_id is None:
            raise UsageError(
                "kafka.sasl_mechanism is OAUTHBEARER: set kafka.oauth.token_endpoint and "
                "kafka.oauth.client_id."
            )
        if (settings.client_secret is None) == (settings.client_secret_file is None):
            raise UsageError(
                "kafka.sasl_mechanism is OAUTHBEARER: set one of kafka.oauth.client_secret and "
                "kafka.oauth.client_secret_file."
            )
        self._settings = settings
        self._endpoint = settings.token_endpoint
        self._client = settings.client_id
        self._now = now
        self._tls: ssl.SSLContext | bool = False
        try:
            if self._endpoint.startswith("https:"):
                self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise UsageError(
                f"kafka.oauth.ca_file ({settings.ca_file}) cannot be used: it must be readable PEM."
            ) from error

    async def fetch(self) -> Fetched:
        """A token, and when it expires; asks up to three times.

        Raises:
            CredentialsUnavailable: There is none; a sentence that says why and what to do.
        """
        now = asyncio.get_running_loop().time
        give_up = now() + _WITHIN
        last = _Refused("does not answer in time: look at the provider", 0.0)
        for backoff in (*_BACKOFF, math.inf):
            asked = self._now()
            try:
                async with asyncio.timeout_at(min(now() + _ATTEMPT_WITHIN, give_up)):
                    token, life = await self._ask()
            except TimeoutError:
                pass
            except _Refused as refused:
                last = refused
            else:
                return token, asked + life
            if last.after is None or now() + (pause := max(backoff, last.after)) > give_up:
                break
            await asyncio.sleep(pause)
        raise CredentialsUnavailable(
            f"The token endpoint {self._endpoint} {last.detail}.", transient=last.after is not None
        )

    async def _ask(self) -> tuple[str, float]:
        secret = self._secret()
        form = {"grant_type": "client_credentials", **self._settings.parameters}
        headers = {"Accept": "application/json"}
        if self._settings.scope is not None:
            form["scope"] = self._settings.scope
        if self._settings.client_auth == "post":
            form |= {"client_id": self._client, "client_secret": secret}
        else:
            # Section 2.3.1: both are encoded as in a form before they are joined.
            pair = f"{quote_plus(self._client)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            async with (
                aiohttp.ClientSession(trust_env=True) as session,
                # Not to where it would be sent on: the secret is for this server.
                session.post(
                    self._endpoint,
                    data=form,
                    headers=headers,
                    ssl=self._tls,
                    allow_redirects=False,
                ) as response,
            ):
                body = await _bounded(response.content)
                if response.status == _OK:
                    return _token(body)
                raise self._refusal(response.status, response.headers, body, secret)
        except aiohttp.ClientConnectorCertificateError as error:
            raise _Refused(
                f"has a certificate that is not accepted ({error.certificate_error}): set "
                "kafka.oauth.ca_file to the CA that signed it"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _Refused(
                f"cannot be reached ({type(error).__name__}): check kafka.oauth.token_endpoint, "
                "and whether it is reached from here",
                0.0,
            ) from error

    def _secret(self) -> str:
        settings = self._settings
        if settings.client_secret is not None:
            return settings.client_secret.get_secret_value()
        assert settings.client_secret_file is not None  # noqa: S101 - as the constructor saw
        try:
            secret = settings.client_secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = ""
        if not secret:
            raise _Refused(
                f"is not asked: there is no secret in {settings.client_secret_file}, which is "
                "kafka.oauth.client_secret_file",
                0.0,
            )
        return secret

    def _refusal(
        self, status: int, headers: Mapping[str, str], body: bytes, secret: str
    ) -> _Refused:
        if status == _TOO_MANY or status >= _SERVER_ERROR:
            after = headers.get("Retry-After", "")
            return _Refused(
                f"gives out no token at present (HTTP {status}): look at the provider",
                float(after) if after.isdecimal() else 0.0,
            )
        said = _json(body)
        code, why = said.get("error"), said.get("error_description")
        advice = _SETTING_OF.get(str(code), "check what is under [kafka.oauth]")
        shown = ": ".join(str(each) for each in (code, why) if each)[:_SHOWN]
        shown = shown.replace(secret, "***").replace("\n", " ").rstrip(". ")
        return _Refused(
            f"refuses client {self._client!r} (HTTP {status}{', ' if shown else ''}{shown}): "
            f"{advice}"
        )


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _Refused(f"answers with more than {_MOST_BYTES >> 10} KiB: check the URL")
    return body


def _token(body: bytes) -> tuple[str, float]:
    """A token and its life in seconds, 0 where that is not known: it is used once."""
    said = _json(body)
    token, life = said.get("access_token"), said.get("expires_in", 0)
    kind = said.get("token_type", "bearer")
    if not isinstance(token, str) or not token or str(kind).lower() != "bearer":
        raise _Refused(
            "answers without a bearer token: check that kafka.oauth.token_endpoint is the URL for "
            "tokens"
        )
    try:
        return token, max(0.0, float(life))
    except (TypeError, ValueError):
        return token, 0.0


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
