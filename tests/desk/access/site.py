"""A desk of two routes behind the ways in, and a browser of it."""

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, CookieJar, web

from pipeline.config.desk import AccessSettings
from pipeline.desk.access import Access, Role, open_access, person

SECRET = "what is in an event"
NAVIGATES = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


class Clock:
    """Time that tests move on."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Browser:
    """Sends requests as a browser does, and keeps cookies."""

    def __init__(self, client: ClientSession, url: str) -> None:
        self.client = client
        self.url = url

    async def open(self, path: str = "/", **headers: str) -> tuple[int, str]:
        """Open a page as if its address was typed; follows where it is sent."""
        async with self.client.get(self.url + path, headers=NAVIGATES | headers) as response:
            return response.status, await response.text()

    async def fetch(self, path: str = "/api/cases", **headers: str) -> tuple[int, str]:
        """Have the page's own script ask for data."""
        async with self.client.get(self.url + path, headers=SCRIPT | headers) as response:
            return response.status, await response.text()

    async def change(self, csrf: str | None = None, **headers: str) -> tuple[int, str]:
        """Have the page's own script change something, with the token of the session."""
        sent = SCRIPT | {"Origin": self.url} | headers
        if csrf is not None:
            sent["X-CSRF-Token"] = csrf
        async with self.client.post(self.url + "/api/verdict", headers=sent) as response:
            return response.status, await response.text()

    async def session(self, **headers: str) -> dict[str, Any]:
        async with self.client.get(self.url + "/api/session", headers=SCRIPT | headers) as response:
            found: dict[str, Any] = await response.json()
            return found


def desk(access: Access) -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=SECRET, content_type="text/html")

    async def cases(request: web.Request) -> web.Response:
        return web.json_response({"for": person(request).name, "cases": [SECRET]})

    async def verdict(request: web.Request) -> web.Response:
        return web.json_response({"by": person(request).name})

    async def session(request: web.Request) -> web.Response:
        return web.json_response(access.session(request))

    app = web.Application(middlewares=[access.middleware(role_of)])
    app.router.add_get("/", page)
    app.router.add_get("/api/cases", cases)
    app.router.add_get("/api/session", session)
    app.router.add_post("/api/verdict", verdict)
    app.add_routes(access.routes())
    return app


def role_of(request: web.Request) -> Role:
    return Role.REVIEWER if request.path == "/api/verdict" else Role.READER


@asynccontextmanager
async def site(
    settings: AccessSettings | Callable[[str], AccessSettings],
    *,
    clock: Clock | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Browser]:
    """The desk at a loopback address, which settings may need, and a browser with no cookies."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        given = settings if isinstance(settings, AccessSettings) else settings(url)
        access = open_access(given, "127.0.0.1", clock=clock or time.monotonic, now=now)
        runner = web.AppRunner(desk(access), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        try:
            async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as client:
                yield Browser(client, url)
        finally:
            await runner.cleanup()
