"""The simulated API as a server in this process, and as a program of its own.

Also `/admin/...`: what was served, and changes while running; answered on loopback only.
"""

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self, get_args

import orjson
import uvloop
from aiohttp import web

from pipeline.local.simulated.api_errors import ApiError, refused_call
from pipeline.local.simulated.control import LIVELY, Control, Latency, Simulation
from pipeline.local.simulated.exchange import MAX_BATCH_BODY, Call, Endpoints, Exchange, Gate
from pipeline.local.simulated.injected_faults import KINDS, Fault
from pipeline.local.simulated.message_batches import BatchEndpoints
from pipeline.local.simulated.rate_limiting import Limits, SentHeaders
from pipeline.local.simulated.stand_in.answerer import Answerer
from pipeline.local.simulated.stand_in.file_text import FileReader
from pipeline.model.errors import UsageError
from pipeline.observe.web import is_loopback
from pipeline.runtime.process import collect_seldom
from pipeline.stages.checks.scope import MiniLm

_AdminHandler = Callable[[web.Request], Awaitable[object]]
_NOT_LOCAL = {"error": "only from this machine"}


def admin_routes(control: Control) -> list[web.RouteDef]:
    """The routes.

    `GET /admin/requests?limit=N`: the kept requests, the counters, and the time that their
    `at` is to be held against; `DELETE` forgets them.
    `GET /admin/counters`: the counters alone.
    `GET|PUT /admin/limits`: `{"<model id or *>": {"requests": n, "input_tokens": n, ...}}`.
    `PUT /admin/limit-headers`: `{"sent": "announced" | "renamed" | "retry_after" | "none"}`.
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
        web.delete("/admin/requests", _guarded(admin.requests)),
        web.get("/admin/counters", _guarded(admin.counters)),
        web.get("/admin/limits", _guarded(admin.limits)),
        web.put("/admin/limits", _guarded(admin.limits)),
        web.put("/admin/limit-headers", _guarded(admin.limit_headers)),
        web.get("/admin/faults", _guarded(admin.faults)),
        web.post("/admin/faults", _guarded(admin.faults)),
        web.delete("/admin/faults", _guarded(admin.faults)),
        web.get("/admin/latency", _guarded(admin.latency)),
        web.put("/admin/latency", _guarded(admin.latency)),
        web.put("/admin/account", _guarded(admin.account)),
        web.put("/admin/mark", _guarded(admin.mark)),
        web.put("/admin/batches", _guarded(admin.batches)),
        web.post("/admin/reset", _guarded(admin.reset)),
    ]


class _Admin:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def requests(self, http: web.Request) -> object:
        if http.method == "DELETE":
            self._control.ledger.reset()
            return {}
        limit = int(http.query["limit"]) if "limit" in http.query else None
        control, ledger = self._control, self._control.ledger
        now = control.clock() - control.started
        return {"now": now, "counters": ledger.counters(), "requests": ledger.as_json(limit)}

    async def counters(self, _: web.Request) -> object:
        return self._control.ledger.counters()

    async def limits(self, http: web.Request) -> object:
        if http.method == "PUT":
            wanted = {model: Limits(**fields) for model, fields in (await _body(http)).items()}
            for model, limits in wanted.items():
                self._control.limit(model, limits)
        return {model: asdict(limits) for model, limits in self._control.limits().items()}

    async def limit_headers(self, http: web.Request) -> object:
        sent = (await _body(http))["sent"]
        if sent not in get_args(SentHeaders):
            raise ValueError(f"there is no {sent!r}; there are {', '.join(get_args(SentHeaders))}")
        self._control.sent_headers = sent
        return {"sent": sent}

    async def faults(self, http: web.Request) -> object:
        if http.method == "POST":
            body = await _body(http)
            fault = Fault.parse(body["fault"]) if "fault" in body else Fault(**body)
            self._control.faults.add(fault, self._control.clock())
        elif http.method == "DELETE":
            self._control.faults.clear()
        return [asdict(fault) for fault in self._control.faults.listed(self._control.clock())]

    async def latency(self, http: web.Request) -> object:
        if http.method == "PUT":
            wanted = {model: Latency(**fields) for model, fields in (await _body(http)).items()}
            self._control.latency.update(wanted)
        return {model: asdict(each) for model, each in self._control.latency.items()}

    async def account(self, http: web.Request) -> object:
        problem = (await _body(http)).get("problem")
        if problem is not None:
            refused_call(problem)
        self._control.account_problem = problem
        return {"problem": problem}

    async def mark(self, http: web.Request) -> object:
        pattern = (await _body(http)).get("pattern")
        self._control.mark = None if pattern is None else re.compile(pattern)
        return {"pattern": pattern}

    async def batches(self, http: web.Request) -> object:
        self._control.batch_seconds = float((await _body(http))["seconds"])
        return {"seconds": self._control.batch_seconds}

    async def reset(self, _: web.Request) -> object:
        self._control.faults.clear()
        self._control.ledger.reset()
        self._control.prompt_cache.clear()
        self._control.account_problem = None
        return {}


def _guarded(handler: _AdminHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Loopback only, and a wrong request is a 400 with a sentence."""

    async def guarded(http: web.Request) -> web.StreamResponse:
        answer: object
        local = is_loopback(http.remote or "")
        try:
            answer, status = await handler(http) if local else _NOT_LOCAL, 200 if local else 403
        except (KeyError, TypeError, ValueError, re.error) as error:
            answer, status = {"error": f"{type(error).__name__}: {error}"}, 400
        body = orjson.dumps(answer)
        return web.Response(body=body, status=status, content_type="application/json")

    return guarded


async def _body(http: web.Request) -> dict[str, Any]:
    body = orjson.loads(await http.read())
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


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
        # A parent reads these lines to know where it is and when to go on.
        print(f"base_url={api.base_url}\nport={api.port}\nready", flush=True)  # noqa: T201
        await stopped.wait()


def _simulation(options: argparse.Namespace) -> Simulation:
    latency = {} if options.instant else {**LIVELY, **_named(options.latency, Latency, float)}
    return Simulation(
        latency=latency,
        limits=_named(options.limit, Limits, int),
        limit_window=options.limit_window,
        limit_headers=options.limit_headers,
        faults=tuple(Fault.parse(text) for text in options.fault),
        bad_keys=frozenset(options.bad_key),
        seed=options.seed,
        ledger=options.ledger,
        readers=options.readers,
        batch_seconds=options.batch_seconds,
        encoder=MiniLm() if options.encoder else None,
    )


def _named(texts: Sequence[str], make: Any, number: type) -> dict[str, Any]:  # noqa: ANN401
    """`MODEL:name=value,...` for each; `*` or nothing before the colon is every other model."""
    named = {}
    for text in texts:
        model, separator, fields = text.rpartition(":")
        pairs = dict(pair.split("=", 1) for pair in fields.split(","))
        made = make(**{name: number(value) for name, value in pairs.items()})
        named[model if separator and model else "*"] = made
    return named


def _parser() -> argparse.ArgumentParser:
    defaults = Simulation()
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.local.simulated",
        description="A simulated Messages API on this machine; its answers come from local rules.",
    )
    option = parser.add_argument
    option("--host", default="127.0.0.1", help="where to listen")
    option("--port", type=int, default=0, help="0 takes a free one")
    option("--instant", action="store_true", help="answer at once")
    for name, form, what in (
        (
            "--fault",
            "KIND[:SHARE][,next=N][,from=S][,for=S][,model=ID][,seconds=S][,category=NAME]",
            f"something that goes wrong; kinds: {', '.join(sorted(KINDS))}",
        ),
        (
            "--latency",
            "[MODEL:]median=S,sigma=X,tail=SHARE,tail_factor=X,per_token=S",
            "how long answers take",
        ),
        (
            "--limit",
            "[MODEL:]requests=N,input_tokens=N,output_tokens=N,all_input_tokens=N",
            "rate limits a minute; none by default",
        ),
    ):
        option(name, action="append", default=[], metavar=form, help=f"{what}; may be repeated")
    option(
        "--limit-headers",
        choices=get_args(SentHeaders),
        default=defaults.limit_headers,
        help="what responses say of the limits: all that the API says, the same under the names"
        " that LiteLLM gives it, retry-after alone, or nothing",
    )
    refused = list(defaults.bad_keys)
    option("--bad-key", action="append", default=refused, help="an API key to refuse")
    for name, unit, what in (
        ("--limit-window", "SECONDS", "how much of a limit may be used at once"),
        ("--batch-seconds", "SECONDS", "from the creation of a message batch to its end"),
        ("--seed", "N", "of everything drawn"),
        ("--ledger", "N", "requests whose details are kept"),
        ("--readers", "N", "files read at once"),
    ):
        default = getattr(defaults, name.removeprefix("--").replace("-", "_"))
        option(name, type=type(default), default=default, metavar=unit, help=what)
    what = "choose labels by meaning, too; needs the extra `encoder`"
    option("--encoder", action="store_true", help=what)
    return parser
