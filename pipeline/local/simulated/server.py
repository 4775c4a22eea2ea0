"""The HTTP side: routes, keys, headers, error bodies, and the faults that cut connections."""

import asyncio
import itertools
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from pipeline.local.simulated import catalogue
from pipeline.local.simulated.admin import admin_routes
from pipeline.local.simulated.answering.files import FileReader
from pipeline.local.simulated.answers import Answerer
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.errors import ApiError, refused_call
from pipeline.local.simulated.exchange import Exchange, scope_of, served
from pipeline.local.simulated.faults import BEFORE, Fault
from pipeline.local.simulated.ledger import Served
from pipeline.local.simulated.request import MessageRequest
from pipeline.local.simulated.simulation import Simulation
from pipeline.local.simulated.validation import VERSIONS, read_message

MAX_BODY = 32 * 1024 * 1024
MAX_BATCH_BODY = 256 * 1024 * 1024
_HTML = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
_FOREVER = 3600.0


class SimulatedApi:
    """The simulated Messages API, as a server in this process.

    Use it as an asynchronous context manager; `base_url` is what `ANTHROPIC_BASE_URL` takes.

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
        self._exchange = Exchange(self.control, Answerer(self._files))
        self._ids = itertools.count(1)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """Where it is reached."""
        return f"http://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BATCH_BODY + 1024)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{id}", self._models)
        app.router.add_routes(admin_routes(self.control))
        app.router.add_route("*", "/{tail:.*}", self._unknown)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75, shutdown_timeout=0.2
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=2048)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.to_thread(self._files.close)

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        control, started = self.control, self.control.clock()
        request_id = self._request_id()
        model: str | None = None
        request: MessageRequest | None = None
        try:
            scope = self._check_caller(http)
            body = await _json(http, MAX_BODY)
            model = _model_name(body)
            faults = control.faults.draw(model, started)
            for fault in faults:
                if fault.kind in BEFORE:
                    return await self._fail(http, fault, model, request_id)
            control.check_account()
            request = await self._read(body)
            exchanged = await self._exchange.run(request, scope, faults)
        except ApiError as error:
            self._note_error("messages", model, error, request)
            return self._error(error, request_id, model)
        midway = any(fault.kind == "disconnect_midway" for fault in faults)
        outcome = next((fault.kind for fault in faults if fault.kind != "slow"), "answered")
        line = served(
            request,
            exchanged,
            at=started - control.started,
            seconds=control.clock() - started,
            caller=scope,
            mark=control.mark_of(request),
            outcome=outcome,
            status=0 if midway else 200,
        )
        control.ledger.add(line)
        headers = {"request-id": request_id, **control.limit_headers(request.model.id)}
        payload = orjson.dumps(exchanged.body)
        if midway:
            return await _half(http, payload, headers)
        return web.Response(body=payload, content_type="application/json", headers=headers)

    async def _count_tokens(self, http: web.Request) -> web.StreamResponse:
        request_id = self._request_id()
        model = None
        try:
            self._check_caller(http)
            body = await _json(http, MAX_BODY)
            model = _model_name(body)
            request = await self._read(body, counting=True)
        except ApiError as error:
            self._note_error("count_tokens", model, error, None)
            return self._error(error, request_id, None)
        self._note("count_tokens", model, 200, "answered")
        return _answer({"input_tokens": request.prompt_tokens}, request_id)

    async def _models(self, http: web.Request) -> web.StreamResponse:
        request_id = self._request_id()
        try:
            self._check_caller(http)
            name = http.match_info.get("id")
            body = catalogue.listed() if name is None else catalogue.one(name)
        except ApiError as error:
            self._note_error("models", None, error, None)
            return self._error(error, request_id, None)
        self._note("models", None, 200, "answered")
        return _answer(body, request_id)

    async def _unknown(self, http: web.Request) -> web.StreamResponse:
        error = ApiError(404, f"Not found: {http.method} {http.path}")
        self._note_error("unknown", None, error, None)
        return self._error(error, self._request_id(), None)

    async def _read(self, body: Any, *, counting: bool = False) -> MessageRequest:  # noqa: ANN401
        def read() -> MessageRequest:
            return read_message(body, self._files.pdf_tokens, counting=counting)

        # Only PDF files have to be opened before they can be counted, and that is slow.
        return await self._files.run(read) if _has_document(body) else read()

    def _check_caller(self, http: web.Request) -> str:
        authorization = http.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if key in self.control.simulation.bad_keys:
            raise ApiError(401, "invalid x-api-key")
        version = http.headers.get("anthropic-version")
        if version is None:
            raise ApiError(400, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise ApiError(400, f"anthropic-version: {version!r} is not a valid version")
        return scope_of(key)

    async def _fail(
        self, http: web.Request, fault: Fault, model: str | None, request_id: str
    ) -> web.StreamResponse:
        """What happens instead of an answer."""
        error = _FAULT_ERRORS.get(fault.kind)
        if error is not None:
            made = error()
            self._note("messages", model, made.status, fault.kind)
            return self._error(made, request_id, model)
        if fault.kind in {"html", "html_ok"}:
            status = 502 if fault.kind == "html" else 200
            self._note("messages", model, status, fault.kind)
            return web.Response(body=_HTML, status=status, content_type="text/html")
        self._note("messages", model, 0, fault.kind)
        if fault.kind == "hang":
            await asyncio.sleep(_FOREVER)
        return _cut(http)

    def _error(self, error: ApiError, request_id: str, model: str | None) -> web.Response:
        headers = error.headers()
        if model is not None and error.status == 429:  # noqa: PLR2004
            headers |= self.control.limit_headers(model)
        return _answer(error.body(request_id), request_id, status=error.status, headers=headers)

    def _note_error(
        self, endpoint: str, model: str | None, error: ApiError, request: MessageRequest | None
    ) -> None:
        digest = None if request is None else request.digest
        self._note(endpoint, model, error.status, error.kind, digest)

    def _note(
        self, endpoint: str, model: str | None, status: int, outcome: str, digest: str | None = None
    ) -> None:
        at = self.control.clock() - self.control.started
        self.control.ledger.add(
            Served(
                at=at, endpoint=endpoint, model=model, status=status, outcome=outcome, digest=digest
            )
        )

    def _request_id(self) -> str:
        return f"req_simulated_{next(self._ids):012d}"


_FAULT_ERRORS = {
    "overloaded": lambda: ApiError(529, "Overloaded"),
    "outage": lambda: ApiError(529, "Overloaded"),
    "server_error": lambda: ApiError(500, "Internal server error"),
    "unavailable": lambda: ApiError(503, "Service unavailable"),
    "timeout": lambda: ApiError(504, "The request took too long"),
    "rate_limited": lambda: ApiError(429, "Rate limited", retry_after=2),
    "rate_limited_bare": lambda: ApiError(429, "Rate limited"),
    "ramp_limit": lambda: refused_call("ramp_limit_exceeded"),
    "enforced_spend_limit": lambda: refused_call("enforced_spend_limit_reached"),
    "contract_spend_limit": lambda: refused_call("contract_spend_limit_reached"),
    "own_spend_limit": lambda: refused_call("own_spend_limit"),
    "bad_key": lambda: refused_call("authentication"),
    "forbidden": lambda: refused_call("permission"),
    "billing": lambda: refused_call("billing"),
}


def _model_name(body: Any) -> str | None:  # noqa: ANN401 - not yet checked
    name = body.get("model") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _has_document(body: Any) -> bool:  # noqa: ANN401 - not yet checked
    messages = body.get("messages") if isinstance(body, dict) else None
    return isinstance(messages, list) and any(
        isinstance(block, dict) and block.get("type") == "document"
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    )


async def _json(http: web.Request, limit: int) -> Any:  # noqa: ANN401 - any JSON value
    raw = await http.read()
    if len(raw) > limit:
        raise ApiError(413, "Request exceeds the maximum allowed number of bytes.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None


def _answer(
    body: Any,  # noqa: ANN401 - any JSON value
    request_id: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={"request-id": request_id, **(headers or {})},
    )


def _cut(http: web.Request) -> web.Response:
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


async def _half(http: web.Request, payload: bytes, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type = "application/json"
    response.content_length = len(payload)
    await response.prepare(http)
    await response.write(payload[: len(payload) // 2])
    if http.transport is not None:
        http.transport.close()
    return response
