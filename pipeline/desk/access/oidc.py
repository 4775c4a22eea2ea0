"""Signing in at an OpenID provider: authorization code with PKCE (OpenID Connect Core, RFC 7636).

Needs the extra `desk`: joserfc checks the signatures of tokens. Only algorithms with a public key
are taken, so that neither `none` nor a client's secret can sign one.
"""

import asyncio
import base64
import hashlib
import json
import re
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, KeySet, OctKey
from pydantic import BaseModel, ValidationError

from pipeline.config.desk import OidcSettings
from pipeline.model.errors import PipelineError, UsageError
from pipeline.observe.web import is_loopback

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
              "EdDSA", "Ed25519")  # fmt: skip
_WITHIN = 10.0
"""Seconds that the provider has for each answer."""
_MOST_BYTES = 1 << 20
_LEEWAY = 60
"""Seconds that the clocks may differ."""
_KNOWN_FOR = 3600.0
"""Seconds after which the provider's metadata and keys are asked for again."""
_KEYS_AGAIN = 60.0
"""Seconds between two looks for a key that is not known: a forged token must not cause more."""
_PENDING_SECONDS = 600
"""That a person has at the provider."""
_PLAIN = re.compile(r"[\w .:/,()'-]{1,200}")
_OK = 200


class SignInFailed(PipelineError):
    """Somebody could not be signed in; a sentence for them, with nothing secret in it."""


class ProviderFailed(SignInFailed):
    """The provider cannot be asked, or answers what it must not: a matter of the settings."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in under way: what the browser keeps until it comes back."""

    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    next: str = "/"

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Metadata(BaseModel):
    """What discovery states, as far as it is used (OpenID Connect Discovery, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    code_challenge_methods_supported: list[str] | None = None


class PendingCookies:
    """Sign-ins under way, kept by the browsers themselves: asking for many takes no memory here.

    They are signed with a key of this process, and good for ten minutes.
    """

    seconds = _PENDING_SECONDS

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._key = OctKey.generate_key(256)
        self._now = now

    def write(self, pending: Pending) -> str:
        claims = {
            "exp": int(self._now()) + _PENDING_SECONDS,
            "state": pending.state,
            "nonce": pending.nonce,
            "verifier": pending.verifier,
            "next": pending.next,
        }
        return jwt.encode({"alg": "HS256"}, claims, self._key)

    def read(self, cookie: str) -> Pending | None:
        """What was written; None where we did not write it, or it is too old."""
        try:
            claims = jwt.decode(cookie, self._key, algorithms=["HS256"]).claims
            jwt.JWTClaimsRegistry(now=lambda: int(self._now()), exp={"essential": True}).validate(
                claims
            )
        except (JoseError, ValueError):
            return None
        return Pending(claims["state"], claims["nonce"], claims["verifier"], claims["next"])


class OpenIdProvider:
    """The provider, as a client of it.

    Args:
        settings: Which provider, and as which client.
        redirect_uri: Where it sends people back to.
        now: Seconds since 1970.

    Raises:
        UsageError: `ca_file` cannot be used.
    """

    def __init__(
        self, settings: OidcSettings, redirect_uri: str, *, now: Callable[[], float] = time.time
    ) -> None:
        if settings.issuer is None or settings.client_id is None:
            raise UsageError(
                "There is no provider: set desk.access.oidc.issuer and desk.access.oidc.client_id."
            )
        self.issuer = settings.issuer
        self._client = settings.client_id
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._now = now
        self._metadata: Metadata | None = None
        self._keys = KeySet([])
        self._metadata_at = self._keys_at = -_KNOWN_FOR
        self._lock = asyncio.Lock()
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise UsageError(
                f"desk.access.oidc.ca_file ({settings.ca_file}) cannot be used: it must be "
                "readable PEM."
            ) from error

    async def metadata(self) -> Metadata:
        """What the provider states of itself, asked for once an hour.

        Raises:
            ProviderFailed: It cannot be asked, or is not fit.
        """
        async with self._lock:
            if self._metadata is None or self._now() - self._metadata_at > _KNOWN_FOR:
                self._metadata = await self._discover()
                self._metadata_at = self._now()
            return self._metadata

    async def check(self) -> None:
        """Ask for all that is needed before anybody signs in; raises `ProviderFailed`."""
        await self._fetch_keys(await self.metadata())
        self._secret()

    async def address(self, pending: Pending) -> str:
        """Where the browser is sent to sign in."""
        found = await self.metadata()
        query = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self._redirect_uri,
            "scope": self._settings.scope,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(found.authorization_endpoint).query else "?"
        return f"{found.authorization_endpoint}{joint}{urlencode(query)}"

    async def claims(self, query: Mapping[str, str], pending: Pending) -> Mapping[str, Any]:
        """What the provider says of a person who came back from it.

        Raises:
            SignInFailed: They did not sign in, or what came back is not the answer to `pending`.
        """
        found = await self.metadata()
        if not secrets.compare_digest(query.get("state", "").encode(), pending.state.encode()):
            raise SignInFailed("This answer belongs to no sign-in of this browser: sign in again.")
        if query.get("iss", found.issuer) != found.issuer:  # RFC 9207
            raise SignInFailed("This answer is another provider's: sign in again.")
        if "error" in query:
            said = ": ".join(
                shown
                for shown in (query["error"], query.get("error_description", ""))
                if _PLAIN.fullmatch(shown)
            )
            raise SignInFailed(f"The provider signed nobody in ({said}): sign in again.")
        if not query.get("code"):
            raise SignInFailed("The provider sent no code: sign in again.")
        tokens = await self._exchange(found, query["code"], pending)
        claims = await self._checked(found, tokens.get("id_token"), pending)
        return await self._completed(found, claims, tokens.get("access_token"))

    async def _discover(self) -> Metadata:
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = Metadata.model_validate(await self._json("GET", address))
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            raise ProviderFailed(
                f"{address} is no discovery of an OpenID provider ({fault['loc'][0]}: "
                f"{fault['msg']}): check desk.access.oidc.issuer."
            ) from None
        if found.issuer != self.issuer:
            raise ProviderFailed(
                f"The provider calls itself {found.issuer!r}: set desk.access.oidc.issuer to just "
                "that, if it is the one you mean."
            )
        places = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        for place in (*places, *filter(None, [found.userinfo_endpoint])):
            url = urlsplit(place)
            if url.scheme != "https" and not is_loopback(url.hostname or ""):
                raise ProviderFailed(
                    f"The provider names {place!r}, where anybody can listen: it must have HTTPS."
                )
        if "S256" not in (found.code_challenge_methods_supported or ["S256"]):
            raise ProviderFailed(
                "The provider does not know PKCE with S256: switch that on there for this client."
            )
        return found

    async def _exchange(self, found: Metadata, code: str, pending: Pending) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": pending.verifier,
            "client_id": self._client,
        }
        headers = {}
        if (secret := self._secret()) is not None:
            if self._settings.client_auth == "post":
                form["client_secret"] = secret
            else:
                pair = f"{quote_plus(self._client)}:{quote_plus(secret)}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return await self._json("POST", found.token_endpoint, headers, form)

    def _secret(self) -> str | None:
        settings = self._settings
        if settings.client_secret is not None:
            return settings.client_secret.get_secret_value()
        if settings.client_secret_file is None:
            return None
        try:
            secret = settings.client_secret_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = ""
        if not secret:
            raise ProviderFailed(
                f"There is no secret in {settings.client_secret_file}: write it there, or change "
                "desk.access.oidc.client_secret_file."
            )
        return secret

    async def _checked(
        self, found: Metadata, id_token: object, pending: Pending
    ) -> Mapping[str, Any]:
        if not isinstance(id_token, str):
            raise ProviderFailed(
                "The provider gave no id_token: have `openid` in desk.access.oidc.scope."
            )
        try:
            claims = await self._signed(found, id_token)
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._now()),
                leeway=_LEEWAY,
                iss={"essential": True, "value": found.issuer},
                aud={"essential": True, "value": self._client},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": pending.nonce},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise SignInFailed(
                f"The provider's token is not taken ({type(error).__name__}): sign in again; if "
                "that does not help, look at the clocks and at desk.access.oidc."
            ) from error
        # Core, section 3.1.3.7: a token for several has to be meant for this client.
        is_shared = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_shared else self._client) != self._client:
            raise SignInFailed("The provider's token is another client's: sign in again.")
        return claims

    async def _signed(self, found: Metadata, token: str) -> dict[str, Any]:
        """The claims of a token, if a key of the provider signed it; keys change now and then."""
        if self._now() - self._keys_at > _KNOWN_FOR:
            await self._fetch_keys(found)
        try:
            return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:
            if self._now() - self._keys_at < _KEYS_AGAIN:
                raise
        await self._fetch_keys(found)
        return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims

    async def _fetch_keys(self, found: Metadata) -> None:
        document = await self._json("GET", found.jwks_uri)
        keys = []
        for each in document.get("keys") or ():
            # A provider may have keys of kinds that are not known here, and keys to encrypt with.
            with suppress(JoseError, ValueError, KeyError, TypeError, AttributeError):
                if each.get("use", "sig") == "sig" and each.get("kty") != "oct":
                    keys.append(JWKRegistry.import_key(each))
        if not keys:
            raise ProviderFailed(
                f"{found.jwks_uri} has no key to check tokens with: look at the provider."
            )
        self._keys, self._keys_at = KeySet(keys), self._now()

    async def _completed(
        self, found: Metadata, claims: Mapping[str, Any], token: object
    ) -> Mapping[str, Any]:
        """The claims, with those that the provider only tells on request (Core, section 5.3)."""
        wanted = (self._settings.name_claim, self._settings.groups_claim)
        is_complete = all(claim_of(claims, name) is not None for name in wanted)
        if is_complete or found.userinfo_endpoint is None or not isinstance(token, str):
            return claims
        more = await self._json(
            "GET", found.userinfo_endpoint, {"Authorization": f"Bearer {token}"}
        )
        if more.get("sub") != claims["sub"]:
            raise SignInFailed("The provider speaks of two different people: sign in again.")
        return {**more, **claims}

    async def _json(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """What the provider answers; it is followed nowhere else, with what it is given."""
        try:
            async with (
                asyncio.timeout(_WITHIN),
                aiohttp.ClientSession(trust_env=True) as session,
                session.request(
                    method,
                    url,
                    data=form,
                    headers={"Accept": "application/json", **(headers or {})},
                    ssl=self._tls,
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.content.read(_MOST_BYTES + 1)
                while len(body) <= _MOST_BYTES and (more := await response.content.read(1 << 16)):
                    body += more
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProviderFailed(
                f"The provider cannot be reached at {url} ({type(error).__name__}): look whether "
                "it is reached from here, and at desk.access.oidc."
            ) from error
        try:
            found = json.loads(body) if len(body) <= _MOST_BYTES else None
        except (ValueError, RecursionError):
            found = None
        if response.status != _OK or not isinstance(found, dict):
            said = str(found.get("error", "")) if isinstance(found, dict) else ""
            shown = f", {said}" if _PLAIN.fullmatch(said) else ""
            raise ProviderFailed(
                f"The provider answers HTTP {response.status}{shown} at {url}: check the client's "
                "id, secret and redirect address, there and in desk.access.oidc."
            )
        return found


def claim_of(claims: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - whatever it holds
    """A claim by its name, or by the way to it through tables; None where there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def groups_of(claims: Mapping[str, Any], settings: OidcSettings) -> Sequence[str]:
    found = claim_of(claims, settings.groups_claim)
    if isinstance(found, str):
        return [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def name_of(claims: Mapping[str, Any], settings: OidcSettings) -> str:
    """What a person is called.

    Raises:
        SignInFailed: The provider does not say it, or does not vouch for it.
    """
    found = claim_of(claims, settings.name_claim)
    if not isinstance(found, str):
        raise SignInFailed(
            f"The provider does not say the claim {settings.name_claim!r} of you: have it sent, "
            "or set desk.access.oidc.name_claim to another."
        )
    if settings.name_claim == "email" and claims.get("email_verified") not in {True, "true"}:
        raise SignInFailed(
            "The provider does not vouch for your mail address (email_verified): set "
            "desk.access.oidc.name_claim to a claim that only it can change."
        )
    return found
