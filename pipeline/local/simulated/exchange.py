"""One call of the Messages API, from the parsed body to the message: no HTTP in here.

What every call passes before it is served: the key, the faults, the account; and its end.

One place turns an `ApiError` into a response and a line of the ledger.
"""

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated import wire
from pipeline.local.simulated.caches import CacheUse
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.errors import ApiError
from pipeline.local.simulated.faults import AFTER, BEFORE, Fault
from pipeline.local.simulated.ledger import Served
from pipeline.local.simulated.message import Reply, nothing, refusal, reply, spoil
from pipeline.local.simulated.request import MessageRequest
from pipeline.local.simulated.stand_in.reader import Answerer
from pipeline.local.simulated.validation import VERSIONS, asks_for_reasoning


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A call that was answered.

    Args:
        body: The message.
        reply: Its parts.
        use: How its prompt met the prompt cache.
    """

    body: dict[str, Any]
    reply: Reply
    use: CacheUse


class Exchange:
    """Answers calls.

    Args:
        control: The shared state.
        answerer: Where answers come from.
    """

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
        """Answer a valid request, as slowly as is set.

        Args:
            request: What is asked.
            scope: Who asks: keys share no prompt cache.
            faults: What goes wrong with the answer.
            message_id: Of the answer.
            batch: Without rate limits and delay.

        Raises:
            ApiError: A limit is reached, or a file cannot be read.
        """
        control, started = self._control, self._control.clock()
        model = request.model
        use, pending = control.prompt_cache.use(
            f"{scope}\x00{model.id}", request.blocks, minimum=model.cacheable, now=started
        )
        counted = use.uncached + use.written
        if not batch:
            control.admit(model.id, counted)
        made = await self._reply(request, faults)
        base = control.latency_of(model.id).draw(control.random, 0)
        total = base + control.latency_of(model.id).per_token * made.output_tokens
        total += sum(fault.seconds for fault in faults if fault.kind == "slow")
        pending.begins(started if batch else started + base)
        if not batch:
            control.limiter(model.id).settle(
                estimated_input=counted,
                input_tokens=counted,
                output_tokens=made.output_tokens,
                now=control.clock(),
            )
            await self._wait_until(started + total)
        tier = "batch" if batch else "standard"
        return Exchanged(made.message(request, use, message_id, tier), made, use)

    async def _reply(self, request: MessageRequest, faults: Sequence[Fault]) -> Reply:
        if asks_for_reasoning(request):
            return refusal("reasoning_extraction")
        if not request.max_tokens:
            return nothing(request)
        for fault in faults:
            if fault.kind == "refusal":
                return refusal(fault.category)
        made = reply(request, await self._answerer.answer(request))
        for fault in faults:
            if fault.kind in AFTER:
                made = spoil(made, fault.kind, self._control.random)
        return made

    async def _wait_until(self, moment: float) -> None:
        left = moment - self._control.clock()
        if left > 0:
            await asyncio.sleep(left)


def served(
    request: MessageRequest,
    exchanged: Exchanged,
    *,
    at: float,
    seconds: float,
    caller: str | None = None,
    mark: str | None = None,
    endpoint: str = "messages",
    custom_id: str | None = None,
    outcome: str = "answered",
    status: int = 200,
) -> Served:
    """The line of the ledger."""
    made, use = exchanged.reply, exchanged.use
    return Served(
        at=at,
        endpoint=endpoint,
        model=request.model.id,
        status=status,
        outcome=outcome if made.stop_reason != "refusal" else "refusal",
        billed=made.billed,
        digest=request.digest,
        caller=caller,
        mark=mark,
        custom_id=custom_id,
        seconds=round(seconds, 6),
        input_tokens=use.uncached,
        cache_read_tokens=use.read,
        cache_write_5m_tokens=use.written_5m,
        cache_write_1h_tokens=use.written_1h,
        output_tokens=made.output_tokens,
    )


def scope_of(key: str) -> str:
    """What stands for an API key: the key itself is kept nowhere."""
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).hexdigest()


MAX_BODY = 32 * 1024 * 1024
MAX_BATCH_BODY = 256 * 1024 * 1024
_FOREVER = 3600.0
_RATE_LIMITED = 429
_BAD_GATEWAY = 502


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in.

    Args:
        http: The HTTP request.
        request_id: For the `request-id` header.
        scope: Stands for the API key.
        body: The parsed JSON of a POST.
        model: The model that it names, unchecked.
        faults: What goes wrong with its answer.
        started: When it came.
    """

    http: web.Request
    request_id: str
    scope: str
    body: Any
    model: str | None
    faults: Sequence[Fault]
    started: float

    @property
    def headers(self) -> dict[str, str]:
        """What every response carries."""
        return {"request-id": self.request_id}


Work = Callable[[Call], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gate:
    """Lets calls in.

    Args:
        control: The shared state.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._ids = itertools.count(1)
        # Ids of one start must not come back after a restart: clients keep them.
        self._run = secrets.token_hex(4)

    def new_id(self, kind: str) -> str:
        """An id that no other start gives out."""
        return f"{kind}_simulated_{self._run}{next(self._ids):010d}"

    def guard(self, endpoint: str, work: Work, *, limit: int = MAX_BODY) -> Handler:
        """Make a handler: `work` sees only calls that are let in.

        Args:
            endpoint: Its name in the ledger.
            work: Answers, or raises `ApiError`.
            limit: Bytes of a body at most.
        """

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
                    return await self._fail(http, before, endpoint, model, request_id)
                self._control.check_account()
                return await work(Call(http, request_id, scope, body, model, faults, started))
            except ApiError as error:
                self.note(endpoint, model, error.status, error.kind)
                return self._error(error, request_id, model)

        return handler

    def note(self, endpoint: str, model: str | None, status: int, outcome: str) -> None:
        """Write a line of the ledger for what was not billed."""
        at = self._control.clock() - self._control.started
        self._control.ledger.add(
            Served(at=at, endpoint=endpoint, model=model, status=status, outcome=outcome)
        )

    async def lose(self, call: Call, fault: Fault) -> web.StreamResponse:
        """What comes back in place of a response, when the work is done."""
        if fault.kind == "lost_hang":
            await asyncio.sleep(_FOREVER)
        if fault.kind == "lost_html":
            return wire.page(_BAD_GATEWAY)
        if (error := wire.error_of(fault)) is not None:
            return self._error(error, call.request_id, call.model)
        return wire.cut(call.http)

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

    async def _fail(
        self, http: web.Request, fault: Fault, endpoint: str, model: str | None, request_id: str
    ) -> web.StreamResponse:
        """What happens instead of an answer."""
        if (error := wire.error_of(fault)) is not None:
            self.note(endpoint, model, error.status, fault.kind)
            return self._error(error, request_id, model)
        if fault.kind in {"html", "html_ok"}:
            status = 502 if fault.kind == "html" else 200
            self.note(endpoint, model, status, fault.kind)
            return wire.page(status)
        self.note(endpoint, model, 0, fault.kind)
        if fault.kind == "hang":
            await asyncio.sleep(_FOREVER)
        return wire.cut(http)

    def _error(self, error: ApiError, request_id: str, model: str | None) -> web.Response:
        headers = {"request-id": request_id, **error.headers()}
        if model is not None and error.status == _RATE_LIMITED:
            headers |= self._control.limit_headers(model)
        return wire.answer(error.body(request_id), headers, status=error.status)


def _model_name(body: Any) -> str | None:  # noqa: ANN401 - not yet checked
    name = body.get("model") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _text_of(body: Any) -> str:  # noqa: ANN401 - not yet checked
    """What the messages of a request say."""
    messages = body.get("messages") if isinstance(body, dict) else None
    texts: list[str] = []
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        blocks = content if isinstance(content, list) else [{"text": content}]
        texts += [str(block.get("text") or "") for block in blocks if isinstance(block, dict)]
    return "\n".join(texts)


async def _json(http: web.Request, limit: int) -> Any:  # noqa: ANN401 - any JSON value
    raw = await http.read()
    if len(raw) > limit:
        raise ApiError(413, "Request exceeds the maximum allowed number of bytes.")
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
