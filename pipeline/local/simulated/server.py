"""The simulated API as a server in this process."""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web

from pipeline.local.simulated.admin import admin_routes
from pipeline.local.simulated.answering.files import FileReader
from pipeline.local.simulated.answers import Answerer
from pipeline.local.simulated.batch_endpoints import BatchEndpoints
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.endpoints import Endpoints
from pipeline.local.simulated.errors import ApiError
from pipeline.local.simulated.exchange import Exchange
from pipeline.local.simulated.gate import MAX_BATCH_BODY, Call, Gate
from pipeline.local.simulated.simulation import Simulation

_KEEP_ALIVE = 75.0
_BACKLOG = 2048
_LEAVE_WITHIN = 0.2


class SimulatedApi:
    """The simulated Messages API.

    Use it as an asynchronous context manager; `base_url` is what `ANTHROPIC_BASE_URL` takes.
    `control` holds what a test wants to change or to count.

    Args:
        simulation: How it behaves.
        host: Where it listens.
        port: Where it listens; 0 takes a free port.
    """

    def __init__(
        self, simulation: Simulation | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.control = Control(simulation or Simulation())
        self._host = host
        self._port = port
        self._files = FileReader(self.control.simulation.readers)
        gate = Gate(self.control)
        exchange = Exchange(self.control, Answerer(self._files, self.control.simulation.encoder))
        self._batches = BatchEndpoints(self.control, gate, exchange, self._files)
        self._app = web.Application(client_max_size=MAX_BATCH_BODY + 1024)
        self._app.router.add_routes(
            [
                *self._batches.routes(),
                *Endpoints(self.control, gate, exchange, self._files).routes(),
                *admin_routes(self.control),
                web.route("*", "/{path:.*}", gate.guard("unknown", _unknown)),
            ]
        )
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            shutdown_timeout=_LEAVE_WITHIN,
        )

    @property
    def base_url(self) -> str:
        """Where it is reached."""
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=_BACKLOG)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave: calls that still run are cut off."""
        await self._batches.close()
        await self._runner.cleanup()
        await asyncio.to_thread(self._files.close)


async def _unknown(call: Call) -> web.StreamResponse:
    raise ApiError(404, f"Not found: {call.http.method} {call.http.path}")
