"""The simulated API as a server in this process.

The simulated API as a program of its own, until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import uvloop
from aiohttp import web

from pipeline.local.simulated.admin import admin_routes
from pipeline.local.simulated.batches import BatchEndpoints
from pipeline.local.simulated.control import LIVELY, Control, Latency, Simulation
from pipeline.local.simulated.endpoints import Endpoints
from pipeline.local.simulated.errors import ApiError
from pipeline.local.simulated.exchange import MAX_BATCH_BODY, Call, Exchange, Gate
from pipeline.local.simulated.faults import KINDS, Fault
from pipeline.local.simulated.limits import Limits
from pipeline.local.simulated.stand_in.files import FileReader
from pipeline.local.simulated.stand_in.reader import Answerer
from pipeline.model.errors import UsageError
from pipeline.runtime.background import collect_seldom
from pipeline.stages.checks.encoders import MiniLm

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped.

    Prints `base_url=http://...` and `port=N`, then `ready`, on standard output.

    Returns:
        The exit code: 0 stopped, 1 cannot listen, 2 wrong use.
    """
    options = _parser().parse_args(arguments)
    try:
        simulation = _simulation(options)
    except (ValueError, TypeError, UsageError) as error:
        print(f"The simulated API cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 2
    collect_seldom()
    try:
        uvloop.run(_serve(simulation, options.host, options.port))
    except OSError as error:
        print(f"The simulated API cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _serve(simulation: Simulation, host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with SimulatedApi(simulation, host=host, port=port) as api:
        # Whoever started it reads these lines to know where it is and when to go on.
        print(f"base_url={api.base_url}\nport={api.port}\nready", flush=True)  # noqa: T201
        await stopped.wait()


def _simulation(options: argparse.Namespace) -> Simulation:
    latency = {} if options.instant else {**LIVELY, **_named(options.latency, _latency)}
    return Simulation(
        latency=latency,
        limits=_named(options.limit, _limits),
        limit_window=options.limit_window,
        faults=tuple(Fault.parse(text) for text in options.fault),
        bad_keys=frozenset(options.bad_key),
        seed=options.seed,
        ledger=options.ledger,
        readers=options.readers,
        batch_seconds=options.batch_seconds,
        encoder=MiniLm() if options.encoder else None,
    )


def _named(texts: Sequence[str], read: Any) -> dict[str, Any]:  # noqa: ANN401 - a class
    """`MODEL:name=value,...` for each; `*` or nothing before the colon is every other model."""
    named = {}
    for text in texts:
        model, separator, fields = text.rpartition(":")
        pairs = dict(pair.split("=", 1) for pair in fields.split(","))
        named[model if separator and model else "*"] = read(pairs)
    return named


def _latency(pairs: Mapping[str, str]) -> Latency:
    return Latency(**{name: float(value) for name, value in pairs.items()})


def _limits(pairs: Mapping[str, str]) -> Limits:
    return Limits(**{name: int(value) for name, value in pairs.items()})


def _parser() -> argparse.ArgumentParser:
    defaults = Simulation()
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.local.simulated",
        description="A simulated Messages API on this machine; its answers come from local rules.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[:SHARE][,next=N][,from=S][,for=S][,model=ID][,seconds=S][,category=NAME]",
        help=f"something that goes wrong; kinds: {', '.join(sorted(KINDS))}; may be repeated",
    )
    parser.add_argument(
        "--latency",
        action="append",
        default=[],
        metavar="[MODEL:]median=S,sigma=X,tail=SHARE,tail_factor=X,per_token=S",
        help="how long answers take; may be repeated",
    )
    parser.add_argument("--instant", action="store_true", help="answer at once")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="[MODEL:]requests=N,input_tokens=N,output_tokens=N",
        help="rate limits a minute; may be repeated; none by default",
    )
    parser.add_argument(
        "--limit-window",
        type=float,
        default=defaults.limit_window,
        metavar="SECONDS",
        help="how much of a limit may be used at once",
    )
    parser.add_argument(
        "--bad-key",
        action="append",
        default=list(defaults.bad_keys),
        help="an API key to refuse; any other is taken",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of everything drawn")
    parser.add_argument(
        "--ledger",
        type=int,
        default=defaults.ledger,
        metavar="N",
        help="requests whose details are kept",
    )
    parser.add_argument(
        "--readers", type=int, default=defaults.readers, metavar="N", help="files read at once"
    )
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=defaults.batch_seconds,
        metavar="S",
        help="from the creation of a message batch to its end",
    )
    parser.add_argument(
        "--encoder",
        action="store_true",
        help="choose labels by meaning, too; needs the extra `encoder`",
    )
    return parser
