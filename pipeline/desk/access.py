"""Who may do what on the desk, and that a request is what it seems to be.

Every route states the least role that it needs; one without a role holds nothing of any event. What
changes something also needs the token of the session in a header, which no other site can set.
"""

import getpass
import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from pipeline.model.errors import UsageError

CSRF_HEADER = "X-CSRF-Token"
_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_SITE = "Sec-Fetch-Site"
_OWN_SITE = frozenset({"same-origin", "none"})
"""What browsers say of a request of the page itself, and of one that a person typed."""
_PERSON: ContextVar["Person"] = ContextVar("person")
"""Of the request that is answered, which has a task of its own."""


class Role(IntEnum):
    """What a person may do; each role may do what those before it may."""

    READER = 1
    REVIEWER = 2
    OPERATOR = 3


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks; `name` signs what they do."""

    name: str
    role: Role


class Access(Protocol):
    """Finds out who asks."""

    async def who(self, request: web.Request) -> Person | None:
        """The person; None where it is not known who it is."""
        ...


class LoopbackAccess:
    """Whoever reaches a port of this machine alone is the user of its system, and may do all."""

    def __init__(self, user: Callable[[], str] = getpass.getuser) -> None:
        try:
            self._person = Person(user(), Role.OPERATOR)
        except (KeyError, OSError):
            raise UsageError(
                "This system has no name for its user, which signs verdicts: set LOGNAME."
            ) from None

    async def who(self, request: web.Request) -> Person | None:  # noqa: ARG002 - the protocol's
        return self._person


def person(request: web.Request) -> Person:  # noqa: ARG001 - whose it is, its task says
    """Who asks, on a route that needs a role."""
    return _PERSON.get()


@dataclass(frozen=True, slots=True)
class CsrfTokens:
    """The token of each person's session: of no use to another person or another process."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def of(self, who: Person) -> str:
        return hmac.new(self.secret, who.name.encode(), hashlib.sha256).hexdigest()

    def are_of(self, who: Person, token: str) -> bool:
        return hmac.compare_digest(self.of(who).encode(), token.encode())


def guard(
    access: Access, tokens: CsrfTokens, role_of: Callable[[web.Request], Role | None]
) -> Middleware:
    """A middleware that answers 401 or 403 where a request may not have what it asks for.

    `role_of` is the least role that a route needs; None where anybody may have it.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        needed = role_of(request)
        if needed is None:
            return await handler(request)
        if not is_same_origin(request):
            raise web.HTTPForbidden(text="This comes from another site.\n")
        found = await access.who(request)
        if found is None:
            raise web.HTTPUnauthorized(text="It is not known who you are: sign in.\n")
        if found.role < needed:
            raise web.HTTPForbidden(text=f"This needs the role {needed.name.lower()}.\n")
        if request.method not in _READS and not tokens.are_of(
            found, request.headers.get(CSRF_HEADER, "")
        ):
            raise web.HTTPForbidden(text="This page is out of date: load it again.\n")
        token = _PERSON.set(found)
        try:
            return await handler(request)
        finally:
            _PERSON.reset(token)

    return check


def is_same_origin(request: web.Request) -> bool:
    """Whether a request is one of the page itself, or of no browser, by what browsers say."""
    site, origin = request.headers.get(_SITE), request.headers.get(hdrs.ORIGIN)
    if site is not None and site not in _OWN_SITE:
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get(hdrs.HOST)
