"""A server of recorded responses, on loopback: the unmodified SDK talks to it."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

SHAPES = Path(__file__).parent / "shapes"


def shape(name: str) -> dict[str, Any]:
    """A recorded response; see `tests/claude/shapes`."""
    recorded: dict[str, Any] = json.loads((SHAPES / f"{name}.json").read_text())
    return recorded


def body_of(recorded: dict[str, Any]) -> bytes:
    return recorded["raw"].encode() if "raw" in recorded else orjson.dumps(recorded["body"])


def _with_own_id(recorded: dict[str, Any], number: int) -> dict[str, Any]:
    """The same response with a message id that no other one has."""
    body = recorded.get("body")
    if not isinstance(body, dict) or body.get("type") != "message":
        return recorded
    return {**recorded, "body": {**body, "id": f"{body['id']}_{number}"}}


@dataclass
class ShapeServer:
    """Serves what is queued, in order; then `then`, for ever.

    Args:
        then: The shape served when the queue is empty.
        hold: Requests wait for it before they are answered, if set.
    """

    then: str = "answer"
    hold: asyncio.Event | None = None
    url: str = ""
    queue: deque[str | dict[str, Any]] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return len(self.peers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(orjson.loads(await request.read()) if request.can_read_body else {})
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))
        queued = self.queue.popleft() if self.queue else self.then
        recorded = _with_own_id(
            shape(queued) if isinstance(queued, str) else queued, len(self.requests)
        )
        if self.hold is not None:
            await self.hold.wait()
        if recorded.get("trickles"):
            return await self._trickle(request, recorded)
        if "cut_after" in recorded:
            return await self._cut(request, recorded)
        return web.Response(
            status=recorded["status"], headers=recorded["headers"], body=body_of(recorded)
        )

    @staticmethod
    async def _trickle(request: web.Request, recorded: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(status=recorded["status"], headers=recorded["headers"])
        await response.prepare(request)
        while request.transport is not None:
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    @staticmethod
    async def _cut(request: web.Request, recorded: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        response = web.StreamResponse(status=recorded["status"], headers=recorded["headers"])
        if recorded["cut_after"] >= 0:
            body = body_of(recorded)
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: recorded["cut_after"]])
        request.transport.abort()
        return response


@asynccontextmanager
async def shape_server(
    *queue: str | dict[str, Any], then: str = "answer", set_env: Callable[[str, str], None]
) -> AsyncIterator[ShapeServer]:
    """Run a `ShapeServer` and point the SDK's own variables at it."""
    server = ShapeServer(then=then, queue=deque(queue))
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}"
    set_env("ANTHROPIC_BASE_URL", server.url)
    set_env("ANTHROPIC_API_KEY", "key-of-a-test")
    try:
        yield server
    finally:
        if server.hold is not None:
            server.hold.set()
        await runner.cleanup()
