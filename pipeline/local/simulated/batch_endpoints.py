"""The endpoints of message batches."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from pipeline.local.simulated import wire
from pipeline.local.simulated.answering.files import FileReader
from pipeline.local.simulated.batches import Batch, Batches, check_params, read_submission
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.endpoints import read_request
from pipeline.local.simulated.errors import ApiError, invalid
from pipeline.local.simulated.exchange import Exchange, served
from pipeline.local.simulated.gate import MAX_BATCH_BODY, Call, Gate

_PATH = "/v1/messages/batches"
_PAGE = 20
_LARGEST_PAGE = 1000


class BatchEndpoints:
    """Serves calls about batches.

    Args:
        control: The shared state.
        gate: Lets calls in.
        exchange: Answers the requests in batches.
        files: Opens PDF files.
    """

    def __init__(self, control: Control, gate: Gate, exchange: Exchange, files: FileReader) -> None:
        self._control = control
        self._gate = gate
        self._exchange = exchange
        self._files = files
        self._batches = Batches(self._process, lambda: control.batch_seconds)

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        guard = self._gate.guard
        return [
            web.post(_PATH, guard("batches", self._create, limit=MAX_BATCH_BODY)),
            web.get(_PATH, guard("batches", self._list)),
            web.get(f"{_PATH}/{{id}}", guard("batches", self._retrieve)),
            web.post(f"{_PATH}/{{id}}/cancel", guard("batches", self._cancel)),
            web.get(f"{_PATH}/{{id}}/results", guard("batches", self._results)),
            web.delete(f"{_PATH}/{{id}}", guard("batches", self._delete)),
        ]

    async def close(self) -> None:
        """Stop what is being processed."""
        await self._batches.close()

    async def _create(self, call: Call) -> web.StreamResponse:
        requests = read_submission(call.body)
        batch = self._batches.submit(self._gate.new_id("msgbatch"), call.scope, requests)
        lost = self._control.faults.draw_lost(None, self._control.clock())
        if lost is not None:
            self._gate.note("batches", None, wire.status_of(lost), lost.kind)
            return await self._gate.lose(call, lost)
        self._gate.note("batches", None, 200, "submitted")
        return self._show(call, batch)

    async def _retrieve(self, call: Call) -> web.StreamResponse:
        return self._show(call, self._batches.get(call.http.match_info["id"], call.scope))

    async def _cancel(self, call: Call) -> web.StreamResponse:
        return self._show(call, self._batches.cancel(call.http.match_info["id"], call.scope))

    async def _delete(self, call: Call) -> web.StreamResponse:
        batch_id = call.http.match_info["id"]
        self._batches.delete(batch_id, call.scope)
        return wire.answer({"id": batch_id, "type": "message_batch_deleted"}, call.headers)

    async def _results(self, call: Call) -> web.StreamResponse:
        body = self._batches.results(call.http.match_info["id"], call.scope)
        return web.Response(body=body, content_type="application/x-jsonl", headers=call.headers)

    async def _list(self, call: Call) -> web.StreamResponse:
        query = call.http.query
        limit = _page_size(query.get("limit"))
        batches = self._batches.listed(call.scope)
        if after := query.get("after_id"):
            page = batches[_position(batches, after) + 1 :]
            shown, more = page[:limit], len(page) > limit
        elif before := query.get("before_id"):
            page = batches[: _position(batches, before)]
            shown, more = page[-limit:], len(page) > limit
        else:
            shown, more = batches[:limit], len(batches) > limit
        body = {
            "data": [batch.as_json(_base_url(call)) for batch in shown],
            "has_more": more,
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
        }
        return wire.answer(body, call.headers)

    def _show(self, call: Call, batch: Batch) -> web.Response:
        return wire.answer(batch.as_json(_base_url(call)), call.headers)

    async def _process(self, scope: str, custom_id: str, params: Any) -> dict[str, Any]:  # noqa: ANN401
        """Answer one request of a batch: what is wrong with it is its result."""
        control, started = self._control, self._control.clock()
        faults = control.faults.draw_for_batch(_name_of(params), started)
        if any(fault.kind == "expired" for fault in faults):
            return {"type": "expired"}
        try:
            check_params(params, failing=any(fault.kind == "errored" for fault in faults))
            request = await read_request(params, self._files)
            made = await self._exchange.run(
                request, scope, faults, message_id=self._gate.new_id("msg"), batch=True
            )
        except ApiError as error:
            self._gate.note("batch", _name_of(params), error.status, error.kind)
            return {"type": "errored", "error": error.body(self._gate.new_id("req"))}
        control.ledger.add(
            served(
                request,
                made,
                at=started - control.started,
                seconds=control.clock() - started,
                caller=scope,
                mark=control.mark_of(request),
                endpoint="batch",
                custom_id=custom_id,
                outcome=next((fault.kind for fault in faults), "answered"),
            )
        )
        return {"type": "succeeded", "message": made.body}


def _name_of(params: Any) -> str | None:  # noqa: ANN401 - not yet checked
    name = params.get("model")
    return name if isinstance(name, str) else None


def _page_size(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not text.isdigit() or not 1 <= int(text) <= _LARGEST_PAGE:
        raise invalid("limit", f"must be from 1 to {_LARGEST_PAGE}")
    return int(text)


def _position(batches: Sequence[Batch], batch_id: str) -> int:
    for position, batch in enumerate(batches):
        if batch.id == batch_id:
            return position
    raise ApiError(404, f"Message batch {batch_id} not found")


def _base_url(call: Call) -> str:
    return f"{call.http.scheme}://{call.http.host}"
