"""The endpoints of single messages: create, count tokens, and the models there are."""

from typing import Any

import orjson
from aiohttp import web

from pipeline.local.simulated import catalogue, wire
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.exchange import Call, Exchange, Gate, served
from pipeline.local.simulated.request import MessageRequest
from pipeline.local.simulated.stand_in.files import FileReader, count_pdf_tokens
from pipeline.local.simulated.validation import read_message
from pipeline.local.simulated.wire import events_of


class Endpoints:
    """Serves calls that were let in.

    Args:
        control: The shared state.
        gate: Lets calls in.
        exchange: Answers them.
        files: Opens PDF files.
    """

    def __init__(self, control: Control, gate: Gate, exchange: Exchange, files: FileReader) -> None:
        self._control = control
        self._gate = gate
        self._exchange = exchange
        self._files = files

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
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
        lost = control.faults.draw_lost(request.model.id, control.clock())
        midway = any(fault.kind == "disconnect_midway" for fault in call.faults)
        control.ledger.add(
            served(
                request,
                made,
                at=call.started - control.started,
                seconds=control.clock() - call.started,
                caller=call.scope,
                mark=control.mark_of(request),
                outcome=lost.kind
                if lost is not None
                else next((f.kind for f in call.faults if f.kind != "slow"), "answered"),
                status=wire.status_of(lost) if lost is not None else 0 if midway else 200,
            )
        )
        if lost is not None:
            return await self._gate.lose(call, lost)
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
        body = catalogue.listed() if name is None else catalogue.one(name)
        self._gate.note("models", None, 200, "answered")
        return wire.answer(body, call.headers)


async def read_request(
    body: Any,  # noqa: ANN401 - not yet checked
    files: FileReader,
    *,
    counting: bool = False,
) -> MessageRequest:
    """Check a request's body.

    Raises:
        ApiError: What is wrong with it.
    """

    def read() -> MessageRequest:
        return read_message(body, count_pdf_tokens, counting=counting)

    # Only PDF files have to be opened before they can be counted, and that is slow.
    return await files.run(read) if _has_document(body) else read()


def _has_document(body: Any) -> bool:  # noqa: ANN401 - not yet checked
    messages = body.get("messages") if isinstance(body, dict) else None
    return isinstance(messages, list) and any(
        isinstance(block, dict) and block.get("type") == "document"
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    )
