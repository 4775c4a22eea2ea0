"""Tokens that expire: fetched once for all who need one, and again before they end."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)
RENEW_AFTER = 0.8
"""Of the time that a token has left when it is fetched, after which it is fetched again."""
RETRY_SECONDS = 5.0
"""Until a token that is still good is fetched again, where that has failed."""

Fetched = tuple[str, float]
"""A token, and when it expires in seconds since 1970."""


class CredentialsUnavailable(Exception):
    """There is no token; `transient`: whoever gives it out could not be asked."""

    def __init__(self, detail: str, *, transient: bool) -> None:
        super().__init__(detail)
        self.transient = transient


class Tokens:
    """One token for all requests, fetched again before it expires, once for all who wait.

    While it is good a fetch that fails is tried again later. Where there is none, `fetch` raises
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
        self._lock = asyncio.Lock()

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
        async with self._lock:
            if self._now() < self._renew_at:
                return self._token
            try:
                token, expires = await self._fetch()
            except CredentialsUnavailable as error:
                if self._now() + RETRY_SECONDS >= self._expires:
                    raise
                log.warning("the token was not renewed (%s) and is used as long as it lasts", error)
                self._renew_at = self._now() + RETRY_SECONDS
                return self._token
            self._token, self._expires, self._fetched = token, expires, self._now()
            self._renew_at = self._fetched + RENEW_AFTER * (expires - self._fetched)
            return token

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
