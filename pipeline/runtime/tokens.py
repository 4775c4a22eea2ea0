"""Tokens that expire: fetched once for all who need one, and again before they end."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)
RENEW_AFTER = 0.5
"""Of the time that a token has left when it is fetched, after which it is fetched again."""
RETRY_SECONDS = 5.0
"""Until a token that is still good is fetched again, where that failed; less of a short life."""
_RETRY_SHARE = 0.05
_PATIENCE = 1.0
"""Seconds that who has a good token waits for another: its giver may hang."""

Fetched = tuple[str, float]
"""A token, and when it expires in seconds since 1970."""


class CredentialsUnavailable(Exception):
    """There is no token; `transient`: whoever gives it out could not be asked."""

    def __init__(self, detail: str, *, transient: bool) -> None:
        super().__init__(detail)
        self.transient = transient


class Tokens:
    """One token for all requests, fetched again at half its life, once for all who ask meanwhile.

    While it is good nobody waits long for another, and a fetch that fails is tried again later: who
    gives tokens out may be away for half a token's life. Where there is none, `fetch` raises
    `CredentialsUnavailable`.
    """

    errors = ()

    def __init__(
        self, fetch: Callable[[], Awaitable[Fetched]], *, now: Callable[[], float] = time.time
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._token = ""
        self._fetched = self._expires = self._renew_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._failure: CredentialsUnavailable | None = None

    @property
    def left(self) -> float:
        """Seconds until the last token expires; none or less where there is none."""
        return self._expires - self._now()

    @property
    def age(self) -> float:
        """Seconds since the last token was fetched."""
        return self._now() - self._fetched

    async def current(self) -> str:
        if self._now() < self._renew_at:
            return self._token
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name="renew a token")
        renewing = self._renewing
        if (left := self.left) > 0:
            await asyncio.wait([renewing], timeout=min(_PATIENCE, left / 4))
            if not renewing.done():
                return self._token
        # Who gives up waiting does not give it up for the others.
        await asyncio.shield(renewing)
        if self._failure is not None and self.left <= 0:
            error = self._failure
            raise CredentialsUnavailable(str(error), transient=error.transient) from error
        return self._token

    async def _renew(self) -> None:
        try:
            token, expires = await self._fetch()
        except CredentialsUnavailable as error:
            now, life = self._now(), self._expires - self._fetched
            if self._failure is None and now < self._expires:
                log.warning("the token was not renewed (%s) and is used as long as it lasts", error)
            self._failure = error
            self._renew_at = min(now + min(RETRY_SECONDS, _RETRY_SHARE * life), self._expires)
            return
        self._failure = None
        self._token, self._expires, self._fetched = token, expires, self._now()
        self._renew_at = self._fetched + RENEW_AFTER * (expires - self._fetched)

    def renew(self, *, unauthorized: bool) -> bool:
        """Whether to try another, after a refusal; `unauthorized`: it was for the token."""
        if unauthorized:
            self._expires = self._renew_at = 0.0
        return unauthorized


def in_own_thread(fetch: Callable[[], Fetched]) -> Callable[[], Awaitable[Fetched]]:
    """For libraries that block.

    Not one of the threads that all share: whoever gives tokens out may hang, once for all calls.
    """
    thread = ThreadPoolExecutor(1, "tokens")

    async def fetched() -> Fetched:
        return await asyncio.get_running_loop().run_in_executor(thread, fetch)

    return fetched
