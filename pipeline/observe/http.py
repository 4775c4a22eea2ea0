"""The one port: dashboard, metrics, health."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Metric as PrometheusMetric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline.config import HttpSettings
from pipeline.model.errors import PipelineError
from pipeline.observe import assets, hosts
from pipeline.observe.health import Health, Report
from pipeline.observe.status import STEP_SECONDS, Status
from pipeline.runtime.process import background_task

MAX_CONNECTIONS = 100
"""At once; a page needs one or two, a Prometheus one. Beyond that a connection is closed as soon
as it is made, so that nobody uses up the process's files."""
REQUEST_SECONDS = 10.0
"""That a connection gets for the next request, headers and body, and for taking the response:
one that sends or reads a byte now and then is closed all the same."""
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PAGE = {
    # Kept, and asked about each time: after an update nobody sees the page of yesterday.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": assets.POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Views:
    """What the port shows.

    Args:
        registry: Gives the metrics; a `CollectorRegistry` is one.
        health: Answers `/readyz`.
        status: Answers `/api/status`.
    """

    registry: Collector
    health: Health
    status: Status


def application(views: Views, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The routes; nothing here changes anything, so nothing asks who is there."""
    files = assets.load()

    async def dashboard(request: web.Request) -> web.Response:
        return _file(request, files["index.html"])

    async def part(request: web.Request) -> web.Response:
        found = files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return _file(request, found)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(_WithoutCreated(views.registry))
        return web.Response(body=body, headers={**_NO_STORE, "Content-Type": content_type})

    async def live(_: web.Request) -> web.Response:
        # That it is sent proves that the event loop turns, and that is all it says.
        return _answer(Report(()))

    async def ready(_: web.Request) -> web.Response:
        return _answer(views.health.ready())

    async def status(_: web.Request) -> web.Response:
        return _json(orjson.dumps(views.status.view()))

    app = web.Application(middlewares=middlewares)
    app.router.add_get("/", dashboard)
    app.router.add_get("/page/{name}", part)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", live)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/api/status", status)
    return app


@contextlib.asynccontextmanager
async def serve(
    settings: HttpSettings,
    views: Views,
    *,
    socket: Path | None = None,
    failed: Callable[[], object] = lambda: None,
) -> AsyncIterator[str]:
    """Serve the views and keep the status current, for as long as the context lasts.

    Args:
        settings: The address to listen on.
        views: What is shown.
        socket: A Unix socket to listen on instead, for a worker that its supervisor speaks for.
        failed: Called when the status is not kept current any more, for a reason that nobody
            foresaw; the error is raised at the end of the context.

    Yields:
        The address of the dashboard, e.g. `http://127.0.0.1:8080`; the path of the socket if one
        was given.

    Raises:
        PipelineError: The address cannot be had.
    """
    checks: list[Middleware] = [_bounded]
    if socket is None:
        checks.append(hosts.refuse_others(hosts.known_names(settings.names)))
    runner = web.AppRunner(
        application(views, checks),
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=REQUEST_SECONDS,
        lingering_time=REQUEST_SECONDS,
    )
    await runner.setup()
    try:
        server = await _listen(_bounded_in_number(runner), settings, socket)
        async with background_task(_tick(views.status), ended=failed):
            yield _address(settings, server) if socket is None else str(socket)
        server.close()
    finally:
        await runner.cleanup()


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send the response here, where it can be bounded, and not after all middlewares."""

    async def send(response: web.StreamResponse) -> None:
        await response.prepare(request)
        await response.write_eof()

    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            try:
                response = await handler(request)
            except web.HTTPException as refusal:
                await send(refusal)
                raise
            await send(response)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


class _Refusal(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _bounded_in_number(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    """Make the protocol of each new connection, as long as there are not too many."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    return lambda: server() if len(server.connections) < MAX_CONNECTIONS else _Refusal()


class _WithoutCreated:
    """A registry without the creation times of its series: they double the text for nothing."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[PrometheusMetric]:
        for family in self._registry.collect():
            family.samples = [each for each in family.samples if not each.name.endswith("_created")]
            yield family


async def _tick(status: Status) -> None:
    while True:
        await asyncio.sleep(STEP_SECONDS)
        status.tick()


async def _listen(
    make: Callable[[], asyncio.Protocol], settings: HttpSettings, socket: Path | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        if socket is None:
            return await loop.create_server(make, settings.host, settings.port)
        return await loop.create_unix_server(make, socket)
    except OSError as error:
        place = f"{settings.host}:{settings.port}" if socket is None else str(socket)
        # The system's own words: those of asyncio repeat the address. Unknown hosts have none.
        number = error.errno or 0
        reason = os.strerror(number).lower() if number > 0 else error.strerror
        raise PipelineError(
            f"Nothing can listen on {place} ({reason}): set "
            "http.port (PIPELINE_HTTP__PORT) to a free port, or to 0 for any."
        ) from error


def _address(settings: HttpSettings, server: asyncio.Server) -> str:
    port = server.sockets[0].getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _file(request: web.Request, asset: assets.Asset) -> web.Response:
    headers = {**_PAGE, "ETag": asset.etag}
    if asset.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    charset = None if asset.media_type.startswith("font/") else "utf-8"
    return web.Response(
        body=asset.body, content_type=asset.media_type, charset=charset, headers=headers
    )


def _answer(report: Report) -> web.Response:
    body = {"ok": report.ok, "findings": report.findings}
    return _json(orjson.dumps(body), status=200 if report.ok else 503)


def _json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(
        body=body, content_type="application/json", status=status, headers=_NO_STORE
    )
