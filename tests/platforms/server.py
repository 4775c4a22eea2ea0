"""One server with a table of routes: a platform's, or of what hands out its credentials."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, Self

from aiohttp import web

from tests.platforms.expiring import Expiring
from tests.platforms.http import Cut, Received, Refused, Reply, Route

COUNTS = "/-/counts"
"""Where the counters are read by other processes."""
_MOST = 300 * 1024 * 1024
"""Bytes of a body: above the limit of every platform."""


class Platform(Protocol):
    """What a server is given of a platform; `limit` is in bytes of a body."""

    @property
    def limit(self) -> int: ...

    def routes(self) -> Sequence[Route]: ...

    def admit(self, received: Received) -> None: ...

    def too_large(self) -> Refused: ...

    def missing(self, received: Received) -> Refused: ...


class Open:
    """Routes that anybody on this machine may ask, which check callers themselves."""

    limit = 1024 * 1024

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    def routes(self) -> Sequence[Route]:
        return self._routes

    def admit(self, received: Received) -> None:
        del received

    def too_large(self) -> Refused:
        return Refused("too_large", Reply(413, b""))

    def missing(self, received: Received) -> Refused:
        return Refused("missing", Reply.of(404, {"missing": received.path}))


class PlatformServer:
    """Listens on loopback while it is entered.

    `refused` counts why requests were not answered, `statuses` what all came to. `credentials` are
    those that requests are proven with.
    """

    def __init__(self, platform: Platform, credentials: Expiring | None = None) -> None:
        self._platform = platform
        self.credentials = credentials
        self._routes = platform.routes()
        self.refused: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.base_url = ""
        app = web.Application(client_max_size=_MOST)
        app.router.add_get(COUNTS, self._counts)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, keepalive_timeout=75.0, shutdown_timeout=0.1
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _counts(self, _: web.Request) -> web.StreamResponse:
        statuses = {str(status): count for status, count in self.statuses.items()}
        issued = 0 if self.credentials is None else self.credentials.issued
        return web.json_response({"refused": self.refused, "statuses": statuses, "issued": issued})

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        received = await Received.of(http)
        try:
            reply = await self._reply(received)
        except Refused as error:
            self.refused[error.code] += 1
            reply = error.reply
        except Cut:
            if http.transport is not None:
                http.transport.abort()
            reply = Reply(500, b"")
        self.statuses[reply.status] += 1
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    async def _reply(self, received: Received) -> Reply:
        if len(received.body) > self._platform.limit:
            raise self._platform.too_large()
        for route in self._routes:
            if (match := route.match(received)) is not None:
                # Not in the loop's turn: recomputing a signature over megabytes takes a while.
                await asyncio.to_thread(self._platform.admit, received)
                return await route.handler(received, match)
        raise self._platform.missing(received)
