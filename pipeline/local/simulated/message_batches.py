"""Message batches: what was submitted, how far it is, what came of it; and their endpoints."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from aiohttp import web
from pydantic import Field

from pipeline.local.simulated import wire
from pipeline.local.simulated.api_errors import ApiError, Shape, invalid, read_shape
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.exchange import MAX_BATCH_BODY, Call, Exchange, Gate, read_request
from pipeline.local.simulated.injected_faults import IN_BATCH_REQUESTS, LOST
from pipeline.local.simulated.stand_in.file_text import FileReader

MAX_REQUESTS = 100_000
LIFETIME = timedelta(hours=24)
_BREATH = 20
"""Requests after which other work gets its turn."""
_KEPT = 1000
_OUTCOMES = ("succeeded", "errored", "canceled", "expired")


@dataclass(slots=True)
class Batch:
    id: str
    scope: str
    requests: list[tuple[str, Any]]
    size: int
    created_at: datetime
    lines: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    cancel_at: datetime | None = None
    ended_at: datetime | None = None

    def as_json(self, base_url: str) -> dict[str, Any]:
        ended = self.ended_at is not None
        counts = {name: self.counts[name] if ended else 0 for name in _OUTCOMES}
        status = "ended" if ended else "in_progress" if self.cancel_at is None else "canceling"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if ended else self.size, **counts},
            "created_at": _rfc3339(self.created_at),
            "expires_at": _rfc3339(self.created_at + LIFETIME),
            "ended_at": _rfc3339(self.ended_at),
            "cancel_initiated_at": _rfc3339(self.cancel_at),
            "archived_at": None,
            "results_url": f"{base_url}/v1/messages/batches/{self.id}/results" if ended else None,
        }


class _Request(Shape):
    custom_id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    params: dict[str, Any]


class _Submission(Shape):
    requests: list[_Request] = Field(min_length=1, max_length=MAX_REQUESTS)


def read_submission(body: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - not yet checked
    """Check what is checked at once: the ids. The requests themselves fail one by one, later."""
    requests = read_shape(_Submission, body).requests
    seen: set[str] = set()
    for i, request in enumerate(requests):
        if request.custom_id in seen:
            raise invalid(f"requests.{i}.custom_id", f"{request.custom_id!r} is not unique")
        seen.add(request.custom_id)
    return [(request.custom_id, request.params) for request in requests]


def check_params(params: Mapping[str, Any], *, failing: bool = False) -> None:
    """What a request in a batch may not have."""
    if failing:
        raise ApiError(500, "Internal server error")
    for name in ("stream", "speed"):
        if params.get(name):
            raise invalid(name, "is not supported in batches")
    if params.get("max_tokens") == 0:
        raise invalid("max_tokens", "0 is not supported in batches")


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_PATH = "/v1/messages/batches"
_PAGE = 20
_LARGEST_PAGE = 1000


class BatchEndpoints:
    """Serves calls about batches."""

    def __init__(self, control: Control, gate: Gate, exchange: Exchange, files: FileReader) -> None:
        self._control = control
        self._gate = gate
        self._exchange = exchange
        self._files = files
        self._batches: dict[str, Batch] = {}
        self._work: dict[str, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
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
        work = list(self._work.values())
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def _create(self, call: Call) -> web.StreamResponse:
        requests = read_submission(call.body)
        batch = Batch(
            self._gate.new_id("msgbatch"), call.scope, requests, len(requests), datetime.now(UTC)
        )
        self._batches[batch.id] = batch
        self._work[batch.id] = asyncio.create_task(self._run(batch))
        self._drop_oldest()
        lost = self._control.faults.draw(None, self._control.clock(), kinds=LOST)
        if lost:
            self._gate.note("batches", None, wire.status_of(lost[0]), lost[0].kind)
            return await self._gate.fail(call.http, lost[0], call.request_id, call.model)
        self._gate.note("batches", None, 200, "submitted")
        return self._show(call, batch)

    def _drop_oldest(self) -> None:
        ended = [batch.id for batch in self._batches.values() if batch.ended_at is not None]
        for batch_id in ended[: max(0, len(self._batches) - _KEPT)]:
            del self._batches[batch_id]

    def _asked(self, call: Call) -> Batch:
        """The batch that a call is about, if it is one of the caller's own."""
        batch_id = call.http.match_info["id"]
        batch = self._batches.get(batch_id)
        if batch is None or batch.scope != call.scope:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    async def _retrieve(self, call: Call) -> web.StreamResponse:
        return self._show(call, self._asked(call))

    async def _cancel(self, call: Call) -> web.StreamResponse:
        batch = self._asked(call)
        if batch.ended_at is None and batch.cancel_at is None:
            batch.cancel_at = datetime.now(UTC)
            batch.cancelled.set()
        return self._show(call, batch)

    async def _delete(self, call: Call) -> web.StreamResponse:
        batch = self._asked(call)
        if batch.ended_at is None:
            raise ApiError(400, f"Message batch {batch.id} cannot be deleted while in progress")
        del self._batches[batch.id]
        return wire.answer({"id": batch.id, "type": "message_batch_deleted"}, call.headers)

    async def _results(self, call: Call) -> web.StreamResponse:
        batch = self._asked(call)
        if batch.ended_at is None:
            raise ApiError(400, f"Message batch {batch.id} has no results yet")
        body = b"".join(batch.lines)
        return web.Response(body=body, content_type="application/x-jsonl", headers=call.headers)

    async def _list(self, call: Call) -> web.StreamResponse:
        query = call.http.query
        limit = _page_size(query.get("limit"))
        batches = [b for b in reversed(self._batches.values()) if b.scope == call.scope]
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

    async def _run(self, batch: Batch) -> None:
        try:
            # The answers are not shown before the end, so they can be made at the end: until
            # then a batch can be cancelled as a whole.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._control.batch_seconds):
                    await batch.cancelled.wait()
            for number, (custom_id, params) in enumerate(batch.requests):
                if number % _BREATH == 0:
                    await asyncio.sleep(0)
                result: dict[str, Any] = {"type": "canceled"}
                if not batch.cancelled.is_set():
                    result = await self._process(batch.scope, custom_id, params)
                batch.counts[result["type"]] += 1
                batch.lines.append(orjson.dumps({"custom_id": custom_id, "result": result}) + b"\n")
            batch.requests.clear()
            batch.ended_at = datetime.now(UTC)
        finally:
            del self._work[batch.id]

    async def _process(self, scope: str, custom_id: str, params: Any) -> dict[str, Any]:  # noqa: ANN401
        """Answer one request of a batch: what is wrong with it is its result."""
        control, started = self._control, self._control.clock()
        faults = control.faults.draw(_name_of(params), started, kinds=IN_BATCH_REQUESTS)
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
        self._exchange.note(
            request,
            made,
            scope,
            started,
            outcome=faults[0].kind if faults else "answered",
            endpoint="batch",
            custom_id=custom_id,
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
    found = (position for position, batch in enumerate(batches) if batch.id == batch_id)
    if (position := next(found, None)) is None:
        raise ApiError(404, f"Message batch {batch_id} not found")
    return position


def _base_url(call: Call) -> str:
    return f"{call.http.scheme}://{call.http.host}"
