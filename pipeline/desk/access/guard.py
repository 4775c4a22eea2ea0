"""`Access`: holds every route to the role that it needs, and signs people in and out.

What a browser says of where a request comes from is looked at first: another site's page gets
nothing and changes nothing, whoever is signed in. What changes something also has to bring the
token of the person's session in a header, which no other site's page can set.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from pipeline.config.desk import AccessSettings
from pipeline.desk.access import pages
from pipeline.desk.access.people import Person, Role, RoleRules
from pipeline.desk.access.ways import (
    SignedIn,
    ThisMachine,
    TokenList,
    TrustedProxy,
    Visitor,
    WayIn,
    bearer,
    sessions_of,
)
from pipeline.model.errors import UsageError
from pipeline.observe.web import is_loopback

CSRF_HEADER = "X-CSRF-Token"
PUBLIC = frozenset({"/login", "/auth/callback"})
"""Routes of `Access.routes()` that need no role; they have nothing of any event."""
_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_SITE, _MODE = "Sec-Fetch-Site", "Sec-Fetch-Mode"
_OWN_SITE = frozenset({"same-origin", "none"})
"""What browsers say of a request of the page itself, and of one that a person typed."""
_PERSON = web.RequestKey("person", Person)
RoleOf = Callable[[web.Request], Role | None]


def require_way_in(settings: AccessSettings, host: str) -> None:
    """Refuse to listen where nobody asks who is there, or where anybody can listen in.

    Raises:
        UsageError: It says what to set.
    """
    if is_loopback(host):
        return
    if settings.way == "off":
        raise UsageError(
            f"The desk would show events to everybody who reaches {host}: set desk.access.way to "
            "oidc, proxy or tokens (docs/ACCESS.md), or desk.host to 127.0.0.1."
        )
    if settings.way != "proxy" and not settings.is_secure:
        raise UsageError(
            f"People would sign in to the desk on {host} without TLS: set desk.access.url to its "
            "https:// address, that of what ends TLS in front of it (docs/ACCESS.md)."
        )


def open_access(
    settings: AccessSettings,
    host: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> "Access":
    """Who may use a desk that listens on `host`.

    Args:
        settings: The way in, and who has which role.
        host: The address that is listened on.
        clock: Seconds, of a clock that is never set back.
        now: Seconds since 1970.

    Raises:
        UsageError: The settings do not do for that host, or a package or file is missing.
    """
    require_way_in(settings, host)
    match settings.way:
        case "off":
            return Access(settings, ThisMachine())
        case "proxy":
            return Access(settings, TrustedProxy(settings.proxy, RoleRules(settings)))
        case "tokens":
            signed_in = SignedIn(sessions_of(settings, clock), secure=settings.is_secure)
            return TokenAccess(settings, signed_in)
        case "oidc":
            signed_in = SignedIn(sessions_of(settings, clock), secure=settings.is_secure)
            try:
                from pipeline.desk.access.single_sign_on import OidcAccess
            except ImportError as error:
                raise UsageError(
                    f"desk.access.way oidc needs what is not installed ({error}): "
                    "pip install 'haiku-pipeline[desk]'."
                ) from error
            return OidcAccess(settings, signed_in, now=now)


def person(request: web.Request) -> Person:
    """Who asks, on a route that needs a role."""
    found: Person = request[_PERSON]
    return found


class Access:
    """The ways in of people who are known by each request: this machine's user, a proxy's.

    Args:
        settings: Of the way in.
        way: Says who sends a request.
    """

    def __init__(self, settings: AccessSettings, way: WayIn) -> None:
        self._settings = settings
        self._way = way

    def routes(self) -> Sequence[web.RouteDef]:
        """What signs people in and out; to be added to the desk's own."""
        return ()

    def sign_in_first(self, request: web.Request) -> web.Response | None:  # noqa: ARG002 - others do
        """Where somebody who opens the page has to go before; None where it can be shown."""
        return None

    def session(self, request: web.Request) -> dict[str, str | bool]:
        """What a page has to know: who is there, their role, and what changes have to bring."""
        visitor = self._visitor(request)
        if visitor is None or visitor.role is None:
            raise web.HTTPUnauthorized
        return {
            "person": visitor.name,
            "role": visitor.role.name.lower(),
            "csrf": visitor.csrf,
            "can_sign_out": bool(self.routes()),
        }

    @property
    def names(self) -> frozenset[str]:
        """Host names by which requests may ask for the desk."""
        named = urlsplit(self._settings.url or "").hostname
        return frozenset() if named is None else frozenset([named.lower()])

    def middleware(self, role_of: RoleOf) -> Middleware:
        """Answers 401 or 403 where a request may not have what it asks for.

        `role_of` is the least role that a request's route needs; None where anybody may have it.
        """

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._is_own(request):
                return refusal(403, "This comes from another site: open the desk itself.")
            needed = None if request.path in PUBLIC else role_of(request)
            if needed is None:
                return await handler(request)
            visitor = self._visitor(request)
            if visitor is None:
                return self._unknown(request)
            if visitor.role is None:
                return refusal(403, no_role(visitor.name))
            found = Person(visitor.name, visitor.role)
            if because := self._why_not(request, visitor, found, needed):
                return refusal(403, because)
            request[_PERSON] = found
            return await handler(request)

        return check

    def _why_not(
        self, request: web.Request, visitor: Visitor, found: Person, needed: Role
    ) -> str | None:
        if found.role < needed:
            return (
                f"This needs the role {needed.name.lower()}, and {found.name} is "
                f"{found.role.name.lower()}: ask who runs the desk."
            )
        if request.method not in _READS and not self._is_meant(request, visitor):
            return "This page is out of date: load it again."
        return None

    def _visitor(self, request: web.Request) -> Visitor | None:
        return self._way.visitor(request)

    def _is_meant(self, request: web.Request, visitor: Visitor) -> bool:
        given = request.headers.get(CSRF_HEADER, "")
        return hmac.compare_digest(visitor.csrf.encode(), given.encode())

    def _unknown(self, request: web.Request) -> web.Response:  # noqa: ARG002 - others look at it
        return refusal(
            401,
            "It is not known who you are: come by the proxy that signs people in."
            if self._settings.way == "proxy"
            else "This came through a proxy, and nothing asks who is there: set desk.access.way.",
        )

    def _is_own(self, request: web.Request) -> bool:
        """Whether it comes from the desk's own pages or no page, by what browsers say.

        A link on another site may lead here, which is a navigation and changes nothing.
        """
        site, origin = request.headers.get(_SITE), request.headers.get(hdrs.ORIGIN)
        is_link = request.method in _READS and request.headers.get(_MODE) == "navigate"
        if site is not None and site not in _OWN_SITE and not is_link:
            return False
        if origin is None or is_link:
            return True
        is_named = self._settings.origin is not None and origin.lower() == self._settings.origin
        return is_named or urlsplit(origin).netloc == request.headers.get(hdrs.HOST)


class SigningIn(Access):
    """A way in whose people have to sign in first, and then have a session."""

    def __init__(self, settings: AccessSettings, signed_in: SignedIn) -> None:
        super().__init__(settings, signed_in)
        self._signed_in = signed_in

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/login", self.sign_in), web.post("/logout", self._sign_out)]

    def sign_in_first(self, request: web.Request) -> web.Response | None:
        return self._unknown(request) if self._visitor(request) is None else None

    async def sign_in(self, request: web.Request) -> web.Response:
        """Begin to sign in, by a page or another's."""
        raise NotImplementedError

    async def _sign_out(self, request: web.Request) -> web.Response:
        response = web.Response(status=204)
        self._signed_in.end(request, response)
        return response

    def _unknown(self, request: web.Request) -> web.Response:
        if not is_navigation(request):
            return refusal(401, "Your session has ended: sign in again.")
        if request.headers.get(_SITE) == "cross-site":
            # Browsers send no strict cookie along with a link on another site. Coming from this
            # page, the same request brings it, if there is one.
            return pages.onward(request.path_qs)
        raise web.HTTPFound(f"/login?next={quote(request.path_qs, safe='')}")


class TokenAccess(SigningIn):
    """People by tokens: a page asks for one; programs send theirs along as a bearer token."""

    def __init__(self, settings: AccessSettings, signed_in: SignedIn) -> None:
        super().__init__(settings, signed_in)
        self._tokens = TokenList(settings.tokens)

    def routes(self) -> Sequence[web.RouteDef]:
        return [*super().routes(), web.post("/login", self._check)]

    async def sign_in(self, request: web.Request) -> web.Response:
        return pages.ask_for_token(local_path(request.query.get("next")))

    async def _check(self, request: web.Request) -> web.Response:
        form = await request.post()
        token, onward = form.get("token"), local_path(form.get("next"))
        found = self._tokens.person(token.strip()) if isinstance(token, str) else None
        if found is None:
            return pages.ask_for_token(onward, "There is no such token.", status=403)
        response = web.Response(status=303, headers={hdrs.LOCATION: onward})
        self._signed_in.begin(request, response, found)
        return response

    def _visitor(self, request: web.Request) -> Visitor | None:
        if (token := bearer(request)) is None:
            return super()._visitor(request)
        found = self._tokens.person(token)
        return None if found is None else Visitor(found.name, found.role, "")

    def _is_meant(self, request: web.Request, visitor: Visitor) -> bool:
        # No browser sends a bearer token by itself.
        return bearer(request) is not None or super()._is_meant(request, visitor)


def refusal(status: int, sentence: str) -> web.Response:
    """An answer that says why, for a page or a program, and is kept nowhere."""
    body = orjson.dumps({"error": sentence})
    kind = "application/json"
    return web.Response(body=body, content_type=kind, status=status, headers=pages.NO_STORE)


def no_role(name: str) -> str:
    return (
        f"You are signed in as {name}, who has no role here: ask who runs the desk to add the "
        "name to desk.access.people, or one of your groups to desk.access.groups."
    )


def is_navigation(request: web.Request) -> bool:
    """Whether a person opens a page, and no script asks for data."""
    if request.method not in _READS:
        return False
    mode = request.headers.get(_MODE)
    return mode == "navigate" if mode else "text/html" in request.headers.get(hdrs.ACCEPT, "")


def local_path(value: object) -> str:
    """A path of the desk to go on to; `/` in place of whatever could lead elsewhere."""
    if not isinstance(value, str) or not value.isprintable() or "\\" in value:
        return "/"
    return value if value.startswith("/") and not value.startswith("//") else "/"
