"""The desk's port: the page, the session, and the routes of its views."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources

import structlog
from aiohttp import web

import pipeline
from pipeline.config import Settings
from pipeline.desk.access import Access, CsrfTokens, LoopbackAccess, Role, guard, person
from pipeline.desk.review import Kafka, ReviewView
from pipeline.desk.routes import Route, View, answer, errors_as_json
from pipeline.model.errors import UsageError
from pipeline.observe.web import (
    Asset,
    bounded,
    file_response,
    is_loopback,
    listening,
    refuse_others,
    resource,
)

log = structlog.get_logger(__name__)
REQUEST_SECONDS = 60.0
"""For an answer: a page that is drawn may wait for others, and then take `files.decode_seconds`."""
_MOST_BODY = 4 << 20
_SHARED = ("dom.js", "format.js", "page.css", "icon.svg")
"""Files of the dashboard's page that are the desk's, too."""
_FONT = ("pipeline.vendor.inter", "inter-latin-wght-normal.woff2")


def page_files() -> Mapping[str, Asset]:
    """The files by the name they are served under; `index.html` is the page."""
    own = resources.files("pipeline.desk").joinpath("page").iterdir()
    found = {each.name: resource("pipeline.desk", f"page/{each.name}") for each in own}
    shared = {name: resource("pipeline.observe", f"page/{name}") for name in _SHARED}
    return {**shared, "inter.woff2": resource(*_FONT), **found}


def route_table(views: Sequence[View], tokens: CsrfTokens) -> Sequence[Route]:
    """Everything that is answered, and the least role that each needs."""
    files = page_files()

    async def page(request: web.Request) -> web.Response:
        return file_response(request, files["index.html"])

    async def part(request: web.Request) -> web.Response:
        if (found := files.get(request.match_info["name"])) is None:
            raise web.HTTPNotFound
        return file_response(request, found)

    async def session(request: web.Request) -> web.Response:
        who = person(request)
        return answer({
            "person": who.name,
            "role": who.role.name.lower(),
            "csrf": tokens.of(who),
            "views": [
                {"name": view.name, "title": view.title} for view in views if view.role <= who.role
            ],
            "version": pipeline.__version__,
        })  # fmt: skip

    return (
        Route("GET", "/", None, page),
        Route("GET", "/page/{name}", None, part),
        Route("GET", "/api/session", Role.READER, session),
        *(route for view in views for route in view.routes()),
    )


def application(views: Sequence[View], access: Access) -> web.Application:
    """The routes behind what checks who asks."""
    tokens = CsrfTokens()
    table = route_table(views, tokens)
    roles: dict[web.AbstractRoute, Role | None] = {}

    def role_of(request: web.Request) -> Role | None:
        # Of what is not there nobody learns that it is not.
        return roles.get(request.match_info.route, Role.OPERATOR)

    app = web.Application(
        middlewares=[
            bounded(REQUEST_SECONDS),
            refuse_others(frozenset(), way_out=": ask for it by one of these"),
            errors_as_json,
            guard(access, tokens, role_of),
        ],
        client_max_size=_MOST_BODY,
    )
    for route in table:
        roles[app.router.add_route(route.method, route.path, route.answer)] = route.role
    return app


def _log_note(text: str) -> None:
    log.warning("desk", note=text)


@asynccontextmanager
async def serve(
    settings: Settings,
    *,
    note: Callable[[str], None] | None = None,
    failed: Callable[[], object] = lambda: None,
    kafka: Kafka | None = None,
    access: Access | None = None,
) -> AsyncIterator[str]:
    """Serve the desk for as long as the context lasts; yields its address.

    What weakens a guarantee is reported to `note`, or else logged. `failed` is called when
    something ends by a bug; the error is raised at the end of the context. Files are decoded in the
    pool of this process.

    Raises:
        UsageError: It would be reached from elsewhere, and nobody would be asked who they are.
        PipelineError: The address cannot be had.
    """
    host, port = settings.desk.host, settings.desk.port
    if access is None:
        if not is_loopback(host):
            raise UsageError(
                f"desk.host is {host}, which others reach, and the desk does not ask who they are: "
                "set it to 127.0.0.1 (PIPELINE_DESK__HOST)."
            )
        access = LoopbackAccess()
    view = ReviewView(settings, kafka or Kafka.under(settings, note or _log_note))
    app = application([view], access)
    async with view.running(failed=failed), listening(app, (host, port), table="desk") as address:
        yield address
