"""The desk's port: the page, the session, and the routes of its views."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

import structlog
from aiohttp import web

import pipeline
from pipeline.config import Settings
from pipeline.desk.access import PUBLIC, Access, Role, open_access, person
from pipeline.desk.dead_letters import DeadLettersView
from pipeline.desk.kafka import Kafka
from pipeline.desk.lookup import LookUpView
from pipeline.desk.review import ReviewView
from pipeline.desk.routes import Route, View, answer, errors_as_json
from pipeline.desk.sample import SampleView
from pipeline.observe.web import (
    Asset,
    bounded,
    file_response,
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


def route_table(views: Sequence[View], access: Access) -> Sequence[Route]:
    """Everything that is answered, and the least role that each needs."""
    files = page_files()

    async def page(request: web.Request) -> web.Response:
        return access.sign_in_first(request) or file_response(request, files["index.html"])

    async def part(request: web.Request) -> web.Response:
        if (found := files.get(request.match_info["name"])) is None:
            raise web.HTTPNotFound
        return file_response(request, found)

    async def session(request: web.Request) -> web.Response:
        role = person(request).role
        return answer({
            **access.session(request),
            "views": [
                {"name": view.name, "title": view.title} for view in views if view.role <= role
            ],
            "version": pipeline.__version__,
        })  # fmt: skip

    return (
        Route("GET", "/", None, page),
        Route("GET", "/page/{name}", None, part),
        Route("GET", "/api/session", Role.READER, session),
        *(route for view in views for route in view.routes()),
        *(
            Route(
                each.method, each.path, None if each.path in PUBLIC else Role.READER, each.handler
            )
            for each in access.routes()
        ),
    )


def application(views: Sequence[View], access: Access) -> web.Application:
    """The routes behind what checks who asks."""
    table = route_table(views, access)
    roles: dict[web.AbstractRoute, Role | None] = {}

    def role_of(request: web.Request) -> Role | None:
        # Of what is not there nobody learns that it is not.
        return roles.get(request.match_info.route, Role.OPERATOR)

    app = web.Application(
        middlewares=[
            bounded(REQUEST_SECONDS),
            refuse_others(access.names, way_out=" (desk.access.url): ask for it by one of these"),
            errors_as_json,
            access.middleware(role_of),
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
    access = access or open_access(settings.desk.access, host)
    kafka = kafka or Kafka.under(settings, note or _log_note)
    kinds = (ReviewView, SampleView, DeadLettersView, LookUpView)
    views: Sequence[View] = [kind(settings, kafka) for kind in kinds]
    async with AsyncExitStack() as stack:
        for view in views:
            await stack.enter_async_context(view.running(failed=failed))
        app = application(views, access)
        yield await stack.enter_async_context(listening(app, (host, port), table="desk"))
