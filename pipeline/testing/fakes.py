"""An asker and a client without an API, for tests of whatever asks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from typing import Any

import orjson
from pydantic import BaseModel

from pipeline.claude.responses import HttpReply, NoReply
from pipeline.model.questions import AnswerT, Question, Response
from pipeline.model.records import Tier, Usage
from pipeline.operators.trust_topic import TrustRecord


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put to the fake."""

    question: Question[Any]
    tier: Tier
    max_output_tokens: int | None


FAKE_USAGE = Usage(calls=1, input_tokens=100, output_tokens=20, cost_usd=Decimal("0.00002"))
"""What each answer of the fake costs."""


@dataclass(eq=False)
class FakeAsker:
    """Answers at once as a test says; remembers what it was asked in `asked`.

    Args:
        answer: Returns the answer to a question; what it raises is raised, for instance a
            `pipeline.model.errors.Refused`.
        model: The model that answers, by tier.
    """

    answer: Callable[[Question[Any], Tier], BaseModel]
    _: KW_ONLY
    model: Callable[[Tier], str] = lambda tier: f"fake-{tier.value}"
    asked: list[Asked] = field(default_factory=list, init=False)

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        self.asked.append(Asked(question, tier, max_output_tokens))
        answer = self.answer(question, tier)
        if not isinstance(answer, question.answer_model):
            raise TypeError(f"{question.stage} asks for a {question.answer_model.__name__}")
        return Response(answer=answer, model=self.model(tier), usage=FAKE_USAGE, seconds=0.0)


@dataclass(eq=False)
class FakeClient:
    """A `pipeline.claude.client.Client` without a network.

    Args:
        answer: Makes the response to a request, given as parsed JSON.
        seconds: That a response takes.
    """

    answer: Callable[[dict[str, Any]], HttpReply | NoReply]
    _: KW_ONLY
    seconds: Callable[[], float] = lambda: 0.0
    sent: list[dict[str, Any]] = field(default_factory=list, init=False)
    sent_at: list[float] = field(default_factory=list, init=False)
    in_flight: int = field(default=0, init=False)

    async def send(self, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        request: dict[str, Any] = orjson.loads(body)
        self.sent.append(request)
        self.sent_at.append(asyncio.get_running_loop().time())
        takes = self.seconds()
        self.in_flight += 1
        try:
            await asyncio.sleep(min(takes, seconds))
        finally:
            self.in_flight -= 1
        if takes > seconds:
            return NoReply("timed_out", f"no answer within {seconds:.0f} s", sent=True)
        return self.answer(request)

    async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
        """Count bytes as tokens; there is nothing else."""
        del seconds
        if path.endswith("/count_tokens"):
            return HttpReply(200, {}, b'{"input_tokens":%d}' % len(body))
        return _NOT_FOUND

    async def get(self, path: str, *, seconds: float) -> HttpReply | NoReply:
        """Know every model, and nothing else."""
        del seconds
        found, _, model = path.rpartition("/")
        if found == "/v1/models":
            return HttpReply(200, {}, orjson.dumps({"type": "model", "id": model}))
        return _NOT_FOUND

    async def lines(
        self, path: str, *, seconds: float
    ) -> AsyncGenerator[str | HttpReply | NoReply, None]:
        del path, seconds
        yield _NOT_FOUND


@dataclass(eq=False)
class MemoryFollower:
    """A `pipeline.operators.trust_topic.Follower` of what a test adds, before or meanwhile."""

    _records: list[TrustRecord] = field(default_factory=list, init=False)
    _added: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def add(self, *records: TrustRecord) -> None:
        self._records += records
        self._added.set()

    async def __call__(self) -> AsyncGenerator[TrustRecord, None]:
        at = 0
        while True:
            while at < len(self._records):
                at += 1
                yield self._records[at - 1]
            self._added.clear()
            await self._added.wait()


_NOT_FOUND = HttpReply(
    404, {}, b'{"type":"error","error":{"type":"not_found_error","message":"Not found."}}'
)


def message(
    answer: BaseModel | Mapping[str, Any],
    *,
    model: str = "claude-haiku-5-5",
    usage: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpReply:
    """A response of the Messages API that carries an answer."""
    data = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else dict(answer)
    body = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": orjson.dumps(data).decode()}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 100, "output_tokens": 20, **(usage or {})},
    }
    return HttpReply(200, headers or {}, orjson.dumps(body))
