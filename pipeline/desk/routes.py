"""What the desk answers to: routes with the role that each needs, and how answers look."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiokafka.errors import KafkaError

from pipeline.desk.access import Role
from pipeline.model.errors import PipelineError, Unavailable, UsageError
from pipeline.observe.web import json_response
from pipeline.operators.review import NotAResult
from pipeline.operators.selection import NoSuchRecord

_OWN_ONLY = {"Cross-Origin-Resource-Policy": "same-origin"}
_CLOSED = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that is answered; `role` is the least that it needs, None where it is open."""

    method: str
    path: str
    role: Role | None
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]


class View(Protocol):
    """One kind of work on the desk: its routes, and the module of the page that shows it.

    The module is `page/NAME.js`; what it exports is said in `page/main.js`.
    """

    @property
    def name(self) -> str:
        """As in the address of the page, `#NAME`, and in the names of its routes."""

    @property
    def title(self) -> str:
        """As people read it."""

    @property
    def role(self) -> Role:
        """The least that the view is shown to."""

    def routes(self) -> Sequence[Route]:
        """What it answers to, below `/api/NAME`."""

    def running(self, *, failed: Callable[[], object]) -> AbstractAsyncContextManager[None]:
        """What goes on beside requests; `failed` is called if that ends by a bug."""


@asynccontextmanager
async def nothing_beside(*, failed: Callable[[], object]) -> AsyncIterator[None]:  # noqa: ARG001
    """The `running` of a view whose work is all in its answers."""
    yield


class Conflict(PipelineError):
    """It cannot be done, because somebody has done something else."""


def answer(content: object, *, status: int = 200) -> web.Response:
    """A document as JSON."""
    response = json_response(content, status=status)
    response.headers.update(_OWN_ONLY)
    return response


def picture(data: bytes, media_type: str) -> web.Response:
    """A picture that was made here."""
    return web.Response(body=data, content_type=media_type, headers={**_CLOSED, **_OWN_ONLY})


def attachment(name: str, media_type: str) -> web.StreamResponse:
    """What a browser saves under that name, and never shows."""
    return web.StreamResponse(
        headers={
            **_CLOSED,
            **_OWN_ONLY,
            hdrs.CONTENT_TYPE: media_type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
        }
    )


def number(text: str | None, default: int, *, most: int) -> int:
    """A number of a query, the default where it has none; `UsageError` if it is something else."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > most:  # noqa: PLR2004
        raise UsageError(f"{text[:20]!r} is not a number up to {most:,}.")
    return int(text)


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that a request brings; `UsageError` if it is something else."""
    if request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0] != "application/json":
        raise UsageError("A JSON object is needed, as application/json.")
    try:
        found = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise UsageError("This is not JSON.") from None
    if not isinstance(found, dict):
        raise UsageError("A JSON object is needed.")
    return found


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what went wrong in the form of every other answer: `{"error": "..."}`."""
    try:
        return await handler(request)
    except NotAResult as error:
        faults = [{"field": field, "why": why} for field, why in error.faults]
        return answer({"error": str(error), "faults": faults}, status=422)
    except PipelineError as error:
        return answer({"error": str(error)}, status=_status_of(error))
    except KafkaError as error:
        said = f"The brokers did not do it ({error}): look at them, then try again."
        return answer({"error": said}, status=502)
    except web.HTTPException as refusal:
        if not request.path.startswith("/api/"):
            raise
        return answer({"error": (refusal.text or refusal.reason).strip()}, status=refusal.status)


def _status_of(error: PipelineError) -> int:
    match error:
        case UsageError():
            return 422
        case NoSuchRecord():
            return 404
        case Conflict():
            return 409
        case Unavailable():
            return 503
    return 502
