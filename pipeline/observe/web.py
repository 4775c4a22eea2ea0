"""The one port: dashboard, metrics, health.

The page has nothing inline and nothing from elsewhere, so it needs no network, and its policy can
forbid every script and style but its own.

A request must mean this machine. A page on the internet may give its own name this machine's
address (DNS rebinding); to the browser both are then of one origin, and its scripts could read what
the port shows. Such a request names a host that is not known here. That holds for a port in a
private network as much as for one that is open to this machine alone.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from socket import gethostname

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Metric as PrometheusMetric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline.config import HttpSettings
from pipeline.model.errors import PipelineError
from pipeline.observe.dashboard import STEP_SECONDS, Views
from pipeline.runtime.process import background_task

MAX_CONNECTIONS = 100
"""A page needs one or two at once, a Prometheus one. Beyond that a connection is closed as soon
as it is made, so that no client uses up the process's files."""
REQUEST_SECONDS = 10.0
"""A connection gets this time for the next request, headers and body, and for taking the response:
one that sends or reads a byte now and then is closed all the same."""
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # What would parse text as markup refuses to, whatever calls it.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The content security policy of the page."""
_PAGE = {
    # Kept, and asked about each time: after an update no browser shows the old page.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OWN = (
    "index.html", "page.css", "icon.svg", "main.js", "charts.js", "dom.js", "events.js",
    "format.js", "models.js", "overview.js", "reasons.js", "records.js", "stages.js", "trouble.js",
)  # fmt: skip
_VENDORED = {
    "uplot.js": ("uplot", "uPlot.iife.min.js"),
    "uplot.css": ("uplot", "uPlot.min.css"),
    "inter.woff2": ("inter", "inter-latin-wght-normal.woff2"),
}
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_LOCAL = "localhost"


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    media_type: str
    etag: str


def page_files() -> Mapping[str, Asset]:
    """The files by the name they are served under; `index.html` is the page."""
    vendor = "pipeline.vendor"
    vendored = {
        name: resource(f"{vendor}.{package}", file) for name, (package, file) in _VENDORED.items()
    }
    return {name: resource("pipeline.observe", f"page/{name}") for name in _OWN} | vendored


def resource(package: str, path: str) -> Asset:
    """A file that comes with a package, to be served."""
    body = resources.files(package).joinpath(path).read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Asset(body, _TYPES[path.rpartition(".")[2]], etag)


def application(views: Views, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The routes; nothing here changes anything, so nothing asks who is there."""
    files = page_files()

    async def dashboard(request: web.Request) -> web.Response:
        return file_response(request, files["index.html"])

    async def part(request: web.Request) -> web.Response:
        found = files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return file_response(request, found)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encode(_WithoutCreated(views.registry))
        return web.Response(body=body, headers={**_NO_STORE, "Content-Type": content_type})

    async def live(_: web.Request) -> web.Response:
        # That it is sent proves that the event loop runs, and that is all it says.
        return json_response({"ok": True, "findings": []})

    async def ready(_: web.Request) -> web.Response:
        report = views.health.ready()
        return json_response(
            {"ok": report.ok, "findings": report.findings}, status=200 if report.ok else 503
        )

    async def status(_: web.Request) -> web.Response:
        return json_response(views.status.view())

    app = web.Application(middlewares=middlewares)
    routes = {"/": dashboard, "/page/{name}": part, "/metrics": metrics, "/healthz": live}
    for path, show in {**routes, "/readyz": ready, "/api/status": status}.items():
        app.router.add_get(path, show)
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

    Yields the address of the dashboard, e.g. `http://127.0.0.1:8080`; or the path of the Unix
    socket that is listened on instead, for a worker behind a supervisor. `failed` is called when
    the status is not kept current any more, which is a bug; the error is raised at the end of the
    context.

    Raises:
        PipelineError: The address cannot be had.
    """
    checks: list[Middleware] = [bounded(REQUEST_SECONDS)]
    if socket is None:
        names = (gethostname(), *settings.names)
        checks.append(refuse_others(frozenset(name.lower() for name in names if name)))

    async def keep_current() -> None:
        while True:
            await asyncio.sleep(STEP_SECONDS)
            views.status.tick()

    place: Path | tuple[str, int] = socket or (settings.host, settings.port)
    async with (
        listening(application(views, checks), place, table="http") as address,
        background_task(keep_current(), ended=failed),
    ):
        yield address


@contextlib.asynccontextmanager
async def listening(
    app: web.Application, place: Path | tuple[str, int], *, table: str
) -> AsyncIterator[str]:
    """Serve an application at a host and port, or on a Unix socket; yields its address.

    `table` is where the settings have the port. The application answers within the bounds of its
    own middlewares: `bounded` is meant to be the first of them.

    Raises:
        PipelineError: The address cannot be had.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=1.0,
        keepalive_timeout=REQUEST_SECONDS,
        lingering_time=REQUEST_SECONDS,
    )
    await runner.setup()
    try:
        server = await _listen(_bounded_in_number(runner), place, table)
        try:
            if isinstance(place, Path):
                yield str(place)
            else:
                host = f"[{place[0]}]" if ":" in place[0] else place[0]
                yield f"http://{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
    finally:
        await runner.cleanup()


def bounded(seconds: float) -> Middleware:
    """A middleware that sends the response itself, and gives up a connection after `seconds`."""

    @web.middleware
    async def send_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
        async def send(response: web.StreamResponse) -> None:
            await response.prepare(request)
            await response.write_eof()

        try:
            async with asyncio.timeout(seconds):
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

    return send_in_time


class _Refusal(asyncio.Protocol):
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


async def _listen(
    make: Callable[[], asyncio.Protocol], place: Path | tuple[str, int], table: str
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        if isinstance(place, Path):
            return await loop.create_unix_server(make, place)
        return await loop.create_server(make, *place)
    except OSError as error:
        shown = str(place) if isinstance(place, Path) else f"{place[0]}:{place[1]}"
        # The system's own words: those of asyncio repeat the address. Unknown hosts have none.
        number = error.errno or 0
        reason = os.strerror(number).lower() if number > 0 else error.strerror
        raise PipelineError(
            f"Nothing can listen on {shown} ({reason}): set {table}.port "
            f"(PIPELINE_{table.upper()}__PORT) to a free port, or to 0 for any."
        ) from error


def file_response(request: web.Request, asset: Asset) -> web.Response:
    headers = {**_PAGE, "ETag": asset.etag}
    if asset.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    charset = None if asset.media_type.startswith("font/") else "utf-8"
    return web.Response(
        body=asset.body, content_type=asset.media_type, charset=charset, headers=headers
    )


def json_response(content: object, *, status: int = 200) -> web.Response:
    body, kind = orjson.dumps(content), "application/json"
    return web.Response(body=body, content_type=kind, status=status, headers=_NO_STORE)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == _LOCAL


def names_this_machine(header: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is an address, `localhost` or one of the names. Pure.

    Names are in lower case; one that begins with `*.` stands for all names below it.
    """
    host = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    host = host.strip("[]").lower()
    parents = {"*" + host[at:] for at, char in enumerate(host) if char == "."}
    if host == _LOCAL or "*." + _LOCAL in parents or host in names or parents & names:
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


_OTHER_NAMES = "; add another name to http.names (PIPELINE_HTTP__NAMES)"


def refuse_others(names: frozenset[str], *, way_out: str = _OTHER_NAMES) -> Middleware:
    """A middleware that answers only requests that name this machine; else `way_out` says why.

    One without a `Host` header comes from no browser, and is answered.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = request.headers.get(hdrs.HOST)
        if header and not names_this_machine(header, names):
            raise web.HTTPMisdirectedRequest(
                text="This port answers to its address, to localhost and to the machine's name"
                f"{way_out}.\n"
            )
        return await handler(request)

    return check
