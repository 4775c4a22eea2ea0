"""The gateway: every question of every stage passes through it to a model and back."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pipeline.claude import failures
from pipeline.claude.backoff import Backoff
from pipeline.claude.client import Client, HttpReply, NoReply, SdkClient
from pipeline.claude.enums import EnumRepair
from pipeline.claude.failures import Blocked, Failure, Reject, Retry
from pipeline.claude.observer import ClaudeObserver, NoObserver
from pipeline.claude.prices import PriceTable
from pipeline.claude.responses import Answered, Bill, Garbled, Unusable, read_response
from pipeline.claude.templates import Templates
from pipeline.errors import AnswerError, CutOff, Malformed, Refused, Rejected
from pipeline.events import Tier, Usage
from pipeline.questions import AnswerT, Question, Reply
from pipeline.settings import Settings

PROBE_SECONDS = 15.0
"""Between attempts while no call can succeed; each costs nothing."""
_ERRORS: dict[str, type[AnswerError]] = {
    "refused": Refused,
    "cut_off": CutOff,
    "malformed": Malformed,
}


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What is known of a model.

    Args:
        closed_because: Why no call can go out now; None where it can.
        in_flight: Calls under way.
    """

    tier: str
    model: str
    closed_because: str | None
    in_flight: int


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What `/readyz` and the dashboard show."""

    models: tuple[ModelStatus, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """What `doctor` found out about a model."""

    model: str
    ok: bool
    detail: str


class _Lane:
    """One model: its slots, and why it is closed."""

    def __init__(self, model: str, concurrency: int) -> None:
        self.model = model
        self.slots = asyncio.Semaphore(concurrency)
        self.in_flight = 0
        self.closed_because: str | None = None


class Gateway:
    """Asks the models, as a `pipeline.questions.Asker`.

    Args:
        settings: The whole tree.
        observer: Told of every call.
        client: Sends the requests; the official SDK if None.
        jitter: Draws 0 to 1.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observer: ClaudeObserver | None = None,
        client: Client | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        claude = settings.claude
        self._settings = claude
        self._observer = observer or NoObserver()
        self._jitter = jitter
        self._given_client = client
        self._client: Client
        self._stack = AsyncExitStack()
        self._ids = {Tier.HAIKU: settings.models.haiku, Tier.SONNET: settings.models.sonnet}
        self._lanes = {model: _Lane(model, claude.concurrency) for model in self._ids.values()}
        self._prices = PriceTable(claude.prices)
        self._backoff = Backoff(first=claude.backoff_first, longest=claude.backoff_max)
        self._templates = Templates(claude)

    async def __aenter__(self) -> Self:
        """Open the connections."""
        if self._given_client is not None:
            self._client = self._given_client
        else:
            connections = self._settings.concurrency * len(self._lanes) + 8
            sdk = SdkClient(connections=connections, connect_timeout=self._settings.connect_timeout)
            self._client = await self._stack.enter_async_context(sdk)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._stack.aclose()

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Reply[AnswerT]:
        """Ask, waiting as long as limits, outages and budgets demand.

        Raises:
            AnswerError: One of its subclasses, where the answer is no use.
        """
        lane = self._lanes[self._ids[tier]]
        template = self._templates.of(question, tier, lane.model)
        limit = max_output_tokens or question.max_output_tokens
        body = template.body(question.parts, max_output_tokens=limit)
        attempt = 0
        while True:
            attempt += 1
            async with lane.slots:
                lane.in_flight += 1
                started = asyncio.get_running_loop().time()
                try:
                    result = await self._client.send(body, seconds=self._settings.call_timeout)
                finally:
                    lane.in_flight -= 1
                seconds = asyncio.get_running_loop().time() - started
            verdict = self._judge(result, question, template.repair)
            if isinstance(verdict, Answered):
                usage = self._usage(lane.model, verdict.bill)
                self._told(lane, None)
                self._observer.call(
                    question.stage, lane.model, "answered", seconds=seconds, usage=usage
                )
                return Reply(verdict.answer, verdict.model, usage, seconds)
            if isinstance(verdict, Unusable):
                usage = self._usage(lane.model, verdict.bill)
                self._told(lane, None)
                self._observer.call(
                    question.stage, lane.model, verdict.why, seconds=seconds, usage=usage
                )
                error = _ERRORS[verdict.why]
                raise error(verdict.detail, usage=usage, model=verdict.model, seconds=seconds)
            await self._after_failure(question, lane, verdict, attempt, seconds)

    def closed_because(self, stage: str, tier: Tier) -> str | None:
        """Why intake of a stage should stop now; None where it should not."""
        del stage
        return self._lanes[self._ids[tier]].closed_because

    def status(self) -> GatewayStatus:
        """The present state."""
        return GatewayStatus(
            tuple(
                ModelStatus(tier.value, model, lane.closed_because, lane.in_flight)
                for tier, model in self._ids.items()
                for lane in (self._lanes[model],)
            )
        )

    async def probe(self) -> list[Probe]:
        """Ask the API about each model: reachable, key accepted, model known."""
        return [await self._probe(model) for model in self._lanes]

    async def _probe(self, model: str) -> Probe:
        result = await self._client.model(model, seconds=self._settings.connect_timeout * 2)
        match result:
            case HttpReply(status=200):
                return Probe(model, ok=True, detail="The API knows it and accepts the key.")
            case HttpReply(status, headers, body):
                match failures.classify(status, headers, body):
                    case Blocked(because):
                        return Probe(model, ok=False, detail=because)
                    case Retry(_, detail) | Reject(detail):
                        return Probe(model, ok=False, detail=detail)
            case NoReply(_, detail):
                return Probe(model, ok=False, detail=f"No answer from the API: {detail}.")

    def _judge(
        self, result: HttpReply | NoReply, question: Question[AnswerT], repair: EnumRepair
    ) -> Answered[AnswerT] | Unusable | Failure:
        match result:
            case NoReply("no_key", detail):
                return Blocked(f"No credentials: {detail}.", "account")
            case NoReply("timed_out"):
                return failures.timed_out(self._settings.call_timeout)
            case NoReply(_, detail, sent):
                return failures.disconnected(detail, sent=sent)
            case HttpReply(200, _, body):
                read = read_response(body, question.answer_model, repair)
                return failures.garbled(read.detail) if isinstance(read, Garbled) else read
            case HttpReply(status, headers, body):
                return failures.classify(status, headers, body)

    async def _after_failure(
        self,
        question: Question[Any],
        lane: _Lane,
        failure: Failure,
        attempt: int,
        seconds: float,
    ) -> None:
        stage, model = question.stage, lane.model
        match failure:
            case Reject(detail):
                self._observer.call(stage, model, "rejected", seconds=seconds, usage=None)
                raise Rejected(detail, usage=Usage(calls=1), model=model, seconds=seconds)
            case Blocked(because):
                self._observer.call(stage, model, "blocked", seconds=seconds, usage=None)
                self._told(lane, because)
                await asyncio.sleep(PROBE_SECONDS)
            case Retry(kind, _, after):
                self._observer.call(stage, model, kind, seconds=seconds, usage=None)
                wait = self._backoff.seconds(attempt, jitter=self._jitter(), asked=after)
                await asyncio.sleep(wait)

    def _told(self, lane: _Lane, because: str | None) -> None:
        if lane.closed_because != because:
            lane.closed_because = because
            self._observer.blocked(lane.model, because=because)

    def _usage(self, model: str, bill: Bill) -> Usage:
        tokens = bill.tokens
        return Usage(
            calls=1,
            input_tokens=tokens.input,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
            output_tokens=tokens.output,
            cost_usd=self._prices.cost(model, tokens, batch=bill.batch, us_only=bill.us_only),
        )
