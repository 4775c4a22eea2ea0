"""Message batches: what was submitted, how far it is, what came of it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from pipeline.local.simulated.errors import ApiError, invalid

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
    """A batch.

    Args:
        id: Its id.
        scope: Who submitted it.
        requests: Custom id and params of each; emptied once they are processed.
        size: How many there are.
        created_at: When it was submitted.
        lines: Its results, once it has ended.
        counts: Its requests by outcome, once it has ended.
        cancel_at: When it was told to stop.
        ended_at: When it ended.
    """

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
        """As the API shows it."""
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
    """All batches of one start of the server.

    Args:
        process: Answers one request.
        seconds: From submission to end, at least.
        now: The time of day.
        keep: Ended batches that are kept; the oldest go beyond.
    """

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
        """Take a batch, and begin with it."""
        batch = Batch(batch_id, scope, list(requests), len(requests), self._now())
        self._batches[batch_id] = batch
        self._cancelled[batch_id] = asyncio.Event()
        self._work[batch_id] = asyncio.create_task(self._run(batch))
        self._drop_oldest()
        return batch

    def get(self, batch_id: str, scope: str) -> Batch:
        """A batch of one's own.

        Raises:
            ApiError: 404.
        """
        batch = self._batches.get(batch_id)
        if batch is None or batch.scope != scope:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def listed(self, scope: str) -> list[Batch]:
        """One's own batches, newest first."""
        return [b for b in reversed(self._batches.values()) if b.scope == scope]

    def cancel(self, batch_id: str, scope: str) -> Batch:
        """Stop a batch: what is not processed is canceled."""
        batch = self.get(batch_id, scope)
        if batch.ended_at is None and batch.cancel_at is None:
            batch.cancel_at = self._now()
            self._cancelled[batch_id].set()
        return batch

    def delete(self, batch_id: str, scope: str) -> None:
        """Forget a batch that has ended.

        Raises:
            ApiError: 400 while it is being processed.
        """
        if self.get(batch_id, scope).ended_at is None:
            raise ApiError(400, f"Message batch {batch_id} cannot be deleted while in progress")
        del self._batches[batch_id]

    def results(self, batch_id: str, scope: str) -> bytes:
        """The results, a line each, in no promised order.

        Raises:
            ApiError: 400, as long as it has not ended.
        """
        batch = self.get(batch_id, scope)
        if batch.ended_at is None:
            raise ApiError(400, f"Message batch {batch.id} has no results yet")
        return b"".join(batch.lines)

    async def close(self) -> None:
        """Stop what is being processed."""
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
    """Check what is checked at once: the ids. The requests themselves fail one by one, later.

    Raises:
        ApiError: 400.
    """
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
    """What a request in a batch may not have.

    Args:
        params: Of the request.
        failing: Whether it fails whatever it has.

    Raises:
        ApiError: 400, or 500 where it fails.
    """
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
