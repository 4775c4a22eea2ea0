"""The batch endpoints in memory, with a ledger of what was paid, and processes that die at them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from pipeline.claude.message_batches import PATH
from pipeline.claude.responses import HttpReply, NoReply

Step = Callable[[str], Awaitable[None]]
"""Called with everything a process does that others can see, before it takes effect; may raise."""
Result = Literal["succeeded", "errored", "expired", "canceled"]

EPOCH = datetime(2026, 11, 25, tzinfo=UTC)


def now() -> datetime:
    """The time of day in a world of virtual time."""
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


@dataclass
class MadeBatch:
    """A batch that was taken."""

    id: str
    requests: list[dict[str, Any]]
    created_at: datetime
    ends_at: datetime

    @property
    def has_ended(self) -> bool:
        return now() >= self.ends_at

    def shown(self) -> dict[str, Any]:
        ended = self.has_ended
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if ended else "processing"] = len(self.requests)
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": self.created_at.isoformat(),
            "expires_at": (self.created_at + timedelta(days=1)).isoformat(),
            "ended_at": self.ends_at.isoformat() if ended else None,
        }


@dataclass
class BatchApi:
    """One workspace of the API.

    Args:
        takes: Seconds from the hand-in of a batch to its end.
        listed_after: Seconds until a batch shows up in the list.
        answer: What a request's content comes to; `None` for a request that is not answered.
        fate: What becomes of a request in a batch.
    """

    answer: Callable[[dict[str, Any]], dict[str, Any]]
    takes: float = 60.0
    listed_after: float = 0.0
    fate: Callable[[dict[str, Any]], Result] = lambda _: "succeeded"
    batches: list[MadeBatch] = field(default_factory=list)
    asked_alone: list[dict[str, Any]] = field(default_factory=list)
    lose_replies: int = 0
    replies_after: float = 0.0

    def client(self, step: Step) -> "ApiClient":
        return ApiClient(self, step)

    def paid(self) -> Counter[str]:
        """How often each custom id was handed in."""
        return Counter(request["custom_id"] for batch in self.batches for request in batch.requests)

    def make(self, requests: list[dict[str, Any]]) -> MadeBatch:
        made = MadeBatch(
            f"msgbatch_{len(self.batches)}", requests, now(), now() + timedelta(seconds=self.takes)
        )
        self.batches.append(made)
        return made


class ApiClient:
    """One process's way to it: a `pipeline.claude.client.Client`."""

    def __init__(self, api: BatchApi, step: Step) -> None:
        self._api = api
        self._step = step

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        await self._step("ask")
        request = orjson.loads(body)
        self._api.asked_alone.append(request)
        return _ok(message(self._api.answer(request), "standard"))

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        assert path == PATH
        await self._step("submit")
        made = self._api.make(orjson.loads(body)["requests"])
        if self._api.lose_replies > 0:
            self._api.lose_replies -= 1
            return NoReply("timed_out", "no answer", sent=True)
        await asyncio.sleep(self._api.replies_after)
        return _ok(made.shown())

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply:
        await self._step("get")
        if path.startswith(f"{PATH}?"):
            late = timedelta(seconds=self._api.listed_after)
            listed = [b.shown() for b in self._api.batches if b.created_at + late <= now()]
            return _ok({"data": listed[::-1], "has_more": False, "last_id": None})
        wanted = path.rpartition("/")[2]
        for made in self._api.batches:
            if made.id == wanted:
                return _ok(made.shown())
        return HttpReply(404, {}, b'{"type":"error","error":{"type":"not_found_error"}}')

    async def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        await self._step("results")
        wanted = path.split("/")[-2]
        (made,) = [each for each in self._api.batches if each.id == wanted]
        for request in reversed(made.requests):
            result: dict[str, Any] = {"type": self._api.fate(request)}
            if result["type"] == "succeeded":
                result["message"] = message(self._api.answer(request["params"]), "batch")
            line = {"custom_id": request["custom_id"], "result": result}
            yield orjson.dumps(line).decode()


def message(answer: dict[str, Any], tier: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": orjson.dumps(answer).decode()}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 100, "output_tokens": 20, "service_tier": tier},
    }


def _ok(document: dict[str, Any]) -> HttpReply:
    return HttpReply(200, {}, orjson.dumps(document))
