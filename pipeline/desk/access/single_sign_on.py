"""People by their company's single sign-on; the protocol itself is in `oidc`."""

import time
from collections.abc import Callable, Sequence

import structlog
from aiohttp import hdrs, web

from pipeline.config.desk import AccessSettings
from pipeline.desk.access import pages
from pipeline.desk.access.guard import SigningIn, local_path, no_role
from pipeline.desk.access.oidc import (
    OpenIdProvider,
    Pending,
    PendingCookies,
    ProviderFailed,
    SignInFailed,
    groups_of,
    name_of,
)
from pipeline.desk.access.people import Person, RoleRules, usable_name
from pipeline.desk.access.ways import SignedIn

_log = structlog.get_logger(__name__)


class OidcAccess(SigningIn):
    """Sends people to the provider, and begins a session when they come back from it."""

    def __init__(
        self,
        settings: AccessSettings,
        signed_in: SignedIn,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, signed_in)
        self._roles = RoleRules(settings)
        self._provider = OpenIdProvider(settings.oidc, settings.redirect_uri, now=now)
        self._pending = PendingCookies(now=now)
        self._cookie = f"{signed_in.cookie}-signing-in"

    def routes(self) -> Sequence[web.RouteDef]:
        return [*super().routes(), web.get("/auth/callback", self._come_back)]

    async def sign_in(self, request: web.Request) -> web.Response:
        pending = Pending(next=local_path(request.query.get("next")))
        try:
            address = await self._provider.address(pending)
        except ProviderFailed as error:
            return _failed(error)
        response = web.Response(status=302, headers={hdrs.LOCATION: address, **pages.NO_STORE})
        # Lax: the browser comes back from another site.
        self._signed_in.keep(
            response,
            self._cookie,
            self._pending.write(pending),
            lax=True,
            seconds=PendingCookies.seconds,
        )
        return response

    async def _come_back(self, request: web.Request) -> web.Response:
        response = await self._signed(request)
        self._signed_in.drop(response, self._cookie)
        return response

    async def _signed(self, request: web.Request) -> web.Response:
        try:
            name, groups, onward = await self._known(request)
        except SignInFailed as error:
            return _failed(error)
        role = self._roles.role_of(name, groups)
        if role is None:
            return pages.problem(no_role(name), status=403)
        # A page that leads on: a redirect would still count as coming from the provider's site,
        # from where browsers do not send the cookie.
        response = pages.onward(onward)
        self._signed_in.begin(request, response, Person(name, role))
        return response

    async def _known(self, request: web.Request) -> tuple[str, Sequence[str], str]:
        """Who came back, their groups, and where they wanted to go."""
        pending = self._pending.read(request.cookies.get(self._cookie, ""))
        if pending is None:
            raise SignInFailed("Signing in took too long, or began elsewhere: sign in again.")
        oidc = self._settings.oidc
        claims = await self._provider.claims(request.query, pending)
        name = usable_name(name_of(claims, oidc))
        if name is None:
            raise SignInFailed(
                "The provider calls you something that cannot be shown: set "
                "desk.access.oidc.name_claim to another claim."
            )
        return name, groups_of(claims, oidc), pending.next


def _failed(error: SignInFailed) -> web.Response:
    _log.warning("sign_in_failed", because=str(error))
    return pages.problem(str(error), status=502 if isinstance(error, ProviderFailed) else 403)
