"""An OpenID provider on this machine, as strict as the real ones: client, redirect address, PKCE.

Whoever opens its page to sign in is `claims`, and is sent back at once.
"""

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "desk", "s3cret/+ of:the desk"
_KEY = RSAKey.generate_key(2048, {"kid": "1"})


@dataclass
class Provider:
    """Serves at `issuer` while it is entered.

    Args:
        redirect_uri: The one that is registered.
        claims: Of whoever signs in.
        changes: What its tokens say instead; None leaves a claim out.
        userinfo: What is said on request alone.
        refuse: The error with which people are sent back instead.
        header, key: What tokens are signed with, if not as usual.
    """

    claims: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "1", "email": "ada@example.com", "email_verified": True, "groups": ["support"],
        }
    )  # fmt: skip
    changes: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    refuse: str | None = None
    header: dict[str, Any] = field(default_factory=dict)
    redirect_uri: str = ""
    issuer: str = ""
    unsigned: bool = False
    asked_for_keys: int = 0
    key: RSAKey = field(default_factory=lambda: _KEY)
    signs_with: Any = None
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discover)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/userinfo", self._userinfo)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.issuer = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _discover(self, _: web.Request) -> web.Response:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "code_challenge_methods_supported": ["S256"],
        }
        return web.json_response(found | self.discovery)

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        if asked["client_id"] != CLIENT or asked["redirect_uri"] != self.redirect_uri:
            raise web.HTTPBadRequest(text="this client or address is not registered")
        if asked["response_type"] != "code" or asked.get("code_challenge_method") != "S256":
            raise web.HTTPBadRequest(text="only codes, with PKCE")
        answer = {"state": asked["state"]}
        if self.refuse is not None:
            answer |= {"error": self.refuse, "error_description": "No, thank you."}
        else:
            answer["code"] = secrets.token_urlsafe(8)
            self._codes[answer["code"]] = asked
        raise web.HTTPFound(f"{self.redirect_uri}?{urlencode(answer)}")

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        _, _, pair = request.headers.get("Authorization", "").partition(" ")
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        if (unquote_plus(client), unquote_plus(secret)) != (CLIENT, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self._codes.pop(form["code"], None)
        if asked is None or form["redirect_uri"] != self.redirect_uri:
            return web.json_response({"error": "invalid_grant"}, status=400)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": asked["nonce"], **self.claims, **self.changes,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return web.json_response({"access_token": "access", "id_token": self._signed(claims)})

    def _signed(self, claims: dict[str, Any]) -> str:
        if self.unsigned:
            return ".".join([_encoded({"alg": "none"}), _encoded(claims), ""])
        header = {"alg": "RS256", "kid": "1", **self.header}
        return jwt.encode(header, claims, self.signs_with or self.key, algorithms=[header["alg"]])

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked_for_keys += 1
        unknown = {"kty": "new kind", "kid": "0"}
        return web.json_response({"keys": [unknown, self.key.as_dict(private=False)]})

    async def _userinfo(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer access":
            raise web.HTTPUnauthorized
        return web.json_response({"sub": self.claims["sub"], **self.userinfo})


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
