"""`/admin/...`: what was served, and changes while running. Answered on loopback only."""

import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated.control import Control, Latency
from pipeline.local.simulated.errors import refused_call
from pipeline.local.simulated.faults import Fault
from pipeline.local.simulated.limits import Limits

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
