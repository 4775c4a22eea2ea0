"""What every call passes (key, faults, account), and the endpoints of single messages.

One place turns an `ApiError` into a response and a line of the ledger.
"""

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated import wire
from pipeline.local.simulated.api_errors import RATE_LIMITED, ApiError
from pipeline.local.simulated.control import Control, Served
from pipeline.local.simulated.injected_faults import AFTER, BEFORE, LOST, Fault
from pipeline.local.simulated.message import MessageRequest, Reply, refusal, reply, spoil
from pipeline.local.simulated.prompt import CacheUse
from pipeline.local.simulated.rate_limiting import as_sent
from pipeline.local.simulated.served_models import describe_model, list_models
from pipeline.local.simulated.stand_in.answerer import Answerer
from pipeline.local.simulated.stand_in.file_text import FileReader, count_pdf_tokens
from pipeline.local.simulated.validation import VERSIONS, asks_for_reasoning, read_message
from pipeline.local.simulated.wire import events_of


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A call that was answered."""

    body: dict[str, Any]
    reply: Reply
    use: CacheUse


class Exchange:
    """Answers calls."""

    def __init__(self, control: Control, answerer: Answerer) -> None:
        self._control = control
        self._answerer = answerer

    async def run(
        self,
        request: MessageRequest,
        scope: str,
        faults: Sequence[Fault] = (),
        *,
        message_id: str,
        batch: bool = False,
    ) -> Exchanged:
        """Answer a valid request: in a `batch` at once and without rate limits.

        Keys share no prompt cache: `scope` stands for the one that asks.

        Raises:
            ApiError: A limit is reached, or a file cannot be read.
        """
        control, started = self._control, self._control.clock()
        model = request.model
        use, keys = control.prompt_cache.use(
            f"{scope}\x00{model.id}", request.blocks, minimum=model.cacheable, now=started
        )
        counted = use.uncached + use.written
        if not batch:
            control.admit(model.id, counted, use.read)
        made = await self._reply(request, faults)
        latency = control.latency_of(model.id)
        base = latency.draw(control.random, 0)
        total = base + latency.per_token * made.output_tokens
        total += sum(fault.seconds for fault in faults if fault.kind == "slow")
        control.prompt_cache.readable(keys, started if batch else started + base)
        if not batch:
            control.limiter(model.id).settle(made.output_tokens, control.clock())
            await asyncio.sleep(max(0.0, started + total - control.clock()))
        tier = "batch" if batch else "standard"
        return Exchanged(made.message(request, use, message_id, tier), made, use)

    async def _reply(self, request: MessageRequest, faults: Sequence[Fault]) -> Reply:
        if asks_for_reasoning(request):
            return refusal("reasoning_extraction")
        if not request.max_tokens:
            return Reply([], 0, stop_reason="max_tokens")
        for fault in faults:
            if fault.kind == "refusal":
                return refusal(fault.category)
        made = reply(request, await self._answerer.answer(request))
        for fault in faults:
            if fault.kind in AFTER:
                made = spoil(made, fault.kind, self._control.random)
        return made

    def note(
        self,
        request: MessageRequest,
        exchanged: Exchanged,
        scope: str,
        started: float,
        *,
        outcome: str,
        status: int = 200,
        endpoint: str = "messages",
        custom_id: str | None = None,
    ) -> None:
        """Write a call that was answered into the ledger."""
        control, made, use = self._control, exchanged.reply, exchanged.use
        control.ledger.add(
            Served(
                at=started - control.started,
                endpoint=endpoint,
                model=request.model.id,
                status=status,
                outcome=outcome if made.stop_reason != "refusal" else "refusal",
                billed=made.billed,
                digest=request.digest,
                caller=scope,
                mark=control.mark_of(request),
                custom_id=custom_id,
                seconds=round(control.clock() - started, 6),
                input_tokens=use.uncached,
                cache_read_tokens=use.read,
                cache_write_5m_tokens=use.written_5m,
                cache_write_1h_tokens=use.written_1h,
                output_tokens=made.output_tokens,
            )
        )


def scope_of(key: str) -> str:
    """What stands for an API key: the key itself is kept nowhere."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).hexdigest()


MAX_BODY = 32 * 1024 * 1024
MAX_BATCH_BODY = 256 * 1024 * 1024
_FOREVER = 3600.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in."""

    http: web.Request
    request_id: str
    scope: str
    body: Any
    model: str | None
    faults: Sequence[Fault]
    started: float

    @property
    def headers(self) -> dict[str, str]:
        return {"request-id": self.request_id}


Work = Callable[[Call], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """Lets calls in."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._ids = itertools.count(1)
        # Ids of one start must not come back after a restart: clients keep them.
        self._run = secrets.token_hex(4)

    def new_id(self, kind: str) -> str:
        """An id that no other start gives out."""
        return f"{kind}_simulated_{self._run}{next(self._ids):010d}"

    def guard(self, endpoint: str, work: Work, *, limit: int = MAX_BODY) -> Handler:
        """Make a handler: `work` sees only calls that are let in."""

        async def handler(http: web.Request) -> web.StreamResponse:
            request_id = self.new_id("req")
            model: str | None = None
            try:
                scope = self._check_caller(http)
                body = await _json(http, limit) if http.method == "POST" else None
                model = _model_name(body)
                started = self._control.clock()
                faults = self._control.faults.draw(model, started, partial(_text_of, body))
                if (before := next((f for f in faults if f.kind in BEFORE), None)) is not None:
                    self.note(endpoint, model, wire.status_of(before), before.kind)
                    return await self.fail(http, before, request_id, model)
                self._control.check_account()
                return await work(Call(http, request_id, scope, body, model, faults, started))
            except ApiError as error:
                self.note(endpoint, model, error.status, error.kind)
                return self._error(error, request_id, model)

        return handler

    def note(self, endpoint: str, model: str | None, status: int, outcome: str) -> None:
        at = self._control.clock() - self._control.started
        self._control.ledger.add(
            Served(at=at, endpoint=endpoint, model=model, status=status, outcome=outcome)
        )

    async def fail(
        self, http: web.Request, fault: Fault, request_id: str, model: str | None
    ) -> web.StreamResponse:
        """What comes back in place of a response."""
        if (error := wire.error_of(fault)) is not None:
            return self._error(error, request_id, model)
        if fault.kind in {"hang", "lost_hang"}:
            await asyncio.sleep(_FOREVER)
        status = wire.status_of(fault)
        return wire.page(status) if status else wire.cut(http)

    def _check_caller(self, http: web.Request) -> str:
        authorization = http.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else http.headers.get("x-api-key", "")
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if key in self._control.simulation.bad_keys:
            raise ApiError(401, "invalid x-api-key")
        version = http.headers.get("anthropic-version")
        if version is None:
            raise ApiError(400, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise ApiError(400, f"anthropic-version: {version!r} is not a valid version")
        return scope_of(key)

    def _error(self, error: ApiError, request_id: str, model: str | None) -> web.Response:
        control = self._control
        headers = {"request-id": request_id} | as_sent(error.headers(), control.sent_headers)
        if model is not None and error.status == RATE_LIMITED:
            headers |= control.limit_headers(model)
        return wire.answer(error.body(request_id), headers, status=error.status)


def _model_name(body: Any) -> str | None:  # noqa: ANN401 - not yet checked
    name = body.get("model") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _blocks_of(body: Any) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - not yet checked
    """The content blocks of a request's messages, as far as there are such."""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        blocks = content if isinstance(content, list) else [{"text": content}]
        yield from (block for block in blocks if isinstance(block, dict))


def _text_of(body: Any) -> str:  # noqa: ANN401 - not yet checked
    return "\n".join(str(block.get("text") or "") for block in _blocks_of(body))


async def _json(http: web.Request, limit: int) -> Any:  # noqa: ANN401 - any JSON value
    raw = await http.read()
    if len(raw) > limit:
        raise ApiError(413, "Request exceeds the maximum allowed number of bytes.")
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None


class Endpoints:
    """Serves calls that were let in."""

    def __init__(self, control: Control, gate: Gate, exchange: Exchange, files: FileReader) -> None:
        self._control = control
        self._gate = gate
        self._exchange = exchange
        self._files = files

    def routes(self) -> list[web.RouteDef]:
        guard = self._gate.guard
        return [
            web.post("/v1/messages", guard("messages", self._create)),
            web.post("/v1/messages/count_tokens", guard("count_tokens", self._count)),
            web.get("/v1/models", guard("models", self._models)),
            web.get("/v1/models/{id}", guard("models", self._models)),
        ]

    async def _create(self, call: Call) -> web.StreamResponse:
        control = self._control
        request = await read_request(call.body, self._files)
        made = await self._exchange.run(
            request, call.scope, call.faults, message_id=self._gate.new_id("msg")
        )
        lost = control.faults.draw(request.model.id, control.clock(), kinds=LOST)
        midway = any(fault.kind == "disconnect_midway" for fault in call.faults)
        faults = lost or [fault for fault in call.faults if fault.kind != "slow"]
        self._exchange.note(
            request,
            made,
            call.scope,
            call.started,
            outcome=faults[0].kind if faults else "answered",
            status=wire.status_of(lost[0]) if lost else 0 if midway else 200,
        )
        if lost:
            return await self._gate.fail(call.http, lost[0], call.request_id, call.model)
        headers = call.headers | control.limit_headers(request.model.id)
        if midway:
            return await wire.half(call.http, orjson.dumps(made.body), headers)
        if request.stream:
            return await wire.stream(call.http, events_of(made.body), headers)
        return wire.answer(made.body, headers)

    async def _count(self, call: Call) -> web.StreamResponse:
        request = await read_request(call.body, self._files, counting=True)
        self._gate.note("count_tokens", request.model.id, 200, "answered")
        return wire.answer({"input_tokens": request.prompt_tokens}, call.headers)

    async def _models(self, call: Call) -> web.StreamResponse:
        name = call.http.match_info.get("id")
        body = list_models() if name is None else describe_model(name)
        self._gate.note("models", None, 200, "answered")
        return wire.answer(body, call.headers)


async def read_request(
    body: Any,  # noqa: ANN401 - not yet checked
    files: FileReader,
    *,
    counting: bool = False,
) -> MessageRequest:
    """Check a request's body."""

    def read() -> MessageRequest:
        return read_message(body, count_pdf_tokens, counting=counting)

    # Only PDF files have to be opened before they can be counted, and that is slow.
    has_document = any(block.get("type") == "document" for block in _blocks_of(body))
    return await files.run(read) if has_document else read()
