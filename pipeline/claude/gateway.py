"""The gateway: every question of every stage passes through it to a model and back.

It masks what the settings say before a question becomes a request, and restores the answer last:
what is kept, shared or repeated below knows placeholders only.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any, Self

from opentelemetry.trace import TracerProvider

from pipeline.claude.billing import PriceTable
from pipeline.claude.budget import SPANS, TENANT, Budget, TenantBudgets, TenantLimits
from pipeline.claude.calls import Caller, ModelRequest
from pipeline.claude.client import Client, SdkClient
from pipeline.claude.failures import Backoff, Bounds, failure_of
from pipeline.claude.limiter import Limiter, block_breaker, extra_slots
from pipeline.claude.message_batches import Batches, BatchLane
from pipeline.claude.prompts import Prompts, content_weight
from pipeline.claude.request_body import Template, content_of
from pipeline.claude.request_groups import RequestGroups, Steers
from pipeline.claude.response_cache import CACHE_SCHEMA, DiskCache, ResponseCache
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings, TenantLimitSettings, TenantsSettings
from pipeline.model.observer import Observer
from pipeline.model.questions import AnswerT, Question, Response, Text
from pipeline.model.records import Tier
from pipeline.privacy.masking import Masked
from pipeline.runtime.database import Database
from pipeline.runtime.process import background_task

log = logging.getLogger(__name__)
Failed = Callable[[], object]
Share = Callable[[Budget, Failed], AbstractAsyncContextManager[None]]
SAVE_SECONDS = 1.0
"""How often what was answered is saved, so that a crash loses no more, and how often each
limiter reports what changed without a call of its own: a key is refused for all models at once, and
a breaker is half open when its time has come."""
CACHED_ANSWERS = 10_000
"""The latest answers that are kept for identical questions, in memory and on disk."""
BACKOFF_FIRST_SECONDS = 0.5
SPARE_CONNECTIONS = 8
LEAST_AHEAD = 8
"""The least number of questions that wait, so that the next call can go when one has ended."""
PROBE_SECONDS = 15.0
TENANTS_SECONDS = 0.2
"""How often it is looked which tenants may spend something."""
SLOWED_SECONDS = 1.0
"""Of a tenant's share of the rate limits, that may wait at once."""
LONG_CHARS = 20_000
"""Of a question's texts; in shorter ones personal data is found within milliseconds."""


@dataclass(frozen=True, slots=True)
class Probe:
    model: str
    ok: bool
    detail: str


class Gateway:
    """Asks the models, as a `pipeline.model.questions.Asker`; open while it is entered.

    Args:
        client: Sends the requests; the official SDK if None.
        clock: Seconds that do not go back; `now` is the time, aware, and `jitter` draws 0 to 1.
        steers: Which events share a request with no others.
        traces: Where the spans of calls go, if anywhere.
        share: Shares the budget with other processes as long as it is entered; it is only where
            there is one.
        failed: Called when what was spent and answered is not written down or reported any more
            for a reason that nobody foresaw; the error is raised when this is left.
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
        steers: Steers = lambda _: False,
        traces: TracerProvider | None = None,
        share: Share | None = None,
        failed: Failed = lambda: None,
    ) -> None:
        claude = self._claude = settings.claude
        self._stages = settings.stages.by_name()
        self._observer = observer or Observer()
        self._share = share
        self._failed = failed
        self._models = {Tier.HAIKU: settings.models.haiku, Tier.SONNET: settings.models.sonnet}
        self._masking = settings.privacy.masking()
        self._prices = PriceTable(claude.prices)
        self._prompts = Prompts(claude, clock=clock)
        self._budget = Budget(
            {"hour": claude.budget_usd_per_hour, "day": claude.budget_usd_per_day},
            {
                name: {"hour": stage.budget_usd_per_hour, "day": stage.budget_usd_per_day}
                for name, stage in self._stages.items()
            },
            _tenant_budgets(settings.tenants),
            now=now,
        )
        self._clock = clock
        self._looked_at = -inf
        self._has_tenants = settings.tenants.are_limited
        self._used_up: frozenset[str] = frozenset()
        self._waiting = {tier: TenantsWaiting(self._budget.account) for tier in Tier}
        account = block_breaker()
        self._limiters = {
            model: Limiter(
                model,
                claude.concurrency,
                account=account,
                budget=self._budget,
                observer=self._observer,
                clock=clock,
            )
            for model in self._models.values()
        }
        self._budget.changed = self._resume
        calls = claude.concurrency + sum(extra_slots(claude.concurrency))
        self._sdk = SdkClient(
            connections=calls * len(self._limiters) + SPARE_CONNECTIONS,
            traces=traces,
        )
        self._client: Client = client or self._sdk
        longest = claude.backoff_max
        self._backoff = Backoff(min(BACKOFF_FIRST_SECONDS, longest), longest, jitter)
        self._caller = Caller(
            client=self._client,
            prices=self._prices,
            budget=self._budget,
            backoff=self._backoff,
            bounds=Bounds.of(claude),
            observer=self._observer,
            clock=clock,
        )
        sizes = {name: stage.events_per_request for name, stage in self._stages.items()}
        self._group_sizes = {name: size for name, size in sizes.items() if size > 1}
        self._groups = RequestGroups(self._caller, self._prompts, self._group_sizes, steers)
        self._call = self._groups.call if self._group_sizes else self._caller.call
        self._cache = ResponseCache(
            call=self._call,
            observer=self._observer,
            now=now,
            most=CACHED_ANSWERS,
            ttl=claude.answer_cache_ttl,
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open connections and files.

        Raises:
            UsageError: A file that the settings name cannot be used.
            PipelineError: What `share` raises.
        """
        claude = self._claude
        async with AsyncExitStack() as stack:
            if self._client is self._sdk:
                await stack.enter_async_context(self._sdk)
            if self._budget.is_limited:
                if self._share is not None:
                    await stack.enter_async_context(self._share(self._budget, self._failed))
                for model in self._limiters:
                    if self._prices.price(model) is None:
                        log.warning(
                            "the price of %s is not known: budgets count it as the most expensive"
                            " model whose price is; set claude.prices",
                            model,
                        )
            if claude.answer_cache == "disk":
                file = Database(claude.answers_path, CACHE_SCHEMA, setting="claude.state_dir")
                await stack.enter_async_context(file)
                self._cache.disk = DiskCache(file, CACHED_ANSWERS, claude.answer_cache_ttl)
            stack.push_async_callback(self._stop)
            saving = background_task(self._save_regularly(), ended=self._failed)
            await stack.enter_async_context(saving)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give up the calls under way, write down what is new, close everything."""
        await self._stack.aclose()

    async def ask(
        self, question: Question[AnswerT], tier: Tier, *, max_output_tokens: int | None = None
    ) -> Response[AnswerT]:
        """Ask, waiting as long as limits, outages and budgets demand.

        Raises:
            AnswerError: One of its subclasses, where the answer is no use, or nothing may be asked.
            UnsupportedSchema: The API cannot take the stage's schema.
        """
        masked = await self._masked(question)
        request = self._request(masked, tier, max_output_tokens or question.max_output_tokens)
        if self._claude.answer_cache != "off":
            return masked.restored(await self._cache.ask(request))
        return masked.restored((await self._call(request)).response)

    async def _masked(self, question: Question[AnswerT]) -> Masked[AnswerT]:
        texts = sum(len(part.text) for part in question.parts if isinstance(part, Text))
        if texts > LONG_CHARS and self._masking.rules(question.stage):
            return await asyncio.to_thread(self._masking.masked, question)
        return self._masking.masked(question)

    def paused_reason(self, stage: str, tier: Tier) -> str | None:
        return self._limiters[self._models[tier]].paused_reason(stage)

    def at_once(self, stage: str, tier: Tier) -> int:
        """How many questions are worth asking at once: what is under way, and the next few.

        Those that are suspect, hang, or wait for their tenant's money come on top: they must not
        take the place of others.
        """
        limiter = self._limiters[self._models[tier]]
        calls = limiter.window.size
        together = self._group_sizes.get(stage, 1) if tier is Tier.HAIKU else 1
        ahead = (calls + max(LEAST_AHEAD, calls // 4)) * together
        return ahead + limiter.suspects + limiter.hanging + self._waiting[tier].questions

    def tenants_waiting(self, tier: Tier) -> "TenantsWaiting":
        """Of whom nothing more is to be asked for now; another object whenever that changes."""
        self._look_at_tenants()
        return self._waiting[tier]

    def batch_lane(self, on_wait: Callable[[str | None], None] = lambda _: None) -> BatchLane:
        """For questions that may wait up to a day and cost half; `on_wait`: see `Batches`."""
        api = Batches(self._client, backoff=self._backoff, on_wait=on_wait)
        return BatchLane(api, self._caller, self._request, self._masking)

    async def probe(self) -> list[Probe]:
        return [await _probe(self._client, model) for model in self._limiters]

    def _request(self, masked: Masked[Any], tier: Tier, max_output_tokens: int) -> ModelRequest:
        model, question = self._models[tier], masked.question
        prompt = self._prompts.of(question, tier, model)
        content = content_of(question.parts)
        return ModelRequest(
            question=question,
            tier=tier,
            prompt=prompt,
            limiter=self._limiters[model],
            body=prompt.template.body(content, max_output_tokens=max_output_tokens),
            weight=content_weight(question.parts),
            max_output_tokens=max_output_tokens,
        )

    def _look_at_tenants(self) -> None:
        now = self._clock()
        if now - self._looked_at < TENANTS_SECONDS or not self._has_tenants:
            return
        self._looked_at = now
        used_up = self._budget.tenants_used_up()
        for account in used_up.keys() ^ self._used_up:
            name = account.removeprefix(TENANT)
            if account in used_up:
                log.warning("events of the tenant %s wait: %s", name, used_up[account].because)
            else:
                log.info("events of the tenant %s go on", name)
        self._used_up = frozenset(used_up)
        for tier, model in self._models.items():
            limiter, before = self._limiters[model], self._waiting[tier]
            over = limiter.tenants_over_share()
            slowed = frozenset(each for each, wait in over.items() if wait > SLOWED_SECONDS)
            found = TenantsWaiting(self._budget.account, self._used_up, slowed)
            if (found.used_up, found.slowed) == (before.used_up, before.slowed):
                found = before
            found.questions = limiter.waiting(found)
            self._waiting[tier] = found

    async def _stop(self) -> None:
        await self._cache.close()
        await self._groups.close()
        for limiter in self._limiters.values():
            limiter.close()
        await self._save()

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            for limiter in self._limiters.values():
                limiter.report()
            await self._save()

    def _resume(self) -> None:
        for limiter in self._limiters.values():
            limiter.resume()

    async def _save(self) -> None:
        # Others may claim for stages that are not known here, and names of theirs are no labels.
        for stage in filter(self._stages.__contains__, self._budget.stages()):
            for span in SPANS:
                self._observer.spent(stage, window=span, usd=self._budget.spent(stage, span))
        await self._cache.save()


@dataclass(slots=True, eq=False)
class TenantsWaiting:
    """Tenants of whom nothing more is to be asked; `questions` of theirs wait.

    By account, those that may spend nothing more; by name, those whose questions wait for their
    share of the rate limits already.
    """

    account_of: Callable[[str], str | None]
    used_up: frozenset[str] = frozenset()
    slowed: frozenset[str] = frozenset()
    questions: int = 0

    def is_used_up(self, tenant: str) -> bool:
        return bool(self.used_up) and self.account_of(tenant) in self.used_up

    def __contains__(self, tenant: object) -> bool:
        return isinstance(tenant, str) and (tenant in self.slowed or self.is_used_up(tenant))


def _tenant_budgets(settings: TenantsSettings) -> TenantBudgets:
    return TenantBudgets(
        _tenant_limits(settings.each),
        {name: _tenant_limits(limits) for name, limits in settings.named.items()},
    )


def _tenant_limits(limits: TenantLimitSettings) -> TenantLimits:
    return TenantLimits(
        {"hour": limits.budget_usd_per_hour, "day": limits.budget_usd_per_day}, limits.rate_share
    )


async def _probe(client: Client, model: str) -> Probe:
    reply = await client.get(f"/v1/models/{model}", seconds=PROBE_SECONDS)
    if isinstance(reply, HttpReply) and reply.status == 404:  # noqa: PLR2004
        # Some gateways in front of the API have no models endpoint; counting tokens is free, too.
        template = Template(model, "Answer.", {"type": "object"})
        body = template.body(content_of((Text("body", "Hello."),)), max_output_tokens=None)
        counted = await client.post("/v1/messages/count_tokens", body, seconds=PROBE_SECONDS)
        if isinstance(counted, HttpReply) and counted.status == 200:  # noqa: PLR2004
            reply = counted
    match reply:
        case HttpReply(200):
            return Probe(model, ok=True, detail="reachable, the key is accepted")
        case NoReply(why, detail) if why != "no_key":
            hint = "check the network and ANTHROPIC_BASE_URL"
            return Probe(model, ok=False, detail=f"The API cannot be reached ({detail}): {hint}.")
    return Probe(model, ok=False, detail=failure_of(reply, seconds=PROBE_SECONDS).detail)
