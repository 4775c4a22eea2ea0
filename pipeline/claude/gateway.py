"""The gateway: every question of every stage passes through it to a model and back."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from opentelemetry.trace import TracerProvider

from pipeline.claude.attempts import Backoff, Bounds
from pipeline.claude.batches import Batches, BatchLane
from pipeline.claude.billing.prices import PriceTable
from pipeline.claude.cache import response_cache
from pipeline.claude.cache.prompt_cache import Prompt, Prompts
from pipeline.claude.cache.response_cache import AnswerFile, Answers, Reuse, reply_of
from pipeline.claude.cache.single_flight import InFlightCall
from pipeline.claude.calls import Caller, CompletedCall, ModelRequest
from pipeline.claude.client import Client, SdkClient
from pipeline.claude.limits import budget as spending
from pipeline.claude.limits.budget import SPANS, Budget, Caps, Spending
from pipeline.claude.limits.limiter import most_overtaken, most_suspects
from pipeline.claude.limits.rate_limits import weigh
from pipeline.claude.model_client import (
    GatewayStatus,
    ModelClient,
    Probe,
    account_breaker,
    probe_model,
)
from pipeline.claude.request_groups import (
    LINGER_SECONDS,
    Coalescer,
    Doubtful,
    RequestGroup,
    Steers,
    says_unclear,
)
from pipeline.claude.requests import content_of
from pipeline.config import Settings
from pipeline.model.observer import Observer
from pipeline.model.questions import AnswerT, Question, Response
from pipeline.model.records import Tier
from pipeline.runtime.database import Database
from pipeline.runtime.process import background_task

log = logging.getLogger(__name__)
SAVE_SECONDS = 1.0
"""Between writings of what was spent and answered; a crash loses no more than that."""
TELL_SECONDS = 1.0
"""Between looks at what has changed without a call of the model's own: a key is refused or taken
for all models at once, and a breaker is half open when its time has come."""
CONNECT_SECONDS = 5.0
KEPT_ANSWERS = 10_000
"""Of the last questions, in memory and on disk, for identical ones."""
BACKOFF_FIRST_SECONDS = 0.5
"""Before the first repetition."""
SPARE_CONNECTIONS = 8
LEAST_AHEAD = 8
"""Questions that should wait for their turn, so that the next call can go when one has ended."""


class Gateway:
    """Asks the models, as a `pipeline.model.questions.Asker`; open while it is entered.

    Args:
        settings: The whole tree.
        observer: Told of every call.
        client: Sends the requests; the official SDK if None.
        clock: Seconds that do not go back.
        now: The time, aware.
        jitter: Draws 0 to 1.
        doubtful: Which answers from a request with several events are asked again alone.
        steers: Which events share a request with no others.
        traces: Where the spans of calls go, if anywhere.
        failed: Called when what was spent and answered is not written down any more, or changes
            are not told any more, for a reason that nobody foresaw; the error is raised when this
            is left.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observer: Observer | None = None,
        client: Client | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        doubtful: Doubtful = says_unclear,
        steers: Steers = lambda _: False,
        traces: TracerProvider | None = None,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        claude = settings.claude
        self._claude = claude
        self._stages = settings.stages.by_name()
        self._observer: Observer = observer or Observer()
        self._given_client = client
        self._traces = traces
        self._failed = failed
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._doubtful = doubtful
        self._steers = steers
        self._ids = {Tier.HAIKU: settings.models.haiku, Tier.SONNET: settings.models.sonnet}
        self._prices = PriceTable(claude.prices)
        self._prompts = Prompts(claude, clock=clock)
        self._answers = Answers(
            most=KEPT_ANSWERS if claude.answer_cache != "off" else 0,
            ttl=claude.answer_cache_ttl,
            now=self._epoch,
        )
        self._account = account_breaker()
        self._stack = AsyncExitStack()
        self._lanes: dict[str, ModelClient]
        self._client: Client
        self._caller: Caller
        self._coalescer: Coalescer
        self._reuse: Reuse
        self._spending: Spending

    async def __aenter__(self) -> Self:
        """Open connections and files.

        Raises:
            UsageError: A file that the settings name cannot be used.
        """
        async with AsyncExitStack() as stack:
            if self._given_client is not None:
                self._client = self._given_client
            else:
                self._client = await stack.enter_async_context(self._sdk())
            self._spending = await self._open_spending(stack)
            self._lanes = {model: self._lane(model) for model in self._ids.values()}
            self._warn_of_unknown_prices()
            self._caller = self._new_caller()
            self._coalescer = Coalescer(
                self._caller,
                joint_prompt=self._joint_prompt,
                doubtful=self._doubtful,
                steers=self._steers,
            )
            self._reuse = await self._open_reuse(stack)
            stack.push_async_callback(self._stop)
            await stack.enter_async_context(
                background_task(self._save_now_and_then(), ended=self._failed)
            )
            await stack.enter_async_context(
                background_task(self._tell_now_and_then(), ended=self._failed)
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give up the calls under way, write down what is new, close everything."""
        await self._stack.aclose()

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Ask, waiting as long as limits, outages and budgets demand.

        Raises:
            AnswerError: One of its subclasses, where the answer is no use.
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        order = self._order(question, tier, max_output_tokens or question.max_output_tokens)
        if self._claude.answer_cache != "off":
            return await self._reuse.ask(order)
        return reply_of(await self._call(order, InFlightCall(b"", waiters=1)))

    def paused_reason(self, stage: str, tier: Tier) -> str | None:
        """Why intake of a stage should stop now, or None.

        Args:
            stage: Whose questions would be asked, as in `Question.stage`.
            tier: Of the model that would be asked.
        """
        limiter = self._lanes[self._ids[tier]].limiter
        return (
            self._spending.paused_reason(stage)
            or limiter.paused_reason()
            or limiter.stage_paused_reason(stage)
        )

    def at_once(self, stage: str, tier: Tier) -> int:
        """How many questions are worth asking at once: what is under way, and the next few.

        A caller that asks for more only waits for longer, and cannot take back what is sent
        meanwhile. Questions in trouble, which wait for their next attempt or hang, come on top:
        they must not take the place of others.

        Args:
            stage: Whose questions would be asked.
            tier: Of the model that would be asked.
        """
        settings = self._stages.get(stage) if tier is Tier.HAIKU else None
        together = 1 if settings is None else settings.events_per_request
        lane = self._lanes[self._ids[tier]]
        calls = lane.limiter.window.size
        in_trouble = lane.in_trouble + lane.limiter.overtaken
        return (calls + max(LEAST_AHEAD, calls // 4)) * together + in_trouble

    def status(self) -> GatewayStatus:
        """The present state."""
        return GatewayStatus(
            blocked_because=self._account.because,
            models=tuple(self._lanes[model].status(tier) for tier, model in self._ids.items()),
            prompts=tuple(prompt.status() for prompt in self._prompts.all()),
            spending=self._spending.status(),
            kept_answers=len(self._answers),
        )

    def batch_lane(self, on_wait: Callable[[str | None], None] = lambda _: None) -> BatchLane:
        """The lane for questions that may wait up to a day and cost half.

        Args:
            on_wait: Called with why it waits for the API, and with None when it goes on.
        """
        api = Batches(self._client, backoff=self._backoff(), jitter=self._jitter, on_wait=on_wait)
        return BatchLane(api, self._caller, self._order)

    async def probe(self) -> list[Probe]:
        """Ask the API about each model: is it reachable, is the key accepted, is it known."""
        return [await probe_model(self._client, model) for model in self._lanes]

    async def _call(self, order: ModelRequest, flight: InFlightCall[Any]) -> CompletedCall:
        """Ask, alone or in company, as the stage's settings say."""
        company = self._company(order)
        if company is None:
            return await self._caller.call(order, flight)
        return await self._coalescer.call(order, flight, company)

    def _company(self, order: ModelRequest) -> RequestGroup | None:
        # What Haiku left open is the hard part: Sonnet looks at each event by itself.
        stage = self._stages.get(order.question.stage) if order.tier is Tier.HAIKU else None
        if stage is None or stage.events_per_request == 1:
            return None
        return RequestGroup(stage.events_per_request, LINGER_SECONDS)

    def _joint_prompt(self, order: ModelRequest) -> Prompt:
        return self._prompts.of(order.question, order.tier, order.lane.model, joint=True)

    def _order(self, question: Question[Any], tier: Tier, max_output_tokens: int) -> ModelRequest:
        model = self._ids[tier]
        prompt = self._prompts.of(question, tier, model)
        return ModelRequest(
            question=question,
            tier=tier,
            prompt=prompt,
            lane=self._lanes[model],
            body=prompt.template.body(
                content_of(question.parts), max_output_tokens=max_output_tokens
            ),
            weight=weigh(question.parts),
            max_output_tokens=max_output_tokens,
        )

    def _sdk(self) -> SdkClient:
        calls = self._claude.concurrency
        calls += most_overtaken(calls) + most_suspects(calls)
        connections = calls * len(set(self._ids.values())) + SPARE_CONNECTIONS
        return SdkClient(
            connections=connections,
            connect_timeout=CONNECT_SECONDS,
            traces=self._traces,
        )

    def _lane(self, model: str) -> ModelClient:
        return ModelClient(
            model,
            self._claude,
            account=self._account,
            budget_wait=self._spending.wait,
            observer=self._observer,
            clock=self._clock,
        )

    def _new_caller(self) -> Caller:
        return Caller(
            self._client,
            prices=self._prices,
            spending=self._spending,
            backoff=self._backoff(),
            bounds=Bounds.of(self._claude),
            observer=self._observer,
            clock=self._clock,
            jitter=self._jitter,
        )

    def _warn_of_unknown_prices(self) -> None:
        for model in self._lanes:
            if self._spending.is_limited and self._prices.price(model) is None:
                log.warning(
                    "the price of %s is not known: budgets count it as the most expensive model"
                    " whose price is; set claude.prices",
                    model,
                )

    def _backoff(self) -> Backoff:
        longest = self._claude.backoff_max
        return Backoff(first=min(BACKOFF_FIRST_SECONDS, longest), longest=longest)

    async def _open_spending(self, stack: AsyncExitStack) -> Spending:
        claude = self._claude
        budget = Budget(
            Caps(claude.budget_usd_per_hour, claude.budget_usd_per_day),
            {
                name: Caps(stage.budget_usd_per_hour, stage.budget_usd_per_day)
                for name, stage in self._stages.items()
            },
        )
        database = None
        # Without a budget there is nothing that a restart could open again.
        if budget.is_set:
            database = await stack.enter_async_context(
                Database(claude.spend_path, spending.SCHEMA, setting="claude.state_dir")
            )
        opened = Spending(budget, database, now=self._now)
        await opened.save()
        return opened

    async def _open_reuse(self, stack: AsyncExitStack) -> Reuse:
        claude = self._claude
        file = None
        if claude.answer_cache == "disk":
            database = await stack.enter_async_context(
                Database(claude.answers_path, response_cache.SCHEMA, setting="claude.state_dir")
            )
            file = AnswerFile(
                database,
                most=KEPT_ANSWERS,
                ttl=claude.answer_cache_ttl,
                now=self._epoch,
            )
        return Reuse(self._answers, file, self._call, observer=self._observer, now=self._epoch)

    async def _stop(self) -> None:
        await self._reuse.close()
        await self._coalescer.close()
        for lane in self._lanes.values():
            lane.limiter.close()
        await self._save()

    async def _tell_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            for lane in self._lanes.values():
                lane.report()

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self._save()

    async def _save(self) -> None:
        for stage in await self._spending.save():
            for span in SPANS:
                usd = self._spending.spent(stage, span)
                self._observer.spent(stage, window=span, usd=usd)
        await self._reuse.save()

    def _epoch(self) -> float:
        return self._now().timestamp()
