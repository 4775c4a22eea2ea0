"""The ways in: each says who sends a request, by what the request itself has.

A new one is a class with `visitor`, and `sign_in` where people have to do something first.
"""

import getpass
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from aiohttp import hdrs, web

from pipeline.config.desk import AccessSettings, ProxySettings, TokenSettings
from pipeline.desk.access.people import Person, Role, RoleRules, usable_name
from pipeline.desk.access.sessions import Sessions
from pipeline.model.errors import UsageError

BACKGROUND = "X-Desk-Background"
"""A header of requests that a page makes by itself: they keep no session alive."""
_SHORTEST_TOKEN = 32
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request; `role` is None where they are known and have none.

    `csrf` is what their pages send along with each change.
    """

    name: str
    role: Role | None
    csrf: str


class WayIn(Protocol):
    """Says who sends a request; None where that is not known."""

    def visitor(self, request: web.Request) -> Visitor | None: ...


class _Csrf:
    """What pages of a person send along who has no session: good as long as this process lives."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()


class ThisMachine:
    """Whoever reaches a loopback address is taken for the system's user, who may do everything.

    What a proxy sends on comes from somebody else, and is refused.
    """

    def __init__(self, *, user: Callable[[], str] = getpass.getuser) -> None:
        try:
            self._name = usable_name(user()) or "local"
        except (KeyError, OSError):
            self._name = "local"
        self._csrf = _Csrf()

    def visitor(self, request: web.Request) -> Visitor | None:
        if any(name in request.headers for name in _FORWARDED):
            return None
        return Visitor(self._name, Role.OPERATOR, self._csrf.of(self._name))


class TrustedProxy:
    """Whom a proxy says that it signed in; its headers count from its own addresses alone."""

    def __init__(self, settings: ProxySettings, roles: RoleRules) -> None:
        self._settings = settings
        self._roles = roles
        self._csrf = _Csrf()

    def visitor(self, request: web.Request) -> Visitor | None:
        if not self._is_proxy(request.remote):
            return None
        names = request.headers.getall(self._settings.user_header, [])
        # Two names are a client's own and the proxy's, which did not take the first away.
        name = usable_name(names[0]) if len(names) == 1 else None
        if name is None:
            return None
        groups = [
            group.strip()
            for header in request.headers.getall(self._settings.groups_header, [])
            for group in header.replace("|", ",").split(",")
        ]
        return Visitor(name, self._roles.role_of(name, groups), self._csrf.of(name))

    def _is_proxy(self, remote: str | None) -> bool:
        try:
            address = ip_address((remote or "").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._settings.addresses)


class SignedIn:
    """Whom the session of a cookie belongs to.

    Args:
        sessions: Those of this desk.
        secure: Whether cookies may only go over HTTPS.
    """

    def __init__(self, sessions: Sessions, *, secure: bool) -> None:
        self.sessions = sessions
        self._secure = secure
        # No other host, path or plain connection can set a cookie with this prefix.
        self.cookie = "__Host-desk" if secure else "desk"

    def visitor(self, request: web.Request) -> Visitor | None:
        token = request.cookies.get(self.cookie)
        if token is None:
            return None
        session = self.sessions.find(token, is_use=BACKGROUND not in request.headers)
        if session is None:
            return None
        return Visitor(session.person.name, session.person.role, session.csrf)

    def begin(self, request: web.Request, response: web.Response, person: Person) -> None:
        """Begin a session and give its cookie; one that the browser had before ends."""
        self.end(request, response)
        self.keep(response, self.cookie, self.sessions.begin(person), lax=False)

    def end(self, request: web.Request, response: web.Response) -> None:
        if (token := request.cookies.get(self.cookie)) is not None:
            self.sessions.end(token)
        self.drop(response, self.cookie)

    def keep(
        self,
        response: web.Response,
        name: str,
        value: str,
        *,
        lax: bool,
        seconds: int | None = None,
    ) -> None:
        """Give a cookie that no script reads; `lax`: also to who comes from another site."""
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax" if lax else "Strict",
        )

    def drop(self, response: web.Response, name: str) -> None:
        response.del_cookie(name, path="/", secure=self._secure, httponly=True, samesite="Strict")


class TokenList:
    """People by the tokens that they have; kept are only hashes.

    Raises:
        UsageError: A file cannot be read, or has no token that is long enough.
    """

    def __init__(self, tokens: Mapping[str, TokenSettings]) -> None:
        self._by_hash: dict[str, Person] = {}
        for name, token in tokens.items():
            if usable_name(name) != name:
                raise UsageError(
                    f"desk.access.tokens has a name that cannot be shown ({name!a}): rename it."
                )
            digest = token.sha256 or _hash(_token_in(name, token))
            if digest in self._by_hash:
                raise UsageError(
                    f"{name} and {self._by_hash[digest].name} have the same token: make another "
                    "with `pipeline access token`."
                )
            self._by_hash[digest] = Person(name, Role.of(token.role))

    def person(self, token: str) -> Person | None:
        return self._by_hash.get(_hash(token))


def _token_in(name: str, token: TokenSettings) -> str:
    try:
        found = "" if token.file is None else token.file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"desk.access.tokens.{name}.file ({token.file}) cannot be read "
            f"({type(error).__name__}): name another."
        ) from error
    if len(found) < _SHORTEST_TOKEN:
        raise UsageError(
            f"The token in {token.file} is shorter than {_SHORTEST_TOKEN} characters, so it could "
            "be guessed: make one with `pipeline access token`."
        )
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> tuple[str, str]:
    """A token that nobody guesses, and its SHA-256 for the settings."""
    token = secrets.token_urlsafe(32)
    return token, _hash(token)


def bearer(request: web.Request) -> str | None:
    """The token that a program sends along, where it does."""
    kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def sessions_of(settings: AccessSettings, clock: Callable[[], float]) -> Sessions:
    return Sessions(settings.idle_timeout, settings.session_timeout, clock=clock)
