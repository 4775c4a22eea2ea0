"""Message batches: what was submitted, how far it is, what came of it.

The endpoints of message batches.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
from aiohttp import web

from pipeline.local.simulated import wire
from pipeline.local.simulated.api_errors import ApiError, invalid
from pipeline.local.simulated.control import Control
from pipeline.local.simulated.exchange import (
    MAX_BATCH_BODY,
    Call,
    Exchange,
    Gate,
    read_request,
    served,
)
from pipeline.local.simulated.stand_in.file_text import FileReader

MAX_REQUESTS = 100_000
LIFETIME = timedelta(hours=24)
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_BREATH = 20
"""Requests after which other work gets its turn."""
Outcome = Literal["succeeded", "errored", "canceled", "expired"]
Process = Callable[[str, str, Any], Awaitable[dict[str, Any]]]
"""Who asks, custom id and params of one request in; its `result` out."""


@dataclass(slots=True)
class Batch:
    """A batch."""

    id: str
    scope: str
    requests: list[tuple[str, Any]]
    size: int
    created_at: datetime
    lines: list[bytes] = field(default_factory=list)
    counts: dict[Outcome, int] = field(default_factory=dict)
    cancel_at: datetime | None = None
    ended_at: datetime | None = None

    def as_json(self, base_url: str) -> dict[str, Any]:
        ended = self.ended_at is not None
        counts = {name: self.counts.get(name, 0) if ended else 0 for name in _OUTCOMES}
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


_OUTCOMES: Sequence[Outcome] = ("succeeded", "errored", "canceled", "expired")


class Batches:
    """All batches of one start of the server."""

    def __init__(
        self,
        process: Process,
        seconds: Callable[[], float],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        keep: int = 1000,
    ) -> None:
        self._process = process
        self._seconds = seconds
        self._now = now
        self._keep = keep
        self._batches: dict[str, Batch] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._cancelled: dict[str, asyncio.Event] = {}

    def submit(self, batch_id: str, scope: str, requests: Sequence[tuple[str, Any]]) -> Batch:
        batch = Batch(batch_id, scope, list(requests), len(requests), self._now())
        self._batches[batch_id] = batch
        self._cancelled[batch_id] = asyncio.Event()
        self._work[batch_id] = asyncio.create_task(self._run(batch))
        self._drop_oldest()
        return batch

    def get(self, batch_id: str, scope: str) -> Batch:
        """A batch of one's own."""
        batch = self._batches.get(batch_id)
        if batch is None or batch.scope != scope:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def listed(self, scope: str) -> list[Batch]:
        return [b for b in reversed(self._batches.values()) if b.scope == scope]

    def cancel(self, batch_id: str, scope: str) -> Batch:
        batch = self.get(batch_id, scope)
        if batch.ended_at is None and batch.cancel_at is None:
            batch.cancel_at = self._now()
            self._cancelled[batch_id].set()
        return batch

    def delete(self, batch_id: str, scope: str) -> None:
        """Forget a batch that has ended."""
        if self.get(batch_id, scope).ended_at is None:
            raise ApiError(400, f"Message batch {batch_id} cannot be deleted while in progress")
        del self._batches[batch_id]

    def results(self, batch_id: str, scope: str) -> bytes:
        """The results, a line each, in no promised order."""
        batch = self.get(batch_id, scope)
        if batch.ended_at is None:
            raise ApiError(400, f"Message batch {batch.id} has no results yet")
        return b"".join(batch.lines)

    async def close(self) -> None:
        work = list(self._work.values())
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def _run(self, batch: Batch) -> None:
        cancelled = self._cancelled[batch.id]
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds()
        try:
            # The answers are not shown before the end, so they can be made at the end: until
            # then a batch can be cancelled as a whole.
            await _within(cancelled, end - loop.time())
            for number, (custom_id, params) in enumerate(batch.requests):
                if number % _BREATH == 0:
                    await asyncio.sleep(0)
                if cancelled.is_set():
                    result: dict[str, Any] = {"type": "canceled"}
                else:
                    result = await self._process(batch.scope, custom_id, params)
                kind: Outcome = result["type"]
                batch.counts[kind] = batch.counts.get(kind, 0) + 1
                batch.lines.append(orjson.dumps({"custom_id": custom_id, "result": result}) + b"\n")
            batch.requests.clear()
            batch.ended_at = self._now()
        finally:
            self._work.pop(batch.id, None)
            self._cancelled.pop(batch.id, None)

    def _drop_oldest(self) -> None:
        ended = [batch.id for batch in self._batches.values() if batch.ended_at is not None]
        for batch_id in ended[: max(0, len(self._batches) - self._keep)]:
            del self._batches[batch_id]


def read_submission(body: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - not yet checked
    """Check what is checked at once: the ids. The requests themselves fail one by one, later."""
    requests = body.get("requests") if isinstance(body, Mapping) else None
    if not isinstance(requests, list) or not requests:
        raise invalid("requests", "at least one request is required")
    if len(requests) > MAX_REQUESTS:
        raise invalid("requests", f"at most {MAX_REQUESTS} requests are allowed")
    seen: set[str] = set()
    for i, request in enumerate(requests):
        custom_id = request.get("custom_id") if isinstance(request, Mapping) else None
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise invalid(f"requests.{i}.custom_id", f"must match {_CUSTOM_ID.pattern}")
        if custom_id in seen:
            raise invalid(f"requests.{i}.custom_id", f"{custom_id!r} is not unique")
        if not isinstance(request.get("params"), Mapping):
            raise invalid(f"requests.{i}.params", "Field required")
        seen.add(custom_id)
    return [(request["custom_id"], request["params"]) for request in requests]


def check_params(params: Mapping[str, Any], *, failing: bool = False) -> None:
    """What a request in a batch may not have."""
    if failing:
        raise ApiError(500, "Internal server error")
    for name in ("stream", "speed"):
        if params.get(name):
            raise invalid(name, "is not supported in batches")
    if params.get("max_tokens") == 0:
        raise invalid("max_tokens", "0 is not supported in batches")


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return


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
        self._batches = Batches(self._process, lambda: control.batch_seconds)

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
