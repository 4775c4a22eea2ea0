"""An OpenID provider on this machine: signed tokens, the keys they are checked with, and the server
that gives them out by client credentials, as strict as the real ones.
"""

import asyncio
import base64
import json
import math
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_plus

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "kafka"
CLIENT, SECRET, SCOPE = "pipeline", "s3cret/+ of:the client", "kafka.all"
_KEY_ID = "key-1"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenKeys:
    """Signs tokens (RS256); `file` has the key set that they are checked with.

    Args:
        directory: Where the key set goes.
    """

    issuer = "http://127.0.0.1/issuer"

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": _KEY_ID,
            **{
                name: _encoded(number.to_bytes((number.bit_length() + 7) // 8))
                for name, number in (("n", numbers.n), ("e", numbers.e))
            },
        }
        self.file = directory / "jwks.json"
        self.file.write_text(json.dumps({"keys": [key]}))

    def token(self, subject: str, *, life: float, audience: str = AUDIENCE) -> str:
        """A token that expires in `life` seconds or, as ends are whole seconds, a little later."""
        now = time.time()
        claims = {"iss": self.issuer, "aud": audience, "sub": subject, "iat": now, "scope": SCOPE}
        header = {"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}
        signed = ".".join(
            _encoded(json.dumps(part).encode())
            for part in (header, claims | {"exp": math.ceil(now + life)})
        )
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"


def broker_properties(keys: TokenKeys) -> dict[str, str]:
    """What has brokers take these tokens at their listener for clients."""
    oauth = "org.apache.kafka.common.security.oauthbearer"
    listener = "listener.name.client.oauthbearer"
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        f"{listener}.sasl.jaas.config": f"{oauth}.OAuthBearerLoginModule required;",
        f"{listener}.sasl.server.callback.handler.class": (
            f"{oauth}.OAuthBearerValidatorCallbackHandler"
        ),
        f"{listener}.sasl.oauthbearer.jwks.endpoint.url": keys.file.as_uri(),
        f"{listener}.sasl.oauthbearer.expected.audience": AUDIENCE,
        f"{listener}.sasl.oauthbearer.expected.issuer": keys.issuer,
        # A session lasts as long as its token, or so long.
        "connections.max.reauth.ms": "3600000",
    }


def java_options(keys: TokenKeys) -> list[str]:
    """What lets brokers read the key set."""
    return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys.file.as_uri()}"]


@dataclass
class TokenServer:
    """Gives out tokens at `url` while it is entered.

    Args:
        make: A token for a subject, with its life in seconds.
        life: Seconds.
        auth: How clients have to send their secret.
        tls: For HTTPS.
        extra: Fields that the form must have beside the usual ones.
        without_life: Whether it keeps quiet about when tokens expire.
    """

    make: Callable[[str, float], str] = lambda subject, life: f"token-of-{subject}"
    life: float = 3600.0
    auth: str = "basic"
    tls: ssl.SSLContext | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    without_life: bool = False
    subject: str = CLIENT
    secret: str = SECRET
    url: str = ""
    issued: int = 0
    asked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    instead: deque[web.Response | None] = field(default_factory=deque)
    """Given for the next requests in place of tokens; None for no answer at all."""
    is_away: bool = False
    """Whether it gives out none at present."""
    turned_away: int = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/realms/kafka/token", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        port = self._runner.addresses[0][1]
        scheme = "http" if self.tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{port}/realms/kafka/token"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.is_away:
            self.turned_away += 1
            return web.Response(status=503)
        if self.instead:
            answer = self.instead.popleft()
            if answer is None:
                await asyncio.Event().wait()
            assert answer is not None
            return answer
        form = {name: str(value) for name, value in (await request.post()).items()}
        if fault := self._fault(request, form):
            code, why = fault
            self.refused[code] += 1
            status = 401 if code == "invalid_client" else 400
            return web.json_response({"error": code, "error_description": why}, status=status)
        self.issued += 1
        said: dict[str, Any] = {
            "access_token": self.make(self.subject, self.life),
            "token_type": "Bearer",
        }
        if not self.without_life:
            said["expires_in"] = self.life
        return web.json_response(said, headers={"Cache-Control": "no-store"})

    def _fault(self, request: web.Request, form: dict[str, str]) -> tuple[str, str] | None:
        """What is wrong with a request, as in RFC 6749, section 5.2."""
        if request.content_type != "application/x-www-form-urlencoded":
            return "invalid_request", "no form"
        if form.pop("grant_type", None) != "client_credentials":
            return "unsupported_grant_type", "only client credentials"
        if self._client(request, form) != (CLIENT, self.secret):
            return "invalid_client", "Invalid client or Invalid client credentials"
        if form.pop("scope", None) not in {SCOPE, None}:
            return "invalid_scope", f"only {SCOPE}"
        if form != self.extra:
            return "invalid_request", f"not as expected: {sorted(form)}"
        return None

    def _client(self, request: web.Request, form: dict[str, str]) -> tuple[str, str]:
        if self.auth == "post":
            return form.pop("client_id", ""), form.pop("client_secret", "")
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return "", ""
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(client), unquote_plus(secret)
