"""The simulated API as a server in this process, and as a program of its own.

Also `/admin/...`: what was served, and changes while running; answered on loopback only.
"""

import argparse
import asyncio
import ipaddress
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import orjson
import uvloop
from aiohttp import web

from pipeline.local.simulated.api_errors import ApiError, refused_call
from pipeline.local.simulated.control import LIVELY, Control, Latency, Simulation
from pipeline.local.simulated.exchange import MAX_BATCH_BODY, Call, Endpoints, Exchange, Gate
from pipeline.local.simulated.injected_faults import KINDS, Fault
from pipeline.local.simulated.message_batches import BatchEndpoints
from pipeline.local.simulated.rate_limiting import Limits
from pipeline.local.simulated.stand_in.answerer import Answerer
from pipeline.local.simulated.stand_in.file_text import FileReader
from pipeline.model.errors import UsageError
from pipeline.runtime.background import collect_seldom
from pipeline.stages.checks.encoders import MiniLm

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def admin_routes(control: Control) -> list[web.RouteDef]:
    """The routes.

    `GET /admin/requests?limit=N`: the kept requests, the counters, and the time that their
    `at` is to be held against; `DELETE` forgets them.
    `GET /admin/counters`: the counters alone.
    `GET|PUT /admin/limits`: `{"<model id or *>": {"requests": n, "input_tokens": n, ...}}`.
    `GET|POST|DELETE /admin/faults`: a list of faults; POST takes `{"fault": "overloaded:0.1"}`.
    `GET|PUT /admin/latency`: `{"<model id or *>": {"median": s, "sigma": x, ...}}`.
    `PUT /admin/account`: `{"problem": "enforced_spend_limit_reached" | ... | null}`.
    `PUT /admin/mark`: `{"pattern": "E-[0-9]+" | null}`: what the ledger keeps of each content.
    `PUT /admin/batches`: `{"seconds": s}`.
    `POST /admin/reset`: no faults, an empty ledger, an empty prompt cache, a good account.
    """
    admin = _Admin(control)
    return [
        web.get("/admin/requests", _guarded(admin.requests)),
        web.delete("/admin/requests", _guarded(admin.forget)),
        web.get("/admin/counters", _guarded(admin.counters)),
        web.get("/admin/limits", _guarded(admin.limits)),
        web.put("/admin/limits", _guarded(admin.set_limits)),
        web.get("/admin/faults", _guarded(admin.faults)),
        web.post("/admin/faults", _guarded(admin.add_fault)),
        web.delete("/admin/faults", _guarded(admin.clear_faults)),
        web.get("/admin/latency", _guarded(admin.latency)),
        web.put("/admin/latency", _guarded(admin.set_latency)),
        web.put("/admin/account", _guarded(admin.set_account)),
        web.put("/admin/mark", _guarded(admin.set_mark)),
        web.put("/admin/batches", _guarded(admin.set_batches)),
        web.post("/admin/reset", _guarded(admin.reset)),
    ]


class _Admin:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def requests(self, http: web.Request) -> web.StreamResponse:
        limit = int(http.query["limit"]) if "limit" in http.query else None
        control = self._control
        return _json(
            {
                "now": control.clock() - control.started,
                "counters": control.ledger.counters(),
                "requests": control.ledger.as_json(limit),
            }
        )

    async def forget(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002 - a handler
        self._control.ledger.reset()
        return _json({})

    async def counters(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002
        return _json(self._control.ledger.counters())

    async def limits(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002
        return _json({model: asdict(limits) for model, limits in self._control.limits().items()})

    async def set_limits(self, http: web.Request) -> web.StreamResponse:
        wanted = {model: Limits(**fields) for model, fields in (await _body(http)).items()}
        for model, limits in wanted.items():
            self._control.limit(model, limits)
        return await self.limits(http)

    async def faults(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002
        control = self._control
        return _json([asdict(fault) for fault in control.faults.listed(control.clock())])

    async def add_fault(self, http: web.Request) -> web.StreamResponse:
        body = await _body(http)
        fault = Fault.parse(body["fault"]) if "fault" in body else Fault(**body)
        self._control.faults.add(fault, self._control.clock())
        return await self.faults(http)

    async def clear_faults(self, http: web.Request) -> web.StreamResponse:
        self._control.faults.clear()
        return await self.faults(http)

    async def latency(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002
        return _json({model: asdict(each) for model, each in self._control.latency.items()})

    async def set_latency(self, http: web.Request) -> web.StreamResponse:
        wanted = {model: Latency(**fields) for model, fields in (await _body(http)).items()}
        self._control.latency.update(wanted)
        return await self.latency(http)

    async def set_account(self, http: web.Request) -> web.StreamResponse:
        problem = (await _body(http)).get("problem")
        if problem is not None:
            refused_call(problem)
        self._control.account_problem = problem
        return _json({"problem": problem})

    async def set_mark(self, http: web.Request) -> web.StreamResponse:
        pattern = (await _body(http)).get("pattern")
        self._control.mark = None if pattern is None else re.compile(pattern)
        return _json({"pattern": pattern})

    async def set_batches(self, http: web.Request) -> web.StreamResponse:
        self._control.batch_seconds = float((await _body(http))["seconds"])
        return _json({"seconds": self._control.batch_seconds})

    async def reset(self, http: web.Request) -> web.StreamResponse:  # noqa: ARG002
        self._control.faults.clear()
        self._control.ledger.reset()
        self._control.prompt_cache.clear()
        self._control.account_problem = None
        return _json({})


def _guarded(handler: Handler) -> Handler:
    """Loopback only, and a wrong request is a 400 with a sentence."""

    async def guarded(http: web.Request) -> web.StreamResponse:
        if not _is_loopback(http.remote):
            return _json({"error": "only from this machine"}, status=403)
        try:
            return await handler(http)
        except (KeyError, TypeError, ValueError, re.error) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, status=400)

    return guarded


def _is_loopback(remote: str | None) -> bool:
    try:
        return remote is not None and ipaddress.ip_address(remote).is_loopback
    except ValueError:
        return False


async def _body(http: web.Request) -> dict[str, Any]:
    body = orjson.loads(await http.read())
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


def _json(body: Any, *, status: int = 200) -> web.Response:  # noqa: ANN401 - any JSON value
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


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
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    async def __aenter__(self) -> Self:
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
